"""The times that SUV rests on: when each slice was acquired, when the tracer was given, and decay within a frame."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydicom import Dataset

from analysis.errors import NotQuantifiable
from dicom_io.elements import items, moment, number, read_date, read_datetime, read_time, text
from dicom_io.studies import Instance, Series

_DAY = timedelta(days=1)
# Where a date is missing, the first of these that has one stands for it.
_DATES = ("SeriesDate", "AcquisitionDate", "StudyDate", "ContentDate")


@dataclass(frozen=True, slots=True, kw_only=True)
class Nuclide:
    """What a radiopharmaceutical item says, in s and Bq. administered_*: its two time elements as written; infusion: from
    start to stop, 0 where no stop is given."""

    half_life_s: float
    dose_bq: float
    administered_datetime: datetime | None
    administered_clock: timedelta | None
    infusion: timedelta = timedelta(0)
    in_mbq: bool = False  # the header's dose was taken as MBq

    @property
    def decay_constant(self) -> float:
        """ln 2 / half-life in 1/s."""
        return math.log(2) / self.half_life_s

    @property
    def longest_h(self) -> float:
        """Hours of decay beyond which times cannot belong together: 12 for F-18, 4 for Ga-68, else six half-lives."""
        if 6500 <= self.half_life_s <= 6700:
            return 12.0
        return 4.0 if 4000 <= self.half_life_s <= 4120 else min(6 * self.half_life_s / 3600, 1e6)

    @property
    def day_is_known(self) -> bool:
        """Whether a clock time tells the day: no scan can follow a day or more after the administration."""
        return self.longest_h < 24

    @property
    def has_time(self) -> bool:
        return self.administered_datetime is not None or self.administered_clock is not None


def nuclide(series: Series) -> Nuclide:
    """The series' one radiopharmaceutical. Raises NotQuantifiable: there is none or several, or no half-life or dose."""
    found = items(series.header, "RadiopharmaceuticalInformationSequence")
    if len(found) != 1:
        raise NotQuantifiable(
            f"RadiopharmaceuticalInformationSequence has {len(found)} items where SUV needs exactly one; "
            "correct the header at its source."
        )
    half_life = number(found[0], "RadionuclideHalfLife") or 0.0
    dose = number(found[0], "RadionuclideTotalDose") or 0.0
    for keyword, amount in (("RadionuclideHalfLife", half_life), ("RadionuclideTotalDose", dose)):
        if amount <= 0:
            raise NotQuantifiable(
                f"{keyword} is missing, zero or no number, and SUV needs it; correct the header at its source."
            )
    zone = text(series.header, "TimezoneOffsetFromUTC")
    return Nuclide(
        half_life_s=half_life,
        dose_bq=dose * 1e6 if dose < 1e5 else dose,
        in_mbq=dose < 1e5,
        administered_datetime=read_datetime(text(found[0], "RadiopharmaceuticalStartDateTime"), zone),
        administered_clock=read_time(text(found[0], "RadiopharmaceuticalStartTime")),
        infusion=_infusion(found[0], zone),
    )


def _infusion(item: Dataset, zone: str) -> timedelta:
    start, stop = (read_datetime(text(item, f"Radiopharmaceutical{word}DateTime"), zone) for word in ("Start", "Stop"))
    if start is not None and stop is not None:
        return max(stop - start, timedelta(0))
    begin, end = (read_time(text(item, f"Radiopharmaceutical{word}Time")) for word in ("Start", "Stop"))
    return (end - begin) % _DAY if begin is not None and end is not None else timedelta(0)


def local_moment(header: Dataset, name: str) -> datetime | None:
    """Local date and time of "Series" or "Acquisition"; a time without a date is put on the day of the header's other dates.

    Such a time is taken as the next day's where it would be more than 12 h before SeriesTime.
    """
    found = moment(header, name)
    clock = read_time(text(header, f"{name}Time"))
    if found is not None or clock is None:
        return found
    day = next((at for keyword in _DATES if (at := read_date(text(header, keyword))) is not None), None)
    if day is None:
        return None
    series = moment(header, "Series")
    return day + clock + (_DAY if series is not None and series - (day + clock) > timedelta(hours=12) else timedelta(0))


def dates_are_guessed(series: Series) -> bool:
    """Whether a time was put on another element's date."""
    return any(
        moment(instance.header, name) is None and local_moment(instance.header, name) is not None
        for instance in series.instances
        for name in ("Series", "Acquisition")
    )


def acquired(instance: Instance) -> datetime | None:
    """When the instance's acquisition began, local time."""
    return local_moment(instance.header, "Acquisition")


def frame_reference(instance: Instance) -> datetime | None:
    """FrameReferenceDateTime of an enhanced object's frame (PS3.3 C.7.6.16.2.2), local time."""
    return read_datetime(text(instance.header, "FrameReferenceDateTime"), text(instance.header, "TimezoneOffsetFromUTC"))


def earliest_acquisition(series: Series) -> datetime | None:
    return min((at for i in series.instances if (at := acquired(i)) is not None), default=None)


def started(series: Series) -> datetime | None:
    """When the PET began: its earliest acquisition, else the series' time."""
    return earliest_acquisition(series) or local_moment(series.header, "Series")


def administered(tracer: Nuclide, reference: datetime, begun: datetime | None = None) -> tuple[datetime, tuple[str, ...]]:
    """When the tracer was given, and warnings. reference: a time of the scan, after the administration.

    begun: the start of the acquisition; a scan that was switched on minutes before the administration, and of which a later
    part was reconstructed, is decay corrected to a time before it.
    Raises NotQuantifiable: no time is given, or only such as give an impossible decay.
    """
    latest = reference if begun is None else max(reference, min(begun, reference + _SWITCHED_ON_FIRST))
    exact = tracer.administered_datetime
    if not tracer.has_time:
        raise NotQuantifiable(
            "Neither RadiopharmaceuticalStartDateTime nor RadiopharmaceuticalStartTime is given; "
            "correct the header at its source."
        )
    warnings: tuple[str, ...] = ()
    if exact is None:
        given = _last(tracer.administered_clock or timedelta(0), reference, latest, tracer)
    elif exact <= latest and reference - exact <= timedelta(hours=tracer.longest_h):
        given, warnings = exact, _clocks_differ(exact, tracer)
    else:
        given, warnings = _redated(exact, reference, latest, tracer), (_REDATED,)
    _require_written(given, reference, tracer)
    return given, warnings + ((_EARLY,) if given > reference else ())


_SWITCHED_ON_FIRST = timedelta(minutes=5)
_EARLY = "The scan was switched on before the tracer was given, and is decay corrected to that time."
_REDATED = "The date of RadiopharmaceuticalStartDateTime is not that of the scan; its clock time was used with the scan's date."
# A date that de-identification shifted is far away; one that is nearer was written so and is believed to be wrong.
_SHIFTED = timedelta(days=7)


def _redated(exact: datetime, reference: datetime, latest: datetime, tracer: Nuclide) -> datetime:
    """The clock time of a shifted date on the scan's day. Raises NotQuantifiable: the date was not shifted, or in doubt."""
    other = tracer.administered_clock
    contradicted = other is not None and abs(_clock(exact) - other) >= timedelta(minutes=1)
    if contradicted or not tracer.day_is_known or abs(reference - exact) < _SHIFTED:
        raise NotQuantifiable(_impossible("RadiopharmaceuticalStartDateTime", reference - exact, tracer))
    return _last(_clock(exact), reference, latest, tracer)


def _last(clock: timedelta, reference: datetime, latest: datetime, tracer: Nuclide) -> datetime:
    """The last moment before the scan at which a clock showed this time. Raises NotQuantifiable."""
    if not tracer.day_is_known:
        raise NotQuantifiable(
            f"RadiopharmaceuticalStartTime alone does not tell the day for a half-life of {tracer.half_life_s / 3600:.3g} h; "
            "send the series with RadiopharmaceuticalStartDateTime."
        )
    at = _midnight(reference) + clock
    at, same_day = (at - _DAY if at > latest else at), at
    if reference - at > timedelta(hours=tracer.longest_h):
        raise NotQuantifiable(_impossible("RadiopharmaceuticalStartTime", reference - same_day, tracer))
    return at


def _require_written(given: datetime, reference: datetime, tracer: Nuclide) -> None:
    """Raises NotQuantifiable: midnight sharp, hours away from the other time, stands for a time that was taken away."""
    if reference - given <= timedelta(hours=tracer.longest_h / 3):
        return
    for name, at in (("The administration", given), ("The scan", reference)):
        if at == _midnight(at):
            raise NotQuantifiable(
                f"{name} is at 00:00:00, {_hours(reference - given):.1f} h from the other; the time seems to have been "
                "removed. Send the series with its times."
            )


def _midnight(at: datetime) -> datetime:
    return at.replace(hour=0, minute=0, second=0, microsecond=0)


def _clock(at: datetime) -> timedelta:
    return at - _midnight(at)


def _clocks_differ(exact: datetime, tracer: Nuclide) -> tuple[str, ...]:
    other = tracer.administered_clock
    if other is None or abs(_clock(exact) - other) < timedelta(minutes=1):
        return ()
    return ("RadiopharmaceuticalStartDateTime and RadiopharmaceuticalStartTime differ; the first was used.",)


def _impossible(keyword: str, decay: timedelta, tracer: Nuclide) -> str:
    day_before = f" ({_hours(decay + _DAY):.1f} h if it was the day before)" if decay < timedelta(0) < decay + _DAY else ""
    return (
        f"{keyword} gives {_hours(decay):.1f} h{day_before} from administration to scan, where 0 to {tracer.longest_h:.2g} h "
        f"can be believed for a half-life of {tracer.half_life_s:.0f} s; correct the times at their source."
    )


def _hours(span: timedelta) -> float:
    return span.total_seconds() / 3600


def frame_duration_s(instance: Instance) -> float:
    """ActualFrameDuration in s, 0 where it is absent."""
    return max(number(instance.header, "ActualFrameDuration") or 0.0, 0.0) / 1000


def average_count_time(decay_constant: float, duration_s: float) -> float:
    """Seconds from the start of a frame to the moment when the count rate has its average over the frame."""
    x = decay_constant * duration_s
    return math.log(frame_correction(x)) / decay_constant if x > 0 else 0.0


def frame_correction(x: float) -> float:
    """x / (1 - exp(-x)): from the average over a frame of x = decay constant times duration to the value at its start."""
    return x / -math.expm1(-x) if x > 0 else 1.0
