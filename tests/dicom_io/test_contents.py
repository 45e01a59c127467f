"""What `duet show` makes of objects whose makers go their own ways."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread

from dicom_io.contents import contents
from tests.helpers.makers import highdicom_seg, images, labels

SEGMENTS = [(1, 54), (2, 20), (3, 1)]
SHOWN = ("126401", "DCM", "SUVbw")


def counted(tmp_path: Path, change: Callable[[Dataset], None]) -> tuple[list[tuple[int, int]], dict[str, Any]]:
    ds = highdicom_seg(images(), labels())
    change(ds)
    ds.save_as(tmp_path / "seg.dcm", enforce_file_format=True)
    found = contents(tmp_path / "seg.dcm")
    return [(one["number"], one["voxels"]) for one in found["segments"]], found


def without(*keywords: str) -> Callable[[Dataset], None]:
    def change(ds: Dataset) -> None:
        for place in (ds, *ds.SegmentSequence, *ds.PerFrameFunctionalGroupsSequence):
            for keyword in keywords:
                if keyword in place:
                    delattr(place, keyword)

    return change


def worded(keyword: str, value: object) -> Callable[[Dataset], None]:
    return lambda ds: setattr(ds, keyword, value)


@pytest.mark.parametrize(
    "change",
    [
        worded("Modality", "OT"),
        worded("SegmentationType", "binary"),
        without("SegmentationType"),
        without("SegmentAlgorithmType", "SegmentAlgorithmName"),  # TCIA's qiba_ct_1c (dcmqi, issue 509)
        without("ReferencedSeriesSequence", "DerivationImageSequence"),  # OHIF, issue 4030
        without("DimensionIndexSequence", "FrameContentSequence"),
        lambda ds: worded("PixelData", ds.PixelData + bytes(64))(ds),
    ],
)
def test_another_makers_seg_is_shown(tmp_path: Path, change: Callable[[Dataset], None]) -> None:
    assert counted(tmp_path, change)[0] == SEGMENTS


def test_a_seg_without_positions_is_counted_in_pixels(tmp_path: Path) -> None:
    """Those of cornerstone3D, which lost them, of slides and of projections."""
    numbers, found = counted(tmp_path, without("PlanePositionSequence"))
    assert numbers == SEGMENTS
    assert {one["volume_ml"] for one in found["segments"]} == {None}
    assert "no positions in the patient" in found["notes"][0]


def test_a_seg_without_frames_is_empty(tmp_path: Path) -> None:
    def change(ds: Dataset) -> None:
        ds.NumberOfFrames = 0
        del ds.PixelData, ds.PerFrameFunctionalGroupsSequence

    numbers, found = counted(tmp_path, change)
    assert numbers == [(1, 0), (2, 0), (3, 0)]
    assert "no frame" in found["notes"][1]


def test_slides_tiled_in_full_count_like_sparse_ones(shared_data: Path) -> None:
    """One segmentation in both forms (highdicom's test files)."""
    folder = shared_data / "seg_sr" / "highdicom"
    sparse, full = (contents(folder / f"seg_image_sm_dots{end}.dcm")["segments"] for end in ("", "_tiled_full"))
    assert [(one["label"], one["voxels"]) for one in full] == [(one["label"], one["voxels"]) for one in sparse]


def coded(value: str, scheme: str, meaning: str) -> Dataset:
    ds = Dataset()
    ds.CodeValue, ds.CodingSchemeDesignator, ds.CodeMeaning = value, scheme, meaning
    return ds


def item(kind: str, name: tuple[str, str, str], **words: Any) -> Dataset:
    ds = Dataset()
    ds.RelationshipType, ds.ValueType, ds.ConceptNameCodeSequence = "CONTAINS", kind, [coded(*name)]
    for keyword, value in words.items():
        setattr(ds, keyword, value)
    return ds


def suv() -> Dataset:
    value = Dataset()
    value.NumericValue, value.MeasurementUnitsCodeSequence = "7.1", [coded("g/ml{SUVbw}", "UCUM", "g/ml")]
    return item("NUM", SHOWN, MeasuredValueSequence=[value])


def container(*content: Dataset, name: tuple[str, str, str] = ("121070", "DCM", "Findings")) -> Dataset:
    return item("CONTAINER", name, ContentSequence=list(content))


@pytest.mark.parametrize(
    "content",
    [
        container(suv()),  # no template
        container(container(suv()), name=("125007", "DCM", "Measurement Group")),
        suv(),
    ],
)
def test_numbers_outside_of_the_template_are_shown(shared_data: Path, tmp_path: Path, content: Dataset) -> None:
    """Reports of workstations do not always follow TID 1500; what they measured must not be passed over in silence."""
    ds = dcmread(shared_data / "seg_sr" / "highdicom" / "sr_document.dcm")
    ds.Modality, ds.ContentSequence = "", [content]
    ds.save_as(tmp_path / "sr.dcm")
    (group,) = contents(tmp_path / "sr.dcm")["groups"]
    assert [(one["concept"]["value"], one["value"]) for one in group["measurements"]] == [("126401", 7.1)]
