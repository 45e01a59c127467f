"""The list of what is to be retrieved: a CSV or XLSX table, checked row by row."""

from __future__ import annotations

import difflib
from datetime import date
from pathlib import Path

from analysis.cohort.clinical_file import RawRow, as_text, read_rows
from analysis.errors import BadSettings
from service.retrieval import Wanted, dicom_date

IDENTIFIERS = ("patient_id", "accession", "study_uid")
COLUMNS = (*IDENTIFIERS, "date_from", "date_to")


def read_list(path: Path, first: date | None = None, last: date | None = None) -> tuple[Wanted, ...]:
    """What is wanted, each thing once, in the table's order. first, last: where a row has no dates of its own.

    Raises BadSettings with row and column; OSError where the file cannot be read.
    """
    names, rows = read_rows(path)
    for name in names:
        if name not in COLUMNS:
            close = difflib.get_close_matches(name, COLUMNS, n=1)
            meant = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(COLUMNS)}."
            raise BadSettings(f"{path}, row 1: column {name!r} is not known; {meant}")
    if not set(names) & set(IDENTIFIERS):
        raise BadSettings(f"{path}, row 1: there is to be a column patient_id, accession or study_uid.")
    if not rows:
        raise BadSettings(f"{path}: the list is empty; each row below the head names a patient or a study.")
    return tuple(dict.fromkeys(_wanted(path, row, first, last) for row in rows))


def _wanted(path: Path, row: RawRow, first: date | None, last: date | None) -> Wanted:
    words = {name: as_text(row.cells.get(name)).strip() for name in IDENTIFIERS}
    begin, end = (_day(path, row, name) for name in ("date_from", "date_to"))
    try:
        return Wanted(**words, first=begin or first, last=end or last)
    except ValueError as error:
        raise BadSettings(f"{path}, row {row.number}: {error}.") from None


def _day(path: Path, row: RawRow, column: str) -> date | None:
    cell = row.cells.get(column)
    if cell is None:
        return None
    if isinstance(cell, date):
        return cell
    day = day_of(as_text(cell).strip())
    if day is None:
        raise BadSettings(f"{path}, row {row.number}, column {column}: {cell!r} is no date; write it as 2026-03-31.")
    return day


def day_of(word: str) -> date | None:
    """2026-03-31 or 20260331 as a date; None where it is none."""
    return dicom_date(word.replace("-", "") if word.count("-") == 2 else word)
