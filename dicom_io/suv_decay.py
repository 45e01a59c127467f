"""Factors from activity concentration to SUVbw, by how the image was corrected for decay (docs/METHOD.md 1)."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from analysis.errors import NotQuantifiable
from analysis.values import Body
from dicom_io.studies import Series
from dicom_io.suv_alternatives import Alternative, alternative, disagreements
from dicom_io.suv_checks import WARN_ABOVE
from dicom_io.suv_reference import Candidate, start_reference
from dicom_io.suv_times import (
    Nuclide,
    acquired,
    administered,
    average_count_time,
    frame_correction,
    frame_duration_s,
    frame_reference,
    started,
)

# Powers of e beyond which nothing of the dose is left to be seen: 29 half-lives.
_MOST_DECAY = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Decay:
    """Factors from Bq/ml to SUV, one for each instance, and where they come from; the names as in SuvConversion."""

    factors: tuple[float, ...]
    rule: str
    administered: datetime | None
    reference_rule: str = ""
    reference_time: datetime | None = None
    alternatives: tuple[Alternative, ...] = ()
    warnings: tuple[str, ...] = ()


def decay_factors(series: Series, tracer: Nuclide, patient: Body, correction: str) -> Decay:
    """The factors of a PET in Bq/ml. correction: its DecayCorrection.

    Raises NotQuantifiable: the correction is unknown, or times are missing or cannot be believed.
    """
    grams_per_bq = patient.weight_kg * 1000 / tracer.dose_bq
    if correction == "START":
        return _corrected_to_start(series, tracer, grams_per_bq)
    if correction == "NONE":
        return _not_corrected(series, tracer, grams_per_bq)
    if correction == "ADMIN":
        return _corrected_to_administration(series, tracer, grams_per_bq)
    raise NotQuantifiable(
        f"DecayCorrection is {correction or 'missing'} where SUV needs START, ADMIN or NONE; correct the header at its source."
    )


def _corrected_to_administration(series: Series, tracer: Nuclide, grams_per_bq: float) -> Decay:
    """No decay enters; times, where they are given, must be possible all the same."""
    begun = started(series)
    given: datetime | None = None
    warnings: tuple[str, ...] = ("Uptake time unknown: the time of the administration or of the scan is not given.",)
    if begun is not None and tracer.has_time:
        given, warnings = administered(tracer, begun)
    return Decay(
        factors=(grams_per_bq,) * len(series.instances),
        rule="decay corrected to administration",
        reference_time=given,
        administered=given,
        warnings=warnings,
    )


def _not_corrected(series: Series, tracer: Nuclide, grams_per_bq: float) -> Decay:
    """Each slice's average over its frame is brought to the frame's start and from there to the administration.

    An enhanced object may name the moment that stands for each frame: it counts where the frame's own times are missing or
    differ from it by more than seconds, to which such moments are often rounded.
    """
    named = [(at, 0.0) for i in series.instances if (at := frame_reference(i)) is not None]
    frames, rule = named, "not decay corrected: each frame from its FrameReferenceDateTime"
    if len(named) < len(series.instances) or _agree(series, tracer, named):
        frames, rule = _own_frames(series), "not decay corrected: each slice from its own frame"
    given, warnings = administered(tracer, min(frames)[0])
    return Decay(
        factors=tuple(
            grams_per_bq * frame_correction(tracer.decay_constant * duration) * _growth(tracer, given, at)
            for at, duration in frames
        ),
        rule=rule,
        administered=given,
        warnings=warnings,
    )


def _agree(series: Series, tracer: Nuclide, named: list[tuple[datetime, float]]) -> bool:
    """Whether the moments named for the frames are those of their average count rates, to two seconds."""
    with contextlib.suppress(NotQuantifiable):
        own = [
            at + timedelta(seconds=average_count_time(tracer.decay_constant, duration)) for at, duration in _own_frames(series)
        ]
        return all(abs(at - moment) <= timedelta(seconds=2) for at, (moment, _) in zip(own, named, strict=True))
    return False


def _own_frames(series: Series) -> list[tuple[datetime, float]]:
    """Start and duration in s of each slice's frame. Raises NotQuantifiable: one of them is missing in a slice."""
    frames = [(at, frame_duration_s(i)) for i in series.instances if (at := acquired(i)) is not None]
    if len(frames) < len(series.instances) or min(duration for _, duration in frames) <= 0:
        raise NotQuantifiable(
            "DecayCorrection is NONE, and a slice has no AcquisitionTime or ActualFrameDuration; "
            "correct the header at its source."
        )
    return frames


def _corrected_to_start(series: Series, tracer: Nuclide, grams_per_bq: float) -> Decay:
    reference = start_reference(series, tracer)
    given, warnings = administered(tracer, min(reference.times), started(series))
    # The dose left at the reference time is dose x exp(-decay), so the factor grows with the decay.
    factors = tuple(grams_per_bq * _growth(tracer, given, at) for at in reference.times)
    chosen = float(np.median(factors))
    others = [_by_candidate(other, lambda at: grams_per_bq * _growth(tracer, given, at), chosen) for other in reference.others]
    return Decay(
        factors=factors,
        rule=f"decay corrected to start: {reference.rule}",
        administered=given,
        reference_rule=reference.rule,
        reference_time=reference.times[0],
        alternatives=tuple(others),
        warnings=warnings + disagreements(others) + _spread(factors),
    )


def _growth(tracer: Nuclide, given: datetime, at: datetime) -> float:
    """By how much 1 Bq at `at` was more at the administration. Raises NotQuantifiable: the times are of different days."""
    exponent = tracer.decay_constant * (at - given).total_seconds()
    if abs(exponent) > _MOST_DECAY:
        raise NotQuantifiable(
            f"From administration ({given:%Y-%m-%d %H:%M}) to {at:%Y-%m-%d %H:%M} the tracer would have decayed away; "
            "correct the times at their source."
        )
    return math.exp(exponent)


def _by_candidate(other: Candidate, factor_at: Callable[[datetime], float], chosen: float) -> Alternative:
    factor: float | None = None
    with contextlib.suppress(NotQuantifiable):  # a time of another day has no factor
        factor = float(np.median([factor_at(at) for at in other.times])) if other.times else None
    return alternative(other.rule, other.why_not, factor, chosen, next(iter(other.times), None))


def _spread(factors: tuple[float, ...]) -> tuple[str, ...]:
    spread = max(factors) / min(factors) - 1
    return () if spread <= WARN_ABOVE else (f"The slices' own reference times differ by {spread * 100:.1f} % of SUV.",)
