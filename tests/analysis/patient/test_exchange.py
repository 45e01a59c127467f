"""FDG and PentixaFor exchanged by mistake are noticed from the image, and right ones never are: digital patients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from analysis.patient.lesions import find_lesions
from analysis.patient.measures import MeasurementSettings, brain_mean, liver_mean, spleen_mean
from analysis.patient.quality_case import QualityCase
from analysis.patient.quality_settings import QualitySettings
from analysis.patient.quality_tracers import tracers
from analysis.phantom import DigitalPatient, PhantomSettings, make_patient
from analysis.phantom.traps import Trap
from analysis.phantom.values import Preset
from analysis.segmenters.rules import RuleLesions
from analysis.segmenters.rules_anatomy import RuleAnatomy
from analysis.values import AlignedPair, Anatomy, Finding, LesionSet, PetCt, Tracer, Verdict

HOW = MeasurementSettings()
LIMITS = QualitySettings()
FIELDS = {
    "whole": frozenset[str](),
    "no spleen": frozenset({"spleen"}),
    "torso": frozenset({"brain"}),
    "torso, no spleen": frozenset({"brain", "spleen"}),
}
BONES = ("vertebra", "hip", "femur", "rib", "sacrum", "sternum", "scapula", "clavicula", "humerus", "skull")


@pytest.fixture(scope="module", params=[1, 2, 3])
def patient(request: pytest.FixtureRequest) -> DigitalPatient:
    return make_patient(PhantomSettings(seed=request.param, preset=Preset.COARSE, still=True))


def anatomy_of(make: Any, patient: DigitalPatient, tracer: Tracer, without: frozenset[str]) -> Anatomy:
    """The truth's organs, some of them out of the field or taken out."""
    organs = patient.organs[tracer]
    names = set(organs.names.values())
    shown = [n for n in ("brain", "liver", "spleen", "kidney_left", "kidney_right") if n in names and n not in without]
    bone = organs.mask(*(n for n in names if n.startswith(BONES))).astype(np.float32)
    return make.anatomy(patient.study(tracer).pet.grid, {n: organs.mask(n) for n in shown}, bone=bone)


def findings(make: Any, patient: DigitalPatient, without: frozenset[str], *, exchanged: bool) -> dict[str, Finding]:
    shown = {t: t.other if exchanged else t for t in Tracer}
    studies: dict[Tracer, PetCt] = {t: replace(patient.study(s), tracer=t) for t, s in shown.items()}
    anatomy = {t: anatomy_of(make, patient, s, without) for t, s in shown.items()}
    lesions = {t: make.lesions(t, studies[t].pet.grid) for t in Tracer}
    pair = make.pair(studies[Tracer.FDG], studies[Tracer.PENTIXAFOR])
    return {finding.name: finding for finding in tracers(case_of(pair, anatomy, lesions), LIMITS)}


def case_of(pair: AlignedPair, anatomy: Mapping[Tracer, Anatomy], lesions: Mapping[Tracer, LesionSet]) -> QualityCase:
    all_of = {t: (pair.study(t), anatomy[t], lesions[t]) for t in Tracer}
    return QualityCase(
        pair=pair,
        anatomy=anatomy,
        lesions=lesions,
        matches=(),
        liver={t: liver_mean(*all_of[t], HOW) for t in Tracer},
        spleen={t: spleen_mean(*all_of[t], HOW) for t in Tracer},
        brain={t: brain_mean(pair.study(t), anatomy[t], LIMITS.min_brain_ml) for t in Tracer},
        noise={},
        body={},
    )


@pytest.mark.parametrize("field", FIELDS)
def test_exchanged_tracers_are_held_in_every_field(make: Any, patient: DigitalPatient, field: str) -> None:
    found = findings(make, patient, FIELDS[field], exchanged=True)
    assert found["tracer contrast"].verdict is Verdict.HOLD
    assert "may be exchanged" in found["tracer contrast"].message
    seen = {"brain": "PentixaFor brain to liver", "spleen": "PentixaFor spleen to liver"}
    assert {found[name].verdict for organ, name in seen.items() if organ not in FIELDS[field]} <= {Verdict.HOLD}


@pytest.mark.parametrize("field", FIELDS)
def test_right_tracers_are_never_held(make: Any, patient: DigitalPatient, field: str) -> None:
    found = findings(make, patient, FIELDS[field], exchanged=False)
    assert found["tracer contrast"].verdict is Verdict.OK
    assert Verdict.HOLD not in {finding.verdict for finding in found.values()}


def test_the_same_tracer_twice_is_told_and_not_held(make: Any, patient: DigitalPatient) -> None:
    """As in the shared real pair, whose second PET is the first one seen through a deformation."""
    twice = replace(
        patient,
        pentixafor=replace(patient.fdg, tracer=Tracer.PENTIXAFOR),
        organs=dict.fromkeys(Tracer, patient.organs[Tracer.FDG]),
    )
    found = findings(make, twice, FIELDS["torso"], exchanged=False)["tracer contrast"]
    assert (found.value, found.verdict) == (pytest.approx(1.0), Verdict.WARN)
    assert "both PETs may show the same tracer" in found.message


def test_an_exchange_is_held_with_the_anatomy_and_lesions_of_the_rules(make: Any) -> None:
    """PentixaFor's brain, which is hot as a lesion and segmented as one, is measured all the same."""
    traps = frozenset({Trap.SWAPPED_TRACERS})
    patient = make_patient(PhantomSettings(seed=1, preset=Preset.COARSE, lesions=3, still=True, traps=traps))
    pair = make.pair(patient.fdg, patient.pentixafor)
    anatomy = RuleAnatomy().segment_anatomy(pair)
    lesions = {t: find_lesions(pair.study(t), anatomy[t], RuleLesions(), HOW) for t in Tracer}
    found = {f.name: f.verdict for f in tracers(case_of(pair, anatomy, lesions), LIMITS)}
    names = ("FDG brain to liver", "PentixaFor brain to liver", "PentixaFor spleen to liver", "tracer contrast")
    assert found == dict.fromkeys(names, Verdict.HOLD)
