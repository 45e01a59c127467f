"""The numbers of one patient, by the paper's bracket names; NaN where a value is undefined."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from types import MappingProxyType
from typing import Literal

import numpy as np
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist

from analysis.patient.measures import (
    MeasurementSettings,
    blood_pool_mean,
    body_surface_m2,
    liver_mean,
    spleen_mean,
)
from analysis.values import (
    AlignedPair,
    Anatomy,
    Concordance,
    FloatArray,
    Lesion,
    LesionMatch,
    LesionSet,
    PetCt,
    Site,
    Tracer,
)

ORGANS = {"spleen": spleen_mean, "liver": liver_mean, "blood pool": blood_pool_mean}
DISSEMINATIONS: tuple[Literal["centroids"], Literal["voxels"]] = ("centroids", "voxels")
COMPARED = (Concordance.CONCORDANT, Concordance.DISCORDANT)


def patient_features(
    pair: AlignedPair,
    anatomy: Mapping[Tracer, Anatomy],
    lesions: Mapping[Tracer, LesionSet],
    matches: Sequence[LesionMatch],
    settings: MeasurementSettings,
) -> Mapping[str, float]:
    """The 32 lesion features, sDmax, reference organs and lesion counts of both tracers.

    Lesions that are not comparable enter no concordant or discordant subset; `Count[FDG not comparable]` tells of them.
    Where a tracer's lesions were not segmented, no subset of either tracer is known, nor what needs that tracer's lesions
    or their absence: those are NaN, also sums and counts.
    """
    features: dict[str, float] = {}
    compared = not any(found.not_run for found in lesions.values())
    for tracer in Tracer:
        known = _lesion_features(lesions[tracer], matches, settings)
        features |= known if compared else dict.fromkeys(known, math.nan)
    for tracer in Tracer:
        features[f"sDmax[{tracer.bracket}]"] = standardised_dmax(pair.study(tracer), lesions[tracer], settings)
    for (organ, mean), tracer in product(ORGANS.items(), Tracer):
        found = lesions[tracer]
        value = math.nan if found.not_run else mean(pair.study(tracer), anatomy[tracer], found, settings)
        features[f"SUVmean[{tracer.bracket} {organ}]"] = value
    for tracer in Tracer:
        counts = _counts(lesions[tracer], matches)
        features |= counts if compared else dict.fromkeys(counts, math.nan)
        features |= _apart(lesions[tracer], matches)
    return MappingProxyType(features)


def readings(
    pair: AlignedPair, lesions: Mapping[Tracer, LesionSet], settings: MeasurementSettings
) -> Mapping[str, Mapping[str, float]]:
    """sDmax of either tracer by each of its definitions, whichever is in force."""
    return {
        f"sDmax[{tracer.bracket}]": {
            how: standardised_dmax(pair.study(tracer), lesions[tracer], replace(settings, dissemination=how))
            for how in DISSEMINATIONS
        }
        for tracer in Tracer
    }


def subsets(lesions: LesionSet, matches: Sequence[LesionMatch]) -> Iterator[tuple[str, list[Lesion]]]:
    """("FDG medullary concordant", its lesions) and so on, for each site and concordance of one tracer."""
    class_of = {label: m.concordance for m in matches for label in m.labels(lesions.tracer)}
    for site, concordance in product(Site, COMPARED):
        chosen = [x for x in lesions.lesions if x.site is site and class_of[x.label] is concordance]
        yield f"{lesions.tracer.bracket} {site} {concordance}", chosen


def _lesion_features(lesions: LesionSet, matches: Sequence[LesionMatch], settings: MeasurementSettings) -> dict[str, float]:
    features: dict[str, float] = {}
    for name, chosen in subsets(lesions, matches):
        features[f"SUVmean[{name}]"] = _mean(chosen, settings)
        features[f"SUVmax[{name}]"] = max((x.suv_max for x in chosen), default=math.nan)
        features[f"MTV[{name}]"] = math.fsum(x.volume_ml for x in chosen)
        features[f"{lesions.tracer.burden}[{name}]"] = math.fsum(x.burden_g for x in chosen)
    return features


def _mean(lesions: Sequence[Lesion], settings: MeasurementSettings) -> float:
    if not lesions:
        return math.nan
    weights = [x.volume_ml if settings.subset_mean == "volume" else 1.0 for x in lesions]
    return math.fsum(w * x.suv_mean for w, x in zip(weights, lesions, strict=True)) / math.fsum(weights)


def _counts(lesions: LesionSet, matches: Sequence[LesionMatch]) -> dict[str, float]:
    return {f"Count[{name}]": float(len(chosen)) for name, chosen in subsets(lesions, matches)}


def _apart(lesions: LesionSet, matches: Sequence[LesionMatch]) -> dict[str, float]:
    """The number of lesions that cannot be compared."""
    apart = sum(len(m.labels(lesions.tracer)) for m in matches if m.concordance is Concordance.NOT_COMPARABLE)
    return {f"Count[{lesions.tracer.bracket} not comparable]": math.nan if lesions.not_run else float(apart)}


def standardised_dmax(study: PetCt, lesions: LesionSet, settings: MeasurementSettings) -> float:
    """Largest distance of two lesions (m) over the body surface (m2), in 1/m (Cottereau 2021).

    NaN without a lesion or a height; 0 for a single lesion where distances are those of centroids.
    """
    if not lesions.lesions:
        return math.nan
    if settings.dissemination == "voxels":
        points = lesions.labelmap.grid.to_world(np.argwhere(lesions.labelmap.labels > 0))
    else:
        points = np.array([x.centroid_mm for x in lesions.lesions])
    return farthest_mm(points) / 1000.0 / body_surface_m2(study.body, settings)


def farthest_mm(points: FloatArray) -> float:
    """The largest distance between two of the points (n, 3); 0 for a single one."""
    if len(points) > 1000:
        # The two farthest points are corners of the convex hull; QJ also takes points that lie in one plane.
        points = points[ConvexHull(points, qhull_options="QJ").vertices]
    return float(pdist(points).max(initial=0.0))
