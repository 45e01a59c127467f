"""FDG lesions carried to the PentixaFor PET: places to look at there, whatever PentixaFor's own segmentation saw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from scipy import ndimage

from analysis.grids import crop_to, resample
from analysis.ports import LesionMap, NotRun
from analysis.segmenters.rules import basins, hills, organ_limits, physiological_hills
from analysis.segmenters.segmentation_settings import SegmentationSettings
from analysis.segmenters.thresholds import absolute, defined, limits
from analysis.values import AlignedPair, Anatomy, BoolArray, LabelArray, PetCt, Tracer

CARRIED = "with FDG lesions carried over"

Maps = Mapping[Tracer, LesionMap | NotRun]


def carry(pair: AlignedPair, anatomy: Anatomy, found: Maps, settings: SegmentationSettings) -> Maps:
    """`found` with what FDG lesions add to PentixaFor, where the settings ask for it; anatomy: that of the PentixaFor study.

    FDG's mask is warped by the registration. What of it exceeds the PentixaFor threshold (of a network's uncut mask: the
    fixed one) joins PentixaFor's lesions, but for hills of physiological organs. A place without PentixaFor uptake adds
    nothing: else every FDG lesion were concordant. Where either tracer was not segmented nothing is carried.
    """
    fdg, own = found[Tracer.FDG], found[Tracer.PENTIXAFOR]
    if not settings.pentixafor_from_fdg or isinstance(fdg, NotRun) or isinstance(own, NotRun):
        return found
    study = pair.pentixafor
    known = np.zeros(own.mask.shape, dtype=np.int32) if own.regions is None else own.regions
    places = warped(pair, fdg.mask) & ~own.mask & (known == 0) & (study.pet.values > organ_limits(study, anatomy, settings))
    seed = own.border if own.border in ("liver", "blood pool") else "fixed"
    least = defined(study, seed, absolute(study.tracer, own.references, settings))
    more = _hot_hills(study, anatomy, places, least)
    regions = np.where(more > 0, more + int(known.max(initial=0)), known).astype(np.int32)
    by_name = limits(study, regions, own.references, settings)
    border = "relative" if own.border == "relative" else seed
    new = (more > 0) & (study.pet.values > by_name[border][regions])
    model = replace(own.model, name=f"{own.model.name} {CARRIED}")
    joined = replace(own, model=model, mask=own.mask | new, regions=regions, limits=by_name)
    return {Tracer.FDG: fdg, Tracer.PENTIXAFOR: joined}


def warped(pair: AlignedPair, mask: BoolArray) -> BoolArray:
    """A mask of the FDG PET's grid on that of the PentixaFor PET: the voxels of which at least half lies in it."""
    onto = pair.pentixafor.pet.grid
    return np.asarray(resample(pair.fdg.pet.grid, mask, onto, transform=pair.transform) >= 0.5)


def _hot_hills(study: PetCt, anatomy: Anatomy, places: BoolArray, least: float) -> LabelArray:
    """The hills of uptake in `places`, numbered from 1, whose top exceeds SUV `least` and lies in no physiological organ."""
    suv = study.pet.values
    out = np.zeros(suv.shape, dtype=np.int32)
    if not places.any():
        return out
    box = crop_to(study.pet.grid, places, 2 * max(study.pet.grid.spacing))
    hill = hills(basins(suv[box]), places[box])
    numbers = np.unique(hill[hill > 0])
    organs = anatomy.regions.mask(*anatomy.physiological)[box]
    drop = physiological_hills(suv[box], hill, organs, np.zeros_like(organs))
    tops = np.zeros(drop.size)
    tops[numbers] = ndimage.maximum(suv[box], hill, numbers)
    number = np.zeros(drop.size, dtype=np.int32)
    kept = ~drop & (tops > least)
    number[kept] = np.arange(1, int(kept.sum()) + 1)
    out[box] = number[hill]
    return out
