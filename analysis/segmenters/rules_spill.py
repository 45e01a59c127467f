"""Lesions that touch an excreting organ or lie in bone beside a hot one: what the organ, blurred as PET blurs, cannot explain.

A hill of uptake whose top lies in an organ is the organ's. What of it stands too far out, and is no rim of it, is a lesion of
its own where it has the shape of a ball: a bladder that filled between CT and PET is a cap, a kidney that breathed a crescent,
a ureter a rod. In bone a lesion of any shape is known by more uptake than the organ beside it has.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from analysis.patient.measures import peak_at
from analysis.segmenters.morphology import components, dilate, means, tops
from analysis.segmenters.rules_anatomy import EXCRETION
from analysis.values import Anatomy, BoolArray, FloatArray, Grid, Volume

SPILL_FWHM_MM = 8.0  # wider than PET's own 4 to 7 mm: better too much is explained than too little
SAFELY = 1.5  # times the spill: it rises steeply at a border that is in doubt
IN_DOUBT_MM = 4.0  # a PET voxel: so far an organ's border may be wrong
STAND_OFF_MM = 8.0  # the top of a lesion stands so far from the organ, two voxels
REACH_MM = 24.0
IN_BONE = 0.5
HOTTER = 1.2  # than the organ's 95th percentile
ROUND = 0.55  # least over greatest principal axis; a ball has 1, half a ball 0.7, a cap a quarter as high as wide 0.3
LEAST_ML = 1.0


def spilled(grid: Grid, suv: FloatArray, organs: BoolArray) -> FloatArray:
    """SUV that organs and what is within doubt of their border bring to each voxel, by a Gaussian of SPILL_FWHM_MM."""
    source = np.where(dilate(grid, organs, IN_DOUBT_MM), suv, 0.0).astype(np.float32)
    return np.asarray(ndimage.gaussian_filter(source, [SPILL_FWHM_MM / 2.3548 / s for s in grid.spacing], truncate=3.0))


def lesions_beside(suv: Volume, anatomy: Anatomy, dropped: BoolArray, limit: FloatArray, apart: BoolArray) -> BoolArray:
    """What of the dropped uptake is a lesion.

    suv: PET; limit: the SUV that a lesion exceeds in each voxel; apart: hills whose own top lies in no organ.
    """
    grid, values = suv.grid, suv.values
    organs = anatomy.regions.mask(*anatomy.physiological)
    if not dropped.any() or not organs.any():
        return np.zeros_like(dropped)
    excreting = anatomy.regions.mask(*anatomy.physiological & EXCRETION - {"ureter"})
    rest = values - SAFELY * spilled(grid, values, organs)
    near = dilate(grid, excreting, REACH_MM) & ~dilate(grid, organs & ~excreting, STAND_OFF_MM)
    outside = dropped & near & ~dilate(grid, organs, IN_DOUBT_MM)
    off = dilate(grid, excreting, STAND_OFF_MM) & ~apart
    found = but_urine(anatomy, round_ones(grid, unexplained(grid, rest, limit, outside, off)))
    found |= unexplained(grid, values, np.maximum(limit, ceiling(suv, anatomy)), dropped & (anatomy.bone >= IN_BONE), organs)
    edge = dilate(grid, found, IN_DOUBT_MM) & dropped & ~organs & (rest > 0.5 * limit)
    return np.asarray(found | edge)


def but_urine(anatomy: Anatomy, mask: BoolArray) -> BoolArray:
    """The components that are not for the greater part at a kidney's hilum with less than a quarter of them in bone.

    The hilum is the inner side of a kidney's middle, as far as its pelvis and ureter may reach: their urine is round, too.
    """
    labels, sizes = components(mask)
    if not sizes.size:
        return mask
    numbers = np.arange(1, sizes.size + 1)
    urine = (means(hila(anatomy), labels, numbers) > 0.5) & (means(anatomy.bone, labels, numbers) < 0.25)
    return np.concatenate([[False], ~urine])[labels]


def hila(anatomy: Anatomy) -> BoolArray:
    """The inner side of each kidney's middle, up to REACH_MM from it."""
    grid = anatomy.regions.grid
    out = np.zeros(grid.shape, dtype=bool)
    for name, inwards in (("kidney_left", -1.0), ("kidney_right", +1.0)):
        kidney = anatomy.regions.mask(name)
        if kidney.any():
            around = np.argwhere(dilate(grid, kidney, REACH_MM))
            middle = grid.to_world(np.argwhere(kidney)).mean(axis=0)[0]
            out[tuple(around[(grid.to_world(around)[:, 0] - middle) * inwards > 0.0].T)] = True
    return out


def ceiling(suv: Volume, anatomy: Anatomy) -> FloatArray:
    """What an organ at its hottest may bring into bone beside it where CT and PET lie apart; above it, a lesion is certain."""
    out = np.zeros(suv.grid.shape, dtype=np.float32)
    for name in anatomy.physiological:
        organ = anatomy.regions.mask(name)
        if organ.any():
            reach = dilate(suv.grid, organ, REACH_MM)
            out[reach] = np.maximum(out[reach], HOTTER * np.percentile(suv.values[organ], 95))
    return out


def unexplained(grid: Grid, rest: FloatArray, limit: FloatArray, places: BoolArray, off: BoolArray) -> BoolArray:
    """The components among places in which rest, the SUV less the spill, passes the limit, also as the mean of 1 ml somewhere.

    Their highest rest is not in `off`, where the border of an organ that is larger than it was found leaves its own.
    """
    labels, sizes = components(places & (rest > limit))
    keep = np.concatenate([[False], sizes * grid.voxel_ml >= LEAST_ML])
    index = np.argwhere(keep[labels])
    if not len(index):
        return np.zeros_like(places)
    passes = peak_at(rest, grid.spacing, index) > limit[tuple(index.T)]
    lasting = np.zeros_like(keep)
    lasting[np.unique(labels[tuple(index[passes].T)])] = True
    numbers = np.flatnonzero(keep & lasting)
    kept = np.zeros_like(keep)
    kept[numbers] = [not off[top] for top in tops(rest, labels, numbers)]
    return kept[labels]


def round_ones(grid: Grid, mask: BoolArray) -> BoolArray:
    """The components whose least principal axis is at least ROUND of the greatest."""
    labels, sizes = components(mask)
    keep = np.zeros(sizes.size + 1, dtype=bool)
    for n, box in enumerate(ndimage.find_objects(labels), start=1):
        points = np.argwhere(labels[box] == n) * grid.spacing
        moments = np.maximum(np.linalg.eigvalsh(np.cov(points.T)), 0.0) if len(points) > 8 else np.zeros(3)
        keep[n] = moments[0] >= ROUND**2 * max(moments[2], 1e-6)
    return keep[labels]
