"""Whether dose, times and the patient's measures are such that SUV mean what they should.

Of a study that came without headers (a phantom in memory) nothing is said that only a header could know.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from analysis.patient.quality_case import QualityCase, clipped, graded, ranged, spread
from analysis.patient.quality_settings import QualitySettings
from analysis.values import Finding, PetCt, Tracer, Verdict


def acquisition(case: QualityCase, settings: QualitySettings) -> Iterator[Finding]:
    """Dose, half-life, times of both studies, and what the conversion to SUV has to say."""
    for study in case.studies():
        yield from _dose(study, settings)
        yield from _half_life(study, settings)
    for study in case.studies():
        yield _uptake(study, settings)
    yield from _uptake_difference(case, settings)
    for study in case.studies():
        yield from _session(study, settings)
    yield from _gap(case, settings)
    for study in case.studies():
        yield from _conversion(study)


def _dose(study: PetCt, settings: QualitySettings) -> Iterator[Finding]:
    if "dose_bq" not in study.facts:
        return
    fdg = study.tracer is Tracer.FDG
    total, per_kg = (
        (settings.fdg_dose_mbq, settings.fdg_dose_mbq_per_kg)
        if fdg
        else (settings.pentixafor_dose_mbq, settings.pentixafor_dose_mbq_per_kg)
    )
    name, dose = f"{study.tracer} dose", study.facts["dose_bq"]
    if dose is None:
        yield Finding(
            name=name,
            value=None,
            limit=f"{total[0]:g}-{total[1]:g} MBq",
            verdict=Verdict.WARN,
            message=f"The header does not say how much {study.tracer} was given, so the scanner's own SUV cannot be checked.",
        )
        return
    mbq, wrong = float(dose) / 1e6, "check the dose and its unit"
    yield ranged(name, mbq, total, (f"The dose of {study.tracer}", "MBq", wrong), settings.dose_hold_factor)
    words = (f"The dose of {study.tracer} for each kg of body weight", "MBq/kg", "check dose and weight and their units")
    yield ranged(f"{name} per kg", mbq / study.body.weight_kg, per_kg, words, settings.dose_hold_factor)


def _half_life(study: PetCt, settings: QualitySettings) -> Iterator[Finding]:
    seconds = study.facts.get("half_life_s")
    if seconds is None:
        return
    low, high = settings.fdg_half_life_s if study.tracer is Tracer.FDG else settings.pentixafor_half_life_s
    fits = low <= seconds <= high
    isotope = "F-18" if study.tracer is Tracer.FDG else "Ga-68"
    ends = f"that of {isotope}" if fits else f"not that of {isotope}, so decay was corrected wrongly or the tracer is another"
    yield Finding(
        name=f"{study.tracer} half-life",
        value=clipped(seconds),
        limit=f"{low:g}-{high:g} s, hold outside",
        verdict=Verdict.OK if fits else Verdict.HOLD,
        message=f"The half-life in the header of {study.tracer} is {seconds:.0f} s, {ends}.",
    )


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
        value=clipped(minutes),
        limit=limit,
        verdict=verdict,
        message=f"{study.tracer} was measured {minutes:.0f} min after injection, {usual}.",
    )


def _uptake_difference(case: QualityCase, settings: QualitySettings) -> Iterator[Finding]:
    fdg, pentixafor = (s.uptake_min for s in case.studies())
    if fdg is None or pentixafor is None:
        return
    gap = abs(fdg - pentixafor)
    yield Finding(
        name="uptake time difference",
        value=clipped(gap),
        limit=f"<= {settings.uptake_difference_min:g} min",
        verdict=Verdict.OK if gap <= settings.uptake_difference_min else Verdict.WARN,
        message=f"The uptake times of the two tracers differ by {gap:.0f} min.",
    )


def _session(study: PetCt, settings: QualitySettings) -> Iterator[Finding]:
    """Whether CT and PET were taken in one go: a patient who got up in between lies elsewhere."""
    if "pet_started" not in study.facts or "ct_started" not in study.facts:
        return
    pet, ct = (_moment(study.facts[f"{part}_started"]) for part in ("pet", "ct"))
    name, limit = f"{study.tracer} PET to CT time", f"<= {settings.session_min:g} min"
    if pet is None or ct is None:
        silent = "CT" if ct is None else "PET"
        message = f"The {silent} of {study.tracer} does not say when it was taken, so it may be of another session."
        yield Finding(name=name, value=None, limit=limit, verdict=Verdict.WARN, message=message)
        return
    minutes = abs((pet - ct).total_seconds()) / 60
    near = minutes <= settings.session_min
    ends = "one session" if near else "so the patient may have moved or the CT be of another session"
    yield Finding(
        name=name,
        value=clipped(minutes),
        limit=limit,
        verdict=Verdict.OK if near else Verdict.WARN,
        message=f"CT and PET of {study.tracer} began {minutes:.0f} min apart, {ends}.",
    )


def _gap(case: QualityCase, settings: QualitySettings) -> Iterator[Finding]:
    begun = [_moment(s.facts.get("study_started")) for s in case.studies()]
    if begun[0] is None or begun[1] is None:
        return
    days = abs((begun[0].date() - begun[1].date()).days)
    near = days <= settings.max_gap_days
    ends = "" if near else ", more than the method allows, so the disease may have changed"
    yield Finding(
        name="days between studies",
        value=days,
        limit=f"<= {settings.max_gap_days} days",
        verdict=Verdict.OK if near else Verdict.WARN,
        message=f"The two studies lie {days} day{'' if days == 1 else 's'} apart{ends}.",
    )


def _moment(written: object) -> datetime | None:
    return datetime.fromisoformat(written) if isinstance(written, str) and written else None


def _conversion(study: PetCt) -> Iterator[Finding]:
    """The rule that gave the SUV, or each doubt about it; and why this series was taken."""
    doubts = tuple(str(sentence) for sentence in study.facts.get("suv_warnings", ()))
    yield from _sentences(f"{study.tracer} SUV", doubts, Verdict.WARN)
    rule = study.facts.get("suv_rule")
    if rule and not doubts:
        message = f"SUV of {study.tracer}: {rule}; nothing in the header speaks against it."
        yield Finding(name=f"{study.tracer} SUV", value=str(rule), limit="", verdict=Verdict.OK, message=message)
    yield from _sentences(f"{study.tracer} series", tuple(str(x) for x in study.facts.get("remarks", ())), Verdict.OK)


def _sentences(name: str, said: Sequence[str], verdict: Verdict) -> Iterator[Finding]:
    """A finding for each sentence, numbered from the second on, so that each name stands once."""
    for number, sentence in enumerate(said, start=1):
        whole = name if number == 1 else f"{name} ({number})"
        yield Finding(name=whole, value=None, limit="", verdict=verdict, message=sentence)


def patient(case: QualityCase, settings: QualitySettings) -> Iterator[Finding]:
    """Weight, height and body mass index of either study, and what changed from one to the other."""
    for study in case.studies():
        weight, height = study.body.weight_kg, study.body.height_m
        words = (f"The patient's weight at {study.tracer}", "kg", "check it, since every SUV grows with it")
        yield ranged(f"{study.tracer} weight", weight, settings.weight_kg, words)
        yield _height(study, settings)
        if height is not None:
            words = (f"The body mass index at {study.tracer}", "kg/m2", "check weight and height")
            yield ranged(f"{study.tracer} body mass index", weight / height**2, settings.body_mass_index, words)
    yield _weight_change(case, settings)
    yield from _height_change(case, settings)


def _height(study: PetCt, settings: QualitySettings) -> Finding:
    (low, high), height = settings.height_m, study.body.height_m
    if height is not None:
        words = (f"The patient's height at {study.tracer}", "m", "check it, since dissemination is divided by body surface")
        return ranged(f"{study.tracer} height", height, settings.height_m, words)
    return Finding(
        name=f"{study.tracer} height",
        value=None,
        limit=f"{low:g}-{high:g} m",
        verdict=Verdict.WARN,
        message=f"The header of {study.tracer} gives no height, so sDmax is undefined.",
    )


def _weight_change(case: QualityCase, settings: QualitySettings) -> Finding:
    fdg, pentixafor = (s.body.weight_kg for s in case.studies())
    change = clipped(spread(fdg, pentixafor))
    return Finding(
        name="weight change",
        value=change,
        limit=f"<= {settings.weight_change:g}",
        verdict=Verdict.OK if change <= settings.weight_change else Verdict.WARN,
        message=f"The patient's weight is {fdg:g} kg at FDG and {pentixafor:g} kg at PentixaFor, a change of {change:.0%}.",
    )


def _height_change(case: QualityCase, settings: QualitySettings) -> Iterator[Finding]:
    fdg, pentixafor = (s.body.height_m for s in case.studies())
    if fdg is None or pentixafor is None:
        return
    change = round(abs(fdg - pentixafor), 4)
    yield Finding(
        name="height change",
        value=change,
        limit=f"<= {settings.height_change_m:g} m",
        verdict=Verdict.OK if change <= settings.height_change_m else Verdict.WARN,
        message=f"The patient's height is {fdg:g} m at FDG and {pentixafor:g} m at PentixaFor.",
    )
