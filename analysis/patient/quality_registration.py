"""How far both studies can be compared place by place: the registration, and what both fields of view share."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from analysis.grids import apply, inverse
from analysis.patient.quality_case import QualityCase, clipped, graded
from analysis.patient.quality_settings import QualitySettings
from analysis.values import AlignedPair, Concordance, Finding, RegistrationQuality, Tracer, Verdict

BODY_HU = -400.0


def registration(case: QualityCase, settings: QualitySettings) -> Iterator[Finding]:
    """How well both CTs agree after registration, and how far it bends the body."""
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
    value = clipped(value)
    verdict = graded(value, value >= limit, value < hold)
    ends = "well" if verdict is Verdict.OK else "badly, so matches between the tracers may be wrong"
    return Finding(
        name=f"registration {part} Dice",
        value=value,
        limit=f">= {limit:g}, hold below {hold:g}",
        verdict=verdict,
        message=f"The {part} of both scans agrees {ends} after registration (Dice {value:.2f}).",
    )


def _displacement(q: RegistrationQuality, settings: QualitySettings) -> Finding:
    kept = f" ({q.reason})" if q.reason else ""
    return Finding(
        name="registration displacement",
        value=clipped(q.displacement_p95_mm),
        limit=f"<= {settings.displacement_p95_mm:g} mm",
        verdict=Verdict.OK if q.displacement_p95_mm <= settings.displacement_p95_mm else Verdict.WARN,
        message=f"The {q.method} registration{kept} bends the body by up to {q.displacement_p95_mm:.0f} mm (95th percentile).",
    )


def common_field(case: QualityCase, settings: QualitySettings) -> Iterator[Finding]:
    """How much of the smaller scan's body the other PET covers, and the lesions that this leaves out."""
    share = max(field_shares(case.pair).values())
    blind = [str(t) for t in Tracer if case.lesions[t].not_run]
    apart = (
        0 if blind else sum(len(m.fdg) + len(m.pentixafor) for m in case.matches if m.concordance is Concordance.NOT_COMPARABLE)
    )
    verdict = graded(share, share >= settings.common_field, share < settings.common_field_hold)
    if apart and verdict is Verdict.OK:
        verdict = Verdict.WARN
    lesions = f"{apart} lesion{'s' if apart != 1 else ''} cannot be compared" if apart else "every lesion can be compared"
    if blind:
        lesions = f"no lesion can be compared, since none were segmented on {' and '.join(blind)}"
    yield Finding(
        name="common field of view",
        value=clipped(share),
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
