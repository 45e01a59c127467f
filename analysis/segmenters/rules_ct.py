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
from analysis.grids import box_of, crop_to, part, resample
from analysis.segmenters.morphology import closing, components, dilate, erode, fill_slices, largest, opening, touching
from analysis.segmenters.rules_skeleton import Bony, find_skeleton, find_spine, mineral, rough_column
from analysis.values import BoolArray, FloatArray, Grid, Volume

WORKING_MM = 3.0
LEAST_BASE_ML = 10.0
NARROWING = 0.7  # mean section over the top's; a cone has a third, a tube 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CtStructures:
    """Masks of one CT on `grid` (about 3 mm). hu: float32 on the same grid.

    spine: (nk, 2) world (x, y) in mm of the vertebral column's centre in each slice, NaN-free once any bone was found.
    smooth: hu, less noisy.
    mineral: how dense the column is beside a usual one, 0.65 to 1.
    """

    grid: Grid
    hu: FloatArray
    smooth: FloatArray
    body: BoolArray
    lungs: BoolArray
    gas: BoolArray
    skeleton: BoolArray
    spine: FloatArray | None
    mineral: float = 1.0


def read_ct(ct: Volume) -> CtStructures:
    """The structures of a CT. Raises UnusableImage where there is no body in it."""
    grid, hu = working_copy(ct)
    body = find_body(grid, hu)
    box = crop_to(grid, body, 2 * WORKING_MM)
    grid, hu, body = part(grid, box), hu[box], body[box]
    lungs, gas = find_air(grid, hu, body)
    smooth = ndimage.gaussian_filter(hu, 0.65, truncate=3.0)
    column = rough_column(grid, np.where(body, hu, -1024.0))
    share = mineral(grid, hu, column)
    skeleton = find_skeleton(Bony(grid=grid, hu=hu, smooth=smooth, body=body, column=column, mineral=share))
    return CtStructures(
        grid=grid,
        hu=hu,
        smooth=smooth,
        body=body,
        lungs=lungs,
        gas=gas,
        skeleton=skeleton,
        spine=find_spine(grid, skeleton, body),
        mineral=share,
    )


def working_copy(ct: Volume) -> tuple[Grid, FloatArray]:
    """The CT where the patient may be, on an upright grid (i to the left, j to the back, k to the head) of about 3 mm.

    Fine detail is averaged.
    """
    box = rough_box(ct)
    ct = Volume(grid=part(ct.grid, box), values=ct.values[box], unit=ct.unit)
    corners = ct.grid.to_world(np.array(list(product(*[(-0.5, n - 0.5) for n in ct.grid.shape]))))
    low, high = corners.min(axis=0), corners.max(axis=0)
    shape = np.maximum(1, np.floor((high - low) / WORKING_MM)).astype(int)
    affine = np.eye(4)
    affine[:3, :3] = WORKING_MM * np.eye(3)[::-1]
    affine[:3, 3] = low + WORKING_MM / 2
    grid = Grid(shape=(int(shape[2]), int(shape[1]), int(shape[0])), affine=affine)
    return grid, np.clip(averaged(ct, grid), -1024.0, 3000.0)


def rough_box(ct: Volume) -> tuple[slice, slice, slice]:
    """The index box of what is denser than air, asked every 8 mm or so and taken 16 mm wider; the whole where nothing is."""
    every = [max(1, int(8.0 / s)) for s in ct.grid.spacing]
    sparse = largest(ct.values[tuple(slice(None, None, n) for n in every)] > -400)
    margin = [int(16.0 / s) + n for s, n in zip(ct.grid.spacing, every, strict=True)]
    k, j, i = (
        slice(max(0, s.start * e - m), min(n, (s.stop - 1) * e + m + 1)) if sparse.any() else slice(0, n)
        for s, e, m, n in zip(box_of(sparse), every, margin, ct.grid.shape, strict=True)
    )
    return k, j, i


def averaged(ct: Volume, grid: Grid) -> FloatArray:
    """The CT's values on an upright grid: the mean under a tent as wide as the coarser of both spacings.

    Where the CT's axes are those of the body, as nearly always, one axis after the other by a matrix, slice by slice, so that
    no second copy of the CT is made; else blurred and interpolated.
    """
    axes = ct.grid.affine[:3, :3] / np.linalg.norm(ct.grid.affine[:3, :3], axis=0)
    rows = np.abs(axes).argmax(axis=0)  # world axis (x, y, z) of k, j, i
    if np.abs(axes).max(axis=0).min() < 0.9999 or tuple(rows) != (2, 1, 0):
        blur = [0.4 * WORKING_MM / s if 1.2 * s < WORKING_MM else 0.0 for s in ct.grid.spacing]
        smooth = ndimage.gaussian_filter(ct.values, blur, mode="nearest", truncate=2.0) if any(blur) else ct.values
        return resample(ct.grid, smooth, grid, outside=-1024.0)
    along_k, along_j, along_i = (tents(ct.grid, grid, axis) for axis in range(3))
    flat = np.stack([along_j @ (slice_ @ along_i.T) for slice_ in ct.values])
    return np.asarray((along_k @ flat.reshape(flat.shape[0], -1)).reshape(grid.shape))


def tents(old: Grid, new: Grid, axis: int) -> FloatArray:
    """(n new, n old) float32 weights along one array axis of two grids whose axes agree but for their sign."""
    world = 2 - axis
    step, start = old.affine[world, axis], old.affine[world, 3]
    places = new.affine[world, 3] + new.affine[world, axis] * np.arange(new.shape[axis])
    away = np.abs(places[:, None] - (start + step * np.arange(old.shape[axis]))[None, :])
    weights = np.maximum(1.0 - away / max(abs(step), abs(new.affine[world, axis])), 0.0)
    return np.asarray(weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-6), dtype=np.float32)


def find_body(grid: Grid, hu: FloatArray) -> BoolArray:
    """The patient without table and clothes, lungs and gas included."""
    tissue = opening(grid, hu > -400, 6.0)
    body = largest(tissue)
    if body.sum() * grid.voxel_ml < 1000:
        raise UnusableImage("The CT shows no body (less than 1 litre above -400 HU): check that the right series was sent.")
    return fill_slices(closing(grid, body, 9.0))


def find_air(grid: Grid, hu: FloatArray, body: BoolArray) -> tuple[BoolArray, BoolArray]:
    """Lungs with their vessels, and all other gas inside the body.

    Lung is air wider than a trachea and of at least 300 ml, and what the field's top cuts where it is a lung's base; half of it
    is denser than -950 HU, as gas in bowel is not.
    """
    air = (hu < -400) & erode(grid, body, 3.0)
    core = like_lung(grid, hu, opening(grid, air & (hu < -500), 12.0), 300.0)
    core |= lung_bases(grid, hu, body, air & (hu < -500))
    if not core.any():
        return core, air
    lungs = closing(grid, touching(air & dilate(grid, core, 20.0), core), 6.0) & body
    return lungs, air & ~lungs


def lung_bases(grid: Grid, hu: FloatArray, body: BoolArray, air: BoolArray) -> BoolArray:
    """Air that the field's top cuts as it cuts the sickles of lung round the domes of the diaphragm.

    A base reaches down deepest at the back, so its centre lies behind the body's middle; it narrows downwards, where
    bowel is as wide; and it is even: most of it between -930 and -600 HU, while gas with stool is both emptier and denser.
    """
    out = np.zeros_like(air)
    top = int(np.flatnonzero(body.any(axis=(1, 2)))[-1])
    middle = float(np.argwhere(body[top])[:, 0].mean())
    if not air[top, int(middle) :].any():
        return out
    for shape in (air, opening(grid, air, 6.0)):  # opened: where a thin wall joins it to gas in the stomach
        labels, sizes = components(shape)
        for n in np.unique(labels[top])[1:] if sizes.size else ():
            base = labels == n
            rows = base.sum(axis=(1, 2))
            narrows = sizes[n - 1] < NARROWING * rows[top] * np.count_nonzero(rows)
            behind = np.nonzero(base)[1].mean() > middle
            even = np.mean((hu[base] > -930.0) & (hu[base] < -600.0)) > 0.7
            if sizes[n - 1] * grid.voxel_ml >= LEAST_BASE_ML and narrows and behind and even:
                out |= base
    return out


def like_lung(grid: Grid, hu: FloatArray, air: BoolArray, least_ml: float) -> BoolArray:
    """The components of at least the given volume whose median is above -950 HU."""
    labels, sizes = components(air)
    large = np.flatnonzero(sizes * grid.voxel_ml > least_ml) + 1
    return np.isin(labels, [n for n in large if np.median(hu[labels == n]) > -950.0])
