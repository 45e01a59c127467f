"""Stored values to SUVbw, by what the header says, refusing what cannot be quantified."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from analysis.errors import NotQuantifiable
from analysis.values import Body
from dicom_io.choice import name
from dicom_io.correction import why_not_corrected, why_not_static
from dicom_io.elements import text
from dicom_io.studies import Series
from dicom_io.suv_body import body, to_body_weight, unit_notes
from dicom_io.suv_checks import WARN_ABOVE, decay_notes, require_one_kind, require_readable, tracer_notes, without_slopes
from dicom_io.suv_makers import ACTIVITY_SCALE, SUV_SCALE, philips_scale
from dicom_io.suv_reference import DECAY_FACTOR, Candidate, start_reference
from dicom_io.suv_times import (
    Nuclide,
    acquired,
    administered,
    average_count_time,
    frame_correction,
    frame_duration_s,
    frame_reference,
    nuclide,
    started,
)

# Powers of e beyond which nothing of the dose is left to be seen: 29 half-lives.
_MOST_DECAY = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """What another rule would have given: the time of the first instance, the median factor (g/ml per unit of the rescaled
    value), by how many percent SUV would differ, and why it was not taken. None where the rule gives none."""

    rule: str
    why_not: str
    reference_time: datetime | None = None
    suv_factor: float | None = None
    difference_percent: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "rule": self.rule,
            "reference_time": None if self.reference_time is None else self.reference_time.isoformat(),
            "suv_factor": self.suv_factor,
            "difference_percent": self.difference_percent,
            "why_not": self.why_not,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class SuvConversion:
    """How one PET series becomes SUVbw: SUV = rescaled stored value x factor of its instance.

    factors: one for each of Series.instances, in (g/ml) per unit of the rescaled value. rule: what the factor rests on;
    reference_rule: the part of it that gave the reference time, "" where none is needed. reference_time: what the first
    instance is decay corrected to, None where no decay enters. uptake_min: minutes from administration to the earliest
    acquisition. Times are the scanner's local time.
    """

    factors: tuple[float, ...]
    units: str
    decay_correction: str
    rule: str
    body: Body
    reference_rule: str = ""
    reference_time: datetime | None = None
    administered: datetime | None = None
    alternatives: tuple[Alternative, ...] = ()
    warnings: tuple[str, ...] = ()
    uptake_min: float | None = None
    dose_bq: float | None = None
    half_life_s: float | None = None

    @property
    def factor(self) -> float:
        """The median of all instances' factors."""
        return float(np.median(self.factors))

    @property
    def weight_kg(self) -> float:
        return self.body.weight_kg

    @property
    def height_m(self) -> float | None:
        return self.body.height_m


@dataclass(frozen=True, slots=True, kw_only=True)
class _Decay:
    """Factors from Bq/ml to SUV, and where they come from."""

    factors: tuple[float, ...]
    rule: str
    administered: datetime | None
    reference_rule: str = ""
    reference_time: datetime | None = None
    alternatives: tuple[Alternative, ...] = ()
    warnings: tuple[str, ...] = ()


def suv_conversion(series: Series) -> SuvConversion:
    """What turns a PET series into SUVbw.

    Raises NotQuantifiable: the series is not attenuation corrected or not static, its units cannot be converted, or
    weight, dose, half-life or times are missing or cannot be believed.
    """
    try:
        found = _conversion(series)
    except NotQuantifiable as error:
        study = text(series.header, "StudyDescription")
        raise NotQuantifiable(f"{name(series)}{f' of study {study!r}' if study else ''}: {error}") from None
    bare = ("The series has no RescaleSlope: the factor holds for rescaled values, and its pixels cannot be read as such.",)
    return replace(found, warnings=unit_notes(series) + found.warnings + (bare if without_slopes(series) else ()))


def _conversion(series: Series) -> SuvConversion:
    for why in (why_not_static(series), why_not_corrected(series)):
        if why:
            raise NotQuantifiable(f"The PET cannot be measured: {why}.")
    require_one_kind(series)
    patient = body(series)
    units = text(series.header, "Units").upper()
    if units == "BQML":
        return _from_activity(series, patient, 1.0, "")
    if units in {"GML", "CM2ML"}:
        return _from_suv(series, patient, units)
    if units == "CNTS":
        return _from_philips_counts(series, patient)
    raise NotQuantifiable(
        f"Units are {units or 'not given'}, which cannot be turned into SUV; send the series in Bq/ml (BQML) or SUV (GML)."
    )


def _from_activity(series: Series, patient: Body, scale: float, prefix: str) -> SuvConversion:
    """scale: Bq/ml per unit of the rescaled value."""
    require_readable(series)
    tracer = nuclide(series)
    correction = text(series.header, "DecayCorrection").upper()
    notes = (*tracer_notes(series, tracer, patient), *decay_notes(series, correction))
    decay = _decay(series, tracer, patient, correction)
    return SuvConversion(
        factors=tuple(scale * factor for factor in decay.factors),
        units=text(series.header, "Units").upper(),
        decay_correction=correction,
        rule=prefix + decay.rule,
        body=patient,
        reference_rule=decay.reference_rule,
        reference_time=decay.reference_time,
        administered=decay.administered,
        alternatives=tuple(_scaled(alternative, scale) for alternative in decay.alternatives),
        warnings=notes + decay.warnings,
        uptake_min=_uptake_min(series, decay.administered),
        dose_bq=tracer.dose_bq,
        half_life_s=tracer.half_life_s,
    )


def _scaled(alternative: Alternative, scale: float) -> Alternative:
    factor = alternative.suv_factor
    return alternative if factor is None else replace(alternative, suv_factor=scale * factor)


def _uptake_min(series: Series, given: datetime | None) -> float | None:
    begun = started(series)
    return None if begun is None or given is None else (begun - given).total_seconds() / 60


def _decay(series: Series, tracer: Nuclide, patient: Body, correction: str) -> _Decay:
    grams_per_bq = patient.weight_kg * 1000 / tracer.dose_bq
    if correction == "START":
        return _corrected_to_start(series, tracer, grams_per_bq)
    if correction == "NONE":
        return _not_corrected(series, tracer, grams_per_bq)
    if correction == "ADMIN":
        return _corrected_to_administration(series, tracer, grams_per_bq)
    raise NotQuantifiable(f"DecayCorrection is {correction or 'missing'}; SUV needs START, ADMIN or NONE there.")


def _corrected_to_administration(series: Series, tracer: Nuclide, grams_per_bq: float) -> _Decay:
    """No decay enters; times, where they are given, must be possible all the same."""
    begun = started(series)
    given: datetime | None = None
    warnings: tuple[str, ...] = ("Uptake time unknown: the time of the administration or of the scan is not given.",)
    if begun is not None and tracer.has_time:
        given, warnings = administered(tracer, begun)
    return _Decay(
        factors=(grams_per_bq,) * len(series.instances),
        rule="decay corrected to administration",
        reference_time=given,
        administered=given,
        warnings=warnings,
    )


def _not_corrected(series: Series, tracer: Nuclide, grams_per_bq: float) -> _Decay:
    """Each slice's average over its frame is brought to the frame's start and from there to the administration.

    An enhanced object may name the moment that stands for each frame: it counts where the frame's own times are missing or
    differ from it by more than seconds, to which such moments are often rounded.
    """
    named = [(at, 0.0) for i in series.instances if (at := frame_reference(i)) is not None]
    frames, rule = named, "not decay corrected: each frame from its FrameReferenceDateTime"
    if len(named) < len(series.instances) or _agree(series, tracer, named):
        frames, rule = _own_frames(series), "not decay corrected: each slice from its own frame"
    given, warnings = administered(tracer, min(frames)[0])
    return _Decay(
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
        raise NotQuantifiable("DecayCorrection is NONE, and a slice has no AcquisitionTime or ActualFrameDuration.")
    return frames


def _corrected_to_start(series: Series, tracer: Nuclide, grams_per_bq: float) -> _Decay:
    reference = start_reference(series, tracer)
    given, warnings = administered(tracer, min(reference.times))
    # The dose left at the reference time is dose x exp(-decay), so the factor grows with the decay.
    factors = tuple(grams_per_bq * _growth(tracer, given, at) for at in reference.times)
    chosen = float(np.median(factors))
    others = [_by_candidate(other, lambda at: grams_per_bq * _growth(tracer, given, at), chosen) for other in reference.others]
    return _Decay(
        factors=factors,
        rule=f"decay corrected to start: {reference.rule}",
        administered=given,
        reference_rule=reference.rule,
        reference_time=reference.times[0],
        alternatives=tuple(others),
        warnings=warnings + _disagreements(others) + _spread(factors),
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
    return _alternative(other.rule, other.why_not, factor, chosen, next(iter(other.times), None))


def _alternative(
    rule: str, why_not: str, factor: float | None, chosen: float, reference_time: datetime | None = None
) -> Alternative:
    return Alternative(
        rule=rule,
        why_not=why_not,
        reference_time=reference_time,
        suv_factor=factor,
        difference_percent=None if factor is None else (factor / chosen - 1) * 100,
    )


def _disagreements(alternatives: Iterable[Alternative]) -> tuple[str, ...]:
    """A sentence for each rule by which SUV would differ by more than WARN_ABOVE."""
    return tuple(
        f"DecayFactor fits a reference time that would change SUV by {other.difference_percent:+.1f} %."
        if other.rule == DECAY_FACTOR
        else f"By {other.rule} SUV would be {other.difference_percent:+.1f} %."
        for other in alternatives
        if other.difference_percent is not None and abs(other.difference_percent) > WARN_ABOVE * 100
    )


def _spread(factors: tuple[float, ...]) -> tuple[str, ...]:
    spread = max(factors) / min(factors) - 1
    return () if spread <= WARN_ABOVE else (f"The slices' own reference times differ by {spread * 100:.1f} % of SUV.",)


def _from_suv(series: Series, patient: Body, units: str) -> SuvConversion:
    """GML (SUV by some body measure) and CM2ML (SUV by body surface)."""
    suv_type = text(series.header, "SUVType").upper()
    if units == "CM2ML" and suv_type not in {"", "BSA"}:
        raise NotQuantifiable(
            f"Units are CM2ML, which only SUV by body surface has, but SUVType is {suv_type}; correct the header at its source."
        )
    form = to_body_weight("BSA" if units == "CM2ML" else suv_type, patient)
    why_not = "LBM is the older type; the newer one names its formula"
    others = [_alternative(rule, why_not, factor, form.factor) for rule, factor in form.others.items()]
    found = _stored_suv(series, patient, form.rule, form.factor, others)
    return replace(found, warnings=form.notes + found.warnings)


def _from_philips_counts(series: Series, patient: Body) -> SuvConversion:
    """Philips' counts: (7053,1000) turns them into SUV, else (7053,1009) into Bq/ml.

    Where no decay was corrected, one factor to SUV cannot hold for slices of different times, so (7053,1009) comes first.
    """
    to_suv, to_activity = philips_scale(series, SUV_SCALE), philips_scale(series, ACTIVITY_SCALE)
    prefix = "Philips activity scale factor (7053,1009); "
    if to_suv is None and to_activity is None:
        raise NotQuantifiable(
            "Units are CNTS without Philips' scale factors (7053,1000) or (7053,1009); send the series in Bq/ml (BQML)."
        )
    decays = text(series.header, "DecayCorrection").upper() == "NONE"
    if to_activity is not None and (to_suv is None or decays):
        return _from_activity(series, patient, to_activity, prefix)
    rule, chosen = "Philips SUV scale factor (7053,1000)", to_suv or 0.0
    others = []
    if to_activity is not None:
        with contextlib.suppress(NotQuantifiable):  # the other way is a cross-check, and may lack what it needs
            other = _from_activity(series, patient, to_activity, prefix)
            others.append(_alternative(other.rule, f"{rule} comes first", other.factor, chosen, other.reference_time))
    return _stored_suv(series, patient, rule, chosen, others)


def _stored_suv(series: Series, patient: Body, rule: str, factor: float, others: Iterable[Alternative]) -> SuvConversion:
    """Values that are SUV by themselves. Dose and times are told where the header has them; the factor does not need them."""
    begun = started(series)
    tracer: Nuclide | None = None
    given: datetime | None = None
    warnings: tuple[str, ...] = ()
    try:
        tracer = nuclide(series)
        if begun is not None:
            given, warnings = administered(tracer, begun)
    except NotQuantifiable as error:
        warnings = (f"Uptake time unknown: {error}",)
    alternatives = tuple(others)
    return SuvConversion(
        factors=(factor,) * len(series.instances),
        units=text(series.header, "Units").upper(),
        decay_correction=text(series.header, "DecayCorrection").upper(),
        rule=rule,
        body=patient,
        administered=given,
        alternatives=alternatives,
        warnings=warnings + _disagreements(alternatives),
        uptake_min=_uptake_min(series, given),
        dose_bq=None if tracer is None else tracer.dose_bq,
        half_life_s=None if tracer is None else tracer.half_life_s,
    )
