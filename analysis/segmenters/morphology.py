"""Binary morphology in millimetres, exact for any spacing."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from analysis.grids import box_of, crop_to, to_image
from analysis.values import BoolArray, FloatArray, Grid, LabelArray

EVERY_NEIGHBOUR = np.ones((3, 3, 3), dtype=bool)


def distance_to(grid: Grid, mask: BoolArray) -> FloatArray:
    """Distance in mm of each voxel centre to the nearest voxel centre of the mask; infinite where the mask is empty."""
    if not mask.any():
        return np.full(grid.shape, np.inf, dtype=np.float32)
    image = to_image(grid, mask.astype(np.uint8))
    distance = sitk.SignedMaurerDistanceMap(image, insideIsPositive=False, squaredDistance=False, useImageSpacing=True)
    return np.asarray(np.maximum(sitk.GetArrayFromImage(distance), 0.0))


def dilate(grid: Grid, mask: BoolArray, radius_mm: float) -> BoolArray:
    """All voxels within radius_mm of the mask."""
    out = np.zeros(mask.shape, dtype=bool)
    if mask.any():
        box = crop_to(grid, mask, radius_mm + max(grid.spacing))
        out[box] = swollen(mask[box], grid.spacing, radius_mm)
    return out


def erode(grid: Grid, mask: BoolArray, radius_mm: float) -> BoolArray:
    """The voxels of the mask that are farther than radius_mm from everything else; beyond the grid counts as mask."""
    out = np.zeros(mask.shape, dtype=bool)
    if mask.any():
        box = crop_to(grid, mask, max(grid.spacing))
        out[box] = ~swollen(~mask[box], grid.spacing, radius_mm)
    return out


def swollen(mask: BoolArray, spacing: tuple[float, float, float], radius_mm: float) -> BoolArray:
    """The mask dilated by a ball, exactly: rows along i are widened by each half-width that the ball has, packed to bits, and
    laid over each other at the ball's places along k and j. A bit is an eighth of a byte, so the many shifts stay cheap."""
    widths = ball_widths(spacing, radius_mm)
    rows = {width: np.packbits(widened(mask, width), axis=2) for width in set(widths.values())}
    out = np.zeros_like(next(iter(rows.values())))
    for (dk, dj), width in widths.items():
        (to_k, from_k), (to_j, from_j) = (shifted(n, d) for n, d in zip(mask.shape[:2], (dk, dj), strict=True))
        out[to_k, to_j] |= rows[width][from_k, from_j]
    return np.unpackbits(out, axis=2, count=mask.shape[2]).view(bool)


def ball_widths(spacing: tuple[float, float, float], radius_mm: float) -> dict[tuple[int, int], int]:
    """Of a ball on a grid: offset along (k, j) in voxels > half-width along i in voxels."""
    reach = [int(radius_mm / s + 1e-6) for s in spacing]
    out = {}
    for dk in range(-reach[0], reach[0] + 1):
        for dj in range(-reach[1], reach[1] + 1):
            left = radius_mm**2 - (dk * spacing[0]) ** 2 - (dj * spacing[1]) ** 2
            if left >= -1e-6:
                out[dk, dj] = int(max(left, 0.0) ** 0.5 / spacing[2] + 1e-6)
    return out


def shifted(count: int, by: int) -> tuple[slice, slice]:
    """Where a row of `count` lands, and what of it, when it is moved along by `by` and cut at its ends."""
    by = max(-count, min(count, by))
    return slice(max(by, 0), count + min(by, 0)), slice(max(-by, 0), count - max(by, 0))


def widened(mask: BoolArray, width: int) -> BoolArray:
    """Each row along i dilated by `width` voxels to both sides, by doubling."""
    out = mask
    done = 0
    while done < width:
        step = min(width - done, done + 1)  # not more: at an edge only one side is there to build on
        wider = out.copy()
        wider[..., step:] |= out[..., :-step]
        wider[..., :-step] |= out[..., step:]
        out, done = wider, done + step
    return out


def opening(grid: Grid, mask: BoolArray, radius_mm: float) -> BoolArray:
    """The mask without what is thinner than twice the radius."""
    return dilate(grid, erode(grid, mask, radius_mm), radius_mm) & mask


def closing(grid: Grid, mask: BoolArray, radius_mm: float) -> BoolArray:
    """The mask with gaps narrower than twice the radius filled."""
    return erode(grid, dilate(grid, mask, radius_mm), radius_mm) | mask


def components(mask: BoolArray) -> tuple[LabelArray, LabelArray]:
    """Connected components (26 neighbours) as labels 1..n, and their sizes in voxels (sizes[0] is the first)."""
    labels = np.zeros(mask.shape, dtype=np.int32)
    box = box_of(mask)
    n = ndimage.label(mask[box], EVERY_NEIGHBOUR, output=labels[box])
    return labels, np.bincount(labels[box].ravel(), minlength=n + 1)[1:]


def tops(values: FloatArray, labels: LabelArray, numbers: LabelArray) -> list[tuple[int, ...]]:
    """The index of the highest value under each of the numbers; only labelled voxels are looked at, not the whole array."""
    flat = np.flatnonzero(labels)
    places = ndimage.maximum_position(values.ravel()[flat], labels.ravel()[flat], numbers)
    return [tuple(int(n) for n in np.unravel_index(flat[place], labels.shape)) for (place,) in places]


def means(values: FloatArray | BoolArray, labels: LabelArray, numbers: LabelArray) -> FloatArray:
    """The mean of the values under each of the numbers; only labelled voxels are looked at, not the whole array."""
    flat = np.flatnonzero(labels)
    return np.atleast_1d(ndimage.mean(values.ravel()[flat].astype(np.float32), labels.ravel()[flat], numbers))


def largest(mask: BoolArray) -> BoolArray:
    """The largest connected component; empty where the mask is."""
    labels, sizes = components(mask)
    return np.asarray(labels == int(np.argmax(sizes)) + 1) if sizes.size else mask


def larger_than(grid: Grid, mask: BoolArray, ml: float) -> BoolArray:
    """The components of at least the given volume."""
    labels, sizes = components(mask)
    return np.concatenate([[False], sizes * grid.voxel_ml >= ml])[labels]


def touching(mask: BoolArray, seeds: BoolArray) -> BoolArray:
    """The components of the mask that hold a seed."""
    labels, sizes = components(mask)
    keep = np.zeros(sizes.size + 1, dtype=bool)
    keep[np.unique(labels[seeds & mask])] = True
    keep[0] = False
    return keep[labels]


def fill_slices(mask: BoolArray, axis: int = 0) -> BoolArray:
    """Holes of each slice along an axis, filled: what cannot reach the slice's edge through its four neighbours."""
    flat = ndimage.generate_binary_structure(3, 1)
    flat[tuple(slice(None, None, 2) if a == axis else slice(None) for a in range(3))] = False
    box = box_of(mask)
    labels, count = ndimage.label(~mask[box], flat)
    outside = np.zeros(count + 1, dtype=bool)
    for side in (a for a in range(3) if a != axis):
        for end in (0, -1):
            outside[np.unique(np.take(labels, end, axis=side))] = True
    outside[0] = False
    out = mask.copy()
    out[box] = ~outside[labels]
    return out
