"""The skeleton on CT: bone with its marrow, told apart from contrast medium, and the line of the spine.

Contrast in vessels, kidneys and bowel is as dense as bone, but even, and its rim is less dense than its core; marrow has a
shell that is denser. Where contrast is too thin to have a core, its place tells: nothing in front of the spine between the
lungs and the hips is bone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy import ndimage

from analysis.grids import box_of, crop_to, part
from analysis.segmenters.morphology import (
    closing,
    components,
    erode,
    fill_slices,
    larger_than,
    opening,
    shifted,
    swollen,
    touching,
)
from analysis.values import BoolArray, FloatArray, Grid, LabelArray

DENSE_HU = 120.0  # cancellous bone, and soft tissue full of contrast
HARD_HU = 220.0  # cortical bone
EDGE_SHARE = 0.25  # of the densest neighbour; half is where an edge lies, but a rib's own marrow may hold less
EVEN_HU = 100.0  # what may be full of contrast
STRAY_MM, START_MM, STEADY_MM = 26.0, 40.0, 120.0  # half a vertebra; along the body: where the line begins, its way sideways


Places = FloatArray | LabelArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bony:
    """A CT as the rules for bone see it. smooth: hu, less noisy; column: see rough_column; mineral: see there."""

    grid: Grid
    hu: FloatArray
    smooth: FloatArray
    body: BoolArray
    column: FloatArray | None
    mineral: float

    @property
    def dense(self) -> BoolArray:
        """What may be bone: what holds less than a quarter of its densest neighbour is the blurred edge of cortex."""
        edge = self.hu < EDGE_SHARE * ndimage.maximum_filter(self.hu, 3)
        return np.asarray((self.hu > DENSE_HU * self.mineral) & self.body & ~edge)

    @property
    def hard(self) -> BoolArray:
        return np.asarray((self.hu > HARD_HU * self.mineral) & self.body)


def find_skeleton(ct: Bony) -> BoolArray:
    """Bones with their marrow, metal in them included.

    Hard bone (> 220 HU) grows into what is connected and above 120 HU, without contrast; marrow is what lies within.
    """
    contrast = find_contrast(ct)
    bone = larger_than(ct.grid, touching(ct.dense & ~contrast, ct.hard & ~contrast), 0.3)
    bone &= ~loose(ct, bone)
    return filled(ct.grid, bone, ct.hu, ct.body)


def mineral(grid: Grid, hu: FloatArray, column: FloatArray | None) -> float:
    """How dense the column is beside a usual one, 0.65 to 1: by its 90th percentile, usually some 340 HU on 3 mm voxels."""
    if column is None:
        return 1.0
    x, y = (grid.affine[w, 3] + grid.affine[w, 2 - w] * np.arange(grid.shape[2 - w]) for w in (0, 1))
    away_x, away_y = x[None, None, :] - column[:, :1, None], y[None, :, None] - column[:, 1:, None]
    near = (np.abs(away_x) < 20.0) & (away_y > -30.0) & (away_y < 10.0)
    return float(np.clip(np.percentile(hu[near], 90) / 340.0, 0.65, 1.0)) if near.any() else 1.0


def filled(grid: Grid, bone: BoolArray, hu: FloatArray, body: BoolArray) -> BoolArray:
    """Bone with what lies within it: marrow, also fatty or destroyed, by the bone seen around it.

    A voxel is within where at least 14 of 18 directions (the axes and their diagonals) meet bone within 24 mm, or where a
    shell closed by 4 mm holds it in a slice and it is not wider than 32 mm, nor than 40 mm in that slice, as a brain is.
    """
    shell = closing(grid, bone, 4.0)
    held: BoolArray = np.logical_or.reduce([narrow(grid, fill_slices(shell, axis) & ~bone, axis, 20.0) for axis in range(3)])
    inside = (shell | (held & ~opening(grid, held, 16.0)) | (surrounded(grid, bone, 24.0) >= 14)) & (hu > -150) & body
    return bone | inside


def narrow(grid: Grid, mask: BoolArray, axis: int, radius_mm: float) -> BoolArray:
    """The mask without what a disc of that radius fits into, in each slice along an axis."""
    out = mask.copy()
    box = crop_to(grid, mask, max(grid.spacing))
    steps = [1e6 if a == axis else step for a, step in enumerate(grid.spacing)]
    spacing = (steps[0], steps[1], steps[2])
    thick = ~swollen(~mask[box], spacing, radius_mm)
    out[box] &= ~swollen(thick, spacing, radius_mm)
    return out


def surrounded(grid: Grid, bone: BoolArray, reach_mm: float) -> LabelArray:
    """In how many of 18 directions a voxel meets bone within the reach."""
    count = np.zeros(bone.shape, dtype=np.uint8)
    for way in product((-1, 0, 1), repeat=3):
        if 1 <= np.abs(way).sum() <= 2:
            steps = int(reach_mm / np.linalg.norm(np.multiply(way, grid.spacing)))
            count += seen_along(bone, way, steps)
    return count


def seen_along(mask: BoolArray, way: Sequence[int], steps: int) -> BoolArray:
    """Where the mask lies within some steps in one direction of the index, by doubling."""
    out, done = mask, 0
    while done < steps:
        by = 1 if done == 0 else min(done, steps - done)
        places = [shifted(n, -by * w) for n, w in zip(mask.shape, way, strict=True)]
        further = out.copy()
        further[tuple(to for to, _ in places)] |= out[tuple(of for _, of in places)]
        out, done = further, done + by
    return out


def loose(ct: Bony, bone: BoolArray) -> BoolArray:
    """What is no bone by its place: components before the spine and deep in the trunk (stones, plaque, contrast in bowel)."""
    labels, sizes = components(bone)
    if ct.column is None or sizes.size < 2:
        return np.zeros_like(bone)
    chief = int(np.argmax(sizes)) + 1
    k, j, i = np.nonzero((labels > 0) & (labels != chief))
    x, y = beside(ct.grid, ct.column, k, j, i)
    before = (y < -45.0) & (np.abs(x) < 85.0) & erode(ct.grid, ct.body, 18.0)[k, j, i]
    share = np.bincount(labels[k, j, i], weights=before, minlength=sizes.size + 1) / np.maximum(np.append(0, sizes), 1)
    gone = (share > 0.7) & (np.append(0, sizes) * ct.grid.voxel_ml < 60.0)
    return np.asarray(gone[labels])


def beside(grid: Grid, column: FloatArray, k: Places, j: Places, i: Places) -> tuple[FloatArray, FloatArray]:
    """How far (mm) voxels lie to the left and to the back of the column in their slice."""
    row = np.rint(k).astype(int)
    x = grid.affine[0, 3] + grid.affine[0, 2] * i - column[row, 0]
    y = grid.affine[1, 3] + grid.affine[1, 1] * j - column[row, 1]
    return x, y


def find_contrast(ct: Bony) -> BoolArray:
    """Dense tissue that is filled with contrast, with its soft edges.

    Contrast and marrow are even cores. Of marrow the rim is denser in places, and bone lies around it; of contrast neither.
    """
    box = box_of((ct.smooth > EVEN_HU) & ct.body)
    grid, hu = part(ct.grid, box), np.where(ct.body[box], ct.smooth[box], -1024.0)
    even = opening(grid, (hu > EVEN_HU) & (local_spread(hu) < 40.0) & (hu < 700.0), 3.0)
    cores, sizes = components(even)
    out = np.zeros(ct.grid.shape, dtype=bool)
    if not sizes.size:
        return out
    near = ndimage.maximum_filter(cores, 5)
    level = ndimage.maximum_filter(np.where(even, hu, -1024.0), 5)
    rim, edge = (near > 0) & ~even, (near > 0) & (hu < level + 30.0)
    denser = np.bincount(near[rim], weights=~edge[rim], minlength=sizes.size + 1)
    share = denser / np.maximum(np.bincount(near[rim], minlength=sizes.size + 1), 1)
    around = surrounded(grid, (hu > HARD_HU * ct.mineral) & ~edge, 24.0)
    shut_in = np.bincount(cores.ravel(), weights=around.ravel()) / np.maximum(np.append(0, sizes), 1)
    contrast = share + shut_in / 40.0 < doubt(grid, hu, cores, rough_column(grid, np.where(edge, -1024.0, hu)))
    contrast[0] = False
    out[box] = contrast[cores] | (contrast[near] & edge)
    return out


def doubt(grid: Grid, hu: FloatArray, cores: LabelArray, column: FloatArray | None) -> FloatArray:
    """(n + 1,) score of bone below which a core is contrast: 0 in the column, most before it, little where faint and small."""
    numbers = np.arange(int(cores.max()) + 1)
    level = np.asarray(ndimage.mean(hu, cores, numbers))
    volume = np.bincount(cores.ravel()) * grid.voxel_ml
    limit = np.where((level < 180.0) & (volume < 50.0), 0.03, 0.08)
    if column is not None:
        k, j, i = np.array(ndimage.center_of_mass(cores > 0, cores, numbers[1:])).reshape(-1, 3).T
        x, y = beside(grid, column, k, j, i)
        limit[1:][(np.abs(x) < 40.0) & (y < -45.0)] = 0.12
        limit[1:][(np.abs(x) < 22.0) & (y > -42.0) & (y < 20.0)] = 0.0
    return limit


def rough_column(grid: Grid, hu: FloatArray) -> FloatArray | None:
    """(nk, 2) world x and y in mm of the thickest, densest bone near the middle of each slice, steadied along the body.

    Every second voxel is asked: bone is seen with a blur of 12 mm here.
    """
    weight = np.clip(hu[::2, ::2, ::2] - 150.0, 0.0, 450.0)
    hard = weight > 70.0
    if hard.sum() * 8 * grid.voxel_ml < 20.0:
        return None
    thick = ndimage.gaussian_filter(weight, [6.0 / s for s in grid.spacing], truncate=2.5)
    x, y = (grid.affine[w, 3] + grid.affine[w, 2 - w] * np.arange(0, grid.shape[2 - w], 2) for w in (0, 1))
    thick[..., np.abs(x - np.median(x[np.nonzero(hard)[2]])) > 50.0] = 0.0
    j, i = np.unravel_index(thick.reshape(thick.shape[0], -1).argmax(axis=1), thick.shape[1:])
    width = min(max(3, round(45.0 / grid.spacing[0]) | 1), 2 * (thick.shape[0] // 2) + 1)
    line = ndimage.median_filter(np.stack([x[i], y[j]], axis=-1), (width, 1), mode="nearest")
    return np.asarray(np.repeat(line, 2, axis=0)[: grid.shape[0]])


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
    if not near.any():
        return None
    line = followed(grid, k[near], np.stack([x[near], y[near]], axis=-1))
    known = np.flatnonzero(np.isfinite(line[:, 0]))
    if known.size < 3:
        return None
    every = np.arange(grid.shape[0])
    full = np.stack([np.interp(every, known, line[known, c]) for c in range(2)], axis=-1)
    width = max(3, round(60.0 / grid.spacing[0]) | 1)
    steady = ndimage.median_filter(full, (width, 1), mode="nearest")
    return np.asarray(ndimage.gaussian_filter1d(steady, width / 4, axis=0, mode="nearest"))


def followed(grid: Grid, row: LabelArray, places: FloatArray) -> FloatArray:
    """(nk, 2) median of the bone that carries on the line from slice to slice, NaN where none does.

    row (n,) rising, places (n, 2) mm: the thick bone near the middle. Begun in the trunk, where the column stands alone: in the
    slices where bone strays least to both sides. A hip or the skull lies off the line and does not bend it.
    """
    line = np.full((grid.shape[0], 2), np.nan)
    rows, starts = np.unique(row, return_index=True)
    slices = dict(zip(rows.tolist(), np.split(places, starts[1:]), strict=True))
    middle, long = np.median(places[:, 0]), max(1, round(STEADY_MM / grid.spacing[0]))
    spread = {r: float(np.abs(here[:, 0] - middle).max()) for r, here in slices.items()}
    narrow_most = np.quantile(list(spread.values()), 0.3)
    alone = [r for r in slices if spread[r] <= narrow_most]
    begin = int(np.median(alone))
    column = [slices[r] for r in alone if abs(r - begin) * grid.spacing[0] < START_MM]
    start = np.median(np.concatenate(column or list(slices.values())), axis=0)
    for way in (rows[rows >= begin].tolist(), rows[rows < begin][::-1].tolist()):
        last, at = [start], begin
        for r in way:
            here = slices[r]
            expected = np.mean(last[-long:], axis=0)[0], np.mean(last[-5:], axis=0)[1]
            slack = STRAY_MM, STRAY_MM + min(0.3 * abs(r - at) * grid.spacing[0], 0.5 * STRAY_MM)
            here = here[(np.abs(here - expected) < slack).all(axis=1)]
            if len(here) and abs(np.median(here[:, 0]) - expected[0]) < 0.5 * STRAY_MM:
                line[r] = np.median(here, axis=0)
                last, at = [*last, line[r]], r
    return line
