"""A report as Enhanced SR is the one that the writer would have made as such, and the same each time."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from factories import FEW, make_case
from objects import build, errors, write
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.uid import Comprehensive3DSRStorage, EnhancedSRStorage

from dicom_io.derived import ObjectSettings, SrForm
from dicom_io.sr_enhanced import as_enhanced, enhanced_uid

REPORTS = ("sr-fdg", "sr-pentixafor", "sr-pair")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[SrForm, dict[str, Path]]:
    """The reports of one case as they lie on disk, in both forms."""
    folder = tmp_path_factory.mktemp("forms")
    pair, analysis = make_case(folder / "in", FEW)
    built = {form: build(pair, analysis, ObjectSettings(sr=form)) for form in SrForm}
    return {form: write(folder / form, {name: objects[name] for name in REPORTS}) for form, objects in built.items()}


def without_uids(ds: Dataset) -> list[tuple[str, Any]]:
    """Every element in order, but for UIDs, which are derived from the settings; the class of the object is kept."""
    rows = [(str(element.tag), element.value) for element in ds.iterall() if element.VR not in ("UI", "SQ")]
    return [("class", ds.SOPClassUID), *rows]


@pytest.mark.parametrize("name", REPORTS)
def test_it_is_what_the_writer_makes_as_enhanced(made: dict[SrForm, dict[str, Path]], name: str) -> None:
    report = dcmread(made[SrForm.COMPREHENSIVE_3D][name])
    assert without_uids(as_enhanced(report)) == without_uids(dcmread(made[SrForm.ENHANCED][name]))


@pytest.mark.parametrize("name", REPORTS)
def test_only_class_instance_and_series_are_others(made: dict[SrForm, dict[str, Path]], name: str) -> None:
    report = dcmread(made[SrForm.COMPREHENSIVE_3D][name])
    ds = as_enhanced(report)
    assert {e.keyword for e in report if e != ds[e.tag]} == {"SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID"}
    assert report.SOPClassUID == Comprehensive3DSRStorage
    assert (ds.SOPClassUID, ds.SOPInstanceUID) == (EnhancedSRStorage, enhanced_uid(str(report.SOPInstanceUID)))
    assert ds.file_meta.MediaStorageSOPClassUID == ds.SOPClassUID
    assert ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID


def test_it_has_the_same_bytes_each_time(made: dict[SrForm, dict[str, Path]]) -> None:
    contents = []
    for _ in range(2):
        file = io.BytesIO()
        dcmwrite(file, as_enhanced(dcmread(made[SrForm.COMPREHENSIVE_3D]["sr-pair"])), enforce_file_format=True)
        contents.append(file.getvalue())
    assert contents[0] == contents[1]


@pytest.mark.peer("dciodvfy")
def test_the_validator_finds_no_more_than_in_the_original(made: dict[SrForm, dict[str, Path]], tmp_path: Path) -> None:
    reports = {name: as_enhanced(dcmread(path)) for name, path in made[SrForm.COMPREHENSIVE_3D].items()}
    paths = write(tmp_path, reports)
    assert [error for path in paths.values() for error in errors(path)] == []


def test_what_enhanced_sr_cannot_hold_is_refused(made: dict[SrForm, dict[str, Path]]) -> None:
    report = dcmread(made[SrForm.COMPREHENSIVE_3D]["sr-fdg"])
    with pytest.raises(ValueError, match="no Comprehensive 3D SR"):
        as_enhanced(as_enhanced(report))
    report.ContentSequence[0].ValueType = "SCOORD3D"
    with pytest.raises(ValueError, match="coordinates or tables"):
        as_enhanced(report)
