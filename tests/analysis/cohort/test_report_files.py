"""Files: all of them, whole or not at all, the same at each run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import cohorts
import pytest

from analysis.cohort import report_files
from analysis.cohort.report import cohort_document
from analysis.cohort.report_files import write_report

TABLES = {"cycles", "columns", "response", "survival", "trees", "models", "calibration", "influence", "robustness"}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[Path, ...]]:
    out = tmp_path_factory.mktemp("cohort")
    results = cohorts.small()
    return out, write_report(cohort_document(results, cohorts.OCCASION), results, out)


def test_every_file_of_the_design_is_written(written: tuple[Path, tuple[Path, ...]]) -> None:
    out, paths = written
    names = {str(path.relative_to(out)) for path in paths}
    assert {"report.html", "report.pdf", "methods.txt"} | {f"tables/{name}.csv" for name in TABLES} <= names
    assert names == {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    figures = {block.name for block in cohort_document(cohorts.small(), cohorts.OCCASION).figures}
    assert {path.stem for path in (out / "figures").iterdir()} == figures


def test_figures_are_well_formed_and_refer_to_nothing_outside(written: tuple[Path, tuple[Path, ...]]) -> None:
    for path in (written[0] / "figures").iterdir():
        root = ElementTree.parse(path).getroot()  # noqa: S314 - our own file
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert not list(root.iter("{http://www.w3.org/2000/svg}text"))  # letters are outlines
        for element in root.iter():
            for key, value in element.attrib.items():
                assert not key.endswith("href") or value.startswith("#")


def test_no_identifier_of_a_patient_is_in_the_report(written: tuple[Path, tuple[Path, ...]]) -> None:
    for path in written[1]:
        if path.suffix in (".html", ".txt", ".svg") or path.name in ("influence.csv", "response.csv"):
            text = path.read_text(encoding="utf-8")
            assert [patient for patient in cohorts.small().table.patients if patient in text] == []


def test_another_process_gives_the_same_bytes(written: tuple[Path, tuple[Path, ...]], tmp_path: Path) -> None:
    out, paths = written
    code = (
        "import sys, cohorts; from pathlib import Path; from analysis.cohort.report import cohort_document; "
        "from analysis.cohort.report_files import write_report; r = cohorts.small(); "
        "write_report(cohort_document(r, cohorts.OCCASION), r, Path(sys.argv[1]))"
    )
    folders = [str(Path(cohorts.__file__).parent), str(Path(report_files.__file__).parents[2])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folders), "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=environment, check=True, timeout=120)
    assert [path.name for path in paths if path.read_bytes() != (tmp_path / path.relative_to(out)).read_bytes()] == []


def test_an_earlier_report_is_exchanged_and_its_figures_go(tmp_path: Path) -> None:
    results = cohorts.tiny()
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "old.svg").write_text("old")
    (tmp_path / "figures" / "notes.md").write_text("of the reader")
    (tmp_path / "report.html").write_text("old")
    write_report(cohort_document(results, cohorts.OCCASION), results, tmp_path)
    assert (tmp_path / "report.html").read_text() != "old"
    assert [path.name for path in (tmp_path / "figures").iterdir()] == ["notes.md"]


def test_a_fault_while_writing_leaves_the_earlier_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = cohorts.tiny()
    (tmp_path / "report.html").write_text("earlier")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(report_files.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_report(cohort_document(results, cohorts.OCCASION), results, tmp_path)
    assert (tmp_path / "report.html").read_text() == "earlier"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / "report.html"]
