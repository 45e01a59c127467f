"""The list of what is to be retrieved: read as it stands, and each mistake told with row and column."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import openpyxl
import pytest

from analysis.errors import BadSettings
from service.retrieval import Wanted
from service.retrieval_list import read_list


def saved(folder: Path, text: str) -> Path:
    path = folder / "patients.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_rows_are_read_once_each_with_their_dates(tmp_path: Path) -> None:
    text = "patient_id,accession,study_uid,date_from,date_to\nP1,,,2026-01-01,20260331\n,A7,,,\n,,1.2.3,,\n,A7,,,\n"
    read = read_list(saved(tmp_path, text), first=date(2020, 5, 1))
    assert read == (
        Wanted(patient_id="P1", first=date(2026, 1, 1), last=date(2026, 3, 31)),
        Wanted(accession="A7", first=date(2020, 5, 1)),
        Wanted(study_uid="1.2.3", first=date(2020, 5, 1)),
    )


def test_a_spreadsheet_is_read_too(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.append(["patient_id", "date_from"])
    book.active.append([4711, date(2026, 3, 1)])
    book.save(tmp_path / "patients.xlsx")
    assert read_list(tmp_path / "patients.xlsx") == (Wanted(patient_id="4711", first=date(2026, 3, 1)),)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("patient\nP1\n", "row 1: column 'patient' is not known; did you mean 'patient_id'?"),
        ("date_from\n2026-01-01\n", "row 1: there is to be a column patient_id, accession or study_uid."),
        ("patient_id\n", "the list is empty"),
        ("patient_id,accession\nP1,\n,\n", ""),
        ("patient_id,date_from\n,2026-01-01\n", "row 2: one of patient_id, accession and study_uid is to be given."),
        ("patient_id\nP1\nP*\n", "row 3: patient_id or accession with *, ? or a backslash is a pattern"),
        ("study_uid\n1.2.x\n", "row 2: study_uid has digits and dots, at most 64, not '1.2.x'."),
        ("patient_id,date_from\nP1,1.3.2026\n", "row 2, column date_from: '1.3.2026' is no date; write it as 2026-03-31."),
        ("patient_id,date_to\nP1,20260230\n", "row 2, column date_to: '20260230' is no date"),
        ("patient_id,date_from,date_to\nP1,20260301,20260201\n", "row 2: the window ends on 2026-02-01, before it begins"),
    ],
)
def test_a_mistake_is_told_with_its_place(tmp_path: Path, text: str, words: str) -> None:
    path = saved(tmp_path, text)
    if not words:  # an empty row is none
        assert read_list(path) == (Wanted(patient_id="P1"),)
        return
    with pytest.raises(BadSettings) as told:
        read_list(path)
    assert words in str(told.value)
    assert str(path) in str(told.value)
