"""Moving values between grids: SimpleITK images, resampling and warping. Shared by every step; knows values alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy.ndimage import map_coordinates

from analysis.values import BoolArray, FloatArray, Grid, Transform


def to_image(grid: Grid, values: npt.NDArray[Any]) -> sitk.Image:
    """A SimpleITK image (axes i, j, k; LPS mm) with a copy of values [k, j, i] or [k, j, i, component]."""
    image = sitk.GetImageFromArray(values, isVector=values.ndim == 4)
    axes = grid.affine[:3, :3][:, ::-1]
    spacing = np.linalg.norm(axes, axis=0)
    image.SetOrigin([float(x) for x in grid.affine[:3, 3]])
    image.SetSpacing([float(x) for x in spacing])
    image.SetDirection([float(x) for x in (axes / spacing).ravel()])
    return image


def grid_of(image: sitk.Image) -> Grid:
    """The grid of a SimpleITK image."""
    direction = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    affine = np.eye(4)
    affine[:3, :3] = direction[:, ::-1]
    affine[:3, 3] = image.GetOrigin()
    i, j, k = image.GetSize()
    return Grid(shape=(k, j, i), affine=affine)


def regrid(grid: Grid, spacing_mm: tuple[float, float, float]) -> Grid:
    """A grid over the same box with about the given spacing (k, j, i) in mm."""
    old = np.array(grid.spacing)
    shape = np.maximum(1, np.round(np.array(grid.shape) * old / np.array(spacing_mm))).astype(int)
    step = np.array(grid.shape) / shape
    affine = grid.affine.copy()
    affine[:3, :3] = grid.affine[:3, :3] * step
    affine[:3, 3] = grid.to_world((step - 1) / 2)
    return Grid(shape=(int(shape[0]), int(shape[1]), int(shape[2])), affine=affine)


def to_itk_transform(transform: Transform) -> sitk.Transform:
    """The transform (fixed to moving points) as SimpleITK's Resample wants it."""
    affine = sitk.AffineTransform(3)
    affine.SetMatrix([float(x) for x in transform.rigid[:3, :3].ravel()])
    affine.SetTranslation([float(x) for x in transform.rigid[:3, 3]])
    if transform.displacement is None or transform.grid is None:
        return affine
    # ITK applies the last transform first: R (x + R^-1 u(x)) + t, and beyond its grid a field is zero.
    before = transform.displacement.astype(np.float64) @ np.linalg.inv(transform.rigid[:3, :3]).T
    field = sitk.DisplacementFieldTransform(to_image(transform.grid, np.ascontiguousarray(before)))
    return sitk.CompositeTransform([affine, field])


def resample(
    grid: Grid,
    values: npt.NDArray[Any],
    onto: Grid,
    *,
    transform: Transform | sitk.Transform | None = None,
    nearest: bool = False,
    outside: float = 0.0,
) -> npt.NDArray[Any]:
    """Values of `grid` at the voxel centres of `onto`, linear or nearest.

    transform maps points of `onto`'s frame to `grid`'s frame (identity where None); where several volumes go through one that
    is deformable, to_itk_transform makes it once for all. Result: onto.shape, values' dtype
    (bool becomes float32 between 0 and 1 unless nearest).
    """
    logical = values.dtype == np.bool_
    source = values.astype(np.uint8 if nearest else np.float32) if logical else values
    if not nearest and np.issubdtype(source.dtype, np.integer):
        source = source.astype(np.float32)
    mapping = sitk.Transform(3, sitk.sitkIdentity) if transform is None else transform
    mapping = to_itk_transform(mapping) if isinstance(mapping, Transform) else mapping
    reference = to_image(onto, np.empty((1, 1, 1), np.uint8))
    filt = sitk.ResampleImageFilter()
    filt.SetSize([onto.shape[2], onto.shape[1], onto.shape[0]])
    filt.SetOutputOrigin(reference.GetOrigin())
    filt.SetOutputSpacing(reference.GetSpacing())
    filt.SetOutputDirection(reference.GetDirection())
    filt.SetTransform(mapping)
    filt.SetInterpolator(sitk.sitkNearestNeighbor if nearest else sitk.sitkLinear)
    filt.SetDefaultPixelValue(outside)
    out = sitk.GetArrayFromImage(filt.Execute(to_image(grid, source)))
    return out.astype(np.bool_) if logical and nearest else out


def apply(transform: Transform, points: npt.ArrayLike) -> FloatArray:
    """(n, 3) points of the fixed frame -> (n, 3) points of the moving frame, LPS mm."""
    x = np.atleast_2d(np.asarray(points, dtype=np.float64))
    out = x @ transform.rigid[:3, :3].T + transform.rigid[:3, 3]
    if transform.displacement is None or transform.grid is None:
        return out
    index = transform.grid.to_index(x).T
    shift = [map_coordinates(transform.displacement[..., c], index, order=1, mode="constant") for c in range(3)]
    return np.asarray(out + np.stack(shift, axis=-1))


def inverse(transform: Transform, points: npt.ArrayLike, *, tolerance_mm: float = 0.01, rounds: int = 50) -> FloatArray:
    """(n, 3) points of the moving frame -> (n, 3) points of the fixed frame, by fixed-point iteration."""
    target = np.atleast_2d(np.asarray(points, dtype=np.float64))
    rotation = transform.rigid[:3, :3]
    guess = (target - transform.rigid[:3, 3]) @ np.linalg.inv(rotation).T
    for _ in range(rounds):
        miss = target - apply(transform, guess)
        guess = guess + miss @ np.linalg.inv(rotation).T
        if float(np.abs(miss).max(initial=0.0)) < tolerance_mm:
            break
    return np.asarray(guess)


def inverted(transform: Transform, onto: Grid, *, step_mm: float = 12.0) -> Transform:
    """The transform of the other direction (moving to fixed points), its displacement sampled over the box of `onto`."""
    back = np.linalg.inv(transform.rigid)
    if not transform.deformable:
        return Transform(rigid=back)
    coarse = regrid(onto, (step_mm, step_mm, step_mm))
    points = centres(coarse).reshape(-1, 3)
    shift = inverse(transform, points, tolerance_mm=0.1, rounds=20) - (points @ back[:3, :3].T + back[:3, 3])
    return Transform(rigid=back, grid=coarse, displacement=shift.reshape(*coarse.shape, 3))


def centres(grid: Grid) -> FloatArray:
    """(nk, nj, ni, 3) positions of all voxel centres in LPS mm."""
    index = np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij"), axis=-1)
    return grid.to_world(index)


def part(grid: Grid, box: tuple[slice, slice, slice]) -> Grid:
    """The grid of an index box."""
    affine = grid.affine.copy()
    affine[:3, 3] = grid.to_world([s.start for s in box])
    k, j, i = (s.stop - s.start for s in box)
    return Grid(shape=(k, j, i), affine=affine)


def box_of(mask: BoolArray) -> tuple[slice, slice, slice]:
    """The index box of the mask; the whole grid where it is empty."""
    k = _span(np.array([plane.any() for plane in mask], dtype=bool))
    flat = np.logical_or.reduce(mask[k], axis=0)
    return k, _span(flat.any(axis=1)), _span(flat.any(axis=0))


def _span(line: BoolArray) -> slice:
    places = np.flatnonzero(line)
    return slice(int(places[0]), int(places[-1]) + 1) if places.size else slice(0, line.size)


def crop_to(grid: Grid, mask: BoolArray, margin_mm: float = 0.0) -> tuple[slice, slice, slice]:
    """The index box of the mask with a margin; the whole grid where it is empty."""
    pad = [int(np.ceil(margin_mm / s)) for s in grid.spacing]
    k, j, i = (slice(max(0, b.start - p), min(n, b.stop + p)) for b, p, n in zip(box_of(mask), pad, mask.shape, strict=True))
    return k, j, i
