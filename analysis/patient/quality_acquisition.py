"""Whether times and weight are such that SUV mean what they should."""

from __future__ import annotations

from collections.abc import Iterator

from analysis.patient.quality_case import QualityCase, QualitySettings, graded
from analysis.values import Finding, PetCt, Tracer, Verdict


def acquisition(case: QualityCase, settings: QualitySettings) -> Iterator[Finding]:
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
    verdict = graded(minutes, low <= minutes <= high, not bottom <= minutes <= top)
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


def weight(case: QualityCase, settings: QualitySettings) -> Iterator[Finding]:
    fdg, pentixafor = (case.pair.study(t).body.weight_kg for t in Tracer)
    change = abs(fdg - pentixafor) / min(fdg, pentixafor)
    yield Finding(
        name="weight change",
        value=round(change, 3),
        limit=f"<= {settings.weight_change:g}",
        verdict=Verdict.OK if change <= settings.weight_change else Verdict.WARN,
        message=f"The patient's weight is {fdg:g} kg at FDG and {pentixafor:g} kg at PentixaFor, a change of {change:.0%}.",
    )
