"""The deformable stage: coarse to fine, the shift that explains the local differences of two CTs best.

At each voxel the step v is the least-squares solution of `g . v = r` over a Gaussian neighbourhood (Lucas and Kanade
1981; r: difference of the CTs, g: their mean gradient), which, unlike a demons step, has nearly its full length at
once. The field is smoothed after each step. Nothing here is random, and no result depends on the number of threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from analysis.grids import resample, to_image
from analysis.patient.registration_body import (
    LOWEST_CONTRAST,
    CoarseCt,
    block_means,
    contrast,
    contrast_image,
    cropped,
    distance_mm,
    opening,
    rigid_shift,
    shrunk_grid,
    warp,
)
from analysis.values import FloatArray, Grid, Transform

THICK_MM = 24.0
PAIRS = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))


@dataclass(frozen=True, slots=True, kw_only=True)
class DeformableSettings:
    """How the deformable stage works; lengths in voxels of the level.

    factors: size of a level's voxel in voxels of the coarse CT; rounds: steps of each level. window: sigma of the
    neighbourhood that a step is fitted to. smoothing: sigma of the Gaussian that keeps the field smooth. stiffness: a
    place moves on its own only if its texture exceeds this part of the mean. residual: differences beyond it (in
    contrast units, about HU of soft tissue) count less and less: contrast medium, gas, implants.
    """

    factors: tuple[int, ...] = (4, 2, 1)
    rounds: tuple[int, ...] = (8, 8, 6)
    window: float = 3.0
    smoothing: float = 3.0
    stiffness: float = 0.1
    residual: float = 80.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Level:
    """Both CTs at one level. base: (3, nk, nj, ni), the rigid shift R x + t - x in mm at every voxel of grid."""

    grid: Grid
    fixed: FloatArray
    gradient: list[FloatArray]
    weight: FloatArray
    moving: sitk.Image
    base: FloatArray


def deform(fixed: CoarseCt, moving: CoarseCt, rigid: FloatArray, settings: DeformableSettings) -> tuple[Grid, FloatArray]:
    """Where the body's points go beyond the rigid shift: x -> R x + t + u(x).

    Result: a grid around the fixed body and u on it, float32 (nk, nj, ni, 3) in mm (x, y, z), fading to zero at its
    borders.
    """
    near = cropped(_comparable(fixed, moving, rigid), margin_mm=24.0)
    field = np.zeros((3, 1, 1, 1), dtype=np.float32)
    before = settings.factors[0]
    with ThreadPoolExecutor(2) as pool:
        for factor, rounds in zip(settings.factors, settings.rounds, strict=True):
            level = _level(near, moving, rigid, factor)
            field = _carried(field, before, factor, level.grid.shape)
            for _ in range(rounds):
                field = _step(level, field, settings, pool)
            before = factor
    field = _carried(field, before, 1, near.grid.shape)
    return _faded(near.grid, np.ascontiguousarray(np.moveaxis(field, 0, -1)))


def jacobian(rigid: FloatArray, grid: Grid, field: FloatArray) -> FloatArray:
    """Determinant of the derivative of x -> R x + t + u(x) at every voxel of an upright grid; <= 0 where space folds."""
    axes = [np.gradient(field[..., c], grid.spacing[0]) for c in range(3)]
    j = [[rigid[c, a] + axes[c][2 - a] for a in range(3)] for c in range(3)]
    minor = [j[1][a] * j[2][b] - j[1][b] * j[2][a] for a, b in ((1, 2), (0, 2), (0, 1))]
    return np.asarray(j[0][0] * minor[0] - j[0][1] * minor[1] + j[0][2] * minor[2])


def _comparable(fixed: CoarseCt, moving: CoarseCt, rigid: FloatArray) -> CoarseCt:
    """The fixed CT, unseen around whatever one scan holds and the other does not, such as arms that lie elsewhere.

    Only what is thicker than twice THICK_MM counts: less is what the deformation is to explain.
    """
    transform = Transform(rigid=rigid)
    body = resample(moving.grid, moving.body, fixed.grid, transform=transform) > 0.5
    both = fixed.seen & (resample(moving.grid, moving.seen, fixed.grid, transform=transform) > 0.5)
    odd = opening((fixed.body ^ body) & both, THICK_MM, fixed.step_mm)
    return replace(fixed, seen=fixed.seen & (distance_mm(odd, fixed.step_mm) > THICK_MM))


def _level(fixed: CoarseCt, moving: CoarseCt, rigid: FloatArray, factor: int) -> _Level:
    grid = shrunk_grid(fixed.grid, factor)
    values = block_means(contrast(fixed.hu), factor)
    seen = block_means(fixed.seen.astype(np.float32), factor) > 0.9
    body = block_means(fixed.body.astype(np.float32), factor) > 0.0
    weight = (ndimage.binary_dilation(body, iterations=2) & seen).astype(np.float32)
    return _Level(
        grid=grid,
        fixed=values,
        gradient=list(np.gradient(values)),
        weight=weight,
        moving=to_image(*contrast_image(moving, factor)),
        base=rigid_shift(grid, rigid),
    )


def _step(level: _Level, field: FloatArray, settings: DeformableSettings, pool: ThreadPoolExecutor) -> FloatArray:
    """The field (3, nk, nj, ni) in mm after one least-squares step and its smoothing."""
    step_mm = level.grid.spacing[0]
    warped = warp(level.moving, level.grid, level.base + field)
    seen = warped > LOWEST_CONTRAST
    warped = np.where(seen, warped, level.fixed)
    residual = level.fixed - warped
    weight = level.weight * seen / np.maximum(1.0, np.abs(residual) / settings.residual)
    # The arrays' axes are (k, j, i), the field's components (x, y, z).
    mean = [(a + b) / (2 * step_mm) for a, b in zip(level.gradient, np.gradient(warped), strict=True)][::-1]
    products = [weight * mean[a] * mean[b] for a, b in PAIRS] + [weight * residual * g for g in mean]
    local = _smooth(products, settings.window, pool)
    texture = float(sum(p[level.weight > 0].mean() for p in local[:3]) / 3)
    shift = np.clip(_solved(local, settings.stiffness * texture + 1e-6), -step_mm, step_mm)
    return np.stack(_smooth(field + shift, settings.smoothing, pool))


def _solved(local: Sequence[FloatArray], ridge: float) -> FloatArray:
    """The 3 x 3 system of every voxel: six sums of gradient products (order of PAIRS), then three right sides."""
    xx, yy, zz, xy, xz, yz, bx, by, bz = local
    xx, yy, zz = xx + ridge, yy + ridge, zz + ridge
    cxx, cxy, cxz = yy * zz - yz * yz, xz * yz - xy * zz, xy * yz - xz * yy
    cyy, cyz, czz = xx * zz - xz * xz, xy * xz - xx * yz, xx * yy - xy * xy
    det = xx * cxx + xy * cxy + xz * cxz
    solution = (cxx * bx + cxy * by + cxz * bz, cxy * bx + cyy * by + cyz * bz, cxz * bx + cyz * by + czz * bz)
    return np.stack(solution) / det


def _smooth(arrays: Sequence[FloatArray] | FloatArray, sigma: float, pool: ThreadPoolExecutor) -> list[FloatArray]:
    return list(pool.map(lambda a: ndimage.gaussian_filter(a, sigma, mode="nearest", truncate=3.0), arrays))


def _carried(field: FloatArray, before: int, factor: int, shape: tuple[int, int, int]) -> FloatArray:
    """A coarser level's field at the voxels of the next one."""
    if before == factor and field.shape[1:] == shape:
        return field
    along = [((np.arange(n) + 0.5) * factor / before - 0.5) for n in shape]
    index = np.stack(np.meshgrid(*along, indexing="ij"))
    return np.stack([ndimage.map_coordinates(c, index, order=1, mode="nearest") for c in field])


def _faded(grid: Grid, field: FloatArray, voxels: int = 16) -> tuple[Grid, FloatArray]:
    """The field on a wider grid, where it falls to zero smoothly: beyond the CT nothing is known of the deformation."""
    wide = np.pad(field, [(voxels, voxels)] * 3 + [(0, 0)], mode="edge")
    ramp = 0.5 - 0.5 * np.cos(np.pi * np.arange(voxels) / voxels)
    for axis in range(3):
        profile = np.concatenate([ramp, np.ones(grid.shape[axis]), ramp[::-1]]).astype(np.float32)
        wide *= profile.reshape([-1 if a == axis else 1 for a in range(4)])
    affine = grid.affine.copy()
    affine[:3, 3] = grid.to_world(np.full(3, -voxels))
    return Grid(shape=(wide.shape[0], wide.shape[1], wide.shape[2]), affine=affine), wide
