"""What a reader must know before trusting a pair's numbers: each check is a Finding with value, limit, verdict and sentence."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.grids import apply, inverse
from analysis.patient.measures import MeasurementSettings, brain_mean, liver_mean, spleen_mean
from analysis.values import (
    AlignedPair,
    Anatomy,
    Concordance,
    Finding,
    LesionMatch,
    LesionSet,
    PetCt,
    RegistrationQuality,
    Tracer,
    Verdict,
)

BODY_HU = -400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class QualitySettings:
    """Limits of the findings (docs/METHOD.md 5). Pairs are (low, high).

    fdg_brain_liver: FDG's brain is at least so much hotter than the liver; pentixafor_brain_liver: PentixaFor's at most.
    pentixafor_spleen_liver: PentixaFor's spleen is above. uptake_min: usual; outside uptake_hold_min SUV means something else.
    min_brain_ml: less of the brain in the field says nothing. *_hold: beyond it the numbers are not delivered unseen.
    """

    fdg_brain_liver: float = 2.0
    pentixafor_brain_liver: float = 0.5
    pentixafor_spleen_liver: float = 1.0
    min_brain_ml: float = 100.0
    fdg_liver: tuple[float, float] = (1.3, 3.0)
    uptake_min: tuple[float, float] = (50.0, 75.0)
    uptake_hold_min: tuple[float, float] = (30.0, 150.0)
    uptake_difference_min: float = 15.0
    weight_change: float = 0.10
    bone_dice: float = 0.70
    bone_dice_hold: float = 0.40
    body_dice: float = 0.90
    body_dice_hold: float = 0.70
    displacement_p95_mm: float = 40.0
    common_field: float = 0.80
    common_field_hold: float = 0.30
    max_lesions: int = 200
    max_volume_ml: float = 3000.0
    inside_organ: float = 0.99
    expected_organs: tuple[str, ...] = ("liver", "spleen")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Case:
    """All that a check may look at; liver, spleen, brain: SUVmean, NaN where undefined."""

    pair: AlignedPair
    anatomy: Mapping[Tracer, Anatomy]
    lesions: Mapping[Tracer, LesionSet]
    matches: Sequence[LesionMatch]
    liver: Mapping[Tracer, float]
    spleen: Mapping[Tracer, float]
    brain: Mapping[Tracer, float]


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
    case = _Case(
        pair=pair,
        anatomy=anatomy,
        lesions=lesions,
        matches=matches,
        liver={t: liver_mean(*studies[t], how) for t in Tracer},
        spleen={t: spleen_mean(*studies[t], how) for t in Tracer},
        brain={t: brain_mean(*studies[t], settings.min_brain_ml) for t in Tracer},
    )
    checks = (_acquisition, _weight, _registration, _common_field, _organs, _tracers, _lesion_load, _inside_organs)
    return tuple(finding for one in checks for finding in one(case, settings))


def _graded(value: float, ok: bool, hold: bool) -> Verdict:
    if not math.isfinite(value):
        return Verdict.WARN
    return Verdict.OK if ok else Verdict.HOLD if hold else Verdict.WARN


def _acquisition(case: _Case, settings: QualitySettings) -> Iterator[Finding]:
    """Uptake time of either tracer, their difference, and what the conversion to SUV has to say."""
    studies = [case.pair.study(t) for t in Tracer]
    for study in studies:
        yield _uptake(study, settings)
    fdg, pentixafor = (s.uptake_min for s in studies)
    if fdg is not None and pentixafor is not None:
        gap = abs(fdg - pentixafor)
        yield Finding(
            name="uptake time difference",
            value=round(gap, 1),
            limit=f"<= {settings.uptake_difference_min:g} min",
            verdict=Verdict.OK if gap <= settings.uptake_difference_min else Verdict.WARN,
            message=f"The uptake times of the two tracers differ by {gap:.0f} min.",
        )
    for study in studies:
        for sentence in study.facts.get("suv_warnings", ()):
            yield Finding(name=f"{study.tracer} SUV", value=None, limit="", verdict=Verdict.WARN, message=str(sentence))


def _uptake(study: PetCt, settings: QualitySettings) -> Finding:
    (low, high), (bottom, top) = settings.uptake_min, settings.uptake_hold_min
    minutes = study.uptake_min
    limit = f"{low:g}-{high:g} min, hold below {bottom:g} or above {top:g} min"
    name = f"{study.tracer} uptake time"
    if minutes is None:
        return Finding(
            name=name, value=None, limit=limit, verdict=Verdict.WARN, message=f"The uptake time of {study.tracer} is unknown."
        )
    verdict = _graded(minutes, low <= minutes <= high, not bottom <= minutes <= top)
    usual = (
        "as usual" if verdict is Verdict.OK else f"outside {low:g} to {high:g} min, so SUV compare badly with other patients"
    )
    return Finding(
        name=name,
        value=round(minutes, 1),
        limit=limit,
        verdict=verdict,
        message=f"{study.tracer} was measured {minutes:.0f} min after injection, {usual}.",
    )


def _weight(case: _Case, settings: QualitySettings) -> Iterator[Finding]:
    fdg, pentixafor = (case.pair.study(t).body.weight_kg for t in Tracer)
    change = abs(fdg - pentixafor) / min(fdg, pentixafor)
    yield Finding(
        name="weight change",
        value=round(change, 3),
        limit=f"<= {settings.weight_change:g}",
        verdict=Verdict.OK if change <= settings.weight_change else Verdict.WARN,
        message=f"The patient's weight is {fdg:g} kg at FDG and {pentixafor:g} kg at PentixaFor, a change of {change:.0%}.",
    )


def _registration(case: _Case, settings: QualitySettings) -> Iterator[Finding]:
    q = case.pair.quality
    yield _dice("bone", q.bone_dice, (settings.bone_dice, settings.bone_dice_hold))
    yield _dice("body", q.body_dice, (settings.body_dice, settings.body_dice_hold))
    yield Finding(
        name="registration folding",
        value=q.folding,
        limit="0",
        verdict=Verdict.OK if q.folding <= 0 else Verdict.WARN,
        message=f"The deformation folds in {q.folding:.2%} of the volume."
        if q.folding > 0
        else "The deformation folds nowhere.",
    )
    yield _displacement(q, settings)


def _dice(part: str, value: float, limits: tuple[float, float]) -> Finding:
    limit, hold = limits
    verdict = _graded(value, value >= limit, value < hold)
    ends = "well" if verdict is Verdict.OK else "badly, so matches between the tracers may be wrong"
    return Finding(
        name=f"registration {part} Dice",
        value=round(value, 3),
        limit=f">= {limit:g}, hold below {hold:g}",
        verdict=verdict,
        message=f"The {part} of both scans agrees {ends} after registration (Dice {value:.2f}).",
    )


def _displacement(q: RegistrationQuality, settings: QualitySettings) -> Finding:
    kept = f" ({q.reason})" if q.reason else ""
    return Finding(
        name="registration displacement",
        value=round(q.displacement_p95_mm, 1),
        limit=f"<= {settings.displacement_p95_mm:g} mm",
        verdict=Verdict.OK if q.displacement_p95_mm <= settings.displacement_p95_mm else Verdict.WARN,
        message=f"The {q.method} registration{kept} bends the body by up to {q.displacement_p95_mm:.0f} mm (95th percentile).",
    )


def _common_field(case: _Case, settings: QualitySettings) -> Iterator[Finding]:
    """How much of the smaller scan's body the other PET covers, and the lesions that this leaves out."""
    share = max(field_shares(case.pair).values())
    apart = sum(len(m.fdg) + len(m.pentixafor) for m in case.matches if m.concordance is Concordance.NOT_COMPARABLE)
    verdict = _graded(share, share >= settings.common_field, share < settings.common_field_hold)
    if apart and verdict is Verdict.OK:
        verdict = Verdict.WARN
    lesions = f"{apart} lesion{'s' if apart != 1 else ''} cannot be compared" if apart else "every lesion can be compared"
    yield Finding(
        name="common field of view",
        value=round(share, 3),
        limit=f">= {settings.common_field:g}, hold below {settings.common_field_hold:g}",
        verdict=verdict,
        message=f"{share:.0%} of the smaller scan lies in the field of view of the other, and {lesions}.",
    )


def field_shares(pair: AlignedPair, stride_mm: float = 12.0) -> dict[Tracer, float]:
    """The part of each study's body (within its PET) that lies in the field of view of the other study's PET."""
    shares: dict[Tracer, float] = {}
    for tracer in Tracer:
        study, other = pair.study(tracer), pair.study(tracer.other)
        step = [max(1, round(stride_mm / s)) for s in study.ct.grid.spacing]
        sparse = study.ct.values[:: step[0], :: step[1], :: step[2]]
        places = study.ct.grid.to_world(np.argwhere(sparse > BODY_HU) * step)
        places = places[study.pet.grid.contains(places)]
        moved = inverse(pair.transform, places) if tracer is Tracer.FDG else apply(pair.transform, places)
        shares[tracer] = float(other.pet.grid.contains(moved).mean()) if len(places) else 0.0
    return shares


def _organs(case: _Case, settings: QualitySettings) -> Iterator[Finding]:
    """Organs that every number rests on, and the liver's FDG."""
    for tracer in Tracer:
        present = set(case.anatomy[tracer].regions.names.values()) if case.anatomy[tracer].regions.labels.any() else set()
        missing = [o for o in settings.expected_organs if o not in present or not case.anatomy[tracer].regions.mask(o).any()]
        yield Finding(
            name=f"{tracer} organs",
            value=", ".join(missing) or "all found",
            limit=", ".join(settings.expected_organs),
            verdict=Verdict.WARN if missing else Verdict.OK,
            message=f"Not found in the {tracer} study: {', '.join(missing)}."
            if missing
            else f"The reference organs of the {tracer} study were found.",
        )
    low, high = settings.fdg_liver
    liver = case.liver[Tracer.FDG]
    yield _ratio(
        name="FDG liver SUVmean",
        value=liver,
        limit=f"{low:g}-{high:g}",
        verdict=_graded(liver, low <= liver <= high, hold=False),
        words=("The FDG uptake of the liver", "outside the usual range, so dose, time or SUV may be wrong"),
    )


def _ratio(name: str, value: float, limit: str, verdict: Verdict, words: tuple[str, str]) -> Finding:
    """A Finding on one number, NaN shown as unknown; words: what it is, and what it means where it is not as expected."""
    what, otherwise = words
    if not math.isfinite(value):
        return Finding(name=name, value=None, limit=limit, verdict=verdict, message=f"{what} could not be measured.")
    ends = "as expected" if verdict is Verdict.OK else otherwise
    return Finding(name=name, value=round(value, 3), limit=limit, verdict=verdict, message=f"{what} is {value:.2f}, {ends}.")


def _tracers(case: _Case, settings: QualitySettings) -> Iterator[Finding]:
    """Whether each PET looks like its tracer: the brain is hot on FDG and cold on PentixaFor, which also fills the spleen."""
    brain = {t: case.brain[t] / case.liver[t] for t in Tracer}
    spleen = {t: case.spleen[t] / case.liver[t] for t in Tracer}
    if math.isfinite(brain[Tracer.FDG]):
        yield _fdg_brain(brain[Tracer.FDG], settings)
    if math.isfinite(brain[Tracer.PENTIXAFOR]):
        yield _pentixafor_brain(brain[Tracer.PENTIXAFOR], settings)
    yield _pentixafor_spleen(spleen, settings)


def _fdg_brain(ratio: float, settings: QualitySettings) -> Finding:
    return _ratio(
        name="FDG brain to liver",
        value=ratio,
        limit=f">= {settings.fdg_brain_liver:g}, hold below {settings.pentixafor_brain_liver:g}",
        verdict=_graded(ratio, ratio >= settings.fdg_brain_liver, ratio < settings.pentixafor_brain_liver),
        words=("On FDG the ratio of brain to liver", "too low for FDG: the tracers may be exchanged"),
    )


def _pentixafor_brain(ratio: float, settings: QualitySettings) -> Finding:
    return _ratio(
        name="PentixaFor brain to liver",
        value=ratio,
        limit=f"< {settings.pentixafor_brain_liver:g}, hold from {settings.fdg_brain_liver:g}",
        verdict=_graded(ratio, ratio < settings.pentixafor_brain_liver, ratio >= settings.fdg_brain_liver),
        words=("On PentixaFor the ratio of brain to liver", "too high for PentixaFor: the tracers may be exchanged"),
    )


def _pentixafor_spleen(ratio: Mapping[Tracer, float], settings: QualitySettings) -> Finding:
    """Held where both tracers' spleens say the opposite of what they are; alone a pale spleen is only unusual."""
    limit = settings.pentixafor_spleen_liver
    here, there = ratio[Tracer.PENTIXAFOR], ratio[Tracer.FDG]
    return _ratio(
        name="PentixaFor spleen to liver",
        value=here,
        limit=f"> {limit:g}; hold where FDG's is above {1.5 * limit:g} instead",
        verdict=_graded(here, here > limit, there > 1.5 * limit),
        words=("On PentixaFor the ratio of spleen to liver", "too low for PentixaFor: the tracers may be exchanged"),
    )


def _lesion_load(case: _Case, settings: QualitySettings) -> Iterator[Finding]:
    for tracer in Tracer:
        lesions = case.lesions[tracer].lesions
        volume = math.fsum(x.volume_ml for x in lesions)
        much = len(lesions) > settings.max_lesions or volume > settings.max_volume_ml
        ends = "which is more than one expects; look at the mask" if much else "which is plausible"
        yield Finding(
            name=f"{tracer} lesion load",
            value=f"{len(lesions)} lesions, {volume:.1f} ml",
            limit=f"<= {settings.max_lesions} lesions and <= {settings.max_volume_ml:g} ml",
            verdict=Verdict.WARN if much else Verdict.OK,
            message=f"{tracer} shows {len(lesions)} lesions of {volume:.0f} ml in all, {ends}.",
        )


def _inside_organs(case: _Case, settings: QualitySettings) -> Iterator[Finding]:
    """Lesions that lie wholly in an organ of physiological uptake; silent where there is none."""
    for tracer in Tracer:
        anatomy, lesions = case.anatomy[tracer], case.lesions[tracer]
        labels = lesions.labelmap.labels
        physiological = anatomy.regions.mask(*anatomy.physiological)
        inside = np.bincount(labels[physiological & (labels > 0)], minlength=len(lesions.lesions) + 1)
        found = [x.id for x in lesions.lesions if inside[x.label] >= settings.inside_organ * x.voxels]
        if found:
            yield Finding(
                name=f"{tracer} lesions in organs",
                value=", ".join(found),
                limit="none",
                verdict=Verdict.WARN,
                message=f"On {tracer}, {', '.join(found)} lie wholly in an organ of physiological uptake; look at them.",
            )
