"""What the headers of a PET series allow SUV to be, by straight formulas and strict reading: the judge of the fuzz.

It does not choose among rules as dicom_io.suv does. It lists every factor that the elements as they stand could mean, and
says where none may be given at all: an element that SUV rests on is there and unreadable, missing, doubled or impossible.
Formulas: DICOM PS3.3 C.8.9, QIBA's vendor-neutral SUV, and docs/METHOD.md 1.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydicom import Dataset
from pydicom.errors import BytesLengthException
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence as Items

UNREADABLE = (
    ValueError,
    TypeError,
    AttributeError,
    NotImplementedError,
    EOFError,
    OSError,
    ArithmeticError,
    LookupError,
    RecursionError,
    BytesLengthException,
)
_PADDING = " " + "".join(map(chr, range(32)))
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_DATE = re.compile(r"([0-9]{4})[.:-]?([0-9]{2})[.:-]?([0-9]{2})", re.ASCII)
_TIME = re.compile(r"([0-9]{2})(?::?([0-9]{2})(?::?([0-9]{2}(?:\.[0-9]+)?))?)?", re.ASCII)
_ZONE = re.compile(r"([+-])([0-9]{2})([0-9]{2})", re.ASCII)
# Half-lives in s of the nuclides that PET is made with (ICRP Publication 107); scanners' tables differ by up to 3 %.
# fmt: off
NUCLIDES = {
    "C-11": 1221.8, "N-13": 597.9, "O-14": 70.6, "O-15": 122.2, "F-18": 6586.2, "Na-22": 82130000.0, "K-38": 458.2,
    "Sc-43": 14007.6, "Sc-44": 14292.0, "Ti-45": 11088.0, "Mn-51": 2772.0, "Mn-52": 483062.4, "Mn-52m": 1266.0,
    "Fe-52": 29790.0, "Cu-60": 1422.0, "Cu-61": 12013.2, "Cu-62": 580.4, "Zn-62": 33067.0, "Cu-64": 45720.0,
    "Ga-66": 34164.0, "Ga-68": 4062.6, "Ge-68": 23414000.0, "As-70": 3156.0, "As-72": 93600.0, "Se-73": 25740.0,
    "Br-75": 5802.0, "Br-76": 58320.0, "Br-77": 205329.6, "Rb-82": 76.4, "Y-86": 53064.0, "Zr-89": 282276.0,
    "Nb-90": 52560.0, "Y-90": 230760.0, "Tc-94m": 3120.0, "I-124": 360806.4, "Tb-152": 63000.0,
}
# fmt: on


# A scan that was switched on so long before the injection is decay corrected to a time before it (docs/METHOD.md 1).
EARLY_S = 300


class RefusalError(Exception):
    """No SUV may be given; the message says why."""


@dataclass(frozen=True)
class Broken:
    """An element that is there and cannot be read."""

    words: str


def parts(ds: Dataset, keyword: str) -> list[str] | Broken:
    """The element's values as written, without padding; [] where it is absent or empty."""
    if keyword not in ds:
        return []
    try:
        found = ds[keyword].value
    except UNREADABLE as error:
        return Broken(type(error).__name__)
    if found is None or isinstance(found, Items):
        return [] if not found else Broken("a sequence")
    if isinstance(found, bytes):
        found = found.decode("latin-1")
    items = list(found) if isinstance(found, MultiValue | list | tuple) else str(found).split("\\")
    return [word for item in items if (word := str(item).strip(_PADDING))]


def number(ds: Dataset, keyword: str) -> float | None:
    """One finite number as DICOM writes it, None where there is none. Raises RefusalError: something else stands there."""
    found = parts(ds, keyword)
    if isinstance(found, Broken):
        raise RefusalError(f"{keyword} cannot be read ({found.words})")
    if not found:
        return None
    values = {float(word) if _NUMBER.fullmatch(word) else math.nan for word in found}
    if len(values) > 1 or not all(math.isfinite(value) for value in values):
        raise RefusalError(f"{keyword} is no number: {found[:3]!r}")
    return values.pop()


def word(ds: Dataset, keyword: str) -> str:
    found = parts(ds, keyword)
    return "" if isinstance(found, Broken) else "\\".join(found)


def day(text: str) -> datetime | None:
    match = _DATE.fullmatch(text)
    try:
        return datetime(*(int(part) for part in match.groups())) if match else None
    except ValueError:
        return None


def clock(text: str) -> timedelta | None:
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    hours, minutes, seconds = (float(part or 0) for part in match.groups())
    possible = hours <= 23 and minutes <= 59 and seconds < 61
    return timedelta(hours=hours, minutes=minutes, seconds=seconds) if possible else None


def stamp(text: str, local: str) -> datetime | None:
    """A date-time in the scanner's zone, where both zones are told."""
    body, zone = (text[:-5], text[-5:]) if _ZONE.fullmatch(text[-5:]) else (text, "")
    on, at = day(body[:8]) if len(body) >= 10 else None, clock(body[8:])
    if on is None or at is None:
        return None
    given, wanted = _offset(zone), _offset(local)
    try:
        return on + at + (wanted - given if given is not None and wanted is not None else timedelta(0))
    except OverflowError:
        return None


def _offset(text: str) -> timedelta | None:
    match = _ZONE.fullmatch(text)
    if match is None:
        return None
    size = timedelta(hours=int(match[2]), minutes=int(match[3]))
    return -size if match[1] == "-" else size


def permitted(headers: Sequence[Dataset]) -> list[list[float]]:
    """For each slice every factor that its elements could mean. Raises RefusalError: there must be none."""
    weight = _one(headers, "PatientWeight")
    weight = weight / 1000 if weight and weight > 1000 else weight
    if weight is None or not 1 <= weight <= 500:
        raise RefusalError("no weight of a person")
    for header in headers:
        if number(header, "RescaleIntercept"):
            raise RefusalError("an intercept")
        slope = number(header, "RescaleSlope")
        if slope is not None and slope <= 0:
            raise RefusalError("a slope that is not above 0")
    units = {word(h, "Units").upper() for h in headers}
    if len(units) > 1:
        raise RefusalError("several units")
    kind = units.pop()
    if kind == "BQML":
        return _activity(headers, weight)
    if kind in {"GML", "CM2ML"}:
        return [_stored(headers, kind, weight)] * len(headers)
    if kind == "CNTS":
        return _counts(headers, weight)
    raise RefusalError(f"units {kind}")


def _one(headers: Sequence[Dataset], keyword: str) -> float | None:
    values = {number(header, keyword) for header in headers}
    if len(values) > 1:
        raise RefusalError(f"several {keyword}")
    return values.pop()


def _tracer_item(header: Dataset) -> Dataset:
    found: list[Any] = []
    for _ in range(2):  # pydicom may stumble over a malformed PixelRepresentation the first time it opens a sequence
        with contextlib.suppress(*UNREADABLE):
            found = list(header.RadiopharmaceuticalInformationSequence)
    if len(found) != 1 or not isinstance(found[0], Dataset):
        raise RefusalError(f"{len(found)} radiopharmaceuticals")
    return found[0]


def _activity(headers: Sequence[Dataset], weight: float, scale: float = 1.0) -> list[list[float]]:
    tracers = [_tracer_item(header) for header in headers]
    dose, half_life = _one(tracers, "RadionuclideTotalDose"), _one(tracers, "RadionuclideHalfLife")
    if not half_life or not any(abs(half_life / known - 1) <= 0.03 for known in NUCLIDES.values()):
        raise RefusalError(f"half-life {half_life} of no nuclide")
    dose = dose * 1e6 if dose and dose < 1e5 else dose
    if not dose or not 0.02 <= dose / 1e6 / weight <= 200:
        raise RefusalError(f"dose {dose} of no patient")
    correction = {word(header, "DecayCorrection").upper() for header in headers}
    plain = scale * weight * 1000 / dose
    constant = math.log(2) / half_life
    if correction == {"ADMIN"}:
        return [[plain]] * len(headers)
    if correction not in ({"START"}, {"NONE"}):
        raise RefusalError(f"decay correction {correction}")
    for header in headers:
        for keyword in ("FrameReferenceTime", "ActualFrameDuration"):
            number(header, keyword)
    if correction == {"START"}:
        times = [sorted(set(_references(headers, header, constant))) for header in headers]
    else:
        times = [sorted(set(_moments(header, "Acquisition"))) for header in headers]
    bases = [[(at, 1.0) for at in here] for here in times]
    if correction == {"NONE"}:
        bases = [_uncorrected(header, here, constant) for header, here in zip(headers, times, strict=True)]
    given = sorted({at for header, item in zip(headers, tracers, strict=True) for at in _given(header, item, times)})
    longest = 12 * 3600 if 6500 <= half_life <= 6700 else 4 * 3600 if 4000 <= half_life <= 4120 else 6 * half_life
    return [
        [
            plain * within * math.exp(constant * (at - then).total_seconds())
            for (at, within), then in itertools.product(here, given)
            if -EARLY_S <= (at - then).total_seconds() <= longest + 12 * 3600
        ]
        for here in bases
    ]


def _uncorrected(header: Dataset, times: Sequence[datetime], constant: float) -> list[tuple[datetime, float]]:
    """(moment, factor within the frame): the frame's start, or the moment at which its average rate was."""
    zone, said = word(header, "TimezoneOffsetFromUTC"), word(header, "FrameReferenceDateTime")
    stated = stamp(said, zone)
    found = [] if stated is None else [(stated, 1.0)]
    try:
        within = _within(header, constant)
    except RefusalError:
        if not found:
            raise
        return found
    return found + [(at, within) for at in times]


def _within(header: Dataset, constant: float) -> float:
    x = constant * _duration(header)
    if x <= 0:
        raise RefusalError("no frame duration")
    return x / (-math.expm1(-x))


def _duration(header: Dataset) -> float:
    return (number(header, "ActualFrameDuration") or 0.0) / 1000


def _references(headers: Iterable[Dataset], header: Dataset, constant: float) -> Iterator[datetime]:
    """Every time that the slice could be decay corrected to."""
    zone = word(header, "TimezoneOffsetFromUTC")
    for other in headers:
        yield from _moments(other, "Series")
        yield from _moments(other, "Acquisition")
    stated = [word(header, "DecayCorrectionDateTime")]
    stated += [str(element) for element in _privates(header, (0x0009, 0x0D), (0x0071, 0x22))]
    yield from (at for text in stated if (at := stamp(text.strip(" \0"), zone)) is not None)
    for other in headers:  # what is there and cannot be read: nothing may be said
        _require_readable(other, ("Series", "Acquisition"), ("AcquisitionDateTime", "DecayCorrectionDateTime"))
        number(other, "FrameReferenceTime")
        number(other, "ActualFrameDuration")
    offset = number(header, "FrameReferenceTime") or 0.0
    x = constant * _duration(header)
    average = math.log(x / (-math.expm1(-x))) / constant if x > 0 else 0.0
    for at in _moments(header, "Acquisition"):
        yield at - timedelta(milliseconds=offset)
        yield at - timedelta(milliseconds=offset) + timedelta(seconds=average)


def _require_readable(ds: Dataset, names: Sequence[str], stamps: Sequence[str]) -> None:
    """Raises RefusalError where a time is there and is none."""
    said = [(f"{name}Date", day) for name in names] + [(f"{name}Time", clock) for name in names]
    for keyword, read in (*said, *((keyword, lambda text: stamp(text, "") or day(text)) for keyword in stamps)):
        if isinstance(parts(ds, keyword), Broken) or (word(ds, keyword) and read(word(ds, keyword)) is None):
            raise RefusalError(f"{keyword} cannot be read: {word(ds, keyword)[:40]!r}")


def _privates(header: Dataset, *places: tuple[int, int]) -> Iterator[Any]:
    """What stands at the offset of any block of the group."""
    for element in list(header.keys()):
        for group, offset in places:
            if element.group == group and element.element & 0xFF == offset and element.element > 0xFF:
                try:
                    found = header[element].value
                except UNREADABLE:
                    continue
                yield found.decode("latin-1") if isinstance(found, bytes) else found


def _moments(header: Dataset, name: str) -> Iterator[datetime]:
    at = clock(word(header, f"{name}Time"))
    dates = (f"{name}Date", "SeriesDate", "AcquisitionDate", "StudyDate", "ContentDate")
    for keyword in dates:
        if at is not None and (on := day(word(header, keyword))) is not None:
            yield on + at
            if on.year < 9999:
                yield on + at + timedelta(days=1)
    whole = stamp(word(header, f"{name}DateTime"), word(header, "TimezoneOffsetFromUTC"))
    if whole is not None:
        yield whole


def _given(header: Dataset, item: Dataset, times: Sequence[Sequence[datetime]]) -> Iterator[datetime]:
    """Every time at which the tracer could have been given."""
    _require_readable(item, (), ("RadiopharmaceuticalStartDateTime",))
    if word(item, "RadiopharmaceuticalStartTime") and clock(word(item, "RadiopharmaceuticalStartTime")) is None:
        raise RefusalError("RadiopharmaceuticalStartTime cannot be read")
    exact = stamp(word(item, "RadiopharmaceuticalStartDateTime"), word(header, "TimezoneOffsetFromUTC"))
    clocks = [clock(word(item, "RadiopharmaceuticalStartTime"))]
    if exact is not None:
        yield exact
        clocks.append(exact - exact.replace(hour=0, minute=0, second=0, microsecond=0))
    for at in {at.replace(hour=0, minute=0, second=0, microsecond=0) for here in times for at in here}:
        for since in (c for c in clocks if c is not None):
            yield at + since
            if at.year > 1:
                yield at + since - timedelta(days=1)


def _counts(headers: Sequence[Dataset], weight: float) -> list[list[float]]:
    rows: list[list[float]] = [[] for _ in headers]
    for place in ((0x7053, 0x00), (0x7053, 0x09)):
        for n, header in enumerate(headers):
            for found in _privates(header, place):
                text = str(found).strip(" \0")
                if _NUMBER.fullmatch(text) and 0 < float(text) < math.inf:
                    scale = float(text)
                    rows[n] += [scale] if place[1] == 0 else _quiet_activity(headers, weight, scale, n)
    if not all(rows):
        raise RefusalError("counts without a factor")
    return rows


def _quiet_activity(headers: Sequence[Dataset], weight: float, scale: float, n: int) -> list[float]:
    try:
        return _activity(headers, weight, scale)[n]
    except RefusalError:
        return []


def _stored(headers: Sequence[Dataset], units: str, weight: float) -> list[float]:
    kinds = {word(header, "SUVType").upper() for header in headers} - {""}
    if len(kinds) > 1:
        raise RefusalError("several SUV types")
    kind = "BSA" if units == "CM2ML" else next(iter(kinds), "BW")
    if kind == "BW":
        return [1.0]
    sizes = {size for header in headers if (size := number(header, "PatientSize")) is not None}
    sexes = {word(header, "PatientSex").upper() for header in headers} - {""}
    if len(sizes) != 1 or (kind != "BSA" and sexes not in ({"M"}, {"F"})):
        raise RefusalError("no size or sex")
    size = sizes.pop()
    cm = size if size > 3 else size * 100
    if not 30 <= cm <= 280:
        raise RefusalError("no size of a person")
    male = sexes == {"M"}
    square, index = (weight / cm) ** 2, weight / (cm / 100) ** 2
    masses = {
        "LBM": [1.10 * weight - a * square if male else 1.07 * weight - 148 * square for a in (120, 128)],
        "LBMJAMES128": [1.10 * weight - 128 * square if male else 1.07 * weight - 148 * square],
        "LBMJANMA": [9270 * weight / (6680 + 216 * index) if male else 9270 * weight / (8780 + 244 * index)],
        "IBW": [48 + 1.06 * (cm - 152) if male else 45.5 + 0.91 * (cm - 152)],
        "BSA": [0.007184 * weight**0.425 * cm**0.725 * 10],
    }
    if kind not in masses or min(masses[kind]) <= 0:
        raise RefusalError(f"SUV type {kind}")
    return [weight / mass for mass in masses[kind]]
