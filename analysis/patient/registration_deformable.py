"""The deformable stage: from coarse to fine, the smoothest field that explains the differences of two CTs.

Gauss-Newton steps on robust squared differences of the contrast, with a price on changes of curvature, each solved as a whole
(registration_solver). So a place without texture follows its surroundings and not zero, and a field is not shortened by
smoothing. Nothing here is random, and no result depends on the number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
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
    whole_blocks,
)
from analysis.patient.registration_solver import PAIRS, POWER, System, roughness, solved
from analysis.values import BoolArray, FloatArray, Grid, Transform

THICK_MM = 24.0
LEAST_FADE_MM = 64.0
# Space that shrinks to less than this part of itself is smoothed out.
LEAST_GROWTH = 0.1


# Slices that are worked on at once: few enough for the processor's own memory; a multiple of every level's factor.
SLAB = 16
# Catmull and Rom's spline a quarter of a voxel before a sample, from the two samples before it to the one behind it.
BETWEEN = (-0.0234375, 0.2265625, 0.8671875, -0.0703125)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeformableSettings:
    """How the deformable stage works.

    factors: size of a level's voxel in voxels of the coarse CT; rounds: steps of each level at most; finest: size of the
    field's own voxel at least. Waves of the field shorter than 2 pi times a length are smoothed away where tissue has the mean
    texture, longer ones where it has less. That length follows from the deformation found so far (see _smooth_mm), between
    `softest` of the level's voxels and stiffest_mm; trust: mean square error (mm**2) of one voxel's match. ties: how strongly
    a place is drawn back to the rigid result, in parts of the mean texture; hold: the same for body that the other scan
    does not hold there. residual: differences beyond it (in contrast units, about HU of soft tissue) count less and less:
    contrast medium, gas, implants. edge: the same for slopes, in contrast units a voxel: what is sampled at voxels is
    uncertain in proportion to its slope, and bone and skin are not to outshout all else. solver: rounds of conjugate
    gradients in each step. settled: a level ends early after a step that is smaller (root mean square, in its voxels).
    """

    factors: tuple[int, ...] = (4, 2, 1)
    rounds: tuple[int, ...] = (8, 6, 5)
    finest: int = 2
    softest: float = 2.0
    stiffest_mm: float = 24.0
    trust: float = 0.3
    ties: float = 1e-4
    hold: float = 0.1
    residual: float = 40.0
    edge: float = 25.0
    solver: int = 6
    settled: float = 0.02


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Level:
    """Both CTs at one level.

    weight: 1 where they are compared; apart: how much of a voxel is body that cannot be. base: (3, nk, nj, ni), the rigid
    shift R x + t - x in mm at every voxel of grid.
    """

    factor: int
    grid: Grid
    fixed: FloatArray
    gradient: list[FloatArray]
    weight: FloatArray
    apart: FloatArray
    moving: sitk.Image
    base: FloatArray


def deform(fixed: CoarseCt, moving: CoarseCt, rigid: FloatArray, settings: DeformableSettings) -> tuple[Grid, FloatArray]:
    """Where the body's points go beyond the rigid shift: x -> R x + t + u(x).

    Result: a grid around the fixed body and u on it, float32 (nk, nj, ni, 3) in mm (x, y, z), fading to zero at its
    borders.
    """
    near = whole_blocks(_comparable(cropped(fixed, margin_mm=THICK_MM), moving, rigid), settings.factors[0])
    before = settings.factors[0]
    field: FloatArray = np.zeros((3, *shrunk_grid(near.grid, before).shape), dtype=np.float32)
    for factor, rounds in zip(settings.factors, settings.rounds, strict=True):
        level, size = _level(near, moving, rigid, factor), max(factor, settings.finest)
        field, before = _refined(field, before // size), size
        for _ in range(rounds):
            step = _step(level, field, size // factor, settings)
            field = field + step
            if float(np.sqrt(np.mean(step**2, dtype=np.float64))) < settings.settled * level.grid.spacing[0]:
                break
    grid, whole = _faded(near.grid, np.ascontiguousarray(np.moveaxis(_refined(field, before), 0, -1)))
    return grid, _unfolded(rigid, grid, whole)


def jacobian(rigid: FloatArray, grid: Grid, field: FloatArray) -> FloatArray:
    """Determinant of the derivative of x -> R x + t + u(x) at every voxel of an upright grid; <= 0 where space folds."""
    out = np.empty(grid.shape, dtype=np.float32)
    for first in range(0, grid.shape[0], SLAB):
        halo = slice(max(0, first - 1), first + SLAB + 1)
        own = slice(first - halo.start, first - halo.start + SLAB)
        axes = [[slope[own] for slope in list(np.gradient(field[halo, ..., c], grid.spacing[0]))] for c in range(3)]
        j = [[np.float32(rigid[c, a]) + axes[c][2 - a] for a in range(3)] for c in range(3)]
        minor = [j[1][a] * j[2][b] - j[1][b] * j[2][a] for a, b in ((1, 2), (0, 2), (0, 1))]
        out[first : first + SLAB] = j[0][0] * minor[0] - j[0][1] * minor[1] + j[0][2] * minor[2]
    return out


def _unfolded(rigid: FloatArray, grid: Grid, field: FloatArray, rounds: int = 4) -> FloatArray:
    """The field smoothed where it folds, or nearly does, and nowhere else; what still folds is left to the caller."""
    for sigma in (3.0,) * rounds:
        tight = jacobian(rigid, grid, field) < LEAST_GROWTH
        if not tight.any():
            break
        around = distance_mm(tight, 1.0)
        share = np.clip(2.0 - around / (2.0 * sigma), 0.0, 1.0)[..., None]
        smooth = np.stack(
            [ndimage.gaussian_filter(field[..., c], sigma, mode="nearest", truncate=3.0) for c in range(3)], axis=-1
        )
        field = np.asarray(share * smooth + (1.0 - share) * field, dtype=np.float32)
    return field


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
    apart = block_means((fixed.body & ~fixed.seen).astype(np.float32), factor)
    return _Level(
        factor=factor,
        grid=grid,
        fixed=values,
        gradient=list(np.gradient(values)),
        weight=weight,
        apart=apart,
        moving=to_image(*contrast_image(moving, factor)),
        base=rigid_shift(grid, rigid),
    )


def _step(level: _Level, field: FloatArray, coarser: int, settings: DeformableSettings) -> FloatArray:
    """What one Gauss-Newton step adds to the field (3, nk, nj, ni; mm), whose voxels hold coarser ** 3 of the level's."""
    step_mm = level.grid.spacing[0]
    warped = warp(level.moving, level.grid, level.base + _refined(field, coarser))
    seen = warped > LOWEST_CONTRAST
    warped = np.where(seen, warped, level.fixed)
    normal = _normal(level, warped, seen, coarser, settings)
    products, right = (np.concatenate(parts, axis=1) for parts in zip(*normal, strict=True))
    texture = float(products[:3].sum(dtype=np.float64) / 3 / max(1.0, float((level.weight > 0).sum()) / coarser**3))
    # Body that has no counterpart, such as arms that lie elsewhere, follows the rigid result and draws its surroundings to it.
    held = np.float32(settings.hold * texture) * block_means(level.apart, coarser)
    products[:3] += held
    right -= held * field
    system = System(
        products=products,
        right=right,
        step_mm=step_mm * coarser,
        texture=texture,
        smooth_mm=_smooth_mm(field, step_mm, step_mm * coarser, settings),
        ties=settings.ties,
    )
    # By the finest level the way back is done, and its processor free.
    threads = 2 if level.factor == 1 else 1
    return np.clip(solved(system, field, settings.solver, threads), -step_mm, step_mm)


def _normal(
    level: _Level, warped: FloatArray, seen: BoolArray, coarser: int, settings: DeformableSettings
) -> Iterator[tuple[FloatArray, FloatArray]]:
    """The step's normal equations on the field's voxels, slab by slab: products (6, nk, nj, ni), right side (3, nk, nj, ni).

    A slab stays in the processor's memory, and two are worked on at once; no voxel knows of its slab.
    """
    step_mm, last = level.grid.spacing[0], warped.shape[0]

    def of_slab(first: int) -> tuple[FloatArray, FloatArray]:
        own, halo = slice(first, first + SLAB), slice(max(0, first - 1), first + SLAB + 1)
        inner = slice(first - halo.start, first - halo.start + min(SLAB, last - first))
        slopes = [slope[inner] for slope in list(np.gradient(warped[halo]))]
        residual = level.fixed[own] - warped[own]
        # The arrays' axes are (k, j, i), the field's components (x, y, z).
        mean = [(a[own] + b) / (2 * step_mm) for a, b in zip(level.gradient, slopes, strict=True)][::-1]
        weight = level.weight[own] * seen[own] / np.maximum(1.0, np.abs(residual) / settings.residual)
        weight = weight / (1.0 + sum(g * g for g in mean) * np.float32((step_mm / settings.edge) ** 2))
        heavy = [weight * g for g in mean]
        products = np.stack([block_means(heavy[a] * mean[b], coarser) for a, b in PAIRS])
        return products, np.stack([block_means(residual * g, coarser) for g in heavy])

    with ThreadPoolExecutor(2) as pool:
        yield from pool.map(of_slab, range(0, last, SLAB))


def _smooth_mm(field: FloatArray, level_mm: float, step_mm: float, settings: DeformableSettings) -> float:
    """The length of the regulariser: the rougher the field (voxels of step_mm) already is, the less its roughness costs.

    The price of a Gaussian prior is one over its variance, which is estimated from the field itself, round by round.
    """
    least = settings.softest * level_mm
    rough = roughness(field, step_mm)
    most = max(least, settings.stiffest_mm)
    return most if rough <= 0 else min(max((settings.trust / rough) ** (0.5 / POWER), least), most)


def _refined(field: FloatArray, factor: int) -> FloatArray:
    """The field (3, nk, nj, ni) on voxels half as large, and half again, until there are factor ** 3 in one; cubic."""
    while factor > 1:
        for axis in (1, 2, 3):
            field = _halved(field, axis)
        factor //= 2
    return field


def _halved(field: FloatArray, axis: int) -> FloatArray:
    """Twice as many samples along an axis, at a quarter of a voxel on either side of each (Catmull and Rom's spline)."""
    n = field.shape[axis]
    wide = np.pad(field, [(2, 2) if a == axis else (0, 0) for a in range(4)], mode="edge")
    parts = [wide[tuple(slice(s, s + n) if a == axis else slice(None) for a in range(4))] for s in range(5)]
    finer = np.empty([2 * n if a == axis else size for a, size in enumerate(field.shape)], dtype=np.float32)
    for first, order in ((0, parts[:4]), (1, parts[:0:-1])):
        half = finer[tuple(slice(first, None, 2) if a == axis else slice(None) for a in range(4))]
        half[...] = sum(np.float32(w) * p for w, p in zip(BETWEEN, order, strict=True))
    return finer


def _faded(grid: Grid, field: FloatArray) -> tuple[Grid, FloatArray]:
    """The field on a wider grid, where it falls to zero smoothly: beyond the CT nothing is known of the deformation.

    The farther it has to fall, the wider the border, so that it does not fold there.
    """
    ends = max(float(np.abs(np.take(field, [0, -1], axis=axis)).max()) for axis in range(3))
    voxels = math.ceil(max(LEAST_FADE_MM, 2.5 * ends) / grid.spacing[0])
    wide = np.pad(field, [(voxels, voxels)] * 3 + [(0, 0)], mode="edge")
    ramp = 0.5 - 0.5 * np.cos(np.pi * np.arange(voxels) / voxels)
    for axis in range(3):
        profile = np.concatenate([ramp, np.ones(grid.shape[axis]), ramp[::-1]]).astype(np.float32)
        wide *= profile.reshape([-1 if a == axis else 1 for a in range(4)])
    affine = grid.affine.copy()
    affine[:3, 3] = grid.to_world(np.full(3, -voxels))
    return Grid(shape=(wide.shape[0], wide.shape[1], wide.shape[2]), affine=affine), wide
