"""The rigid stage: a whole search over shifts, then robust least squares from the best few of them.

Mattes mutual information (SimpleITK 2.5) came to the same place, but its sums differ in the last bits from run to run
even with one thread; this gives the same transform bit for bit, and takes a fifth of the time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from scipy import fft
from scipy.spatial.transform import Rotation

from analysis.errors import UnusableImage
from analysis.grids import crop_to, part, to_image
from analysis.patient.registration_body import (
    LOWEST_CONTRAST,
    CoarseCt,
    block_means,
    contrast,
    contrast_image,
    rigid_shift,
    shrunk_grid,
    warp,
)
from analysis.values import BoolArray, FloatArray, Grid

# Differences beyond this (contrast units, about HU of soft tissue) count less: arms, gas, contrast medium.
WORST = 80.0
# Part of the smaller trunk that must lie in the other for a shift to be thought of.
LEAST_SHARE = 0.15


def align_rigid(fixed: CoarseCt, moving: CoarseCt, *, starts: int) -> FloatArray:
    """The 4 x 4 matrix that maps fixed points to moving points (LPS mm); the trunk decides, arms do not count.

    Raises UnusableImage where the scans have no part in common.
    """
    coarse, middle = _view(fixed, moving, 4), _view(fixed, moving, 2)
    begun = []
    for shift in shifts(fixed, moving, starts):
        start = np.eye(4)
        start[:3, 3] = shift
        matrix = _fitted(coarse, start, rounds=20)
        begun.append((similarity(middle, matrix), matrix))
    best = max((score for score, _ in begun), default=-np.inf)
    if not np.isfinite(best):
        raise UnusableImage(
            "The FDG and the PentixaFor CT share no part of the body: check that both scans cover the same region."
        )
    # Only what is nearly as good as the best may yet overtake it.
    hopeful = [_fitted(middle, matrix, rounds=20) for score, matrix in begun if score > 0.9 * best]
    chosen = hopeful[0] if len(hopeful) == 1 else max(hopeful, key=lambda matrix: similarity(middle, matrix))
    return _fitted(_view(fixed, moving, 1), chosen, rounds=1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _View:
    """Both CTs' contrast shrunk by a factor, the fixed one cut to the box of its trunk.

    gradient: of the fixed one along (k, j, i), a mm. trunk: what is compared; smaller: the smaller trunk of both, in voxels.
    """

    grid: Grid
    target: FloatArray
    gradient: list[FloatArray]
    trunk: BoolArray
    moving: sitk.Image
    smaller: float


def _view(fixed: CoarseCt, moving: CoarseCt, factor: int) -> _View:
    # In whole blocks, so that a cut CT is shrunk as the whole one would be.
    around = crop_to(fixed.grid, fixed.trunk, 2 * factor * fixed.step_mm)
    k, j, i = (slice(side.start // 4 * 4, side.stop) for side in around)
    box, grid = (k, j, i), part(fixed.grid, (k, j, i))
    target = block_means(contrast(fixed.hu[box]), factor)
    trunk = block_means((fixed.trunk & fixed.seen)[box].astype(np.float32), factor) > 0.5
    shrunk = shrunk_grid(grid, factor)
    return _View(
        grid=shrunk,
        target=target,
        gradient=list(np.gradient(target, shrunk.spacing[0])),
        trunk=trunk,
        moving=to_image(*contrast_image(moving, factor)),
        smaller=min(int(fixed.trunk.sum()), int(moving.trunk.sum())) / factor**3,
    )


def shifts(fixed: CoarseCt, moving: CoarseCt, count: int, *, step_mm: float = 12.0) -> list[FloatArray]:
    """The shifts (LPS mm) at which the two CTs agree best over their common field of view, best first, well apart.

    Normalised correlation at every shift at once (masked, by Fourier transform), so neither a different table, nor a
    different field of view, nor a scan that holds only a part of the other misleads the start.
    """
    f, m = _shrunk(fixed, step_mm), _shrunk(moving, step_mm)
    correlation = _masked_correlation(f, m)
    origin = m.grid.affine[:3, 3] - f.grid.affine[:3, 3]
    found: list[FloatArray] = []
    correlation = np.nan_to_num(correlation, nan=-1.0)
    least = max(0.0, 0.8 * float(correlation.max()))
    while len(found) < count and float(correlation.max()) > least:
        peak = np.unravel_index(int(correlation.argmax()), correlation.shape)
        # Entry n belongs to the moving grid's index being the fixed grid's index plus n - (fixed size - 1).
        offset = np.array(peak) - (np.array(f.grid.shape) - 1)
        found.append(origin + offset[::-1] * f.grid.spacing[0])
        near = tuple(slice(max(0, p - 4), p + 5) for p in peak)
        correlation[near] = -1.0
    return found


def similarity(view: _View, matrix: FloatArray) -> float:
    """Correlation of the CTs over the part of the trunk that both scans hold, less where that part is small."""
    warped = warp(view.moving, view.grid, rigid_shift(view.grid, matrix))
    common = view.trunk & (warped > LOWEST_CONTRAST)
    if common.sum() < 0.1 * view.smaller:
        return -np.inf
    a, b = view.target[common], warped[common]
    if a.std() == 0 or b.std() == 0:
        return -np.inf
    return float(np.corrcoef(a, b)[0, 1]) * min(1.0, float(common.sum()) / (0.5 * view.smaller))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Shrunk:
    """A CT averaged to some centimetre: contrast, what was measured (1 or 0), how much of a voxel is trunk (0..1)."""

    grid: Grid
    values: FloatArray
    seen: FloatArray
    trunk: FloatArray


def _shrunk(ct: CoarseCt, step_mm: float) -> _Shrunk:
    n = max(1, round(step_mm / ct.step_mm))
    seen = (block_means(ct.seen.astype(np.float32), n) > 0.5).astype(np.float64)
    trunk = block_means(ct.trunk.astype(np.float32), n).astype(np.float64)
    return _Shrunk(grid=shrunk_grid(ct.grid, n), values=block_means(contrast(ct.hu), n) * seen, seen=seen, trunk=trunk)


def _masked_correlation(fixed: _Shrunk, moving: _Shrunk) -> FloatArray:
    """Normalised correlation at every whole-voxel shift (Padfield 2012); NaN where the trunks have too little in common."""
    f, f_mask, m, m_mask = fixed.values, fixed.seen, moving.values, moving.seen
    shape = np.array(f.shape) + np.array(m.shape) - 1
    fast = [fft.next_fast_len(int(n), real=True) for n in shape]
    fixed_waves = [fft.rfftn(a[::-1, ::-1, ::-1], fast, workers=2) for a in (f_mask, f, f * f, fixed.trunk)]
    moving_waves = [fft.rfftn(b, fast, workers=2) for b in (m_mask, m, m * m, moving.trunk)]

    def cross(a: int, b: int) -> FloatArray:
        product = fft.irfftn(fixed_waves[a] * moving_waves[b], fast, workers=2)
        return np.asarray(product[tuple(slice(n) for n in shape)])

    n = np.maximum(1.0, np.round(cross(0, 0)))
    f_sum, m_sum = cross(1, 0), cross(0, 1)
    top = cross(1, 1) - f_sum * m_sum / n
    f_var = cross(2, 0) - f_sum**2 / n
    m_var = cross(0, 2) - m_sum**2 / n
    # What is even carries no place: its correlation is rounding.
    floor = n * 1e-2 * max(float(f.var()), float(m.var()))
    result = np.where((f_var > floor) & (m_var > floor), top / np.sqrt(np.maximum(f_var * m_var, 1.0)), np.nan)
    # Air agrees with air anywhere, so it is the trunks that must meet; little in common agrees by chance more easily.
    share = cross(3, 3) / min(fixed.trunk.sum(), moving.trunk.sum())
    result[share < LEAST_SHARE] = np.nan
    return np.asarray(result * np.minimum(1.0, share / 0.5))


def _fitted(view: _View, start: FloatArray, rounds: int) -> FloatArray:
    """The matrix after at most `rounds` Gauss-Newton steps; stops when a step is tiny.

    Minimises the difference of the contrast over the fixed trunk, large differences counting less (see WORST).
    """
    grid, target, trunk = view.grid, view.target, view.trunk
    points = grid.to_world(np.argwhere(trunk))
    if not len(points):
        return start
    slopes = [gradient[trunk] for gradient in view.gradient]
    centre = points.mean(axis=0)
    matrix = start
    for _ in range(rounds):
        warped = warp(view.moving, grid, rigid_shift(grid, matrix))
        seen = (warped > LOWEST_CONTRAST)[trunk]
        if not seen.any():
            break
        warped = np.where(warped > LOWEST_CONTRAST, warped, target)
        # The arrays' axes are (k, j, i), the positions' (x, y, z).
        both = zip(slopes, np.gradient(warped, grid.spacing[0]), strict=True)
        mean = np.stack([(a + b[trunk]) / 2 for a, b in both][::-1], axis=-1).astype(np.float64)
        residual = (target - warped)[trunk].astype(np.float64)
        weight = seen / np.maximum(1.0, np.abs(residual) / WORST)
        step = _rigid_step(mean, np.cross(points - centre, mean), residual, weight)
        matrix = matrix @ _motion(step, centre)
        if np.abs(step[:3]).max() < 0.01 and np.abs(step[3:]).max() < 1e-4:
            break
    return matrix


def _rigid_step(mean: FloatArray, torque: FloatArray, residual: FloatArray, weight: FloatArray) -> FloatArray:
    """Shift (mm) and rotation (rad) that explain the residuals best, bounded: the contrast is linear only nearby."""
    slopes = np.concatenate([mean, torque], axis=1)
    # einsum adds in one fixed order, a threaded matrix product may not.
    normal = np.einsum("na,nb,n->ab", slopes, slopes, weight)
    right = np.einsum("na,n,n->a", slopes, residual, weight)
    step = np.linalg.solve(normal + 1e-6 * np.trace(normal) / 6 * np.eye(6), right)
    return np.concatenate([np.clip(step[:3], -16.0, 16.0), np.clip(step[3:], -0.1, 0.1)])


def _motion(step: FloatArray, centre: FloatArray) -> FloatArray:
    """4 x 4: rotation by step[3:] (axis times angle) about the centre, then the shift step[:3]."""
    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_rotvec(step[3:]).as_matrix()
    motion[:3, 3] = centre + step[:3] - motion[:3, :3] @ centre
    return motion
