"""What a CT shows without any weights: body, lungs, gas, skeleton with its marrow, and the line of the spine.

All masks lie on one working grid. Hounsfield limits are the usual ones of CT: air below -400, fat -150..-30, soft tissue
0..100 (to 250 with contrast), cancellous bone above about 120, cortical bone above 250.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy import ndimage

from analysis.errors import UnusableImage
from analysis.grids import resample
from analysis.segmenters.morphology import (
    closing,
    crop_to,
    dilate,
    erode,
    fill_slices,
    larger_than,
    largest,
    opening,
    part,
    touching,
)
from analysis.values import BoolArray, FloatArray, Grid, Volume

WORKING_MM = 3.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CtStructures:
    """Masks of one CT on `grid` (about 3 mm). hu: float32 on the same grid.

    spine: (nk, 2) world (x, y) in mm of the vertebral column's centre in each slice, NaN-free once any bone was found.
    """

    grid: Grid
    hu: FloatArray
    body: BoolArray
    lungs: BoolArray
    gas: BoolArray
    skeleton: BoolArray
    spine: FloatArray | None


def read_ct(ct: Volume) -> CtStructures:
    """The structures of a CT. Raises UnusableImage where there is no body in it."""
    grid, hu = working_copy(ct)
    body = find_body(grid, hu)
    box = crop_to(grid, body, 2 * WORKING_MM)
    grid, hu, body = part(grid, box), hu[box], body[box]
    lungs, gas = find_air(grid, hu, body)
    skeleton = find_skeleton(grid, hu, body)
    return CtStructures(
        grid=grid, hu=hu, body=body, lungs=lungs, gas=gas, skeleton=skeleton, spine=find_spine(grid, skeleton, body)
    )


def working_copy(ct: Volume) -> tuple[Grid, FloatArray]:
    """The CT on an upright grid (i to the left, j to the back, k to the head) of about 3 mm, fine detail averaged."""
    corners = ct.grid.to_world(np.array(list(product(*[(-0.5, n - 0.5) for n in ct.grid.shape]))))
    low, high = corners.min(axis=0), corners.max(axis=0)
    shape = np.maximum(1, np.floor((high - low) / WORKING_MM)).astype(int)
    affine = np.eye(4)
    affine[:3, :3] = WORKING_MM * np.eye(3)[::-1]
    affine[:3, 3] = low + WORKING_MM / 2
    grid = Grid(shape=(int(shape[2]), int(shape[1]), int(shape[0])), affine=affine)
    blur = [0.4 * WORKING_MM / s if 1.2 * s < WORKING_MM else 0.0 for s in ct.grid.spacing]
    clipped = np.clip(ct.values, -1024, 3000)
    smooth = ndimage.gaussian_filter(clipped, blur, mode="nearest", truncate=2.0) if any(blur) else clipped
    return grid, resample(ct.grid, smooth, grid, outside=-1024.0)


def find_body(grid: Grid, hu: FloatArray) -> BoolArray:
    """The patient without table and clothes, lungs and gas included."""
    tissue = opening(grid, hu > -400, 6.0)
    body = largest(tissue)
    if body.sum() * grid.voxel_ml < 1000:
        raise UnusableImage("The CT shows no body (less than 1 litre above -400 HU): check that the right series was sent.")
    return fill_slices(closing(grid, body, 9.0))


def find_air(grid: Grid, hu: FloatArray, body: BoolArray) -> tuple[BoolArray, BoolArray]:
    """Lungs with their vessels (air-filled, at least 300 ml, wider than a trachea), and all other gas inside the body."""
    air = (hu < -400) & erode(grid, body, 3.0)
    core = larger_than(grid, opening(grid, air & (hu < -500), 12.0), 300.0)
    if not core.any():
        return core, air
    lungs = closing(grid, touching(air & dilate(grid, core, 12.0), core), 6.0) & body
    return lungs, air & ~lungs


def find_skeleton(grid: Grid, hu: FloatArray, body: BoolArray) -> BoolArray:
    """Bones with their marrow, without the spinal canal.

    Hard bone (> 250 HU) grows into what is connected and above 140 HU; contrast-filled vessels and organs, dense but even
    and thick, are taken out first; marrow is what a shell of bone encloses, up to 32 mm across (a brain is no marrow).
    """
    dense = (hu > 140) & body
    even = opening(grid, dense & (local_spread(hu) < 35), 6.0) & (hu < 500)
    bone = touching(dense & ~dilate(grid, even, 3.0), (hu > 250) & body)
    bone = larger_than(grid, bone, 0.3)
    shell = closing(grid, bone, 5.0)
    inside = (fill_slices(shell, 0) | fill_slices(shell, 2)) & ~bone & (hu > -80) & body
    return bone | (inside & ~opening(grid, inside, 16.0))


def local_spread(hu: FloatArray, size: int = 3) -> FloatArray:
    """Standard deviation of the values in a cube of `size` voxels."""
    mean = ndimage.uniform_filter(hu, size)
    return np.asarray(np.sqrt(np.maximum(ndimage.uniform_filter(hu * hu, size) - mean * mean, 0.0)))


def find_spine(grid: Grid, skeleton: BoolArray, body: BoolArray) -> FloatArray | None:
    """The centre line of the vertebral column: (nk, 2) world x and y in mm, smoothed; None where there is no column.

    Vertebrae are the thickest bone near the middle of the body; slices without any take the neighbours' value.
    """
    core = opening(grid, skeleton, 8.0)
    k, j, i = np.nonzero(core)
    if k.size == 0:
        return None
    x, y, _ = grid.to_world(np.stack([k, j, i], axis=-1)).T
    middle = float(np.median(grid.to_world(np.argwhere(body))[:, 0]))
    near = np.abs(x - middle) < 60.0
    line = np.full((grid.shape[0], 2), np.nan)
    if not near.any():
        return None
    middle = float(np.median(x[near]))
    near &= np.abs(x - middle) < 45.0
    for row in np.unique(k[near]):
        here = near & (k == row)
        line[row] = np.median(x[here]), np.median(y[here])
    known = np.flatnonzero(np.isfinite(line[:, 0]))
    if known.size < 3:
        return None
    every = np.arange(grid.shape[0])
    full = np.stack([np.interp(every, known, line[known, c]) for c in range(2)], axis=-1)
    width = max(3, round(60.0 / grid.spacing[0]) | 1)
    steady = ndimage.median_filter(full, (width, 1), mode="nearest")
    return np.asarray(ndimage.gaussian_filter1d(steady, width / 4, axis=0, mode="nearest"))
