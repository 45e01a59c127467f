"""Empty frames beside the lesions', for the sake of one viewer: OHIF 3.13 (its dcmjs) misreads packed bits in two ways.

Where a frame fills whole bytes, it takes the byte that pads an odd length (PS3.5 8.1.1) for a part of the frames, and shows
nothing: there the length is made even. Where frames begin inside a byte, it counts their bits from the wrong end and draws
lesions centimetres from their place, if the length is even; with an odd one it gives up. Nothing is better than a lesion in
a wrong place, so there the length is made odd. Frames without a voxel are nothing new to any reader.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from analysis.values import BoolArray
from dicom_io.seg_frames import place, present

# Label, slice, row, column: a voxel that is set while the frames are written, and cleared afterwards.
Mark = tuple[int, int, int, int]


def mark_empty_frames(labels: npt.NDArray[Any]) -> list[Mark]:
    """Sets one voxel in as many slices as there have to be empty frames; `labels`: [k, j, i], 0 is background, changed.

    The slices lie beside the first lesions. None where the length suits already or no slice is left.
    """
    found = present(labels)
    frames = int(found[:, 1:].sum())
    marks: list[Mark] = []
    places = _free_slices(found)
    while not _suits(frames + len(marks), labels[0].size):
        place = next(places, None)
        if place is None:
            break
        label, k = place
        free = np.argwhere(labels[k] == 0)
        if len(free):
            j, i = (int(x) for x in free[0])
            labels[k, j, i] = label
            marks.append((label, k, j, i))
    return marks


def clear_marks(ds: Dataset, marks: Sequence[Mark], images: Sequence[Dataset]) -> None:
    """Takes the marked voxels out of a BINARY SEG whose slices were `images`, so that their frames are empty."""
    if not marks:
        return
    wanted = {(label, place(images[k])): (j, i) for label, k, j, i in marks}
    data = bytearray(ds.PixelData)
    shared = ds.SharedFunctionalGroupsSequence[0]  # the segment of all frames, where there is but one
    for number, item in enumerate(ds.PerFrameFunctionalGroupsSequence):
        group = item.get("SegmentIdentificationSequence") or shared.SegmentIdentificationSequence
        label = int(group[0].ReferencedSegmentNumber)
        voxel = wanted.get((label, place(item.PlanePositionSequence[0])))
        if voxel is not None:
            bit = (number * ds.Rows + voxel[0]) * ds.Columns + voxel[1]
            data[bit // 8] &= ~(1 << bit % 8)
    ds.PixelData = bytes(data)


def _suits(frames: int, voxels: int) -> bool:
    """Whether the packed bits of so many frames have the length that is wanted; a single frame is read rightly by all."""
    odd = -(-frames * voxels // 8) % 2 == 1
    return frames < 2 or odd == (voxels % 8 != 0)


def _free_slices(present: BoolArray) -> Iterator[tuple[int, int]]:
    """Label and slice where that label has no voxel, the nearest slices of the first lesion first."""
    for label in range(1, present.shape[1]):
        taken, others = np.flatnonzero(present[:, label]), np.flatnonzero(~present[:, label])
        if len(taken):
            yield from ((label, int(k)) for k in sorted(others, key=lambda k: int(np.abs(taken - k).min())))
