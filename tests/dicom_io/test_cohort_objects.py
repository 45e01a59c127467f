"""All objects of a version: their order, the same bytes each time, consistent as a set, and taken by an archive."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cohort_occasions import NAME, made, next_version, pdf, saved
from nodes import Orthanc, push
from objects import set_errors


def test_their_order_is_that_of_sending() -> None:
    first = made()
    assert list(first) == ["report-pdf", "sr-cohort"]
    assert list(next_version(first)) == ["report-pdf", "sr-cohort", "kos-superseded"]


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    for name, path in saved(tmp_path / "one", next_version(made())).items():
        again = saved(tmp_path / "again", next_version(made()))[name]
        assert path.read_bytes() == again.read_bytes(), name


def test_the_quick_writer_and_pydicom_agree(tmp_path: Path) -> None:
    objects = next_version(made())
    for name, path in saved(tmp_path, objects).items():
        objects[name].save_as(tmp_path / "pydicom.dcm", enforce_file_format=True)
        assert path.read_bytes() == (tmp_path / "pydicom.dcm").read_bytes(), name


@pytest.mark.peer("dcentvfy")
def test_both_versions_are_consistent_as_a_set(tmp_path: Path) -> None:
    first = made()
    paths = [*saved(tmp_path / "1", first).values(), *saved(tmp_path / "2", next_version(first)).values()]
    assert set_errors(paths) == []


@pytest.mark.peer("storescu")
@pytest.mark.peer("Orthanc")
def test_an_archive_takes_them_twice_and_gives_the_report_back(tmp_path: Path, program: Callable[[str], str]) -> None:
    first = made()
    objects = {**{f"1-{name}": ds for name, ds in first.items()}, **next_version(first)}
    files = list(saved(tmp_path / "out", objects).values())
    with Orthanc(tmp_path / "orthanc", program).running() as archive:
        assert push(program, archive.port, files)
        assert push(program, archive.port, files)
        held = archive.holds()
        assert {uid: modality for uid, (_, modality) in held.items()} == {
            ds.SOPInstanceUID: ds.Modality for ds in objects.values()
        }
        (study,) = archive.ask("/studies?expand")
        patient = study["PatientMainDicomTags"]
        assert (patient["PatientID"], patient["PatientName"]) == ("DUET-COHORT", NAME)
        instances = {x["MainDicomTags"]["SOPInstanceUID"]: x["ID"] for x in archive.ask("/instances?expand")}
        assert archive.ask_bytes(f"/instances/{instances[first['report-pdf'].SOPInstanceUID]}/pdf") == pdf()
