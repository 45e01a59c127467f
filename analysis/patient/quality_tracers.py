"""Whether each PET looks like its tracer, so that an exchange is noticed from the image."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
from scipy import ndimage

from analysis.patient.quality_case import QualityCase, graded, measured
from analysis.patient.quality_settings import QualitySettings
from analysis.values import BoolArray, Finding, FloatArray, Tracer, Verdict

# Regions whose uptake over the liver's differs between the tracers, and whether it is higher on PentixaFor (docs/METHOD.md 5).
CONTRAST = {"brain": -1, "spleen": 1, "kidneys": 1, "bone": 1}
_REGIONS = {"brain": ("brain",), "spleen": ("spleen",), "kidneys": ("kidney_left", "kidney_right")}
_LEAST_ML = {"brain": 100.0, "spleen": 20.0, "kidneys": 40.0, "bone": 100.0}
_MOST = 4.0  # one region's say: a cold brain must not outweigh all others


def tracers(case: QualityCase, settings: QualitySettings) -> Iterator[Finding]:
    """Whether each PET looks like its tracer: the brain is hot on FDG and cold on PentixaFor, which also fills the spleen."""
    brain = {t: case.brain[t] / case.liver[t] for t in Tracer}
    spleen = {t: case.spleen[t] / case.liver[t] for t in Tracer}
    if math.isfinite(brain[Tracer.FDG]):
        yield _fdg_brain(brain[Tracer.FDG], settings)
    if math.isfinite(brain[Tracer.PENTIXAFOR]):
        yield _pentixafor_brain(brain[Tracer.PENTIXAFOR], settings)
    yield _pentixafor_spleen(spleen, settings)
    yield _contrast(case, settings)


def _contrast(case: QualityCase, settings: QualitySettings) -> Finding:
    """How much both PETs together look like their tracers, by every region that can be measured in both.

    Each region's uptake over the liver's on PentixaFor is divided by that on FDG (the brain's the other way round); the
    finding is their geometric mean: well above 1 as it should be, 1 where both show the same tracer, below 1 exchanged.
    """
    uptake = {t: _uptake(case, t) for t in Tracer}
    both = [name for name in CONTRAST if all(name in uptake[t] for t in Tracer)]
    each = {n: (uptake[Tracer.PENTIXAFOR][n] / uptake[Tracer.FDG][n]) ** CONTRAST[n] for n in both}
    value = math.exp(sum(math.log(min(max(c, 1 / _MOST), _MOST)) for c in each.values()) / len(each)) if each else math.nan
    usual, hold = settings.tracer_contrast, settings.tracer_contrast_hold
    shown = f" (by {', '.join(both)})" if both else ""
    return measured(
        name="tracer contrast",
        value=value,
        limit=f"> {usual:g}, hold below {hold:g}",
        verdict=graded(value, value > usual, value < hold) if each else Verdict.WARN,
        words=(
            f"The contrast between PentixaFor and FDG{shown}",
            "too low: the tracers may be exchanged" if value < hold else "low: both PETs may show the same tracer",
        ),
    )


def _uptake(case: QualityCase, tracer: Tracer) -> dict[str, float]:
    """Median SUV of each region that is large enough, over the liver's; the median, as lesions and urine must not decide."""
    study, anatomy, liver = case.pair.study(tracer), case.anatomy[tracer], case.liver[tracer]
    if not liver > 0:
        return {}
    masks = {name: ndimage.binary_erosion(anatomy.regions.mask(*regions)) for name, regions in _REGIONS.items()}
    masks["bone"] = (anatomy.bone > 0.9) & (case.lesions[tracer].labelmap.labels == 0)
    found = {name: _median(study.pet.values, mask, _LEAST_ML[name] / study.pet.grid.voxel_ml) for name, mask in masks.items()}
    return {name: value / liver for name, value in found.items() if value > 0}


def _median(values: FloatArray, mask: BoolArray, least: float) -> float:
    return float(np.median(values[mask])) if mask.sum() >= least else math.nan


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
