"""What registration sees of a CT: a coarse, upright copy, and where body, trunk and bone lie in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from scipy import fft, ndimage

from analysis.errors import UnusableImage
from analysis.grids import crop_to, part, resample, to_image
from analysis.values import BoolArray, FloatArray, Grid, Tracer, Volume

AIR_HU = -1000.0
SKIN_HU = -400.0  # docs/METHOD.md 3
BONE_HU = 200.0
# A scanner marks what it never measured (outside its circle) well below air.
UNMEASURED_HU = -1500.0
# The mark of voxels that a scan does not hold; lower by far than any contrast.
UNSEEN = -9999.0
LOWEST_CONTRAST = -400.0
SMALLEST_BODY_ML = 200.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CoarseCt:
    """A CT on an isotropic grid whose axes are the patient's (k to the head, j to the back, i to the left).

    hu: float32, air outside the body. body, trunk, bone, seen: masks of grid.shape; the trunk is the body without arms
    and other thin parts, seen is what the scanner measured.
    """

    grid: Grid
    hu: FloatArray
    body: BoolArray
    trunk: BoolArray
    bone: BoolArray
    seen: BoolArray

    @property
    def step_mm(self) -> float:
        return self.grid.spacing[0]


def coarse_ct(ct: Volume, tracer: Tracer, step_mm: float) -> CoarseCt:
    """The CT at step_mm with table and air removed. Raises UnusableImage where no body is found."""
    averaged = _averaged(ct, step_mm)
    grid = upright(ct.grid, step_mm)
    hu = resample(averaged.grid, np.where(_measured(averaged), averaged.values, UNSEEN), grid, outside=UNSEEN)
    seen = hu > UNMEASURED_HU
    body = body_mask(grid, hu)
    if float(body.sum()) * grid.voxel_ml < SMALLEST_BODY_ML:
        raise UnusableImage(
            f"The {tracer} CT shows no body (less than {SMALLEST_BODY_ML:.0f} ml above {SKIN_HU:.0f} HU): "
            "check that the right CT series was sent, then send the study again."
        )
    hu = np.where(body, np.maximum(hu, AIR_HU), np.float32(AIR_HU)).astype(np.float32)
    return CoarseCt(grid=grid, hu=hu, body=body, trunk=trunk_mask(body, step_mm), bone=bone_mask(hu), seen=seen)


def upright(grid: Grid, step_mm: float, margin_mm: float = 0.0) -> Grid:
    """An isotropic grid along the patient's axes over the box of `grid`, widened by a margin on every side."""
    shape = np.array(grid.shape)
    corners = np.stack(np.meshgrid(*[(-0.5, n - 0.5) for n in shape], indexing="ij"), axis=-1).reshape(-1, 3)
    world = grid.to_world(corners)
    low, high = world.min(axis=0) - margin_mm, world.max(axis=0) + margin_mm
    size = np.maximum(1, np.round((high - low) / step_mm)).astype(int)
    affine = np.zeros((4, 4))
    affine[[2, 1, 0, 3], [0, 1, 2, 3]] = step_mm, step_mm, step_mm, 1.0
    affine[:3, 3] = (low + high) / 2 - (size - 1) / 2 * step_mm
    return Grid(shape=(int(size[2]), int(size[1]), int(size[0])), affine=affine)


def body_mask(grid: Grid, hu: FloatArray) -> BoolArray:
    """The patient: above -400 HU, opened (the table's sheets go), largest component, closed, lungs and bowel gas filled."""
    dense = hu > SKIN_HU
    body = np.zeros_like(dense)
    if dense.any():
        # Distances take time, and around what is dense is nothing but air.
        box = crop_to(grid, dense, 4 * grid.spacing[0])
        body[box] = _body(dense[box], grid.spacing[0])
    return body


def _body(dense: BoolArray, step_mm: float) -> BoolArray:
    opened = opening(dense, 2.5 * step_mm, step_mm)
    largest = _largest(opened)
    # The opening cut noses and fingers; what lies close to the rest comes back.
    regrown = dense & (distance_mm(largest, step_mm) <= 2 * step_mm)
    closed = closing(regrown, 2.5 * step_mm, step_mm)
    in_plane = ndimage.generate_binary_structure(2, 1)[None]
    return np.asarray(ndimage.binary_fill_holes(closed, structure=in_plane))


def trunk_mask(body: BoolArray, step_mm: float) -> BoolArray:
    """The body without arms: opened by a ball that is wider than an arm; the whole body where nothing is left."""
    coarse = opening(block_means(body.astype(np.float32), 2) > 0.5, 48.0, 2 * step_mm)
    k, j, i = body.shape
    trunk = body & coarse.repeat(2, axis=0).repeat(2, axis=1).repeat(2, axis=2)[:k, :j, :i]
    return trunk if trunk.sum() > 0.3 * body.sum() else body


def bone_mask(hu: FloatArray) -> BoolArray:
    """Bone, marrow not; at this voxel size good for comparing two CTs, not for measuring."""
    return np.asarray(hu > BONE_HU)


def distance_mm(mask: BoolArray, step_mm: float) -> FloatArray:
    """Distance of every voxel to the mask, 0 inside it; infinite where the mask is empty."""
    if not mask.any():
        return np.full(mask.shape, np.inf, dtype=np.float32)
    # Maurer's distance is that of scipy's, in a fraction of the time.
    inside_out = sitk.SignedMaurerDistanceMap(sitk.GetImageFromArray(mask.astype(np.uint8)), False, False, False)
    return np.asarray(np.maximum(sitk.GetArrayFromImage(inside_out), 0.0) * np.float32(step_mm), dtype=np.float32)


def opening(mask: BoolArray, radius_mm: float, step_mm: float) -> BoolArray:
    """Opened by a ball; the image's border does not erode, for the body goes on behind it."""
    inside = distance_mm(~mask, step_mm) > radius_mm
    return distance_mm(inside, step_mm) <= radius_mm


def closing(mask: BoolArray, radius_mm: float, step_mm: float) -> BoolArray:
    return ~opening(~mask, radius_mm, step_mm)


def _largest(mask: BoolArray) -> BoolArray:
    labels, n = ndimage.label(mask)
    if n <= 1:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(labels == sizes.argmax())


def _measured(ct: Volume) -> BoolArray:
    """What lies in the scanner's circle; everything where the corners of the slices hold more than one filling value."""
    j, i = (np.arange(n) - (n - 1) / 2 for n in ct.grid.shape[1:])
    step_j, step_i = ct.grid.spacing[1:]
    radius = min(len(j) * step_j, len(i) * step_i) / 2
    circle = np.hypot(j[:, None] * step_j, i[None, :] * step_i) <= radius
    corners = ct.values[:, ~circle]
    filled = corners.size > 0 and bool((corners == corners.flat[0]).all()) and corners.flat[0] < SKIN_HU
    return np.broadcast_to(circle | (not filled), ct.grid.shape)


def _averaged(ct: Volume, step_mm: float) -> Volume:
    """The CT averaged over whole blocks of voxels not larger than step_mm, so that resampling does not pick up noise."""
    factor = np.maximum(1, np.floor(step_mm / np.array(ct.grid.spacing) + 0.01)).astype(int)
    factor = np.minimum(factor, ct.grid.shape)
    shape = np.array(ct.grid.shape) // factor
    k, j, i = shape * factor
    values = ct.values[:k, :j, :i]
    # Added up axis by axis, the fastest in memory last: a third of the time of one mean over blocks.
    for axis, n in enumerate(factor):
        every = [values[tuple(slice(s, None, n) if a == axis else slice(None) for a in range(3))] for s in range(n)]
        values = sum(every[1:], start=every[0]) if n > 1 else values
    values = np.asarray(values / np.float32(factor.prod()), dtype=np.float32)
    affine = ct.grid.affine.copy()
    affine[:3, :3] = ct.grid.affine[:3, :3] * factor
    affine[:3, 3] = ct.grid.to_world((factor - 1) / 2)
    grid = Grid(shape=(int(shape[0]), int(shape[1]), int(shape[2])), affine=affine)
    return Volume(grid=grid, values=values, unit=ct.unit)


def shrunk_grid(grid: Grid, factor: int) -> Grid:
    """The grid whose voxels hold factor x factor x factor voxels of `grid`, beginning at its first; the last may stick out."""
    affine = grid.affine.copy()
    affine[:3, :3] = affine[:3, :3] * factor
    affine[:3, 3] = grid.to_world(np.full(3, (factor - 1) / 2))
    k, j, i = (-(-n // factor) for n in grid.shape)
    return Grid(shape=(k, j, i), affine=affine)


def block_means(values: FloatArray, factor: int) -> FloatArray:
    """Means over factor x factor x factor voxels; a rest at the far border is completed with the border's values."""
    if factor == 1:
        return values
    if any(size % factor for size in values.shape):
        values = np.pad(values, [(0, -size % factor) for size in values.shape], mode="edge")
    if factor % 2 == 0:
        # Pairs added up axis by axis: a tenth of the time of one sum over blocks.
        layers = values[0::2] + values[1::2]
        rows = layers[:, 0::2] + layers[:, 1::2]
        return block_means((rows[..., 0::2] + rows[..., 1::2]) * np.float32(0.125), factor // 2)
    k, j, i = np.array(values.shape) // factor
    return np.asarray(values.reshape(k, factor, j, factor, i, factor).mean(axis=(1, 3, 5), dtype=np.float32))


def cropped(ct: CoarseCt, margin_mm: float) -> CoarseCt:
    """The part around the body."""
    box = crop_to(ct.grid, ct.body, margin_mm)
    hu = ct.hu[box]
    grid = part(ct.grid, box)
    return CoarseCt(grid=grid, hu=hu, body=ct.body[box], trunk=ct.trunk[box], bone=ct.bone[box], seen=ct.seen[box])


def whole_blocks(ct: CoarseCt, factor: int) -> CoarseCt:
    """The CT with unseen air behind its far borders: its shape is a multiple of factor, and quickly cosine transformed."""
    pad = [(0, factor * int(fft.next_fast_len(-(-size // factor), real=True)) - size) for size in ct.grid.shape]
    hu = np.pad(ct.hu, pad, constant_values=AIR_HU)
    grid = Grid(shape=(hu.shape[0], hu.shape[1], hu.shape[2]), affine=ct.grid.affine)
    body, trunk, bone, seen = (np.pad(mask, pad) for mask in (ct.body, ct.trunk, ct.bone, ct.seen))
    return CoarseCt(grid=grid, hu=hu, body=body, trunk=trunk, bone=bone, seen=seen)


def contrast(hu: FloatArray) -> FloatArray:
    """HU with soft tissue spread out, and lung and bone pressed together, so that no tissue outshouts the others."""
    soft = np.clip(hu, -150.0, 150.0)
    lung = np.clip(hu + 150.0, -800.0, 0.0)
    bone = np.clip(hu - 150.0, 0.0, 800.0)
    return np.asarray(soft + 0.3 * lung + 0.4 * bone, dtype=np.float32)


def contrast_image(ct: CoarseCt, factor: int) -> tuple[Grid, FloatArray]:
    """The contrast of the CT shrunk by a factor, far below LOWEST_CONTRAST where the scan holds nothing."""
    values = np.where(ct.seen, contrast(ct.hu), np.float32(UNSEEN))
    return shrunk_grid(ct.grid, factor), block_means(values, factor)


def rigid_shift(grid: Grid, rigid: FloatArray) -> FloatArray:
    """R x + t - x in mm at every voxel centre x of the grid, float32 (3, nk, nj, ni)."""
    turn = rigid[:3, :3] - np.eye(3)
    # Linear in each index: added up by axis, no list of the centres is needed.
    start = (turn @ grid.affine[:3, 3] + rigid[:3, 3])[:, None, None, None]
    slope = turn @ grid.affine[:3, :3]
    k, j, i = (slope[:, axis, None] * np.arange(n) for axis, n in enumerate(grid.shape))
    return np.asarray(start + k[:, :, None, None] + j[:, None, :, None] + i[:, None, None, :], dtype=np.float32)


def warp(moving: sitk.Image, grid: Grid, shift: FloatArray) -> FloatArray:
    """The moving image at x + shift(x) for every voxel centre x of the grid, linear; UNSEEN outside the moving image.

    shift: (3, nk, nj, ni) in mm.
    """
    vectors = to_image(grid, np.ascontiguousarray(np.moveaxis(shift, 0, -1), dtype=np.float32))
    filt = sitk.WarpImageFilter()
    filt.SetOutputParameteresFromImage(vectors)
    filt.SetEdgePaddingValue(UNSEEN)
    return np.asarray(sitk.GetArrayFromImage(filt.Execute(moving, vectors)))
