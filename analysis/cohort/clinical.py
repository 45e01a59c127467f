"""The clinical table as checked rows, one a treatment cycle. Every mistake is told with its row and column, all in one go."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from analysis.cohort.clinical_cells import UnclearError, Value, parse
from analysis.cohort.clinical_columns import BY_NAME, COLUMNS, Cell, ClinicalColumn
from analysis.cohort.clinical_file import Raw, RawRow, read_rows
from analysis.errors import BadSettings

MOST_TOLD = 25  # mistakes in one message


@dataclass(frozen=True, slots=True, kw_only=True)
class ClinicalRow:
    """One treatment cycle. number: its row in the file, the head is row 1. values: column > checked value, None where empty."""

    number: int
    values: Mapping[str, Value]

    @property
    def patient_id(self) -> str:
        return str(self.values["patient_id"])

    @property
    def therapy(self) -> date:
        found = self.values["therapy_date"]
        assert isinstance(found, date)  # noqa: S101  checked when the row was read
        return found

    def number_of(self, name: str) -> float | None:
        """A number of this row, in the column's unit; yes and no are 1 and 0."""
        found = self.values.get(name)
        return float(found) if isinstance(found, float | bool) else None

    def date_of(self, name: str) -> date | None:
        found = self.values.get(name)
        return found if isinstance(found, date) else None

    def text_of(self, name: str) -> str | None:
        found = self.values.get(name)
        return found if isinstance(found, str) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Clinical:
    """The whole table. columns: those that it has, of the known ones; notes: what was not used, and how words were read."""

    source: str
    columns: tuple[str, ...]
    rows: tuple[ClinicalRow, ...]
    notes: tuple[str, ...] = ()


def read_clinical(path: Path, today: date) -> Clinical:
    """The clinical table in a CSV or XLSX file; see the data dictionary, docs/CLINICAL.md.

    Raises BadSettings with every mistake, a line each: row, column, what is wrong and what to write. OSError.
    """
    names, raw = read_rows(path)
    notes = _check_head(path, names)
    mistakes: list[str] = []
    rows = [ClinicalRow(number=row.number, values=_values(row, today, mistakes)) for row in raw]
    for row in rows:
        mistakes += [f"row {row.number}, column {column}: {why}" for column, why in _contradictions(row)]
    mistakes += _doubled(rows)
    if mistakes:
        raise BadSettings(_told(path, mistakes))
    if not rows:
        raise BadSettings(f"{path}: the table has a head and no row; write one row for each treatment cycle.")
    return Clinical(
        source=str(path),
        columns=tuple(c.name for c in COLUMNS if c.name in names),
        rows=tuple(rows),
        notes=(*notes, *_words_read(raw, rows)),
    )


def _told(path: Path, mistakes: Sequence[str]) -> str:
    more = [f"and {len(mistakes) - MOST_TOLD} more"] if len(mistakes) > MOST_TOLD else []
    lines = [*mistakes[:MOST_TOLD], *more]
    if len(lines) == 1:
        return f"{path}, {lines[0]}."
    return "\n  ".join([f"{path}: {len(mistakes)} mistakes, nothing was computed:", *lines])


def _check_head(path: Path, names: Sequence[str]) -> list[str]:
    """Notes on columns that are not used. Raises BadSettings where one is missing, or looks like a known one in other words."""
    missing = [column.name for column in COLUMNS if column.required and column.name not in names]
    if missing:
        raise BadSettings(
            f"{path}, row 1: column {missing[0]!r} is missing; it is required (docs/CLINICAL.md has all columns)."
        )
    notes = []
    for name in names:
        if not name or name in BY_NAME:
            continue
        like = _like(name)
        if like is not None:
            raise BadSettings(
                f"{path}, row 1: column {name!r} is not known; is it {_as_told(like)}? Rename it, or take it out."
            )
        notes.append(f"Column {name!r} of the clinical table is not used.")
    return notes


def _like(name: str) -> ClinicalColumn | None:
    """The known column that this name may mean: the same in another unit, or a slip of the pen."""
    word = name.lower().replace(" ", "_").replace("-", "_")
    for column in COLUMNS:
        stem = column.name
        for ending in ("_g_l", "_mg_l", "_gbq", "_kg", "_cm", "_months", "_days", "_date"):
            stem = stem.removesuffix(ending)
        if word != "patient" and (word == stem or word.startswith(f"{stem}_") or word == column.name):
            return column
    close = difflib.get_close_matches(word, list(BY_NAME), n=1, cutoff=0.85)
    return BY_NAME[close[0]] if close else None


def _as_told(column: ClinicalColumn) -> str:
    return f"{column.name!r} (in {column.unit})" if column.unit else repr(column.name)


def _values(row: RawRow, today: date, mistakes: list[str]) -> dict[str, Value]:
    """The row's checked values; what is wrong with it is added to `mistakes`."""
    values: dict[str, Value] = {}
    for column in COLUMNS:
        if column.name not in row.cells:
            continue
        try:
            values[column.name] = parse(column, row.cells[column.name], today)
        except UnclearError as error:
            mistakes.append(f"row {row.number}, column {column.name}: {error}")
            values[column.name] = None
            continue
        if column.required and values[column.name] is None:
            mistakes.append(f"row {row.number}, column {column.name}: it is empty, and required")
    return values


def _contradictions(row: ClinicalRow) -> Iterator[tuple[str, str]]:
    """Dates and durations of one row that cannot all be true, as (column, sentence)."""
    therapy = row.date_of("therapy_date")
    if therapy is None or row.values.get("patient_id") is None:
        return
    for name, what in (("death_date", "death"), ("progression_date", "progression"), ("last_contact_date", "last contact")):
        found = row.date_of(name)
        if found is not None and found < therapy:
            yield name, f"{what} on {found} is before therapy on {therapy}"
    death = row.date_of("death_date")
    for name, what in (("progression_date", "progression"), ("last_contact_date", "last contact")):
        found = row.date_of(name)
        if death is not None and found is not None and found > death:
            yield name, f"{what} on {found} is after death on {death}"
    last, progression = row.date_of("last_contact_date"), row.date_of("progression_date")
    if death is None and last is not None and progression is not None and progression > last:
        yield "last_contact_date", f"last contact on {last} is before progression on {progression}"
    yield from _durations(row, therapy)


def _durations(row: ClinicalRow, therapy: date) -> Iterator[tuple[str, str]]:
    """os_days and pfs_days against their events, each other and the dates."""
    for name in ("os", "pfs"):
        days, event = row.number_of(f"{name}_days"), row.number_of(f"{name}_event")
        if (days is None) != (event is None):
            yield (
                f"{name}_{'event' if event is None else 'days'}",
                f"it is empty, while {name}_{'days' if event is None else 'event'} is not",
            )
    os_days, os_event = row.number_of("os_days"), row.number_of("os_event")
    pfs_days, pfs_event = row.number_of("pfs_days"), row.number_of("pfs_event")
    if os_days is not None and pfs_days is not None and pfs_days > os_days:
        yield "pfs_days", f"{pfs_days:g} d is longer than os_days, {os_days:g} d"
    if pfs_event == 0 and os_event == 1 and os_days is not None and pfs_days == os_days:
        yield "pfs_event", f"censored on the day of death, {os_days:g} d; death is an event of progression-free survival"
    if os_days is not None and os_event is not None:
        yield from _against_dates(row, therapy, os_days, died=os_event == 1)


def _against_dates(row: ClinicalRow, therapy: date, os_days: float, *, died: bool) -> Iterator[tuple[str, str]]:
    """os_days and os_event against the dates of death and last contact, a day either way."""
    death, last = row.date_of("death_date"), row.date_of("last_contact_date")
    if death is not None and (not died or abs((death - therapy).days - os_days) > 1):
        yield "os_days", f"{os_days:g} d {'to death' if died else 'censored'} contradict death_date {death}"
    if death is None and died and last is not None and last > therapy + timedelta(days=os_days + 1):
        yield "last_contact_date", f"last contact on {last} is after death {os_days:g} d after therapy"


def _doubled(rows: Sequence[ClinicalRow]) -> list[str]:
    """Two rows of one patient and day of therapy; deaths of one patient that contradict each other."""
    told, cycles = [], dict[tuple[str, date], int]()
    dead = {row.patient_id: (row.number, death) for row in reversed(rows) if (death := row.date_of("death_date")) is not None}
    for row in rows:
        therapy = row.date_of("therapy_date")
        if therapy is None or row.values.get("patient_id") is None:
            continue
        first = cycles.setdefault((row.patient_id, therapy), row.number)
        if first != row.number:
            told.append(f"row {row.number}, column therapy_date: the same patient and day as in row {first}")
        where, death = row.number, row.date_of("death_date")
        other, known = dead.get(row.patient_id, (where, death))
        if known != death and (death is not None or row.number_of("os_event") != 1):
            told.append(f"row {where}, column death_date: {death or 'empty'}, but {known} in row {other} of the same patient")
    return told


def _words_read(raw: Sequence[RawRow], rows: Sequence[ClinicalRow]) -> list[str]:
    """How words of response were understood that are not the abbreviations themselves, with their rows."""
    read: dict[tuple[str, str], list[int]] = {}
    for cells, row in zip(raw, rows, strict=True):
        meant = row.text_of("response")
        written: Raw = cells.cells.get("response")
        if meant is not None and isinstance(written, str) and written != meant:
            read.setdefault((written, meant), []).append(row.number)
    return [
        f"Column response: {written!r} is read as {meant} in row {', '.join(map(str, numbers))}."
        for (written, meant), numbers in read.items()
    ]


def data_dictionary() -> tuple[tuple[str, str, str, str], ...]:
    """Every column as (name, what it holds, range and unit, meaning)."""
    return tuple((c.name, f"{c.cell}{', required' if c.required else ''}", _range(c), c.meaning) for c in COLUMNS)


def _range(column: ClinicalColumn) -> str:
    if column.cell not in (Cell.NUMBER, Cell.WHOLE):
        return ""
    return f"{column.low:g} to {column.high:,.6g} {column.unit}".rstrip()
