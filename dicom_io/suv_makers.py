"""What makers write of SUV in private elements: reference times, scale factors, GE's own record of the dose."""

from __future__ import annotations

import math
import re
from datetime import datetime
from typing import Any

from pydicom import Dataset

from analysis.errors import NotQuantifiable
from dicom_io.correction import GE_CREATOR
from dicom_io.elements import private, read_datetime, text
from dicom_io.studies import Series

SIEMENS_CREATOR = "SIEMENS MED PT"
PHILIPS_CREATOR = "Philips PET Private Group"
SCAN_DATETIME = (0x0009, 0x0D)
DECAY_CORRECTION_DATETIME = (0x0071, 0x22)
TRACER_ACTIVITY, MEASURED, ADMINISTERED = (0x0009, 0x38), (0x0009, 0x39), (0x0009, 0x3B)
LEFT_OVER, LEFT_OVER_MEASURED = (0x0009, 0x3C), (0x0009, 0x3D)
SUV_SCALE, ACTIVITY_SCALE = (0x7053, 0x00), (0x7053, 0x09)

_MAKERS = {
    GE_CREATOR: re.compile(r"\bge\b|gems|general electric", re.IGNORECASE),
    SIEMENS_CREATOR: re.compile(r"siemens|\bcps\b|\bcti\b", re.IGNORECASE),
    PHILIPS_CREATOR: re.compile(r"philips|adac|marconi", re.IGNORECASE),
    "": re.compile(r"toshiba|canon|united imaging|uih|mediso|neusoft|hitachi", re.IGNORECASE),
}


def is_ge(header: Dataset) -> bool:
    """Whether a GE scanner wrote the header: by its name, or by a private block of its PET."""
    return _maker(header) == GE_CREATOR or private(header, GE_CREATOR, SCAN_DATETIME) is not None


def _maker(header: Dataset) -> str | None:
    """The private creator of the maker's PET, "" for a maker without one, None for a maker that is not named or not known."""
    name = text(header, "Manufacturer")
    return next((creator for creator, pattern in _MAKERS.items() if pattern.search(name)), None)


def _private(header: Dataset, creator: str, tag: tuple[int, int]) -> Any:
    """A private value by its creator. Where de-identification took the creator away: at its usual place, unless the header
    names another maker."""
    found = private(header, creator, tag)
    if found is not None or (tag[0], 0x0010) in header or _maker(header) not in {creator, None}:
        return found
    orphan = (tag[0], 0x1000 + tag[1])
    return header[orphan].value if orphan in header else None


def _word(header: Dataset, creator: str, tag: tuple[int, int]) -> str:
    found = _private(header, creator, tag)
    word = found.decode("ascii", "replace") if isinstance(found, bytes) else str("" if found is None else found)
    return word.strip(" \0")


def _number(header: Dataset, creator: str, tag: tuple[int, int]) -> float | None:
    """A finite number above 0, else None."""
    try:
        found = float(_word(header, creator, tag))
    except ValueError:
        return None
    return found if math.isfinite(found) and found > 0 else None


def _time(header: Dataset, creator: str, tag: tuple[int, int]) -> datetime | None:
    return read_datetime(_word(header, creator, tag), text(header, "TimezoneOffsetFromUTC"))


def ge_scan_time(header: Dataset) -> datetime | None:
    """When GE's scan began (PET scan_datetime), local time."""
    return _time(header, GE_CREATOR, SCAN_DATETIME)


def siemens_decay_time(header: Dataset) -> datetime | None:
    """What Siemens says that the image is decay corrected to (Decay Correction DateTime), local time."""
    return _time(header, SIEMENS_CREATOR, DECAY_CORRECTION_DATETIME)


def ge_net_dose_bq(header: Dataset, decay_constant: float) -> float | None:
    """GE's measured activity less what stayed in the syringe, in Bq at the administration; None where it is not recorded.

    Activities are in MBq at a date-time of their own; decay_constant in 1/s.
    """
    drawn, measured = _number(header, GE_CREATOR, TRACER_ACTIVITY), _time(header, GE_CREATOR, MEASURED)
    given = _time(header, GE_CREATOR, ADMINISTERED)
    if drawn is None or measured is None or given is None:
        return None
    rest, rest_measured = _number(header, GE_CREATOR, LEFT_OVER), _time(header, GE_CREATOR, LEFT_OVER_MEASURED)
    left = 0.0 if rest is None or rest_measured is None else rest * _decayed(decay_constant, rest_measured, given)
    return (drawn * _decayed(decay_constant, measured, given) - left) * 1e6


def _decayed(decay_constant: float, since: datetime, until: datetime) -> float:
    """What is left of 1; more than 1 where `until` comes before `since`. Nothing sensible beyond a day: 0."""
    seconds = (until - since).total_seconds()
    return math.exp(-decay_constant * seconds) if abs(seconds) <= 86_400 else 0.0


def philips_scale(series: Series, tag: tuple[int, int]) -> float | None:
    """Philips' factor from counts to SUV or to Bq/ml, None where it is absent or zero.

    Raises NotQuantifiable where the slices disagree.
    """
    found = {_number(instance.header, PHILIPS_CREATOR, tag) for instance in series.instances}
    if len(found) > 1:
        raise NotQuantifiable(
            f"The slices disagree in Philips' scale factor ({tag[0]:04X},10{tag[1]:02X}); send the series again."
        )
    return found.pop()
