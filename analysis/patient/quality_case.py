"""What every quality check shares: the limits, what it may look at, and how a number becomes a Finding."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from analysis.values import AlignedPair, Anatomy, Finding, LesionMatch, LesionSet, Tracer, Verdict


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
class QualityCase:
    """All that a check may look at; liver, spleen, brain: SUVmean, NaN where undefined."""

    pair: AlignedPair
    anatomy: Mapping[Tracer, Anatomy]
    lesions: Mapping[Tracer, LesionSet]
    matches: Sequence[LesionMatch]
    liver: Mapping[Tracer, float]
    spleen: Mapping[Tracer, float]
    brain: Mapping[Tracer, float]


def graded(value: float, ok: bool, hold: bool) -> Verdict:
    if not math.isfinite(value):
        return Verdict.WARN
    return Verdict.OK if ok else Verdict.HOLD if hold else Verdict.WARN


def measured(name: str, value: float, limit: str, verdict: Verdict, words: tuple[str, str]) -> Finding:
    """A Finding on one number, NaN shown as unknown; words: what it is, and what it means where it is not as expected."""
    what, otherwise = words
    if not math.isfinite(value):
        return Finding(name=name, value=None, limit=limit, verdict=verdict, message=f"{what} could not be measured.")
    ends = "as expected" if verdict is Verdict.OK else otherwise
    return Finding(name=name, value=round(value, 3), limit=limit, verdict=verdict, message=f"{what} is {value:.2f}, {ends}.")
