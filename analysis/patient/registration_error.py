"""Where the registration can be trusted: points carried to the other scan and back, and bone that lies beside bone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from analysis.grids import apply, resample, to_image
from analysis.patient.registration_body import BONE_HU, UNSEEN, CoarseCt, block_means, distance_mm, shrunk_grid
from analysis.values import BoolArray, ErrorMap, FloatArray, Grid, Transform

# An error and a deformation are judged over neighbourhoods of this sigma.
NEAR_MM = 16.0
# The error that is told is the root mean square of what there-and-back and bone disagree by, and not below a part of a
# voxel. The way back is the coarser one, so it is told too large rather than too small (tests/bench/bench_registration.py).
LEAST_VOXELS = 0.15


def calmed(fixed: CoarseCt, back: Transform, elastic: Transform) -> Transform:
    """The deformation, taken back smoothly to the rigid transform where the way back contradicts it.

    There, points miss themselves by more than the deformation has moved them.
    """
    if elastic.grid is None or elastic.displacement is None:
        return elastic
    grid, inside, points = _sparse(fixed)
    there = apply(elastic, points)
    miss = _squared(apply(back, there) - points)
    moved = _squared(there - apply(Transform(rigid=elastic.rigid), points))
    ratio = _nearby(grid, inside, miss) / np.maximum(_nearby(grid, inside, moved), 1e-3)
    keep = np.clip(2.0 - ratio, 0.0, 1.0)
    # A place that hardly moves needs no taking back.
    keep = np.where(_nearby(grid, inside, moved) < fixed.step_mm**2 / 4, 1.0, keep)
    if float(keep[inside].min(initial=1.0)) >= 1.0:
        return elastic
    keep = ndimage.gaussian_filter(_outward(keep, inside), NEAR_MM / grid.spacing[0], mode="nearest")
    share = _extended(grid, keep.astype(np.float32), elastic.grid)
    return replace(elastic, displacement=elastic.displacement * share[..., None])


def error_map(fixed: CoarseCt, moving: CoarseCt, back: Transform, transform: Transform) -> ErrorMap:
    """The error to be expected from place to place, on a grid of four voxels."""
    grid, inside, points = _sparse(fixed)
    there_and_back = _nearby(grid, inside, _squared(apply(back, apply(transform, points)) - points))
    square = there_and_back + _bone_gaps(fixed, moving, transform, grid, inside)
    least = LEAST_VOXELS * fixed.step_mm
    mm = np.sqrt(_outward(square, inside) + least**2)
    return ErrorMap(grid=shrunk_grid(grid, 2), mm=block_means(mm.astype(np.float32), 2))


def _sparse(fixed: CoarseCt) -> tuple[Grid, BoolArray, FloatArray]:
    """A grid of twice the voxel size, which of its voxels lie in the body, and their (n, 3) centres."""
    grid = shrunk_grid(fixed.grid, 2)
    inside = block_means((fixed.body & fixed.seen).astype(np.float32), 2) > 0.5
    return grid, inside, grid.to_world(np.argwhere(inside))


def _squared(vectors: FloatArray) -> FloatArray:
    return np.asarray(np.sum(vectors**2, axis=1))


def _nearby(grid: Grid, inside: BoolArray, values: FloatArray) -> FloatArray:
    """Means of the values (n,) of the voxels inside, over the neighbourhood of each voxel; 0 far from all of them."""
    filled = np.zeros(grid.shape, dtype=np.float32)
    filled[inside] = values
    sigma = NEAR_MM / grid.spacing[0]
    total, weight = (ndimage.gaussian_filter(a, sigma, mode="constant") for a in (filled, inside.astype(np.float32)))
    return np.asarray(total / np.maximum(weight, 1e-3))


def _outward(values: FloatArray, inside: BoolArray) -> FloatArray:
    """Every voxel outside takes the value of the nearest one inside."""
    if not inside.any():
        return values
    nearest = ndimage.distance_transform_edt(~inside, return_distances=False, return_indices=True)
    return np.asarray(values[tuple(nearest)])


def _bone_gaps(fixed: CoarseCt, moving: CoarseCt, transform: Transform, grid: Grid, inside: BoolArray) -> FloatArray:
    """Mean square, over bone surface nearby, of the gap to the other scan's beyond half a voxel; 0 far from bone."""
    hu = resample(
        moving.grid, np.where(moving.seen, moving.hu, np.float32(UNSEEN)), fixed.grid, transform=transform, outside=UNSEEN
    )
    common = (hu > UNSEEN / 4) & fixed.seen
    inner = ndimage.binary_erosion(common, iterations=2)
    surfaces = [bone & ~ndimage.binary_erosion(bone) & common for bone in (fixed.bone, hu > BONE_HU)]
    total, count = np.zeros(grid.shape, np.float32), np.zeros(grid.shape, np.float32)
    if all(surface.any() for surface in surfaces):
        for mine, other in (surfaces, surfaces[::-1]):
            on = mine & inner
            gap = np.where(on, np.maximum(0.0, distance_mm(other, fixed.step_mm) - fixed.step_mm / 2) ** 2, 0.0)
            total += block_means(gap.astype(np.float32), 2)
            count += block_means(on.astype(np.float32), 2)
    sigma = NEAR_MM / grid.spacing[0]
    total, count = (ndimage.gaussian_filter(a, sigma, mode="constant") for a in (total, count))
    return np.asarray(np.where(inside, total / np.maximum(count, 2e-3), 0.0))


def _extended(grid: Grid, values: FloatArray, onto: Grid) -> FloatArray:
    """Values of `grid` at the voxels of `onto`, linear; beyond the grid those of its border."""
    like = to_image(onto, np.zeros(onto.shape, np.uint8))
    filt = sitk.ResampleImageFilter()
    filt.SetReferenceImage(like)
    filt.SetInterpolator(sitk.sitkLinear)
    filt.UseNearestNeighborExtrapolatorOn()
    return np.asarray(sitk.GetArrayFromImage(filt.Execute(to_image(grid, values))))
