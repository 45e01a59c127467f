"""Stored values to SUVbw, by what the header says, refusing what cannot be quantified."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from analysis.errors import NotQuantifiable
from analysis.values import Body
from dicom_io.choice import name
from dicom_io.correction import why_not_corrected, why_not_static
from dicom_io.elements import text
from dicom_io.studies import Series, once_a_series
from dicom_io.suv_alternatives import Alternative, alternative, disagreements
from dicom_io.suv_body import body, to_body_weight, unit_notes
from dicom_io.suv_checks import decay_notes, require_one_kind, require_readable, tracer_notes, without_slopes
from dicom_io.suv_decay import decay_factors
from dicom_io.suv_makers import ACTIVITY_SCALE, SUV_SCALE, philips_scale
from dicom_io.suv_times import Nuclide, administered, nuclide, started


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


@once_a_series
def suv_conversion(series: Series) -> SuvConversion:
    """What turns a PET series into SUVbw.

    Raises NotQuantifiable: the series is not attenuation corrected or not static, its units cannot be converted, or
    weight, dose, half-life or times are missing or cannot be believed.
    """
    try:
        found = _conversion(series)
    except NotQuantifiable as error:
        study = text(series.header, "StudyDescription")[:64]
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
    decay = decay_factors(series, tracer, patient, correction)
    return SuvConversion(
        factors=tuple(scale * factor for factor in decay.factors),
        units=text(series.header, "Units").upper(),
        decay_correction=correction,
        rule=prefix + decay.rule,
        body=patient,
        reference_rule=decay.reference_rule,
        reference_time=decay.reference_time,
        administered=decay.administered,
        alternatives=tuple(other.scaled(scale) for other in decay.alternatives),
        warnings=notes + decay.warnings,
        uptake_min=_uptake_min(series, decay.administered),
        dose_bq=tracer.dose_bq,
        half_life_s=tracer.half_life_s,
    )


def _uptake_min(series: Series, given: datetime | None) -> float | None:
    begun = started(series)
    return None if begun is None or given is None else (begun - given).total_seconds() / 60


def _from_suv(series: Series, patient: Body, units: str) -> SuvConversion:
    """GML (SUV by some body measure) and CM2ML (SUV by body surface)."""
    suv_type = text(series.header, "SUVType").upper()
    if units == "CM2ML" and suv_type not in {"", "BSA"}:
        raise NotQuantifiable(
            f"Units are CM2ML, which only SUV by body surface has, but SUVType is {suv_type}; correct the header at its source."
        )
    form = to_body_weight("BSA" if units == "CM2ML" else suv_type, patient)
    why_not = "LBM is the older type; the newer one names its formula"
    others = [alternative(rule, why_not, factor, form.factor) for rule, factor in form.others.items()]
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
    if decays:
        raise NotQuantifiable(
            "Units are CNTS without decay correction, to which Philips' SUV factor (7053,1000) does not apply, and (7053,1009) "
            "is missing; send the series decay corrected or in Bq/ml (BQML)."
        )
    rule, chosen = "Philips SUV scale factor (7053,1000)", to_suv or 0.0
    others = []
    if to_activity is not None:
        with contextlib.suppress(NotQuantifiable):  # the other way is a cross-check, and may lack what it needs
            other = _from_activity(series, patient, to_activity, prefix)
            others.append(alternative(other.rule, f"{rule} comes first", other.factor, chosen, other.reference_time))
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
        warnings=warnings + disagreements(alternatives),
        uptake_min=_uptake_min(series, given),
        dose_bq=None if tracer is None else tracer.dose_bq,
        half_life_s=None if tracer is None else tracer.half_life_s,
    )
