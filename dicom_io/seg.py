"""Segmentation objects: one tracer's lesions on its PET grid, written; and anybody's binary SEG, read back.

BINARY, explicit little endian, one instance a series, at most 255 segments (viewers keep labels in 8 bits): more lesions
go to a second series, whose description says so. Segment numbers are the lesions' labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
from highdicom.color import CIELabColor
from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError
from pydicom.sr.coding import Code

from analysis.errors import NotDicom, UnusableImage
from analysis.values import BoolArray, Concordance, FloatArray, Grid, Labelmap, Lesion, Model, PatientAnalysis, Tracer
from dicom_io import codes
from dicom_io.derived import (
    RESEARCH,
    STANDARD_OBJECTS,
    Case,
    Kind,
    ObjectSettings,
    ascii_text,
    contributing_equipment,
    description,
    finish,
)
from dicom_io.seg_pixels import read_frames
from dicom_io.sources import sources
from dicom_io.studies import DualTracerPair

MOST_SEGMENTS = 255
SEGMENTATION_STORAGE = "1.2.840.10008.5.1.4.1.1.66.4"
COLOURS = {Tracer.FDG: (230, 60, 50), Tracer.PENTIXAFOR: (50, 200, 90)}
CONCORDANT_COLOUR = (250, 210, 50)


def write_seg(pair: DualTracerPair, analysis: PatientAnalysis, tracer: Tracer) -> Dataset | None:
    """The tracer's SEG, or None without lesions; the first one where more than 255 lesions need several."""
    return next(iter(write_segs(pair, analysis, tracer)), None)


def write_segs(
    pair: DualTracerPair, analysis: PatientAnalysis, tracer: Tracer, *, objects: ObjectSettings = STANDARD_OBJECTS
) -> tuple[Dataset, ...]:
    """All SEGs of the tracer, each in its own series: none without lesions, two from 256 lesions on."""
    lesions = analysis.lesions[tracer].lesions
    case = Case(pair=pair, analysis=analysis, objects=objects)
    images = sources(pair.study(tracer).pet) if lesions else []
    parts = range(1, 2 + (len(lesions) - 1) // MOST_SEGMENTS) if lesions else range(0)
    return tuple(_write_part(case, tracer, part, images) for part in parts)


def segment_of(lesion: Lesion) -> tuple[int, int]:
    """Which of the tracer's SEGs holds the lesion (from 0), and its segment number there (from 1)."""
    part, index = divmod(lesion.label - 1, MOST_SEGMENTS)
    return part, index + 1


def _write_part(case: Case, tracer: Tracer, part: int, images: list[Dataset]) -> Dataset:
    found = case.analysis.lesions[tracer]
    first = (part - 1) * MOST_SEGMENTS
    lesions = found.lesions[first : first + MOST_SEGMENTS]
    local = found.labelmap.labels - first
    pixels = np.where((local >= 1) & (local <= len(lesions)), local, 0).astype(np.uint8)
    kind, study = Kind.seg(tracer), case.pair.study(tracer)
    common = description(case, kind, [study], part)
    if len(found.lesions) > MOST_SEGMENTS:
        parts = 1 + (len(found.lesions) - 1) // MOST_SEGMENTS
        common["series_description"] = ascii_text(f"duet {tracer} lesions, part {part} of {parts}, {RESEARCH}")
    ds = highdicom.seg.Segmentation(
        images,
        pixels,
        highdicom.seg.SegmentationTypeValues.BINARY,
        [_segment(case, lesion) for lesion in lesions],
        content_label="LESIONS",
        content_description=f"{tracer} lesions, {RESEARCH}",
        content_creator_name="duet^",
        contributing_equipment=contributing_equipment(case.analysis, [tracer]),
        pixel_measures=_pixel_measures(found.labelmap.grid),
        **common,
    )
    _settle_dimensions(ds, case.uid("dimensions", kind.stem, str(part)))
    return finish(ds, study)


def _settle_dimensions(ds: Dataset, uid: str) -> None:
    """Replaces the random UID that highdicom gives the dimensions."""
    for item in [*ds.DimensionOrganizationSequence, *ds.DimensionIndexSequence]:
        item.DimensionOrganizationUID = uid


def _pixel_measures(grid: Grid) -> highdicom.PixelMeasuresSequence:
    """With the distance of slices: empty frames are left out, and readers would take the smallest gap for the spacing."""
    k, j, i = (round(x, 6) for x in grid.spacing)
    return highdicom.PixelMeasuresSequence(pixel_spacing=(j, i), slice_thickness=k, spacing_between_slices=k)


def _segment(case: Case, lesion: Lesion) -> highdicom.seg.SegmentDescription:
    match = case.analysis.match_of(lesion)
    region, side = codes.region_code(lesion.region, lesion.site)
    segment = highdicom.seg.SegmentDescription(
        segment_of(lesion)[1],
        ascii_text(f"{lesion.id} {lesion.region}, {lesion.site}, {match.concordance}"),
        codes.ABNORMAL_STRUCTURE,
        codes.LESION,
        highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=_algorithm(case.analysis.lesions[lesion.tracer].model),
        tracking_uid=case.tracking_uid(lesion),
        tracking_id=lesion.id,
        anatomic_regions=[region],
        display_color=CIELabColor.from_rgb(*_colour(lesion.tracer, match.concordance)),
    )
    if side is not None:
        modifier = highdicom.sr.CodedConcept.from_code(side)
        segment.AnatomicRegionSequence[0].AnatomicRegionModifierSequence = [modifier]
    return segment


def _colour(tracer: Tracer, concordance: Concordance) -> tuple[int, int, int]:
    return CONCORDANT_COLOUR if concordance is Concordance.CONCORDANT else COLOURS[tracer]


def _algorithm(model: Model) -> highdicom.AlgorithmIdentificationSequence:
    return highdicom.AlgorithmIdentificationSequence(
        name=ascii_text(model.name),
        family=codes.ARTIFICIAL_INTELLIGENCE,
        version=ascii_text(model.version),
        source=ascii_text(model.manufacturer),
    )


# Reading


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
    reference. overlapping_voxels: voxels claimed by several segments, given to the lowest number.
    """

    labelmap: Labelmap
    segments: tuple[Segment, ...]
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    frame_of_reference_uid: str
    referenced_series_uids: tuple[str, ...] = ()
    overlapping_voxels: int = field(default=0)


def read_seg(given: Dataset | Path) -> Segmented:
    """A BINARY SEG in patient coordinates, of any maker and transfer syntax.

    Raises NotDicom: the file cannot be read. Raises UnusableImage: another kind of object, fractional, on slides,
    without a regular grid, or with pixels that do not decode.
    """
    ds = _opened(given)
    _refuse_unusable(ds)
    frames = read_frames(ds)
    grid, places = _placed(ds)
    labels = np.zeros(grid.shape, np.int32)
    overlapping = 0
    numbers = _segment_numbers(ds)
    for frame in sorted(range(len(frames)), key=lambda n: numbers[n]):
        plane, mask = labels[places[frame]], frames[frame]
        overlapping += int(np.count_nonzero(mask & (plane > 0) & (plane != numbers[frame])))
        plane[mask & (plane == 0)] = numbers[frame]
    segments = tuple(_described(item) for item in ds.SegmentSequence)
    references = ds.get("ReferencedSeriesSequence", [])
    return Segmented(
        labelmap=Labelmap(grid=grid, labels=labels, names={s.number: s.label for s in segments}),
        segments=segments,
        study_instance_uid=str(ds.StudyInstanceUID),
        series_instance_uid=str(ds.SeriesInstanceUID),
        sop_instance_uid=str(ds.SOPInstanceUID),
        frame_of_reference_uid=str(ds.get("FrameOfReferenceUID", "")),
        referenced_series_uids=tuple(str(x.SeriesInstanceUID) for x in references),
        overlapping_voxels=overlapping,
    )


def _opened(given: Dataset | Path) -> Dataset:
    if isinstance(given, Dataset):
        return given
    try:
        return dcmread(given)
    except (InvalidDicomError, EOFError) as error:
        raise NotDicom("The file is no readable DICOM object; send the segmentation again.") from error


def _refuse_unusable(ds: Dataset) -> None:
    if ds.get("Modality") != "SEG":
        raise UnusableImage("The object is no segmentation; send a DICOM SEG of the PET series.")
    if ds.get("SegmentationType") == "FRACTIONAL":
        raise UnusableImage("The segmentation holds fractions, not yes or no; export it as a BINARY segmentation.")
    if str(ds.get("SOPClassUID")) != SEGMENTATION_STORAGE or ds.get("SegmentationType") != "BINARY":
        raise UnusableImage(f"The segmentation is of type {ds.get('SegmentationType', '?')}; export it as BINARY.")
    if "PerFrameFunctionalGroupsSequence" not in ds or any(not _position(ds, n) for n in range(_count(ds))):
        raise UnusableImage("The segmentation has no positions in the patient (slide or projection); segment the PET series.")


def _count(ds: Dataset) -> int:
    return int(ds.get("NumberOfFrames", 1))


def _group(ds: Dataset, frame: int, sequence: str) -> Dataset | None:
    """The functional group of one frame, or the shared one."""
    per_frame = ds.PerFrameFunctionalGroupsSequence
    shared = ds.get("SharedFunctionalGroupsSequence") or [Dataset()]
    found = (per_frame[frame].get(sequence) if frame < len(per_frame) else None) or shared[0].get(sequence)
    return found[0] if found else None


def _position(ds: Dataset, frame: int) -> list[float]:
    group = _group(ds, frame, "PlanePositionSequence")
    return [float(x) for x in (group.get("ImagePositionPatient") or [])] if group is not None else []


def _segment_numbers(ds: Dataset) -> list[int]:
    groups = [_group(ds, n, "SegmentIdentificationSequence") for n in range(_count(ds))]
    if any(g is None for g in groups):
        raise UnusableImage("The segmentation does not say which segment each frame belongs to; export it again.")
    return [int(g.ReferencedSegmentNumber) for g in groups if g is not None]


def _placed(ds: Dataset) -> tuple[Grid, list[int]]:
    """The regular grid over all frames, and the slice index k of each frame."""
    orientation, measures = _group(ds, 0, "PlaneOrientationSequence"), _group(ds, 0, "PixelMeasuresSequence")
    if orientation is None or measures is None:
        raise UnusableImage("The segmentation has no orientation or pixel spacing; export it again.")
    cosines = np.array([float(x) for x in orientation.ImageOrientationPatient]).reshape(2, 3)
    normal = np.cross(cosines[0], cosines[1])
    positions = np.array([_position(ds, n) for n in range(_count(ds))])
    heights = positions @ normal
    step = _step(np.unique(np.round(heights, 3)), measures)
    k = np.rint((heights - heights.min()) / step).astype(int)
    if np.abs(heights - heights.min() - k * step).max() > 0.1 * step + 0.01:
        raise UnusableImage("The segmentation's slices are not evenly spaced; segment the original PET series.")
    row_spacing, column_spacing = (float(x) for x in measures.PixelSpacing)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = normal * step, cosines[1] * row_spacing, cosines[0] * column_spacing
    affine[:3, 3] = positions[int(np.argmin(heights))]
    return Grid(shape=(int(k.max()) + 1, int(ds.Rows), int(ds.Columns)), affine=affine), [int(x) for x in k]


def _step(heights: FloatArray, measures: Dataset) -> float:
    """Distance of neighbouring slices in mm: SpacingBetweenSlices where it fits the positions, else the smallest distance."""
    declared = float(measures.get("SpacingBetweenSlices") or 0)
    if len(heights) < 2:
        return declared or float(measures.get("SliceThickness") or 1)
    gaps = np.diff(heights)
    multiple = gaps / declared if declared > 0 else np.array([0.5])
    return declared if np.abs(multiple - np.rint(multiple)).max() < 0.1 else float(gaps.min())


def _described(item: Dataset) -> Segment:
    return Segment(
        number=int(item.SegmentNumber),
        label=str(item.get("SegmentLabel", "")),
        category=_code(item.get("SegmentedPropertyCategoryCodeSequence", [])),
        kind=_code(item.get("SegmentedPropertyTypeCodeSequence", [])),
        tracking_id=str(item.get("TrackingID", "")),
        tracking_uid=str(item.get("TrackingUID", "")),
    )


def _code(sequence: Sequence[Any]) -> Code:
    if not sequence:
        return Code("", "", "")
    item = sequence[0]
    value = item.get("CodeValue") or item.get("LongCodeValue") or ""
    return Code(str(value), str(item.get("CodingSchemeDesignator", "")), str(item.get("CodeMeaning", "")))


def mask_of(segmented: Segmented, number: int) -> BoolArray:
    """Where one segment lies on the SEG's own grid."""
    return np.asarray(segmented.labelmap.labels == number)
