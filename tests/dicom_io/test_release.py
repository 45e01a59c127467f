"""A released case: its reports say who, when and why; the numbers and every other object stay as the operator saw them."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import srtree
from cases import HOLD, Made, made_case
from pydicom import Dataset, dcmread

from dicom_io.release import HELD, Release, is_released, write_held, write_released

AT = datetime(2026, 3, 13, 8, 30, 15, tzinfo=UTC)
PLAIN = Release(by="A. Operator", why="Uptake time is the trial's protocol.", at=AT)
ACCENTS = Release(by="Jürgen Müller", why="Später geprüft, für richtig befunden.", at=AT)
KANJI = Release(by="山田太郎", why="撮影時刻を確認済み", at=AT)
REPORTS = ("sr-fdg", "sr-pentixafor", "sr-pair")
JAPANESE = "Yamada^Tarou=山田^太郎=やまだ^たろう"


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return made_case(tmp_path_factory.mktemp("case"))


def released(case: Made, folder: Path, release: Release = PLAIN) -> Path:
    write_released(case.folder, folder, release)
    return folder


def results(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    return loaded


def said(ds: Dataset) -> dict[str, str]:
    """Concept > sentence, of those that stand beside the intended use."""
    container = next(x for x in srtree.children(ds) if srtree.concept(x) == "Qualitative Evaluations")
    return {srtree.concept(x): str(x.TextValue) for x in srtree.children(container)}


def test_every_report_tells_what_held_it_and_who_released_it_when_and_why(case: Made, tmp_path: Path) -> None:
    folder = released(case, tmp_path / "released")
    for name in REPORTS:
        found = said(dcmread(folder / f"{name}.dcm"))
        assert found["Quality finding that held the delivery"] == HOLD
        assert found["Delivery released by"] == PLAIN.by
        assert found["Delivery released at"] == "2026-03-13T08:30:15Z"
        assert found["Reason of the release"] == PLAIN.why
        assert next(iter(found)) == "Intended use"
    assert results(folder)["release"] == {"by": PLAIN.by, "at": "2026-03-13T08:30:15Z", "why": PLAIN.why}
    assert is_released(folder, PLAIN)
    assert not is_released(folder, ACCENTS)
    assert not is_released(case.folder, PLAIN)


def test_the_numbers_are_those_that_the_operator_saw_and_all_other_files_keep_their_bytes(case: Made, tmp_path: Path) -> None:
    folder = released(case, tmp_path / "released")
    for name in REPORTS:
        before, after = dcmread(case.folder / f"{name}.dcm"), dcmread(folder / f"{name}.dcm")
        assert srtree.groups(after) == srtree.groups(before)
        assert after.SeriesInstanceUID == before.SeriesInstanceUID
        assert "PredecessorDocumentsSequence" not in after
        assert after.VerificationFlag == "UNVERIFIED"
    changed = {"results.json", *(f"{name}.dcm" for name in REPORTS)}
    for path in case.folder.iterdir():
        kept = folder / HELD / path.name if path.name in changed else folder / path.name
        assert kept.read_bytes() == path.read_bytes(), path.name
    before, after = results(case.folder), results(folder)
    assert {k: v for k, v in after.items() if k not in ("objects", "release")} == {
        k: v for k, v in before.items() if k != "objects"
    }


def test_reports_have_new_uids_and_results_name_them(case: Made, tmp_path: Path) -> None:
    folder = released(case, tmp_path / "released")
    before, after = results(case.folder)["objects"], results(folder)["objects"]
    assert list(before) == list(after)
    for name, entry in after.items():
        ds = dcmread(folder / f"{name}.dcm", stop_before_pixels=True)
        assert ds.SOPInstanceUID == ds.file_meta.MediaStorageSOPInstanceUID == entry["sop_instance_uid"]
        assert (entry == before[name]) == (name not in REPORTS)


def test_a_report_that_refers_to_another_refers_to_its_released_form(case: Made, tmp_path: Path) -> None:
    held = tmp_path / "held"
    shutil.copytree(case.folder, held)
    ds, other = dcmread(held / "sr-pair.dcm"), dcmread(held / "sr-fdg.dcm")
    item = ds.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    item.ReferencedSOPInstanceUID = other.SOPInstanceUID
    ds.save_as(held / "sr-pair.dcm")
    write_released(held, tmp_path / "released", PLAIN)
    after = dcmread(tmp_path / "released" / "sr-pair.dcm")
    referred = after.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert referred.ReferencedSOPInstanceUID == dcmread(tmp_path / "released" / "sr-fdg.dcm").SOPInstanceUID
    assert referred.ReferencedSOPInstanceUID != other.SOPInstanceUID


def test_the_same_release_gives_the_same_bytes_and_another_takes_its_place(case: Made, tmp_path: Path) -> None:
    one, again = released(case, tmp_path / "one"), released(case, tmp_path / "again")
    write_released(one, tmp_path / "twice", PLAIN)
    for path in (p for p in one.rglob("*") if p.is_file()):
        name = path.relative_to(one)
        assert path.read_bytes() == (again / name).read_bytes() == (tmp_path / "twice" / name).read_bytes()
    write_released(one, tmp_path / "other", ACCENTS)
    other = dcmread(tmp_path / "other" / "sr-pair.dcm")
    assert other.SOPInstanceUID == dcmread(released(case, tmp_path / "fresh", ACCENTS) / "sr-pair.dcm").SOPInstanceUID
    assert said(other)["Delivery released by"] == ACCENTS.by


def test_a_release_that_does_not_hold_leaves_no_trace(case: Made, tmp_path: Path) -> None:
    write_held(released(case, tmp_path / "released"), tmp_path / "again")
    assert {p.name: p.read_bytes() for p in (tmp_path / "again").iterdir()} == {
        p.name: p.read_bytes() for p in case.folder.iterdir()
    }


def with_name(case: Made, folder: Path, name: str, character_set: Any) -> Path:
    """The reports alone, of a patient with this name in this character set (None: no such element)."""
    folder.mkdir()
    shutil.copyfile(case.folder / "results.json", folder / "results.json")
    for report in REPORTS:
        ds = dcmread(case.folder / f"{report}.dcm")
        del ds.SpecificCharacterSet
        if character_set is not None:
            ds.SpecificCharacterSet = character_set
        ds.PatientName = name
        ds.save_as(folder / f"{report}.dcm")
    return folder


@pytest.mark.parametrize(
    ("source", "release", "expected"),
    [
        (("Muster^Maria", "ISO_IR 100"), PLAIN, "ISO_IR 100"),
        (("Müller^Jörg", "ISO_IR 100"), ACCENTS, "ISO_IR 100"),
        (("Müller^Jörg", "ISO_IR 100"), KANJI, "ISO_IR 192"),
        (("Muster^Maria", None), PLAIN, None),
        (("Muster^Maria", None), ACCENTS, "ISO_IR 192"),
        ((JAPANESE, ["", "ISO 2022 IR 87"]), PLAIN, ["", "ISO 2022 IR 87"]),
        ((JAPANESE, ["", "ISO 2022 IR 87"]), KANJI, "ISO_IR 192"),
        (("Иванов^Иван", "ISO_IR 144"), ACCENTS, "ISO_IR 192"),
        ((JAPANESE, "ISO_IR 192"), KANJI, "ISO_IR 192"),
        (("Wang^XiaoDong=王^小东", "GB18030"), KANJI, "GB18030"),
    ],
)
@pytest.mark.peer("dciodvfy")
@pytest.mark.peer("dsrdump")
def test_words_and_names_keep_their_signs_in_any_character_set(
    case: Made, tmp_path: Path, program: Callable[[str], str], source: tuple[str, Any], release: Release, expected: Any
) -> None:
    held = with_name(case, tmp_path / "held", *source)
    write_released(held, tmp_path / "released", release)
    path = tmp_path / "released" / "sr-pair.dcm"
    ds = dcmread(path)
    assert ds.get("SpecificCharacterSet") == expected
    assert ds.PatientName == source[0]
    assert said(ds)["Reason of the release"] == release.why
    checked = subprocess.run([program("dciodvfy"), str(path)], capture_output=True, text=True, check=False, errors="replace")
    assert not [line for line in checked.stderr.splitlines() if line.startswith("Error")], checked.stderr
    dumped = subprocess.run([program("dsrdump"), "+Pl", str(path)], capture_output=True, check=True)
    encoding = {"ISO_IR 100": "latin-1", "GB18030": "gb18030"}.get(str(expected), "utf-8")
    assert f'"Reason of the release")="{release.why}"' in dumped.stdout.decode(encoding, "replace")
