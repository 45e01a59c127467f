"""The two times of an SUV: when the tracer was given, and to which time the image is decay corrected."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from analysis.errors import NotQuantifiable
from dicom_io.correction import GE_CREATOR
from dicom_io.elements import items, moment, number, private, read_datetime, read_time, text
from dicom_io.studies import Instance, Series

SERIES_TIME = "SeriesTime"
GE_SCAN_TIME = "GE scan time (0009,100D)"
FRAME_REFERENCE = "AcquisitionTime - FrameReferenceTime + average count time"
EARLIEST_ACQUISITION = "earliest AcquisitionTime"

# A maker's private time counts only if it is of the same session: de-identification shifts it apart from the others.
_SAME_SESSION = timedelta(hours=12)
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Nuclide:
    """What a radiopharmaceutical item says, in s and Bq. administered_*: its two time elements as written."""

    half_life_s: float
    dose_bq: float
    administered_datetime: datetime | None
    administered_clock: timedelta | None
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
        return 4.0 if 4000 <= self.half_life_s <= 4120 else 6 * self.half_life_s / 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """The time of decay correction of each instance, by the rule that holds; candidates: rule > times of each instance."""

    rule: str
    times: tuple[datetime, ...]
    candidates: Mapping[str, tuple[datetime, ...]]


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
    )


def acquired(instance: Instance) -> datetime | None:
    """When the instance's acquisition began, local time."""
    return moment(instance.header, "Acquisition")


def earliest_acquisition(series: Series) -> datetime | None:
    return min((at for i in series.instances if (at := acquired(i)) is not None), default=None)


def started(series: Series) -> datetime | None:
    """When the PET began: its earliest acquisition, else the series' time."""
    return earliest_acquisition(series) or moment(series.header, "Series")


def administered(tracer: Nuclide, reference: datetime) -> tuple[datetime, tuple[str, ...]]:
    """When the tracer was given, and warnings. reference: a time of the scan, after the administration.

    Raises NotQuantifiable: no time is given, or only such as give an impossible decay.
    """
    longest = timedelta(hours=tracer.longest_h)
    exact = tracer.administered_datetime
    if exact is not None and timedelta(0) <= reference - exact <= longest:
        return exact, _clocks_differ(exact, tracer)
    if tracer.administered_clock is None:
        if exact is None:
            raise NotQuantifiable(
                "Neither RadiopharmaceuticalStartDateTime nor RadiopharmaceuticalStartTime is given; "
                "correct the header at its source."
            )
        raise NotQuantifiable(_impossible(reference - exact, tracer))
    midnight = reference.replace(hour=0, minute=0, second=0, microsecond=0)
    clock = midnight + tracer.administered_clock
    before = clock - timedelta(days=1) if clock > reference else clock
    shifted = (
        exact is not None and exact - exact.replace(hour=0, minute=0, second=0, microsecond=0) == tracer.administered_clock
    )
    if exact is not None and not shifted:
        raise NotQuantifiable(_impossible(reference - exact, tracer))
    if reference - before > longest:
        raise NotQuantifiable(_impossible(reference - before, tracer))
    note = "The date of RadiopharmaceuticalStartDateTime is not that of the scan; its clock time was used with the scan's date."
    return before, (note,) if exact is not None else ()


def _clocks_differ(exact: datetime, tracer: Nuclide) -> tuple[str, ...]:
    clock = exact - exact.replace(hour=0, minute=0, second=0, microsecond=0)
    if tracer.administered_clock is None or abs(clock - tracer.administered_clock) < timedelta(minutes=1):
        return ()
    return ("RadiopharmaceuticalStartDateTime and RadiopharmaceuticalStartTime differ; the first was used.",)


def _impossible(decay: timedelta, tracer: Nuclide) -> str:
    hours = decay.total_seconds() / 3600
    return (
        f"From administration to scan the header gives {hours:.1f} h, where 0 to {tracer.longest_h:.0f} h can be believed "
        f"for a half-life of {tracer.half_life_s:.0f} s; correct the times at their source."
    )


def start_reference(series: Series, tracer: Nuclide) -> Reference:
    """The time that an image with DecayCorrection START is corrected to.

    The first rule that holds: SeriesTime, if not after the earliest acquisition; GE's private scan time; for each slice
    its acquisition, less FrameReferenceTime, plus the time of average count rate; the earliest acquisition.
    Raises NotQuantifiable: no time is given.
    """
    candidates = _candidates(series, tracer)
    earliest = earliest_acquisition(series)
    for rule in (SERIES_TIME, GE_SCAN_TIME, FRAME_REFERENCE, EARLIEST_ACQUISITION):
        if rule not in candidates:
            continue
        late = rule == SERIES_TIME and earliest is not None and min(candidates[rule]) > earliest
        if not late:
            return Reference(rule=rule, times=candidates[rule], candidates=candidates)
    raise NotQuantifiable(
        "Neither SeriesTime nor AcquisitionTime is given, so decay cannot be corrected; correct the header at its source."
    )


def _candidates(series: Series, tracer: Nuclide) -> dict[str, tuple[datetime, ...]]:
    """Every rule that the header has an answer to, with the time of each instance."""
    count = len(series.instances)
    earliest = earliest_acquisition(series)
    found: dict[str, tuple[datetime, ...]] = {}
    series_times = [at for i in series.instances if (at := moment(i.header, "Series")) is not None]
    if (series_time := min(series_times, default=None)) is not None:
        found[SERIES_TIME] = (series_time,) * count
    if (ge_time := _ge_scan_time(series, earliest)) is not None:
        found[GE_SCAN_TIME] = (ge_time,) * count
    if (by_frame := _by_frame(series, tracer)) is not None:
        found[FRAME_REFERENCE] = by_frame
    if earliest is not None:
        found[EARLIEST_ACQUISITION] = (earliest,) * count
    return found


def _ge_scan_time(series: Series, earliest: datetime | None) -> datetime | None:
    """GE's private start of the scan; None where it is absent, later than the acquisition or of another session."""
    zone = text(series.header, "TimezoneOffsetFromUTC")
    written = private(series.header, GE_CREATOR, (0x0009, 0x0D))
    found = read_datetime(str(written), zone) if written else None
    if found is None or earliest is None or not -_SECOND <= earliest - found <= _SAME_SESSION:
        return None
    return found


def _by_frame(series: Series, tracer: Nuclide) -> tuple[datetime, ...] | None:
    """Acquisition - FrameReferenceTime + Tave of each instance; None unless every frame reference time is above 0."""
    times: list[datetime] = []
    for instance in series.instances:
        at, reference = acquired(instance), number(instance.header, "FrameReferenceTime") or 0.0
        if at is None or reference <= 0:
            return None
        average = average_count_time(tracer.decay_constant, frame_duration_s(instance))
        times.append(at + timedelta(seconds=average - reference / 1000))
    return tuple(times)


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


def decay_factor_reference(series: Series, tracer: Nuclide) -> tuple[datetime, ...]:
    """Reference times that the first frame's DecayFactor fits, with and without correction within the frame.

    () where no DecayFactor is given or it is 1, which many scanners write without meaning it.
    """
    frames = [
        (at, factor, frame_duration_s(i))
        for i in series.instances
        if (at := acquired(i)) is not None and (factor := number(i.header, "DecayFactor") or 0.0) > 0
    ]
    if not frames:
        return ()
    at, factor, duration = min(frames)
    if factor == 1:
        return ()
    within = frame_correction(tracer.decay_constant * duration)
    return tuple(at - timedelta(seconds=float(np.log(factor / c)) / tracer.decay_constant) for c in (within, 1.0))
