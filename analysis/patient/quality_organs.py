"""Organs that every number rests on, and whether they look as they do in other people."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from analysis.patient.quality_case import QualityCase, graded, measured, ranged
from analysis.patient.quality_settings import QualitySettings
from analysis.values import Anatomy, Finding, Tracer, Verdict

# Organ as the reader knows it > names of its regions: rules know lungs, TotalSegmentator their lobes.
ORGANS = {
    "liver": ("liver",),
    "spleen": ("spleen",),
    "left kidney": ("kidney_left",),
    "right kidney": ("kidney_right",),
    "brain": ("brain",),
    "left lung": ("lung_left", "lung_upper_lobe_left", "lung_lower_lobe_left"),
    "right lung": ("lung_right", "lung_upper_lobe_right", "lung_middle_lobe_right", "lung_lower_lobe_right"),
}


def organs(case: QualityCase, settings: QualitySettings) -> Iterator[Finding]:
    """Which reference organs were found, how surely, their volumes, and the uptake and noise of liver and spleen."""
    for tracer in Tracer:
        yield _found(tracer, case.anatomy[tracer], settings)
    for tracer in Tracer:
        yield from _volumes(tracer, case.anatomy[tracer], settings)
    for tracer in Tracer:
        yield from _confidence(tracer, case.anatomy[tracer], settings)
    for tracer in Tracer:
        yield _liver(case, tracer, settings)
        yield from _spleen(case, tracer, settings)
        yield from _noise(case, tracer, settings)


def _found(tracer: Tracer, anatomy: Anatomy, settings: QualitySettings) -> Finding:
    missing = [organ for organ in settings.expected_organs if not anatomy.regions.mask(organ).any()]
    return Finding(
        name=f"{tracer} organs",
        value=", ".join(missing) or "all found",
        limit=", ".join(settings.expected_organs),
        verdict=Verdict.WARN if missing else Verdict.OK,
        message=f"Not found in the {tracer} study: {', '.join(missing)}."
        if missing
        else f"The reference organs of the {tracer} study were found.",
    )


def _confidence(tracer: Tracer, anatomy: Anatomy, settings: QualitySettings) -> Iterator[Finding]:
    """The least confidence of all regions, and those below the limit; silent where the segmenter tells none."""
    if not anatomy.confidence:
        return
    least = min(anatomy.confidence.values())
    doubtful = sorted(name for name, value in anatomy.confidence.items() if value < settings.region_confidence)
    names = ", ".join(name.replace("_", " ") for name in doubtful)
    yield Finding(
        name=f"{tracer} region confidence",
        value=least,
        limit=f">= {settings.region_confidence:g}",
        verdict=Verdict.WARN if doubtful else Verdict.OK,
        message=f"Found with little confidence in the {tracer} study: {names}: look whether they were found rightly."
        if doubtful
        else f"Every region of the {tracer} study was found with confidence.",
    )


def _volumes(tracer: Tracer, anatomy: Anatomy, settings: QualitySettings) -> Iterator[Finding]:
    """Of each organ that was found; one that the field cuts may be as small as it likes."""
    limits = {
        "liver": settings.liver_ml,
        "spleen": settings.spleen_ml,
        "kidney": settings.kidney_ml,
        "brain": settings.brain_ml,
        "lung": settings.lung_ml,
    }
    for organ, regions in ORGANS.items():
        mask = anatomy.regions.mask(*regions)
        volume = float(mask.sum()) * anatomy.regions.grid.voxel_ml
        if volume == 0:
            continue
        rows = np.flatnonzero(mask.any(axis=(1, 2)))
        cut = rows[0] == 0 or rows[-1] == mask.shape[0] - 1
        low, high = limits[organ.split()[-1]]
        words = (f"The {organ} on {tracer}{', cut by the field,' if cut else ''}", "ml", "look whether it was found rightly")
        yield ranged(f"{tracer} {organ} volume", volume, (0.0 if cut else low, high), words)


def _liver(case: QualityCase, tracer: Tracer, settings: QualitySettings) -> Finding:
    limits = settings.fdg_liver if tracer is Tracer.FDG else settings.pentixafor_liver
    return _uptake(tracer, "liver", case.liver[tracer], limits, ", so dose, time or SUV may be wrong")


def _spleen(case: QualityCase, tracer: Tracer, settings: QualitySettings) -> Iterator[Finding]:
    """Silent without a spleen, of which the finding on organs speaks."""
    limits = settings.fdg_spleen if tracer is Tracer.FDG else settings.pentixafor_spleen
    if math.isfinite(case.spleen[tracer]):
        yield _uptake(tracer, "spleen", case.spleen[tracer], limits, ": look at the spleen, at dose and tracer")


def _uptake(tracer: Tracer, organ: str, value: float, limits: tuple[float, float], advice: str) -> Finding:
    low, high = limits
    return measured(
        name=f"{tracer} {organ} SUVmean",
        value=value,
        limit=f"{low:g}-{high:g}",
        verdict=graded(value, low <= value <= high, hold=False),
        words=(f"The {tracer} uptake of the {organ}", f"outside the usual range{advice}"),
    )


def _noise(case: QualityCase, tracer: Tracer, settings: QualitySettings) -> Iterator[Finding]:
    limit = settings.fdg_liver_noise if tracer is Tracer.FDG else settings.pentixafor_liver_noise
    noise = case.noise[tracer]
    if math.isfinite(noise):
        yield measured(
            name=f"{tracer} liver noise",
            value=noise,
            limit=f"<= {limit:g}",
            verdict=graded(noise, noise <= limit, hold=False),
            words=(
                f"The coefficient of variation of {tracer} in the liver",
                "so noisy that SUVmax is too high and faint lesions are lost",
            ),
        )
