"""Whether each PET looks like its tracer, so that an exchange is noticed from the image."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from analysis.patient.quality_case import QualityCase, QualitySettings, graded, measured
from analysis.values import Finding, Tracer


def tracers(case: QualityCase, settings: QualitySettings) -> Iterator[Finding]:
    """Whether each PET looks like its tracer: the brain is hot on FDG and cold on PentixaFor, which also fills the spleen."""
    brain = {t: case.brain[t] / case.liver[t] for t in Tracer}
    spleen = {t: case.spleen[t] / case.liver[t] for t in Tracer}
    if math.isfinite(brain[Tracer.FDG]):
        yield _fdg_brain(brain[Tracer.FDG], settings)
    if math.isfinite(brain[Tracer.PENTIXAFOR]):
        yield _pentixafor_brain(brain[Tracer.PENTIXAFOR], settings)
    yield _pentixafor_spleen(spleen, settings)


def _fdg_brain(ratio: float, settings: QualitySettings) -> Finding:
    return measured(
        name="FDG brain to liver",
        value=ratio,
        limit=f">= {settings.fdg_brain_liver:g}, hold below {settings.pentixafor_brain_liver:g}",
        verdict=graded(ratio, ratio >= settings.fdg_brain_liver, ratio < settings.pentixafor_brain_liver),
        words=("On FDG the ratio of brain to liver", "too low for FDG: the tracers may be exchanged"),
    )


def _pentixafor_brain(ratio: float, settings: QualitySettings) -> Finding:
    return measured(
        name="PentixaFor brain to liver",
        value=ratio,
        limit=f"< {settings.pentixafor_brain_liver:g}, hold from {settings.fdg_brain_liver:g}",
        verdict=graded(ratio, ratio < settings.pentixafor_brain_liver, ratio >= settings.fdg_brain_liver),
        words=("On PentixaFor the ratio of brain to liver", "too high for PentixaFor: the tracers may be exchanged"),
    )


def _pentixafor_spleen(ratio: Mapping[Tracer, float], settings: QualitySettings) -> Finding:
    """Held where both tracers' spleens say the opposite of what they are; alone a pale spleen is only unusual."""
    limit = settings.pentixafor_spleen_liver
    here, there = ratio[Tracer.PENTIXAFOR], ratio[Tracer.FDG]
    return measured(
        name="PentixaFor spleen to liver",
        value=here,
        limit=f"> {limit:g}; hold where FDG's is above {1.5 * limit:g} instead",
        verdict=graded(here, here > limit, there > 1.5 * limit),
        words=("On PentixaFor the ratio of spleen to liver", "too low for PentixaFor: the tracers may be exchanged"),
    )
