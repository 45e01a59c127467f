"""What every quality check shares: what it may look at, and how a number becomes a Finding."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from analysis.patient.quality_body import SeenBody
from analysis.values import AlignedPair, Anatomy, Finding, LesionMatch, LesionSet, PetCt, Tracer, Verdict


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QualityCase:
    """All that a check may look at.

    liver, spleen, brain: SUVmean, NaN where undefined. noise: coefficient of variation in the liver's sphere. body: where
    the patient lies, as CT and PET show it.
    """

    pair: AlignedPair
    anatomy: Mapping[Tracer, Anatomy]
    lesions: Mapping[Tracer, LesionSet]
    matches: Sequence[LesionMatch]
    liver: Mapping[Tracer, float]
    spleen: Mapping[Tracer, float]
    brain: Mapping[Tracer, float]
    noise: Mapping[Tracer, float]
    body: Mapping[Tracer, SeenBody]

    def studies(self) -> Iterator[PetCt]:
        return (self.pair.study(t) for t in Tracer)


def graded(value: float, ok: bool, hold: bool) -> Verdict:
    """ok, hold or else warn; a value that is undefined is a warning."""
    if not math.isfinite(value):
        return Verdict.WARN
    return Verdict.OK if ok else Verdict.HOLD if hold else Verdict.WARN


def measured(name: str, value: float, limit: str, verdict: Verdict, words: tuple[str, str]) -> Finding:
    """A Finding on one number, NaN shown as unknown; words: what it is, and what it means where it is not as expected."""
    what, otherwise = words
    if not math.isfinite(value):
        return Finding(name=name, value=None, limit=limit, verdict=verdict, message=f"{what} could not be measured.")
    ends = "as expected" if verdict is Verdict.OK else otherwise
    return Finding(name=name, value=clipped(value), limit=limit, verdict=verdict, message=f"{what} is {value:.2f}, {ends}.")


def ranged(name: str, value: float, limits: tuple[float, float], words: tuple[str, str, str], factor: float = 0.0) -> Finding:
    """A number that is usual between two limits; held where it lies `factor` times beyond them (0: never).

    words: what it is, its unit, and what it means where it is outside.
    """
    low, high = limits
    what, unit, otherwise = words
    unit = f" {unit}" if unit else ""
    hold = factor > 0 and not low / factor <= value <= high * factor
    limit = f"{low:g}-{high:g}{unit}"
    limit += f", hold below {low / factor:g} or above {high * factor:g}{unit}" if factor > 0 else ""
    verdict = graded(value, low <= value <= high, hold)
    ends = "as expected" if verdict is Verdict.OK else f"outside {low:g} to {high:g}{unit}: {otherwise}"
    return Finding(
        name=name, value=clipped(value), limit=limit, verdict=verdict, message=f"{what} is {clipped(value):g}{unit}, {ends}."
    )


def clipped(value: float) -> float:
    """The value as it is shown and compared: four significant digits, and nothing below a millionth, which is rounding."""
    return round(float(f"{value:.4g}"), 6)


def spread(one: float, other: float) -> float:
    """How far two positive numbers lie apart, as a part of the smaller one."""
    return abs(one - other) / min(one, other)
