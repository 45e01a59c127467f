"""The frames of a BINARY segmentation: highdicom is told which segments each slice holds, and the bits are packed here.

highdicom compares every slice with every segment, pixel by pixel: seconds for a hundred lesions. So it is given a table in
place of the pixels, a row for each slice, from which it makes the same frames in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from analysis.values import BoolArray

_AT_ONCE = 8  # frames: so many fill whole bytes, whatever their size
_PADDING = b"0"  # as highdicom pads an odd length

Labels = npt.NDArray[Any]


def present(labels: Labels) -> BoolArray:
    """[k, label]: whether the slice holds a voxel of the label, 0 being the background."""
    most = int(labels.max(initial=0)) + 1
    return np.array([np.bincount(plane.ravel(), minlength=most) > 0 for plane in labels])


def table(labels: Labels, images: Sequence[Dataset]) -> Labels:
    """[k, 1, segment]: the label where the slice k holds it, else 0. The images are told that they have this size."""
    found = present(labels)[:, None, 1:]
    for image in images:
        image.Rows, image.Columns = found.shape[1:]
    return np.where(found, np.arange(1, found.shape[2] + 1), 0).astype(labels.dtype)


def fill(ds: Dataset, labels: Labels, images: Sequence[Dataset]) -> None:
    """Gives a SEG that was made of `table(labels, images)` the labels' size and its pixels. labels: [k, j, i]."""
    slices = {place(image): k for k, image in enumerate(images)}
    shared = ds.SharedFunctionalGroupsSequence[0]  # the segment of all frames, where there is but one
    frames = []
    for item in ds.PerFrameFunctionalGroupsSequence:
        group = item.get("SegmentIdentificationSequence") or shared.SegmentIdentificationSequence
        frames.append((int(group[0].ReferencedSegmentNumber), slices[place(item.PlanePositionSequence[0])]))
    data = b"".join(_packed(labels, frames[n : n + _AT_ONCE]) for n in range(0, len(frames), _AT_ONCE))
    ds.Rows, ds.Columns = labels.shape[1:]
    ds.PixelData = data + _PADDING if len(data) % 2 else data


def _packed(labels: Labels, frames: Sequence[tuple[int, int]]) -> bytes:
    bits = np.concatenate([(labels[k] == label).ravel() for label, k in frames])
    return np.packbits(bits, bitorder="little").tobytes()


def place(image: Dataset) -> tuple[float, ...]:
    """Where a slice lies, to be compared: mm."""
    return tuple(round(float(x), 4) for x in image.ImagePositionPatient)
