"""The time that an image with DecayCorrection START is decay corrected to: every rule that the header has an answer to."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from pydicom import Dataset

from analysis.errors import NotQuantifiable
from dicom_io.elements import number, read_datetime, text
from dicom_io.studies import Series
from dicom_io.suv_makers import ge_scan_time, is_ge, siemens_decay_time
from dicom_io.suv_times import (
    Nuclide,
    acquired,
    average_count_time,
    earliest_acquisition,
    frame_correction,
    frame_duration_s,
    local_moment,
    started,
)

DECAY_CORRECTION_TIME = "DecayCorrectionDateTime (0018,9701)"
SIEMENS_TIME = "Siemens decay correction time (0071,1022)"
SERIES_TIME = "SeriesTime"
GE_SCAN_TIME = "GE scan time (0009,100D)"
FRAME_REFERENCE = "AcquisitionTime - FrameReferenceTime + average count time"
GE_FRAME_REFERENCE = "AcquisitionTime - FrameReferenceTime (GE)"
EARLIEST_ACQUISITION = "earliest AcquisitionTime"
DECAY_FACTOR = "DecayFactor (0054,1321)"

# A stated time counts only if it is of the same session: de-identification shifts private times apart from the others.
_SAME_SESSION = timedelta(hours=12)
_SECOND, _DAY = timedelta(seconds=1), timedelta(days=1)
_NO_DATE = (
    "The times have no date: SeriesDate, AcquisitionDate, StudyDate and ContentDate are missing; "
    "correct the header at its source."
)
_NO_TIME = "Neither SeriesTime nor AcquisitionTime is given, so decay cannot be corrected; correct the header at its source."


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One rule's reference time of each instance. times: () where the rule has none. why_not: "" where it would hold.

    refusal: the sentence to refuse with where this rule's turn comes and it does not hold; "" to go on to the next.
    """

    rule: str
    times: tuple[datetime, ...] = ()
    why_not: str = ""
    refusal: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """The time of decay correction of each instance by the first rule that holds, and the other rules in their order."""

    rule: str
    times: tuple[datetime, ...]
    others: tuple[Candidate, ...]


def start_reference(series: Series, tracer: Nuclide) -> Reference:
    """The time that an image with DecayCorrection START is corrected to, by the first rule that holds (docs/METHOD.md 1).

    Raises NotQuantifiable: no time is given, or none that can be trusted.
    """
    candidates = tuple(_candidates(series, tracer))
    for turn, chosen in enumerate(candidates):
        if not chosen.why_not:
            later = tuple(_passed_over(other, chosen.rule) for other in candidates[turn + 1 :])
            others = (*candidates[:turn], *later, *_by_decay_factor(series, tracer, chosen.times))
            return Reference(rule=chosen.rule, times=chosen.times, others=others)
        if chosen.refusal:
            raise NotQuantifiable(chosen.refusal)
    clocks = (text(i.header, keyword) for i in series.instances for keyword in ("SeriesTime", "AcquisitionTime"))
    raise NotQuantifiable(_NO_DATE if any(clocks) else _NO_TIME)


def _passed_over(candidate: Candidate, rule: str) -> Candidate:
    return Candidate(rule=candidate.rule, times=candidate.times, why_not=candidate.why_not or f"{rule} comes first")


def _candidates(series: Series, tracer: Nuclide) -> Iterator[Candidate]:
    """What the header has an answer to, in the order of the rules."""
    earliest = earliest_acquisition(series)
    found: tuple[Candidate | None, ...] = (
        _binding(series, _stated(series, tracer, DECAY_CORRECTION_TIME, _decay_correction_time)),
        _stated(series, tracer, SIEMENS_TIME, siemens_decay_time),
        _series_time(series, earliest),
        _stated(series, tracer, GE_SCAN_TIME, ge_scan_time),
        _by_frame_of_ge(series) if is_ge(series.header) else _by_frame(series, tracer),
        None if earliest is None else Candidate(rule=EARLIEST_ACQUISITION, times=(earliest,) * len(series.instances)),
    )
    if text(series.header, "DecayCorrected"):
        # An enhanced PET: its SeriesTime and frame times mean nothing of decay (PS3.3 C.8.22).
        found = found[:1]
    return (candidate for candidate in found if candidate is not None)


def _decay_correction_time(header: Dataset) -> datetime | None:
    return read_datetime(text(header, "DecayCorrectionDateTime"), text(header, "TimezoneOffsetFromUTC"))


def _binding(series: Series, stated: Candidate | None) -> Candidate | None:
    """In an enhanced object, whose frames have no classic times, nothing else can stand for DecayCorrectionDateTime."""
    if stated is None or not stated.why_not or series.instances[0].frame is None:
        return stated
    sentence = f"DecayCorrectionDateTime cannot be used: {stated.why_not}; correct the header at its source."
    return replace(stated, refusal=sentence)


def _stated(series: Series, tracer: Nuclide, rule: str, read: Callable[[Dataset], datetime | None]) -> Candidate | None:
    """A date-time that states the reference (or, with GE, the scan's start) in so many words."""
    stated = [read(instance.header) for instance in series.instances]
    times = tuple(at for at in stated if at is not None)
    begun = started(series)
    if not times:
        return None
    if len(times) < len(stated) or begun is None:
        return Candidate(rule=rule, why_not="not given in every slice" if begun is not None else "no AcquisitionTime beside it")
    first, last = min(times), max(times)
    if begun - first > max(_SAME_SESSION, timedelta(hours=tracer.longest_h)) or last - begun > _SAME_SESSION:
        return Candidate(rule=rule, why_not=f"{first:%Y-%m-%d %H:%M:%S} is another session's")
    end = _end(series, begun) if rule == DECAY_CORRECTION_TIME else begun
    if last > end + _SECOND:
        return Candidate(rule=rule, times=times, why_not=f"it is {_span(last - end)} after the scan {_where(rule)}")
    return Candidate(rule=rule, times=times)


def _where(rule: str) -> str:
    return "ended" if rule == DECAY_CORRECTION_TIME else "began"


def _end(series: Series, begun: datetime) -> datetime:
    """When the last frame ended."""
    ends = (at + timedelta(seconds=frame_duration_s(i)) for i in series.instances if (at := acquired(i)) is not None)
    return max(ends, default=begun)


def _series_time(series: Series, earliest: datetime | None) -> Candidate | None:
    at = min((at for i in series.instances if (at := local_moment(i.header, "Series")) is not None), default=None)
    if at is None:
        return None
    times = (at,) * len(series.instances)
    if earliest is None:
        unchecked = "AcquisitionTime is missing, so SeriesTime, which is often written after the scan, cannot be checked"
        return Candidate(
            rule=SERIES_TIME, times=times, why_not=unchecked, refusal=f"{unchecked}; correct the header at its source."
        )
    if earliest - at > _SAME_SESSION:
        apart = (
            f"SeriesTime ({at:%Y-%m-%d %H:%M:%S}) is {_span(earliest - at)} before the first acquisition ({earliest:%Y-%m-%d})"
        )
        return Candidate(rule=SERIES_TIME, why_not=apart, refusal=f"{apart}; correct the dates at their source.")
    if at - earliest > _DAY:
        return Candidate(rule=SERIES_TIME, why_not=f"{at:%Y-%m-%d %H:%M:%S} is not the day of the scan")
    late = f"it is {_span(at - earliest)} after the first acquisition ({earliest:%H:%M:%S})" if at > earliest else ""
    return Candidate(rule=SERIES_TIME, times=times, why_not=late)


def _by_frame(series: Series, tracer: Nuclide) -> Candidate | None:
    """Acquisition - FrameReferenceTime + average count time of each instance, where FrameReferenceTime is above 0.

    All makers but GE count FrameReferenceTime to the moment of the average count rate.
    """
    rows = [
        (acquired(i), (number(i.header, "FrameReferenceTime") or 0.0) / 1000, frame_duration_s(i)) for i in series.instances
    ]
    if not any(offset for _, offset, _ in rows):
        return None
    if not all(at is not None and offset > 0 for at, offset, _ in rows):
        return Candidate(rule=FRAME_REFERENCE, why_not="FrameReferenceTime or AcquisitionTime is missing or 0 in a slice")
    if not all(duration > 0 for _, _, duration in rows):
        missing = "ActualFrameDuration is missing, without which FrameReferenceTime does not tell when the scan began"
        return Candidate(rule=FRAME_REFERENCE, why_not=missing, refusal=f"{missing}; correct the header at its source.")
    return Candidate(
        rule=FRAME_REFERENCE,
        times=tuple(
            at + timedelta(seconds=average_count_time(tracer.decay_constant, duration) - offset)
            for at, offset, duration in rows
            if at is not None
        ),
    )


def _by_frame_of_ge(series: Series) -> Candidate | None:
    """Acquisition - FrameReferenceTime of each instance: GE counts FrameReferenceTime to the start of the frame."""
    rows = [(acquired(i), number(i.header, "FrameReferenceTime") or 0.0) for i in series.instances]
    times = tuple(at - timedelta(milliseconds=offset) for at, offset in rows if at is not None)
    if len(times) < len(rows) or not any(offset > 0 for _, offset in rows):
        return None
    # Some GE scanners write the scan's start as every bed's AcquisitionTime; taking the offset off it would count it twice.
    if (apart := max(times) - min(times)) > timedelta(minutes=1):
        return Candidate(
            rule=GE_FRAME_REFERENCE, why_not=f"the beds differ by {_span(apart)}: AcquisitionTime is not each bed's own"
        )
    return Candidate(rule=GE_FRAME_REFERENCE, times=times)


def _by_decay_factor(series: Series, tracer: Nuclide, chosen: tuple[datetime, ...]) -> Iterator[Candidate]:
    """The reference time that the first frame's DecayFactor fits, with or without the correction within the frame.

    A check, never a rule: makers define the factor differently. None where it is 1, which many write without meaning it.
    """
    frames = [
        (at, factor, frame_duration_s(i))
        for i in series.instances
        if (at := acquired(i)) is not None and (factor := number(i.header, "DecayFactor") or 0.0) > 0
    ]
    at, factor, duration = min(frames, default=(chosen[0], 1.0, 0.0))
    if factor == 1 or abs(seconds := math.log(factor) / tracer.decay_constant) > _SAME_SESSION.total_seconds():
        return
    within = math.log(frame_correction(tracer.decay_constant * duration)) / tracer.decay_constant
    fitting = [at - timedelta(seconds=seconds - part) for part in (within, 0.0)]
    nearest = min(fitting, key=lambda each: abs(each - chosen[0]))
    yield Candidate(rule=DECAY_FACTOR, times=(nearest,) * len(chosen), why_not="a check only: makers define it differently")


def _span(span: timedelta) -> str:
    """In words: 45 min 30 s."""
    seconds = span.total_seconds()
    if seconds < 60:
        return f"{seconds:.2g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 120:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    return f"{seconds / 3600:.1f} h" if minutes < 2880 else f"{span.days} days"
