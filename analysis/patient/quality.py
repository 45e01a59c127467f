"""What a reader must know before trusting a pair's numbers: each check is a Finding with value, limit, verdict and sentence.

The checks stand by subject in the modules quality_*; here is only their order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from analysis.both import for_both
from analysis.patient.measures import MeasurementSettings, brain_mean, liver_mean_and_noise, spleen_mean
from analysis.patient.quality_acquisition import acquisition, patient
from analysis.patient.quality_balance import balance
from analysis.patient.quality_body import seen_body
from analysis.patient.quality_case import QualityCase
from analysis.patient.quality_geometry import geometry
from analysis.patient.quality_lesions import inside_organs, lesion_load, models
from analysis.patient.quality_organs import organs
from analysis.patient.quality_registration import common_field, registration
from analysis.patient.quality_settings import QualitySettings
from analysis.patient.quality_tracers import tracers
from analysis.values import AlignedPair, Anatomy, Finding, LesionMatch, LesionSet, Tracer

CHECKS = (
    acquisition,
    patient,
    balance,
    geometry,
    registration,
    common_field,
    organs,
    tracers,
    lesion_load,
    inside_organs,
    models,
)


def check(
    pair: AlignedPair,
    anatomy: Mapping[Tracer, Anatomy],
    lesions: Mapping[Tracer, LesionSet],
    matches: Sequence[LesionMatch],
    settings: QualitySettings,
    measurement: MeasurementSettings | None = None,
) -> tuple[Finding, ...]:
    """Every finding, those that are fine included; measurement: how the reference organs are measured."""
    how = measurement or MeasurementSettings()
    studies = {t: (pair.study(t), anatomy[t], lesions[t]) for t in Tracer}
    liver = for_both(lambda t: liver_mean_and_noise(*studies[t], how))
    case = QualityCase(
        pair=pair,
        anatomy=anatomy,
        lesions=lesions,
        matches=matches,
        liver={t: mean for t, (mean, _) in liver.items()},
        spleen=for_both(lambda t: spleen_mean(*studies[t], how)),
        brain=for_both(lambda t: brain_mean(*studies[t][:2], settings.min_brain_ml)),
        noise={t: noise for t, (_, noise) in liver.items()},
        body=for_both(lambda t: seen_body(pair.study(t))),
    )
    return tuple(finding for one in CHECKS for finding in one(case, settings))
