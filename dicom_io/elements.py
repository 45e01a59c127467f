"""Reading single elements of headers that other makers wrote: text, numbers, dates; what is malformed counts as absent."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from pydicom import Dataset
from pydicom import config as pydicom_config
from pydicom.datadict import tag_for_keyword
from pydicom.errors import BytesLengthException
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence as Items
from pydicom.tag import BaseTag

# Headers from scanners break the rules on lengths and padding every day. Values are judged where they are used, so
# pydicom need not warn about each of them.
pydicom_config.settings.reading_validation_mode = pydicom_config.IGNORE

# What pydicom raises when it converts a malformed value; OSError without a number where items end too early.
MALFORMED = (
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    NotImplementedError,
    EOFError,
    struct.error,
    BytesLengthException,
    RecursionError,
    OSError,
)


def require_content_fault(error: BaseException) -> None:
    """Raises the error again where not the content but the disk is at fault: only the system's own OSError has a number."""
    if isinstance(error, OSError) and error.errno is not None:
        raise error


def value(header: Dataset, keyword: str) -> Any:
    """The element's value, None where it is absent, empty or malformed."""
    found = _found(header, keyword)
    return None if found in ("", None) else found


def _found(header: Dataset, keyword: str) -> Any:
    """As header.get(keyword), None where that is malformed; by tag, since most of what is asked for is absent."""
    tag = _tag(keyword)
    if tag is None or tag not in header.keys():  # noqa: SIM118  the dataset's own test converts the tag first
        return None
    try:
        return header[tag].value
    except MALFORMED:
        return None


@cache
def _tag(keyword: str) -> BaseTag | None:
    """None where no element of the standard bears the keyword."""
    number = tag_for_keyword(keyword)
    return None if number is None else BaseTag(number)


def words(header: Dataset, keyword: str) -> tuple[str, ...]:
    """All values of a text element, stripped; empty ones are left out. A sequence in its place is no text."""
    found = value(header, keyword)
    if isinstance(found, Items):
        return ()
    items = found if isinstance(found, MultiValue | list | tuple) else [found]
    read = (item.decode("latin-1") if isinstance(item, bytes) else str(item) for item in items if item is not None)
    return tuple(text for word in read if (text := word.strip(" \0")))


def text(header: Dataset, keyword: str) -> str:
    """The element as one line of text, "" where it is absent; several values are joined by a backslash, as stored."""
    return _CONTROL.sub(" ", "\\".join(words(header, keyword))).strip()


def numbers(header: Dataset, keyword: str) -> tuple[float, ...]:
    """All values of a numeric element; () where it is absent or any value is no finite number as DICOM writes it."""
    values = [read_number(word) for word in words(header, keyword)]
    found = tuple(value for value in values if value is not None)
    return found if len(found) == len(values) else ()


def read_number(word: str) -> float | None:
    """A finite number as DICOM writes it; Python's own 1_000 or other alphabets' figures are none."""
    found = float(word) if _NUMBER.fullmatch(word.strip()) else float("inf")
    return found if abs(found) < float("inf") else None


def number(header: Dataset, keyword: str) -> float | None:
    """The element's value as a number, None where it has none, or several that differ: nobody knows which is meant."""
    found = set(numbers(header, keyword))
    return found.pop() if len(found) == 1 else None


def items(header: Dataset, keyword: str) -> tuple[Dataset, ...]:
    """The items of a sequence, () where it is absent."""
    found = _found(header, keyword)
    return tuple(item for item in found if isinstance(item, Dataset)) if isinstance(found, Sequence) else ()


def private(header: Dataset, creator: str, tag: tuple[int, int]) -> Any:
    """The value of a private element (group, element offset 00..FF) in the block of its creator; None where it is absent."""
    try:
        return header.private_block(tag[0], creator)[tag[1]].value
    except MALFORMED:
        return None


def codes(header: Dataset, keyword: str) -> tuple[tuple[str, str, str], ...]:
    """(code value, designator, meaning) of each item of a code sequence."""
    return tuple(
        (text(item, "CodeValue"), text(item, "CodingSchemeDesignator"), text(item, "CodeMeaning"))
        for item in items(header, keyword)
    )


_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_DATE = re.compile(r"(\d{4})[.:-]?(\d{2})[.:-]?(\d{2})", re.ASCII)
_TIME = re.compile(r"(\d{2})(?::?(\d{2})(?::?(\d{2})(\.\d+)?)?)?", re.ASCII)
_DATETIME = re.compile(r"(\d{8})(\d{2}(?:\d{2}(?:\d{2}(?:\.\d+)?)?)?)?([+-]\d{4})?")


def read_date(word: str) -> datetime | None:
    """Midnight of a DICOM date (also in the old form with dots)."""
    match = _DATE.fullmatch(word.strip())
    try:
        return datetime(int(match[1]), int(match[2]), int(match[3])) if match else None
    except ValueError:
        return None


def read_time(word: str) -> timedelta | None:
    """Time since midnight of a DICOM time; missing minutes and seconds are 0."""
    match = _TIME.fullmatch(word.strip())
    if match is None:
        return None
    hours, minutes, seconds, fraction = (float(part) if part else 0.0 for part in match.groups())
    if hours > 23 or minutes > 59 or seconds > 60:
        return None
    return timedelta(hours=hours, minutes=minutes, seconds=seconds + fraction)


def _zone(word: str) -> timedelta | None:
    match = re.fullmatch(r"([+-])(\d{2})(\d{2})", word.strip())
    if match is None:
        return None
    offset = timedelta(hours=int(match[2]), minutes=int(match[3]))
    return -offset if match[1] == "-" else offset


def read_datetime(word: str, local_zone: str = "") -> datetime | None:
    """A DICOM date-time as the scanner's local time.

    local_zone: TimezoneOffsetFromUTC of the header. Where both zones are given the time is converted, else the written
    clock time counts as local.
    """
    match = _DATETIME.fullmatch(word.strip(" \0"))
    if match is None or match[2] is None:
        return None
    day, clock = read_date(match[1]), read_time(match[2])
    if day is None or clock is None:
        return None
    zone, local = _zone(match[3] or ""), _zone(local_zone)
    shift = local - zone if zone is not None and local is not None else timedelta(0)
    return day + clock + shift


def moment(header: Dataset, name: str) -> datetime | None:
    """Local date and time of "Series", "Acquisition", "Study", "Content": (name)Date and (name)Time, or (name)DateTime."""
    day, clock = read_date(text(header, f"{name}Date")), read_time(text(header, f"{name}Time"))
    if day is not None and clock is not None:
        return day + clock
    return read_datetime(text(header, f"{name}DateTime"), text(header, "TimezoneOffsetFromUTC"))


def described(header: Dataset, *keywords: str) -> Iterator[tuple[str, str]]:
    """(keyword, text) of those elements that say something."""
    return ((keyword, found) for keyword in keywords if (found := text(header, keyword)))
