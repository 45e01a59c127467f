"""Lesions that touch an excreting organ or lie in bone beside a hot one: what the organ, blurred as PET blurs, cannot explain.

A hill of uptake whose top lies in an organ is the organ's. What of it stands too far out, and is no rim of it, is a lesion of
its own: in bone, which is where CT shows it; elsewhere only where it has the shape of a ball. A bladder that filled between CT
and PET is a cap, a kidney that breathed a crescent, a ureter a rod.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from analysis.patient.measures import peak_at
from analysis.segmenters.morphology import components, dilate
from analysis.segmenters.rules_anatomy import EXCRETION
from analysis.values import Anatomy, BoolArray, FloatArray, Grid, Volume

SPILL_FWHM_MM = 8.0  # wider than PET's own 4 to 7 mm: better too much is explained than too little
SAFELY = 1.5  # times the spill: it rises steeply at a border that is in doubt
IN_DOUBT_MM = 4.0  # a PET voxel: so far an organ's border may be wrong
STAND_OFF_MM = 8.0  # the top of a lesion stands so far from the organ, two voxels
REACH_MM = 24.0
IN_BONE = 0.5
ROUND = 0.55  # least over greatest principal axis; a ball has 1, half a ball 0.7, a cap a quarter as high as wide 0.3
LEAST_ML = 1.0


def spilled(grid: Grid, suv: FloatArray, organs: BoolArray) -> FloatArray:
    """SUV that organs and what is within doubt of their border bring to each voxel, by a Gaussian of SPILL_FWHM_MM."""
    source = np.where(dilate(grid, organs, IN_DOUBT_MM), suv, 0.0).astype(np.float32)
    return np.asarray(ndimage.gaussian_filter(source, [SPILL_FWHM_MM / 2.3548 / s for s in grid.spacing], truncate=3.0))


def lesions_beside(suv: Volume, anatomy: Anatomy, dropped: BoolArray, limit: FloatArray) -> BoolArray:
    """What of the dropped uptake is a lesion. suv: PET; limit: the SUV that a lesion exceeds in each voxel."""
    grid, values = suv.grid, suv.values
    organs = anatomy.regions.mask(*anatomy.physiological)
    if not dropped.any() or not organs.any():
        return np.zeros_like(dropped)
    rest = values - SAFELY * spilled(grid, values, organs)
    excreting = anatomy.physiological & EXCRETION - {"ureter"}
    near = dilate(grid, anatomy.regions.mask(*excreting), REACH_MM)
    others = anatomy.regions.mask(*anatomy.physiological - excreting)
    outside = dropped & ~dilate(grid, organs, IN_DOUBT_MM)
    off = dilate(grid, organs & ~others, STAND_OFF_MM) | dilate(grid, others, IN_DOUBT_MM)
    in_bone = unexplained(grid, rest, limit, dropped & (anatomy.bone >= IN_BONE), off)
    alone = round_ones(grid, unexplained(grid, rest, limit, outside & near & ~dilate(grid, others, STAND_OFF_MM), off))
    found = in_bone | alone
    edge = dilate(grid, found, IN_DOUBT_MM) & dropped & ~organs & (rest > 0.5 * limit)
    return np.asarray(found | edge)


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
    tops = ndimage.maximum_position(rest, labels, numbers)
    return np.isin(labels, [n for n, top in zip(numbers, tops, strict=True) if not off[top]])


def round_ones(grid: Grid, mask: BoolArray) -> BoolArray:
    """The components whose least principal axis is at least ROUND of the greatest."""
    labels, sizes = components(mask)
    keep = np.zeros(sizes.size + 1, dtype=bool)
    for n, box in enumerate(ndimage.find_objects(labels), start=1):
        points = np.argwhere(labels[box] == n) * grid.spacing
        moments = np.maximum(np.linalg.eigvalsh(np.cov(points.T)), 0.0) if len(points) > 8 else np.zeros(3)
        keep[n] = moments[0] >= ROUND**2 * max(moments[2], 1e-6)
    return keep[labels]
