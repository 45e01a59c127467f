"""Positions within the cohort in a pair's report: what is new, what stays, and what peers make of it."""

from __future__ import annotations

import json
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
import srtree
from cases import Made, made_case
from objects import dcmqi_report, errors
from pydicom import Dataset, dcmread

from analysis.cohort.values import Position
from dicom_io.position import with_positions
from dicom_io.release import Release, write_released
from dicom_io.writing import save

NAME = "SUVmean[CXCR4 extramedullary discordant]"
POSITIONS = (
    Position(feature=NAME, percentile=62.5, above_median=True, n=24),
    Position(feature="TLG[FDG medullary concordant]", percentile=100 / 3, above_median=False, n=23),
    Position(feature="sDmax[FDG]", n=9),
)
RELEASE = Release(by="Jürgen Müller", why="Später geprüft.", at=datetime(2026, 3, 13, 8, 30, tzinfo=UTC))


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return made_case(tmp_path_factory.mktemp("case"))


@pytest.fixture(scope="module")
def before(case: Made) -> Dataset:
    return dcmread(case.folder / "sr-pair.dcm")


@pytest.fixture(scope="module")
def after(case: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("after") / "sr-pair.dcm"
    save(with_positions(case.folder, POSITIONS, 3), path)
    return path


def test_each_feature_has_its_group(after: Path) -> None:
    groups = srtree.groups(dcmread(after))
    for position in POSITIONS[:2]:
        group = groups[f"position {position.feature}"]
        assert group.value("Percentile Ranking of measurement") == position.percentile
        assert group.value("Number of treatment cycles") == position.n
        assert group.codes["Finding"] == "Position within the cohort (descriptive)"
    assert groups[f"position {NAME}"].codes["Position to the cohort's median"] == "Above the median"
    low = groups["position TLG[FDG medullary concordant]"]
    assert low.codes["Position to the cohort's median"] == "At or below the median"
    assert low.texts["Comment"] == [
        "TLG[FDG medullary concordant]: percentile 33.3 of 23 cycles, at or below the median (descriptive)."
    ]


def test_what_is_undefined_is_said_and_no_number(after: Path) -> None:
    group = srtree.groups(dcmread(after))["position sDmax[FDG]"]
    assert group.value("Percentile Ranking of measurement") is None
    assert "Position to the cohort's median" not in group.codes
    assert group.texts["Value that is undefined"] == ["sDmax[FDG] has no position in the cohort (9 cycles with a value)."]


def test_every_reader_sees_that_it_is_no_prediction(after: Path) -> None:
    said = srtree.statements(dcmread(after))
    assert "no prediction for this patient" in said[-2]
    assert "version 3" in said[-2]
    assert said[-1] == "3"
    assert said[0].startswith("Research use only")


def test_all_else_stays_and_the_older_form_is_named(before: Dataset, after: Path) -> None:
    ds = dcmread(after)
    kept = {name: group for name, group in srtree.groups(ds).items() if not name.startswith("position ")}
    assert kept == srtree.groups(before)
    assert srtree.statements(ds)[:-2] == srtree.statements(before)
    changed = {"SOPInstanceUID", "ContentSequence", "PredecessorDocumentsSequence"}
    assert {x.keyword: x.value for x in ds if x.keyword not in changed} == {
        x.keyword: x.value for x in before if x.keyword not in changed
    }
    (study,) = ds.PredecessorDocumentsSequence
    (series,) = study.ReferencedSeriesSequence
    assert study.StudyInstanceUID == before.StudyInstanceUID
    assert series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == before.SOPInstanceUID
    assert ds.SOPInstanceUID == ds.file_meta.MediaStorageSOPInstanceUID != before.SOPInstanceUID


def test_a_release_is_kept(case: Made, tmp_path: Path) -> None:
    write_released(case.folder, tmp_path / "released", RELEASE)
    released = dcmread(tmp_path / "released" / "sr-pair.dcm")
    path = tmp_path / "sr-pair.dcm"
    save(with_positions(tmp_path / "released", POSITIONS, 3), path)
    ds = dcmread(path)
    assert srtree.statements(ds)[:-2] == srtree.statements(released)
    assert RELEASE.by in srtree.statements(ds)
    named = ds.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert named.ReferencedSOPInstanceUID == released.SOPInstanceUID


def placed(case: Made, after: Path, folder: Path) -> Path:
    """The case with the positions in its report."""
    shutil.copytree(case.folder, folder)
    shutil.copyfile(after, folder / "sr-pair.dcm")
    return folder


def test_the_same_positions_change_nothing_and_others_take_their_place(case: Made, after: Path, tmp_path: Path) -> None:
    folder = placed(case, after, tmp_path / "case")
    save(with_positions(folder, POSITIONS, 3), tmp_path / "again.dcm")
    assert (tmp_path / "again.dcm").read_bytes() == after.read_bytes()
    ds = with_positions(folder, POSITIONS[:1], 4)
    assert [name for name in srtree.groups(ds) if name.startswith("position ")] == [f"position {NAME}"]
    assert [x for x in srtree.statements(ds) if "prediction" in x and "version 4" in x] == srtree.statements(ds)[-2:-1]
    named = ds.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert named.ReferencedSOPInstanceUID == dcmread(after).SOPInstanceUID


def test_the_same_call_gives_the_same_bytes_and_a_group_keeps_its_uid(case: Made, after: Path, tmp_path: Path) -> None:
    save(with_positions(case.folder, POSITIONS, 3), tmp_path / "again.dcm")
    assert (tmp_path / "again.dcm").read_bytes() == after.read_bytes()
    later = with_positions(case.folder, POSITIONS, 4)
    assert later.SOPInstanceUID != dcmread(after).SOPInstanceUID
    one, other = srtree.groups(later), srtree.groups(dcmread(after))
    assert one[f"position {NAME}"].uid == other[f"position {NAME}"].uid


@pytest.mark.peer("dciodvfy")
@pytest.mark.peer("dsrdump")
@pytest.mark.peer("dcmqi")
def test_peers_read_it(after: Path, tmp_path: Path) -> None:
    assert errors(after) == []
    dumped = subprocess.run(["dsrdump", after], capture_output=True, check=True).stdout.decode("latin-1")
    assert dumped.count("Position within the cohort (descriptive)") == len(POSITIONS) + 1
    groups = dcmqi_report(after, tmp_path / "report.json")
    (found,) = (x for x in groups if x["TrackingIdentifier"] == f"position {NAME}")
    values = {x["quantity"]["CodeMeaning"]: x["value"] for x in json.loads(json.dumps(found))["measurementItems"]}
    assert float(values["Percentile Ranking of measurement"]) == 62.5
