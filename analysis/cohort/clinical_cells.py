"""One cell of the clinical table as a value. What is not plainly right is refused in a sentence; nothing is guessed."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import TypeVar

from analysis.cohort.clinical_columns import (
    NON_RESPONDERS,
    RESPONDERS,
    RESPONSE_WORDS,
    SEX_WORDS,
    SOURCE_WORDS,
    UNKNOWN_WORDS,
    YES_WORDS,
    Cell,
    ClinicalColumn,
)
from analysis.cohort.clinical_file import Raw, as_text

T = TypeVar("T")
Value = str | float | date | bool | None
_RESPONSES = ", ".join((*RESPONDERS, *NON_RESPONDERS))
_WORDS: Mapping[Cell, tuple[Mapping[str, Value], str]] = {
    Cell.YES_NO: (YES_WORDS, "1 or 0, yes or no"),
    Cell.SEX: (SEX_WORDS, "M, F or O"),
    Cell.SOURCE: (SOURCE_WORDS, "serology, IMPeTUs or MY-RADS"),
    Cell.RESPONSE: (RESPONSE_WORDS, f"one of {_RESPONSES}, or leave it empty where unknown"),
}
EARLIEST = date(1990, 1, 1)
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_ISO, _GERMAN = re.compile(r"\d{4}-\d{2}-\d{2}"), re.compile(r"\d{1,2}\.\d{1,2}\.\d{4}")


class UnclearError(ValueError):
    """A cell that cannot be taken as it is; the message says why, and what to write."""


def parse(column: ClinicalColumn, raw: Raw, today: date) -> Value:
    """The cell's value, None where it is empty or says that it is unknown. Raises UnclearError."""
    if raw is None or (isinstance(raw, str) and raw.lower() in UNKNOWN_WORDS):
        return None
    if column.cell in _WORDS:
        words, wanted = _WORDS[column.cell]
        return _word(raw, words, wanted)
    if column.cell is Cell.DATE:
        return _date(raw, today)
    return as_text(raw) if column.cell is Cell.TEXT else _number(column, raw)


def _date(raw: Raw, today: date) -> date:
    found = raw if isinstance(raw, date) else _date_of(as_text(raw))
    if found > today:
        raise UnclearError(f"{found.isoformat()} lies in the future")
    if found < EARLIEST:
        raise UnclearError(f"{found.isoformat()} is before {EARLIEST.year}")
    return found


def _date_of(text: str) -> date:
    shape = "%Y-%m-%d" if _ISO.fullmatch(text) else "%d.%m.%Y" if _GERMAN.fullmatch(text) else ""
    if not shape:
        raise UnclearError(f"{text!r} is no date; write 2024-03-31 (or 31.03.2024)")
    try:
        return datetime.strptime(text, shape).date()
    except ValueError:
        raise UnclearError(f"{text!r} is no day of the calendar") from None


def _number(column: ClinicalColumn, raw: Raw) -> float:
    unit = f" {column.unit}" if column.unit else ""
    if isinstance(raw, date):
        raise UnclearError(f"{raw.isoformat()} is a date; a number{' in' + unit if unit else ''} is expected")
    if isinstance(raw, str):
        if re.fullmatch(r"[+-]?\d+,\d+", raw):
            raise UnclearError(f"{raw!r} has a comma; write a decimal point")
        if not _NUMBER.fullmatch(raw):
            raise UnclearError(f"{raw!r} is no number; write it in{unit or ' figures'}, without the unit")
    value = float(raw or 0)
    if not math.isfinite(value):
        raise UnclearError(f"{raw!r} is no finite number")
    if not column.low <= value <= column.high:
        advice = f" (another unit? {column.elsewhere})" if column.elsewhere else ""
        raise UnclearError(f"{value:g} is outside {column.low:g} to {column.high:g}{unit}{advice}")
    if column.cell is Cell.WHOLE and not value.is_integer():
        raise UnclearError(f"{value:g} is no whole number")
    return value


def _word(raw: Raw, words: Mapping[str, T], wanted: str) -> T:
    text = " ".join(as_text(raw).lower().split())
    if text not in words:
        raise UnclearError(f"{as_text(raw)!r} is not known here; write {wanted}")
    return words[text]
