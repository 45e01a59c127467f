"""The clinical table's file, CSV or XLSX, as cells with the row and column that a person sees in their own program."""

from __future__ import annotations

import csv
import io
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from xml.etree.ElementTree import ParseError

import openpyxl
from openpyxl.utils.exceptions import InvalidFileException

from analysis.errors import BadSettings

Raw = str | float | date | None
"""A cell as its file holds it: text (of CSV), or the number or date of a spreadsheet; None where it is empty."""

# What openpyxl raises of a damaged file, as found by damaging one in many ways.
DAMAGED = (
    InvalidFileException,
    zipfile.BadZipFile,
    zlib.error,
    ParseError,
    EOFError,
    OSError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    NotImplementedError,
)
MOST_ROWS = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RawRow:
    """One row. number: as the spreadsheet counts, the head is row 1. cells: column name > cell."""

    number: int
    cells: Mapping[str, Raw]


def read_rows(path: Path) -> tuple[tuple[str, ...], tuple[RawRow, ...]]:
    """The column names and all rows that hold anything. Raises BadSettings; OSError where the file cannot be read."""
    table = list(_xlsx(path) if path.suffix.lower() in (".xlsx", ".xlsm") else _csv(path))
    if not table:
        raise BadSettings(f"{path}: the table is empty; the first row is to hold the names of the columns.")
    names = tuple(str(cell).strip().lstrip("\ufeff") if cell is not None else "" for cell in table[0][1])
    while names and not names[-1]:
        names = names[:-1]
    doubled = [name for name, count in Counter(names).items() if name and count > 1]
    if doubled:
        raise BadSettings(f"{path}, row 1: column {doubled[0]!r} is there twice; keep one.")
    rows = tuple(
        RawRow(number=n, cells=_named(path, n, names, cells)) for n, cells in table[1:] if any(c is not None for c in cells)
    )
    if len(rows) > MOST_ROWS:
        raise BadSettings(f"{path}: {len(rows)} rows; a cohort of more than {MOST_ROWS} is not read.")
    return names, rows


def as_text(cell: Raw) -> str:
    """A cell as text: a spreadsheet keeps an identifier of digits as a number, which is written without its .0 here."""
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() else str(cell)
    return "" if cell is None else cell.isoformat() if isinstance(cell, date) else str(cell)


def _named(path: Path, number: int, names: Sequence[str], cells: Sequence[Raw]) -> dict[str, Raw]:
    beyond = [cell for cell in cells[len(names) :] if cell is not None]
    if beyond:
        raise BadSettings(f"{path}, row {number}: {beyond[0]!r} stands in a column without a name; a comma too many?")
    return {name: cell for name, cell in zip(names, cells, strict=False) if name}


def _csv(path: Path) -> Iterator[tuple[int, list[Raw]]]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadSettings(f"{path}: byte {error.start} is not UTF-8; save the table as CSV UTF-8.") from None
    head = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            yield reader.line_num, [cell.strip() or None for cell in cells]
    except csv.Error as error:
        raise BadSettings(f"{path}, line {reader.line_num}: {error}; the table is to be CSV.") from None


def _xlsx(path: Path) -> Iterator[tuple[int, list[Raw]]]:
    content = path.read_bytes()  # where the file cannot be read at all, that is the disk's error and not the table's
    try:
        rows = _sheet(path, content)
    except DAMAGED as error:
        what = f"{type(error).__name__}: {error}".rstrip(": ")
        raise BadSettings(f"{path} is no readable XLSX file ({what}); save it anew, or as CSV UTF-8.") from None
    for number, cells in enumerate(rows, start=1):
        yield number, [_cell(path, number, cell) for cell in cells]


def _sheet(path: Path, content: bytes) -> list[tuple[object, ...]]:
    """All rows of the one sheet, or of the one named "clinical". Raises BadSettings, and what DAMAGED names."""
    book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True)
    try:
        sheets = book.worksheets
        if len(sheets) > 1:
            sheets = [sheet for sheet in sheets if sheet.title.lower() == "clinical"]
        if len(sheets) != 1:
            raise BadSettings(f"{path} holds {len(book.worksheets)} sheets; name the one to be read 'clinical'.")
        return list(sheets[0].iter_rows(values_only=True))
    finally:
        book.close()


def _cell(path: Path, number: int, cell: object) -> Raw:
    if isinstance(cell, datetime):
        return cell.date()
    if isinstance(cell, date):
        return cell
    if isinstance(cell, bool):
        return float(cell)
    if isinstance(cell, int | float):
        return float(cell)
    if cell is None or not str(cell).strip():
        return None
    text = str(cell).strip()
    if text.startswith("#") and text.rstrip("!?").isupper():
        raise BadSettings(f"{path}, row {number}: {text} is a spreadsheet's error; correct the formula.")
    return text
