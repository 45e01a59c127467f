"""Stored values to SUVbw, by what the header says, refusing what cannot be quantified."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np

from analysis.errors import NotQuantifiable
from analysis.values import NOTHING, Body
from dicom_io.choice import name
from dicom_io.correction import why_not_corrected, why_not_static
from dicom_io.elements import items, number, private, text
from dicom_io.studies import Instance, Series
from dicom_io.suv_body import body, to_body_weight, unit_notes
from dicom_io.suv_times import (
    Nuclide,
    Reference,
    acquired,
    administered,
    decay_factor_reference,
    frame_correction,
    frame_duration_s,
    nuclide,
    start_reference,
    started,
)

PHILIPS_CREATOR = "Philips PET Private Group"
# Candidates for the reference time that differ by more than this part of SUV are told to the user.
WARN_ABOVE = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class SuvConversion:
    """How one PET series becomes SUVbw: SUV = rescaled stored value x factor of its instance.

    factors: one for each of Series.instances, in (g/ml) per unit of the rescaled value. rule: what the factor rests on.
    reference_time: what the first instance is decay corrected to, None where no decay enters. alternatives: other rules'
    median factors. uptake_min: minutes from administration to the earliest acquisition. Times are the scanner's local time.
    """

    factors: tuple[float, ...]
    units: str
    decay_correction: str
    rule: str
    body: Body
    reference_time: datetime | None = None
    administered: datetime | None = None
    alternatives: Mapping[str, float] = field(default_factory=lambda: NOTHING)
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
    reference_time: datetime | None
    administered: datetime
    alternatives: Mapping[str, float]
    warnings: tuple[str, ...]


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
    _require_one_kind(series)
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


def _require_one_kind(series: Series) -> None:
    """Raises NotQuantifiable where instances disagree in what must be one for a series, or an intercept is not 0."""
    doses = "RadionuclideTotalDose"
    for keyword in ("Units", "DecayCorrection", "PatientWeight", doses):
        if len({_dose_text(i) if keyword == doses else text(i.header, keyword) for i in series.instances}) > 1:
            raise NotQuantifiable(f"The instances disagree in {keyword}; send the series again.")
    bare = without_slopes(series)
    for instance in series.instances:
        if not bare and (number(instance.header, "RescaleSlope") or 0.0) <= 0:
            raise NotQuantifiable(
                f"Slice {text(instance.header, 'InstanceNumber') or instance.sop_instance_uid} has no RescaleSlope above 0; "
                "correct the header at its source."
            )
        if number(instance.header, "RescaleIntercept"):
            raise NotQuantifiable(
                f"RescaleIntercept of a PET slice is {number(instance.header, 'RescaleIntercept'):g} where it must be 0; "
                "the series was changed after reconstruction and cannot be measured."
            )


def without_slopes(series: Series) -> bool:
    """Whether no instance at all has a RescaleSlope, as in excerpts of headers: a factor exists, but no voxel can be read."""
    return not any("RescaleSlope" in instance.header for instance in series.instances)


def _dose_text(instance: Instance) -> str:
    found = items(instance.header, "RadiopharmaceuticalInformationSequence")
    return " ".join(text(item, "RadionuclideTotalDose") for item in found)


def _from_activity(series: Series, patient: Body, scale: float, prefix: str) -> SuvConversion:
    """scale: Bq/ml per unit of the rescaled value."""
    tracer = nuclide(series)
    decay = _decay(series, tracer, patient)
    return SuvConversion(
        factors=tuple(scale * factor for factor in decay.factors),
        units=text(series.header, "Units").upper(),
        decay_correction=text(series.header, "DecayCorrection").upper(),
        rule=prefix + decay.rule,
        body=patient,
        reference_time=decay.reference_time,
        administered=decay.administered,
        alternatives={name: scale * factor for name, factor in decay.alternatives.items()},
        warnings=_dose_warnings(tracer, patient) + decay.warnings,
        uptake_min=_uptake_min(series, decay.administered),
        dose_bq=tracer.dose_bq,
        half_life_s=tracer.half_life_s,
    )


def _dose_warnings(tracer: Nuclide, patient: Body) -> tuple[str, ...]:
    if tracer.in_mbq:
        return (f"RadionuclideTotalDose is below 100000 Bq and was taken as MBq ({tracer.dose_bq / 1e6:g} MBq).",)
    per_kg = tracer.dose_bq / 1e6 / patient.weight_kg
    if 0.2 <= per_kg <= 20:
        return ()
    return (f"The dose is {tracer.dose_bq / 1e6:.4g} MBq, {per_kg:.3g} MBq/kg, which is unusual; check dose and weight.",)


def _uptake_min(series: Series, given: datetime) -> float | None:
    begun = started(series)
    return None if begun is None else (begun - given).total_seconds() / 60


def _decay(series: Series, tracer: Nuclide, patient: Body) -> _Decay:
    correction = text(series.header, "DecayCorrection").upper()
    grams_per_bq = patient.weight_kg * 1000 / tracer.dose_bq
    if correction == "START":
        return _corrected_to_start(series, tracer, grams_per_bq)
    begun = started(series)
    if correction not in {"ADMIN", "NONE"} or begun is None:
        what = "DecayCorrection" if begun is not None else "AcquisitionTime"
        raise NotQuantifiable(f"{what} is missing or unknown ({correction or 'empty'}); correct the header at its source.")
    given, warnings = administered(tracer, begun)
    if correction == "NONE":
        return _not_corrected(series, tracer, grams_per_bq, (given, warnings))
    return _Decay(
        factors=(grams_per_bq,) * len(series.instances),
        rule="decay corrected to administration",
        reference_time=given,
        administered=given,
        alternatives={},
        warnings=warnings,
    )


def _not_corrected(series: Series, tracer: Nuclide, grams_per_bq: float, given: tuple[datetime, tuple[str, ...]]) -> _Decay:
    """Each instance's average over its frame is brought to its start and from there to the administration."""
    factors = []
    for instance in series.instances:
        at, duration = acquired(instance), frame_duration_s(instance)
        if at is None or duration <= 0:
            raise NotQuantifiable("DecayCorrection is NONE, and a slice has no AcquisitionTime or ActualFrameDuration.")
        seconds = (at - given[0]).total_seconds()
        within = frame_correction(tracer.decay_constant * duration)
        factors.append(grams_per_bq * within * math.exp(tracer.decay_constant * seconds))
    return _Decay(
        factors=tuple(factors),
        rule="not decay corrected: each slice from its own frame",
        reference_time=None,
        administered=given[0],
        alternatives={},
        warnings=given[1],
    )


def _corrected_to_start(series: Series, tracer: Nuclide, grams_per_bq: float) -> _Decay:
    reference = start_reference(series, tracer)
    given, warnings = administered(tracer, min(reference.times))
    # The dose left at the reference time is dose x exp(-decay), so the factor grows with the decay.
    factors = tuple(grams_per_bq * _growth(tracer, given, at) for at in reference.times)
    alternatives = {
        rule: grams_per_bq * float(np.median([_growth(tracer, given, at) for at in times]))
        for rule, times in reference.candidates.items()
        if rule != reference.rule
    }
    return _Decay(
        factors=factors,
        rule=f"decay corrected to start: {reference.rule}",
        reference_time=reference.times[0],
        administered=given,
        alternatives=alternatives,
        warnings=warnings + _disagreements(factors, alternatives) + _decay_factor_warning(series, tracer, reference),
    )


def _growth(tracer: Nuclide, given: datetime, at: datetime) -> float:
    return math.exp(tracer.decay_constant * (at - given).total_seconds())


def _disagreements(factors: tuple[float, ...], alternatives: Mapping[str, float]) -> tuple[str, ...]:
    chosen = float(np.median(factors))
    found = [
        f"By {rule} SUV would be {(other / chosen - 1) * 100:+.1f} %."
        for rule, other in alternatives.items()
        if abs(other / chosen - 1) > WARN_ABOVE
    ]
    spread = max(factors) / min(factors) - 1
    if spread > WARN_ABOVE:
        found.append(f"The slices' own reference times differ by {spread * 100:.1f} % of SUV.")
    return tuple(found)


def _decay_factor_warning(series: Series, tracer: Nuclide, reference: Reference) -> tuple[str, ...]:
    """A warning where the DecayFactor written by the scanner fits another reference time than the one used."""
    fitting = decay_factor_reference(series, tracer)
    if not fitting:
        return ()
    misses = [_growth(tracer, reference.times[0], at) - 1 for at in fitting]
    nearest = min(misses, key=abs)
    if abs(nearest) <= WARN_ABOVE:
        return ()
    return (f"DecayFactor fits a reference time that would change SUV by {nearest * 100:+.1f} %.",)


def _from_suv(series: Series, patient: Body, units: str) -> SuvConversion:
    """GML (SUV by some body measure) and CM2ML (SUV by body surface)."""
    suv_type = "BSA" if units == "CM2ML" else text(series.header, "SUVType").upper() or "BW"
    forms = to_body_weight(suv_type, patient)
    (name, factor), *others = forms.items()
    rule = "stored as SUVbw" if name == "SUVbw" else f"stored as SUV by {suv_type}, turned into SUVbw"
    return _stored_suv(series, patient, rule, {rule: factor, **dict(others)})


def _from_philips_counts(series: Series, patient: Body) -> SuvConversion:
    """Philips' counts: (7053,1000) turns them into SUV, else (7053,1009) into Bq/ml."""
    to_suv, to_activity = _philips_scale(series, 0x00), _philips_scale(series, 0x09)
    prefix = "Philips activity scale factor (7053,1009); "
    if to_suv is None and to_activity is None:
        raise NotQuantifiable(
            "Units are CNTS without Philips' scale factors (7053,1000) or (7053,1009); send the series in Bq/ml (BQML)."
        )
    if to_suv is None:
        return _from_activity(series, patient, to_activity or 0.0, prefix)
    factors = {"Philips SUV scale factor (7053,1000)": to_suv}
    if to_activity is not None:
        with contextlib.suppress(NotQuantifiable):  # the other way is a cross-check, and may lack what it needs
            other = _from_activity(series, patient, to_activity, prefix)
            factors[other.rule] = other.factor
    return _stored_suv(series, patient, next(iter(factors)), factors)


def _philips_scale(series: Series, element: int) -> float | None:
    """The private factor, None where it is absent or zero. Raises NotQuantifiable where the slices disagree."""
    found = {_philips_value(instance, element) for instance in series.instances}
    if len(found) > 1:
        raise NotQuantifiable(f"The slices disagree in Philips' scale factor (7053,10{element:02X}); send the series again.")
    return found.pop()


def _philips_value(instance: Instance, element: int) -> float | None:
    """Read by its creator; without one (lost in de-identification) only where the maker is Philips."""
    written = private(instance.header, PHILIPS_CREATOR, (0x7053, element))
    orphan = (0x7053, 0x1000 + element)
    if (
        written is None
        and (0x7053, 0x0010) not in instance.header
        and "philips" in text(instance.header, "Manufacturer").lower()
    ):
        written = instance.header[orphan].value if orphan in instance.header else None
    try:
        factor = float(written.decode() if isinstance(written, bytes) else str(written))
    except ValueError:
        return None
    return factor if math.isfinite(factor) and factor > 0 else None


def _stored_suv(series: Series, patient: Body, rule: str, factors: Mapping[str, float]) -> SuvConversion:
    """Values that are SUV by themselves. factors: rule > factor, that of `rule` and other readings of the same header.

    Dose and times are told where the header has them; the factor does not need them.
    """
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
    alternatives = {name: factor for name, factor in factors.items() if name != rule}
    return SuvConversion(
        factors=(factors[rule],) * len(series.instances),
        units=text(series.header, "Units").upper(),
        decay_correction=text(series.header, "DecayCorrection").upper(),
        rule=rule,
        body=patient,
        administered=given,
        alternatives=alternatives,
        warnings=warnings + _disagreements((factors[rule],), alternatives),
        uptake_min=None if given is None else _uptake_min(series, given),
        dose_bq=None if tracer is None else tracer.dose_bq,
        half_life_s=None if tracer is None else tracer.half_life_s,
    )
