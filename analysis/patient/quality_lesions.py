"""Whether the lesions are plausible in number, volume and place."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from analysis.patient.quality_case import QualityCase, QualitySettings
from analysis.values import Finding, Tracer, Verdict


def lesion_load(case: QualityCase, settings: QualitySettings) -> Iterator[Finding]:
    for tracer in Tracer:
        lesions = case.lesions[tracer].lesions
        volume = math.fsum(x.volume_ml for x in lesions)
        much = len(lesions) > settings.max_lesions or volume > settings.max_volume_ml
        ends = "which is more than one expects; look at the mask" if much else "which is plausible"
        yield Finding(
            name=f"{tracer} lesion load",
            value=f"{len(lesions)} lesions, {volume:.1f} ml",
            limit=f"<= {settings.max_lesions} lesions and <= {settings.max_volume_ml:g} ml",
            verdict=Verdict.WARN if much else Verdict.OK,
            message=f"{tracer} shows {len(lesions)} lesions of {volume:.0f} ml in all, {ends}.",
        )


def inside_organs(case: QualityCase, settings: QualitySettings) -> Iterator[Finding]:
    """Lesions that lie wholly in an organ of physiological uptake; silent where there is none."""
    for tracer in Tracer:
        anatomy, lesions = case.anatomy[tracer], case.lesions[tracer]
        labels = lesions.labelmap.labels
        physiological = anatomy.regions.mask(*anatomy.physiological)
        inside = np.bincount(labels[physiological & (labels > 0)], minlength=len(lesions.lesions) + 1)
        found = [x.id for x in lesions.lesions if inside[x.label] >= settings.inside_organ * x.voxels]
        if found:
            yield Finding(
                name=f"{tracer} lesions in organs",
                value=", ".join(found),
                limit="none",
                verdict=Verdict.WARN,
                message=f"On {tracer}, {', '.join(found)} lie wholly in an organ of physiological uptake; look at them.",
            )
