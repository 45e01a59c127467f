"""Whether the activity that a PET shows can be what was injected (docs/METHOD.md 5).

SUV = C W / D with C and D of one time, so the sum of SUV x volume over W is the part of the injected activity that lies in
the field. It cannot exceed 1 whatever the tracer does; over the part of the body mass in the field it is the mean SUV.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from analysis.patient.quality_body import SeenBody
from analysis.patient.quality_case import QualityCase, clipped, graded
from analysis.patient.quality_settings import QualitySettings
from analysis.values import Finding, Tracer, Verdict


def balance(case: QualityCase, settings: QualitySettings) -> Iterator[Finding]:
    """Mass and activity in either PET's field against the header's weight and dose."""
    for tracer, body in case.body.items():
        yield _mass(tracer, body, settings)
        yield _activity(tracer, body, settings)
        yield _mean_suv(tracer, body, settings)


def _mass(tracer: Tracer, body: SeenBody, settings: QualitySettings) -> Finding:
    share = body.mass_share
    what = f"CT shows {body.mass_kg:.0f} kg of body in the field of {tracer}, {share:.0%} of the header's weight"
    words = (what, "so the header's weight is too low, and SUV with it")
    return _share(f"{tracer} mass in field", share, (settings.mass_in_field, settings.mass_in_field_hold), words)


def _activity(tracer: Tracer, body: SeenBody, settings: QualitySettings) -> Finding:
    share = body.activity_share
    what = f"The field of {tracer} holds {share:.0%} of the injected activity"
    words = (what, "more than was injected: dose, weight, units or times are wrong")
    return _share(f"{tracer} activity in field", share, (settings.activity_in_field, settings.activity_in_field_hold), words)


def _share(name: str, share: float, limits: tuple[float, float], words: tuple[str, str]) -> Finding:
    """A part of a whole. limits: the most that is fine, and that is not held; words: what it is, and what is wrong above."""
    (most, hold), (what, otherwise) = limits, words
    verdict = graded(share, share <= most, share > hold)
    return Finding(
        name=name,
        value=clipped(share),
        limit=f"<= {most:g}, hold above {hold:g}",
        verdict=verdict,
        message=f"{what}, {'as can be' if verdict is Verdict.OK else otherwise}.",
    )


def _mean_suv(tracer: Tracer, body: SeenBody, settings: QualitySettings) -> Finding:
    (low, high), (bottom, top), mean = settings.mean_suv, settings.mean_suv_hold, body.mean_suv
    verdict = graded(mean, low <= mean <= high, not bottom <= mean <= top)
    low_or_high = (
        "activity is missing: dose, units or times may be wrong, or the injection failed"
        if mean < low
        else "too much for a part of the body: dose, units or times may be wrong"
    )
    return Finding(
        name=f"{tracer} activity balance",
        value=clipped(mean) if math.isfinite(mean) else None,
        limit=f"{low:g}-{high:g}, hold below {bottom:g} or above {top:g}",
        verdict=verdict,
        message=f"The body in the field of {tracer} has a mean SUV of {mean:.2f}, "
        f"{'as expected' if verdict is Verdict.OK else low_or_high}.",
    )
