"""Organs that every number rests on, and whether they look as they do in other people."""

from __future__ import annotations

from collections.abc import Iterator

from analysis.patient.quality_case import QualityCase, QualitySettings, graded, measured
from analysis.values import Finding, Tracer, Verdict


def organs(case: QualityCase, settings: QualitySettings) -> Iterator[Finding]:
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
    yield measured(
        name="FDG liver SUVmean",
        value=liver,
        limit=f"{low:g}-{high:g}",
        verdict=graded(liver, low <= liver <= high, hold=False),
        words=("The FDG uptake of the liver", "outside the usual range, so dose, time or SUV may be wrong"),
    )
