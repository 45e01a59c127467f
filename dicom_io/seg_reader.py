"""Segmentations of any maker, read: BINARY, FRACTIONAL and LABELMAP, in patient coordinates.

A fraction counts as "yes" from half of MaximumFractionalValue on, whether it is an occupancy (half of the voxel) or a
probability (more likely than not), and a note says so: a reading room that sends fractions back means regions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from pydicom.sr.coding import Code

from analysis.errors import UnusableImage
from analysis.values import BoolArray, Grid, Labelmap
from dicom_io import codes
from dicom_io.elements import items, number, text
from dicom_io.headers import read_object
from dicom_io.seg_geometry import Frames, placed
from dicom_io.seg_pixels import read_frames
from dicom_io.studies import Instance

SEGMENTATION_STORAGE = "1.2.840.10008.5.1.4.1.1.66.4"
LABELMAP_STORAGE = "1.2.840.10008.5.1.4.1.1.66.7"
_FORMS = ("BINARY", "FRACTIONAL", "LABELMAP")

Values = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One segment as its maker described it; tracking_uid and tracking_id are empty where the maker gave none."""

    number: int
    label: str
    category: Code
    kind: Code
    tracking_id: str = ""
    tracking_uid: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Segmented:
    """What a SEG says.

    labelmap: label = segment number, on the smallest regular grid that holds all its frames, in the SEG's frame of
    reference. overlapping_voxels: voxels claimed by several segments, given to the lowest number in the labelmap;
    beneath: what the others claim there (flat indices into the grid). notes: what a reader should know, one sentence each.
    """

    labelmap: Labelmap
    segments: tuple[Segment, ...]
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    frame_of_reference_uid: str
    referenced_series_uids: tuple[str, ...] = ()
    overlapping_voxels: int = 0
    beneath: Mapping[int, npt.NDArray[np.int64]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def counts(self) -> dict[int, int]:
        """Segment number > voxels, those shared with other segments included."""
        found = np.bincount(self.labelmap.labels.ravel(), minlength=1 + max((s.number for s in self.segments), default=0))
        return {s.number: int(found[s.number]) + len(self.beneath.get(s.number, ())) for s in self.segments}


def mask_of(segmented: Segmented, number: int) -> BoolArray:
    """Where one segment lies on the SEG's own grid, whole also where others overlap it."""
    mask = np.array(segmented.labelmap.labels == number)
    mask.ravel()[segmented.beneath.get(number, [])] = True
    return mask


def read_seg(given: Dataset | Path, images: Iterable[Instance] = ()) -> Segmented:
    """A segmentation of any maker and transfer syntax.

    images: the series it was drawn on, of use where its frames name their images but not their positions.
    Raises NotDicom: the file cannot be read. Raises UnusableImage: another kind of object, on slides, without a regular
    grid, or with pixels that do not decode.
    """
    ds = read_object(given)
    form = _form(ds)
    frames = Frames.of(ds, images)
    grid, places = placed(ds, frames)
    values = read_frames(ds)
    segments = {s.number: s for s in _segments(ds)}
    claims, notes = _claims(ds, form, frames, values) if form != "LABELMAP" else _labelled(ds, values)
    labels, beneath = _merged(grid, places, claims)
    for each in np.unique(labels[labels > 0]):
        segments.setdefault(int(each), Segment(number=int(each), label="", category=codes.UNSAID, kind=codes.UNSAID))
    segments.pop(0, None)
    return Segmented(
        labelmap=Labelmap(grid=grid, labels=labels, names={n: s.label for n, s in segments.items()}),
        segments=tuple(segments.values()),
        study_instance_uid=text(ds, "StudyInstanceUID"),
        series_instance_uid=text(ds, "SeriesInstanceUID"),
        sop_instance_uid=text(ds, "SOPInstanceUID"),
        frame_of_reference_uid=text(ds, "FrameOfReferenceUID"),
        referenced_series_uids=tuple(text(x, "SeriesInstanceUID") for x in items(ds, "ReferencedSeriesSequence")),
        overlapping_voxels=len(np.unique(np.concatenate(list(beneath.values())))) if beneath else 0,
        beneath=beneath,
        notes=notes,
    )


def has_positions(ds: Dataset) -> bool:
    """Whether every frame says where it lies in the patient: those of slides and projections do not."""
    frames = Frames.of(ds)
    return all(frames.numbers(n, "PlanePositionSequence", "ImagePositionPatient") for n in range(frames.count))


def read_pixel_counts(ds: Dataset) -> tuple[tuple[Segment, ...], dict[int, int], tuple[str, ...]]:
    """Segments, pixels of each, and notes; also of a segmentation without a place in the patient, or without any frame.

    Raises UnusableImage.
    """
    form = _form(ds)
    segments = {s.number: s for s in _segments(ds) if s.number}
    counts: dict[int, int] = {}
    if number(ds, "NumberOfFrames") == 0:
        return tuple(segments.values()), counts, ("The segmentation has no frame: its segments are empty.",)
    frames, values = Frames.of(ds), read_frames(ds)
    claims, notes = _claims(ds, form, frames, values) if form != "LABELMAP" else _labelled(ds, values)
    for _, each, mask in claims:
        counts[each] = counts.get(each, 0) + int(mask.sum())
        segments.setdefault(each, Segment(number=each, label="", category=codes.UNSAID, kind=codes.UNSAID))
    return tuple(segments.values()), counts, notes


def _form(ds: Dataset) -> str:
    """BINARY, FRACTIONAL or LABELMAP. Raises UnusableImage for any other object."""
    storage = text(ds, "SOPClassUID")
    if text(ds, "Modality") != "SEG" and storage not in (SEGMENTATION_STORAGE, LABELMAP_STORAGE):
        raise UnusableImage("The object is no segmentation; send a DICOM SEG of the PET series.")
    form = text(ds, "SegmentationType").upper() or ("LABELMAP" if storage == LABELMAP_STORAGE else "")
    if not form and storage == SEGMENTATION_STORAGE and number(ds, "BitsAllocated") == 1:
        form = "BINARY"  # one bit holds nothing else
    if storage not in (SEGMENTATION_STORAGE, LABELMAP_STORAGE) or form not in _FORMS:
        raise UnusableImage(f"The segmentation is of type {form[:16] or 'unknown'}; export it as BINARY.")
    if not number(ds, "Rows") or not number(ds, "Columns"):
        raise UnusableImage("The segmentation has no rows and columns; export it again.")
    return form


Claim = tuple[int, int, BoolArray]  # frame, segment number, where


def _claims(ds: Dataset, form: str, frames: Frames, values: Values) -> tuple[list[Claim], tuple[str, ...]]:
    """Each frame belongs to one segment."""
    numbers = _segment_numbers(ds, frames)
    if form == "BINARY":
        return [(n, numbers[n], values[n] > 0) for n in range(len(values))], ()
    most = number(ds, "MaximumFractionalValue")
    if not most or most <= 0:
        raise UnusableImage("The segmentation holds fractions of an unknown maximum; export it as a BINARY segmentation.")
    between = bool(((values > 0) & (values < most)).any())
    kind = text(ds, "SegmentationFractionalType").lower() or "unknown kind"
    note = f"The segmentation holds fractions ({kind}); voxels of at least half the maximum were taken."
    half = values.astype(np.float32) >= most / 2
    return [(n, numbers[n], half[n]) for n in range(len(values))], (note,) if between else ()


def _segment_numbers(ds: Dataset, frames: Frames) -> list[int]:
    """The segment of each frame; where frames do not say it, the only one there is. Raises UnusableImage."""
    groups = [frames.group(n, "SegmentIdentificationSequence") for n in range(frames.count)]
    found = [number(group, "ReferencedSegmentNumber") for group in groups]
    if text(ds, "DimensionOrganizationType") == "TILED_FULL":
        found = _tiled_full(ds, frames.count)
    described = [number(item, "SegmentNumber") for item in items(ds, "SegmentSequence")]
    only = described[0] if len(described) == 1 else None
    chosen = [int(x) for x in (only if f is None else f for f in found) if x is not None and x >= 1]
    if len(chosen) < frames.count:
        raise UnusableImage("The segmentation does not say which segment each frame belongs to; export it again.")
    return chosen


def _tiled_full(ds: Dataset, count: int) -> list[float | None]:
    """Frames of such slides stand in the order of their segments and do not say so (PS3.3 C.7.6.17.3)."""
    numbers = sorted(number(item, "SegmentNumber") or 0 for item in items(ds, "SegmentSequence"))
    return [numbers[n * len(numbers) // count] for n in range(count)] if numbers and count % len(numbers) == 0 else []


def _labelled(ds: Dataset, values: Values) -> tuple[list[Claim], tuple[str, ...]]:
    """Each pixel bears the number of its segment; the background is a segment too, or padding, or 0."""
    described = {int(number(item, "SegmentNumber") or 0): item for item in items(ds, "SegmentSequence")}
    empty = {n for n, item in described.items() if _code(item, "SegmentedPropertyTypeCodeSequence") == codes.BACKGROUND}
    padding = number(ds, "PixelPaddingValue")
    empty |= {0} if padding is None else {0, int(padding)}
    if 0 in described and _code(described[0], "SegmentedPropertyTypeCodeSequence") != codes.BACKGROUND:
        raise UnusableImage("A segment of the segmentation bears the number 0, which is the background; number from 1.")
    unknown = sorted({int(n) for n in np.unique(values)} - set(described) - empty) if described else []
    note = f"Values that no segment describes were left out: {', '.join(map(str, unknown[:10]))}."
    left_out = empty | set(unknown)
    claims = [
        (frame, int(n), np.asarray(plane == n))
        for frame, plane in enumerate(values)
        for n in np.unique(plane)
        if int(n) not in left_out
    ]
    return claims, (note,) if unknown else ()


def _merged(
    grid: Grid, places: list[int], claims: list[Claim]
) -> tuple[npt.NDArray[np.int32], dict[int, npt.NDArray[np.int64]]]:
    """The labels, and for each segment the flat indices where a lower number has the voxel."""
    labels = np.zeros(grid.shape, np.int32)
    size = grid.shape[1] * grid.shape[2]
    beneath: dict[int, list[npt.NDArray[np.int64]]] = {}
    for frame, each, mask in sorted(claims, key=lambda claim: claim[1]):
        plane = labels[places[frame]]
        taken = mask & (plane > 0) & (plane != each)
        if taken.any():
            beneath.setdefault(each, []).append(np.flatnonzero(taken) + places[frame] * size)
        plane[mask & (plane == 0)] = each
    return labels, {each: np.unique(np.concatenate(found)) for each, found in beneath.items()}


def _segments(ds: Dataset) -> list[Segment]:
    described = [_described(item) for item in items(ds, "SegmentSequence")]
    return [s for s in described if s.kind != codes.BACKGROUND]


def _described(item: Dataset) -> Segment:
    return Segment(
        number=int(number(item, "SegmentNumber") or 0),
        label=text(item, "SegmentLabel"),
        category=_code(item, "SegmentedPropertyCategoryCodeSequence"),
        kind=_code(item, "SegmentedPropertyTypeCodeSequence"),
        tracking_id=text(item, "TrackingID"),
        tracking_uid=text(item, "TrackingUID"),
    )


def _code(item: Dataset, keyword: str) -> Code:
    return codes.read_code(items(item, keyword)) or codes.UNSAID
