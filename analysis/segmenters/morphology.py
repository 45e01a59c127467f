"""Binary morphology in millimetres, by distance maps: its cost does not grow with the radius."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from analysis.grids import to_image
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
    out = np.zeros(grid.shape, dtype=bool)
    if mask.any():
        box = crop_to(grid, mask, radius_mm + max(grid.spacing))
        out[box] = distance_to(part(grid, box), mask[box]) <= radius_mm
    return out


def erode(grid: Grid, mask: BoolArray, radius_mm: float) -> BoolArray:
    """The voxels of the mask that are farther than radius_mm from everything else; beyond the grid counts as mask."""
    out = np.zeros(grid.shape, dtype=bool)
    if mask.any():
        box = crop_to(grid, mask, max(grid.spacing))
        out[box] = distance_to(part(grid, box), ~mask[box]) > radius_mm
    return out


def part(grid: Grid, box: tuple[slice, slice, slice]) -> Grid:
    """The grid of an index box."""
    affine = grid.affine.copy()
    affine[:3, 3] = grid.to_world([s.start for s in box])
    k, j, i = (s.stop - s.start for s in box)
    return Grid(shape=(k, j, i), affine=affine)


def opening(grid: Grid, mask: BoolArray, radius_mm: float) -> BoolArray:
    """The mask without what is thinner than twice the radius."""
    return dilate(grid, erode(grid, mask, radius_mm), radius_mm) & mask


def closing(grid: Grid, mask: BoolArray, radius_mm: float) -> BoolArray:
    """The mask with gaps narrower than twice the radius filled."""
    return erode(grid, dilate(grid, mask, radius_mm), radius_mm) | mask


def components(mask: BoolArray) -> tuple[LabelArray, LabelArray]:
    """Connected components (26 neighbours) as labels 1..n, and their sizes in voxels (sizes[0] is the first)."""
    labels, n = ndimage.label(mask, EVERY_NEIGHBOUR)
    return labels, np.bincount(labels.ravel(), minlength=n + 1)[1:]


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
    """Holes of each slice along an axis, filled."""
    moved = np.moveaxis(mask, axis, 0)
    filled = np.stack([ndimage.binary_fill_holes(s) for s in moved])
    return np.moveaxis(filled, 0, axis)


def crop_to(grid: Grid, mask: BoolArray, margin_mm: float = 0.0) -> tuple[slice, slice, slice]:
    """The index box of the mask with a margin; the whole grid where it is empty."""
    if not mask.any():
        return slice(0, grid.shape[0]), slice(0, grid.shape[1]), slice(0, grid.shape[2])
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    pad = [int(np.ceil(margin_mm / s)) for s in grid.spacing]
    k, j, i = (slice(max(0, b.start - p), min(n, b.stop + p)) for b, p, n in zip(box, pad, grid.shape, strict=True))
    return k, j, i
