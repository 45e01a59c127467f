"""Segmentation objects: one tracer's lesions on its PET grid.

BINARY, explicit little endian, one instance a series, at most 255 segments (viewers keep labels in 8 bits): more lesions
go to a second series, whose description says so. As a LABELMAP all lesions lie in one object, of 16 bits from 256 on,
since what reads LABELMAP at all reads both widths. Segment numbers are the lesions' labels.
"""

from __future__ import annotations

import highdicom
import numpy as np
from highdicom.color import CIELabColor
from pydicom import Dataset

from analysis.values import Concordance, Grid, Lesion, Model, PatientAnalysis, Tracer
from dicom_io import codes
from dicom_io.derived import (
    RESEARCH,
    STANDARD_OBJECTS,
    Case,
    Kind,
    ObjectSettings,
    SegForm,
    ascii_text,
    contributing_equipment,
    description,
    finish,
)
from dicom_io.seg_frames import fill, table
from dicom_io.seg_padding import clear_marks, mark_empty_frames
from dicom_io.sources import refer_to_frames, sources
from dicom_io.studies import DualTracerPair

MOST_SEGMENTS = 255
MOST_LABELS = 65535
SEGMENTATION_STORAGE = "1.2.840.10008.5.1.4.1.1.66.4"
COLOURS = {Tracer.FDG: (230, 60, 50), Tracer.PENTIXAFOR: (50, 200, 90)}
CONCORDANT_COLOUR = (250, 210, 50)


def write_seg(pair: DualTracerPair, analysis: PatientAnalysis, tracer: Tracer) -> Dataset | None:
    """The tracer's SEG, or None without lesions; the first one where more than 255 lesions need several."""
    return next(iter(write_segs(pair, analysis, tracer)), None)


def write_segs(
    pair: DualTracerPair, analysis: PatientAnalysis, tracer: Tracer, *, objects: ObjectSettings = STANDARD_OBJECTS
) -> tuple[Dataset, ...]:
    """All SEGs of the tracer, each in its own series: none without lesions, two from 256 lesions on (LABELMAP: one)."""
    lesions = analysis.lesions[tracer].lesions
    case = Case(pair=pair, analysis=analysis, objects=objects)
    images = sources(pair.study(tracer).pet) if lesions else []
    return tuple(_write_part(case, tracer, part, images) for part in range(1, 1 + _parts(len(lesions), objects)))


def _most(objects: ObjectSettings) -> int:
    """Segments of one object."""
    return MOST_SEGMENTS if objects.seg is SegForm.BINARY else MOST_LABELS


def _parts(lesions: int, objects: ObjectSettings) -> int:
    return -(-lesions // _most(objects))


def segment_of(lesion: Lesion, objects: ObjectSettings = STANDARD_OBJECTS) -> tuple[int, int]:
    """Which of the tracer's SEGs holds the lesion (from 0), and its segment number there (from 1)."""
    part, index = divmod(lesion.label - 1, _most(objects))
    return part, index + 1


def _write_part(case: Case, tracer: Tracer, part: int, images: list[Dataset]) -> Dataset:
    found = case.analysis.lesions[tracer]
    first = (part - 1) * _most(case.objects)
    lesions = found.lesions[first : first + _most(case.objects)]
    local = found.labelmap.labels - first
    inside = (local >= 1) & (local <= len(lesions))
    pixels = np.where(inside, local, 0).astype(np.uint8 if len(lesions) <= MOST_SEGMENTS else np.uint16)
    binary = case.objects.seg is SegForm.BINARY
    marks = mark_empty_frames(pixels) if binary else []
    kind, study = Kind.seg(tracer), case.pair.study(tracer)
    common = description(case, kind, [study], part)
    parts = _parts(len(found.lesions), case.objects)
    if parts > 1:
        common["series_description"] = ascii_text(f"duet {tracer} lesions, part {part} of {parts}, {RESEARCH}")
    ds = highdicom.seg.Segmentation(
        images,
        table(pixels, images) if binary else pixels,
        highdicom.seg.SegmentationTypeValues(case.objects.seg.upper()),
        [_segment(case, lesion) for lesion in lesions],
        content_label="LESIONS",
        content_description=f"{tracer} lesions, {RESEARCH}",
        content_creator_name="duet^",
        contributing_equipment=contributing_equipment(case.analysis, [tracer]),
        pixel_measures=_pixel_measures(found.labelmap.grid),
        **common,
    )
    if binary:
        fill(ds, pixels, images)
        clear_marks(ds, marks, images)
    _background_last(ds)
    _settle_dimensions(ds, case.uid("dimensions", kind.stem, str(part)))
    refer_to_frames(ds, study.pet)
    return finish(ds, study)


def _background_last(ds: Dataset) -> None:
    """Of a LABELMAP, whose background has an item too: OHIF takes the colour of segment n from the n-th item."""
    if ds.SegmentSequence[0].SegmentNumber == 0:
        ds.SegmentSequence = [*ds.SegmentSequence[1:], ds.SegmentSequence[0]]


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
        segment_of(lesion, case.objects)[1],
        label_of(lesion, match.concordance),
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


def label_of(lesion: Lesion, concordance: Concordance) -> str:
    """SegmentLabel, in an order that fits the two lines of some 26 characters which OHIF's list of segments has."""
    return ascii_text(f"{lesion.id} {lesion.region.replace('_', ' ')}, {concordance}, {lesion.site}")


def _colour(tracer: Tracer, concordance: Concordance) -> tuple[int, int, int]:
    return CONCORDANT_COLOUR if concordance is Concordance.CONCORDANT else COLOURS[tracer]


def _algorithm(model: Model) -> highdicom.AlgorithmIdentificationSequence:
    return highdicom.AlgorithmIdentificationSequence(
        name=ascii_text(model.name),
        family=codes.ARTIFICIAL_INTELLIGENCE,
        version=ascii_text(model.version),
        source=ascii_text(model.manufacturer),
    )
