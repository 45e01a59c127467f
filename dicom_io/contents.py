"""What a SEG or SR of any maker says, as plain values: for `duet show`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydicom import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import UID

from analysis.errors import UnusableImage
from dicom_io.elements import items, text
from dicom_io.headers import read_object
from dicom_io.seg_reader import (
    LABELMAP_STORAGE,
    SEGMENTATION_STORAGE,
    Segment,
    Segmented,
    has_positions,
    read_pixel_counts,
    read_seg,
)
from dicom_io.sr_reader import Measured, MeasurementGroup, Report, read_sr

# Basic Text, Enhanced, Comprehensive and Comprehensive 3D SR Storage (PS3.4 B.5).
_REPORTS = {f"1.2.840.10008.5.1.4.1.1.88.{last}" for last in (11, 22, 33, 34)}
_FLAT = "The frames have no positions in the patient (slide, projection, or left out): pixels can be counted, not volumes."


def contents(file: Path) -> dict[str, Any]:
    """A SEG's segments with their volumes, or an SR's measurements; plain values for JSON.

    Raises NotDicom: the file cannot be read. Raises UnusableImage: another kind of object, or one that cannot be used.
    """
    ds = read_object(file)
    storage = text(ds, "SOPClassUID")
    if text(ds, "Modality") == "SEG" or storage in {SEGMENTATION_STORAGE, LABELMAP_STORAGE}:
        return _identity(ds) | (_of_seg(read_seg(ds)) if has_positions(ds) else _of_pixels(ds))
    if text(ds, "Modality") == "SR" or storage in _REPORTS:
        return _identity(ds) | _of_sr(read_sr(ds))
    kind = UID(storage).name if UID(storage).is_valid else "an object of no known kind"
    raise UnusableImage(f"{file.name} is {kind}; `duet show` reads segmentations (SEG) and reports (SR).")


def _identity(ds: Dataset) -> dict[str, Any]:
    return {
        "kind": UID(text(ds, "SOPClassUID")).name,
        "series_description": text(ds, "SeriesDescription"),
        "manufacturer": text(ds, "Manufacturer"),
        "model": text(ds, "ManufacturerModelName"),
        "software_versions": text(ds, "SoftwareVersions"),
        "content_date": text(ds, "ContentDate"),
        "study_instance_uid": text(ds, "StudyInstanceUID"),
        "series_instance_uid": text(ds, "SeriesInstanceUID"),
        "sop_instance_uid": text(ds, "SOPInstanceUID"),
    }


def _of_seg(found: Segmented) -> dict[str, Any]:
    counts = found.counts()
    voxel_ml = found.labelmap.grid.voxel_ml
    return {
        "frame_of_reference_uid": found.frame_of_reference_uid,
        "referenced_series_uids": list(found.referenced_series_uids),
        "voxel_mm": [round(x, 6) for x in found.labelmap.grid.spacing],
        "overlapping_voxels": found.overlapping_voxels,
        "notes": list(found.notes),
        "segments": [_segment(s, counts[s.number], voxel_ml) for s in found.segments],
    }


def _of_pixels(ds: Dataset) -> dict[str, Any]:
    """Of a segmentation without a place in the patient."""
    segments, counts, notes = read_pixel_counts(ds)
    return {
        "frame_of_reference_uid": text(ds, "FrameOfReferenceUID"),
        "referenced_series_uids": [text(x, "SeriesInstanceUID") for x in items(ds, "ReferencedSeriesSequence")],
        "voxel_mm": None,
        "overlapping_voxels": None,
        "notes": [_FLAT, *notes],
        "segments": [_segment(s, counts.get(s.number, 0), None) for s in segments],
    }


def _segment(segment: Segment, voxels: int, voxel_ml: float | None) -> dict[str, Any]:
    return {
        "number": segment.number,
        "label": segment.label,
        "category": _coded(segment.category),
        "type": _coded(segment.kind),
        "tracking_id": segment.tracking_id,
        "tracking_uid": segment.tracking_uid,
        "voxels": voxels,
        "volume_ml": None if voxel_ml is None else voxels * voxel_ml,
    }


def _of_sr(found: Report) -> dict[str, Any]:
    return {
        "title": _coded(found.title),
        "verified": found.verified,
        "procedures": [_coded(code) for code in found.procedures],
        "texts": list(found.texts),
        "groups": [_group(group) for group in found.groups],
    }


def _group(group: MeasurementGroup) -> dict[str, Any]:
    sop, number = group.segment or ("", None)
    return {
        "tracking_id": group.tracking_id,
        "tracking_uid": group.tracking_uid,
        "finding": _coded(group.finding),
        "sites": [_coded(code) for code in group.sites],
        "laterality": _coded(group.laterality),
        "segment": number,
        "seg_sop_instance_uid": sop,
        "measurements": [_measured(one) for one in group.measurements],
        "evaluations": [{"concept": _coded(concept), "value": value} for concept, value in group.evaluations],
    }


def _measured(one: Measured) -> dict[str, Any]:
    others: Sequence[tuple[str, Code | None]] = (("derivation", one.derivation), ("method", one.method), ("site", one.site))
    named = {name: _coded(code) for name, code in others if code is not None}
    why = {"qualifier": one.qualifier} if one.qualifier else {}
    return {"concept": _coded(one.concept), "value": one.value, "unit": one.unit.value, **named, **why}


def _coded(code: Code | None) -> dict[str, str] | None:
    if code is None or not code.value:
        return None
    return {"value": code.value, "scheme": code.scheme_designator, "meaning": code.meaning}
