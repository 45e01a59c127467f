"""Where a lesion's border lies: thresholds on SUV, each computed beside the others for the same uptake.

fixed: one SUV for the tracer. relative: a part of the highest SUV of the hill. liver: PERCIST's 1.5 x mean + 2 standard
deviations of a 3 cm sphere in the right lobe (Wahl et al., J Nucl Med 2009;50 Suppl 1:122S). blood pool: 2 x mean + 2
standard deviations of the descending aorta (PERCIST's rule where the liver is diseased).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from analysis.errors import ModelUnavailable
from analysis.patient.measures import MeasurementSettings, blood_pool, index_of, liver_sphere
from analysis.values import Anatomy, BoolArray, FloatArray, LabelArray, PetCt, Tracer

DEFINITIONS = ("fixed", "relative", "liver", "blood pool")
ORGANS = ("liver", "blood pool")
Threshold = Literal["fixed", "relative", "liver", "blood pool", "none"]
HOT_IN_ORGAN = 1.5  # what exceeds the organ's median so much is no reference


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdSettings:
    """The figures of each definition; thresholds are SUV.

    fdg_threshold, pentixafor_threshold: the fixed ones; none is agreed for PentixaFor. relative_threshold: part of a hill's
    highest SUV. liver_factor, liver_deviations, blood_pool_factor, blood_pool_deviations: factor x mean + so many standard
    deviations of the reference.
    """

    fdg_threshold: float = 4.0
    pentixafor_threshold: float = 4.0
    relative_threshold: float = 0.41
    liver_factor: float = 1.5
    liver_deviations: float = 2.0
    blood_pool_factor: float = 2.0
    blood_pool_deviations: float = 2.0

    def fixed(self, tracer: Tracer) -> float:
        """The tracer's fixed threshold."""
        return self.fdg_threshold if tracer is Tracer.FDG else self.pentixafor_threshold


def references(study: PetCt, anatomy: Anatomy, settings: MeasurementSettings) -> dict[str, float]:
    """Mean and standard deviation of SUV in the liver's sphere and in the aorta, by name; NaN where they were not found.

    In the liver voxels above 1.5 times its median are left out with their neighbours, since lesions are not known yet.
    """
    liver = liver_sphere(study, anatomy, hot(study, anatomy.regions.mask("liver")), settings)
    pool = study.pet.values[blood_pool(anatomy, np.zeros(study.pet.grid.shape, dtype=np.int32))]
    if pool.size * study.pet.grid.voxel_ml < settings.min_blood_pool_ml:
        pool = pool[:0]
    return {
        f"{name} {what}": float(of(values, dtype=np.float64)) if values.size else math.nan
        for name, values in (("liver", liver), ("blood pool", pool))
        for what, of in (("mean", np.mean), ("sd", np.std))
    }


def hot(study: PetCt, organ: BoolArray) -> LabelArray:
    """1 in the organ's voxels above HOT_IN_ORGAN times its median, else 0."""
    out = np.zeros(organ.shape, dtype=np.int32)
    if organ.any():
        suv = study.pet.values
        out[organ & (suv > HOT_IN_ORGAN * float(np.median(suv[organ])))] = 1
    return out


def absolute(tracer: Tracer, known: Mapping[str, float], settings: ThresholdSettings) -> dict[str, float]:
    """SUV of every definition that is one number for the whole study; NaN where its reference is not known."""
    mean, deviation = ({organ: known.get(f"{organ} {what}", math.nan) for organ in ORGANS} for what in ("mean", "sd"))
    return {
        "fixed": settings.fixed(tracer),
        "liver": settings.liver_factor * mean["liver"] + settings.liver_deviations * deviation["liver"],
        "blood pool": settings.blood_pool_factor * mean["blood pool"]
        + settings.blood_pool_deviations * deviation["blood pool"],
    }


def defined(study: PetCt, name: str, known: Mapping[str, float]) -> float:
    """The SUV of one definition. Raises ModelUnavailable where it is undefined."""
    suv = known[name]
    if not math.isfinite(suv):
        raise ModelUnavailable(
            f"the threshold by {name} is undefined on {study.tracer}, since that organ was not found; "
            'set [segmentation] threshold = "fixed" to do without it.'
        )
    return suv


def limits(study: PetCt, regions: LabelArray, known: Mapping[str, float], settings: ThresholdSettings) -> dict[str, FloatArray]:
    """Definition > (n + 1,) SUV by region number, at 0 that of all regions; NaN where there is none. regions: PET grid."""
    count = int(regions.max(initial=0))
    by_name = {name: np.full(count + 1, suv) for name, suv in absolute(study.tracer, known, settings).items()}
    tops = np.full(count + 1, math.nan)
    if count:
        at = tuple(index_of(regions).T)
        tops[1:] = -np.inf
        np.maximum.at(tops, regions[at], study.pet.values[at])
    by_name["relative"] = settings.relative_threshold * tops
    return {name: by_name[name] for name in DEFINITIONS}
