"""What is measured of one tracer's PET on its native grid: SUV of regions, SUVpeak, reference organs, body surface.

The floor below the steps lesions, matching, features and quality, which share its settings; knows values alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from scipy import ndimage

from analysis.errors import BadSettings
from analysis.presets import preset_error
from analysis.values import Anatomy, Body, BoolArray, FloatArray, LabelArray, LesionSet, PetCt

PEAK_RADIUS_MM = (3000.0 / (4.0 * math.pi)) ** (1.0 / 3.0)  # 6.2035 mm: a sphere of 1 ml
TOUCHING = np.ones((3, 3, 3), dtype=bool)  # the 26-neighbourhood

OverlapOver = Literal["smaller", "fdg", "pentixafor", "union", "either"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasurementSettings:
    """Where the paper leaves a choice open; kept with every result.

    preset: a named set of values, which keys beside it override (analysis/presets.py).
    min_volume_ml: smaller components are noise (0.5 ml is a sphere of 5 mm radius, below what PET resolves).
    min_bone_fraction: medullary from this part of the volume on (the paper: 10 %).
    site_shift_mm: how far CT and PET of one session may lie apart; a site that such a shift changes is uncertain.
    min_region_share, near_mm: a lesion bears a region's name from this share on, else that of a region so near.
    overlap_over, min_overlap: concordant where the overlap over this volume is larger (the paper: 10 %).
    common_spacing_mm: finest distance of the points by which overlap is measured; larger lesions have fewer for each ml.
    surface_mm: a mask's steps are smoothed by this sigma before, its volume kept (about PET's resolution); 0: voxels are boxes.
    min_covered: a lesion can be compared where this part of it lies in the other tracer's field of view.
    subset_mean: SUVmean of several lesions weighted by volume, or as the average over lesions.
    dissemination: sDmax between "centroids" (Cottereau 2021) or the two farthest "voxels".
    body_surface: Du Bois 0.007184 W^0.425 H^0.725 or Mosteller sqrt(W H / 3600), H in cm.
    min_spleen_ml, min_liver_ml, min_blood_pool_ml: what must be left of a reference region, else it is undefined.
    liver_radius_mm: the PERCIST sphere of 3 cm.
    """

    preset: str = ""
    min_volume_ml: float = 0.5
    min_bone_fraction: float = 0.10
    site_shift_mm: float = 2.0
    min_region_share: float = 0.10
    near_mm: float = 15.0
    overlap_over: OverlapOver = "smaller"
    min_overlap: float = 0.10
    common_spacing_mm: float = 1.0
    surface_mm: float = 3.0
    min_covered: float = 0.5
    subset_mean: Literal["volume", "lesions"] = "volume"
    dissemination: Literal["centroids", "voxels"] = "centroids"
    body_surface: Literal["du_bois", "mosteller"] = "du_bois"
    min_spleen_ml: float = 20.0
    min_liver_ml: float = 5.0
    min_blood_pool_ml: float = 1.0
    liver_radius_mm: float = 15.0

    def __post_init__(self) -> None:
        if wrong := preset_error(self.preset):
            raise BadSettings(f"measurement: {wrong}")
        fractions = {
            "min_bone_fraction": self.min_bone_fraction,
            "min_region_share": self.min_region_share,
            "min_overlap": self.min_overlap,
            "min_covered": self.min_covered,
        }
        for name, value in fractions.items():
            if not 0.0 <= value <= 1.0:
                raise BadSettings(f"measurement: {name} is {value}; give a part between 0 and 1")
        if self.min_volume_ml < 0 or self.site_shift_mm < 0 or self.common_spacing_mm <= 0:
            raise BadSettings(
                "measurement: min_volume_ml and site_shift_mm must not be negative, and common_spacing_mm must be above 0"
            )


def body_surface_m2(body: Body, settings: MeasurementSettings) -> float:
    """Body surface in m2; NaN where the height is unknown."""
    if body.height_m is None:
        return math.nan
    height_cm = 100.0 * body.height_m
    if settings.body_surface == "mosteller":
        return math.sqrt(body.weight_kg * height_cm / 3600.0)
    return float(0.007184 * body.weight_kg**0.425 * height_cm**0.725)


@lru_cache(maxsize=16)
def peak_kernel(spacing: tuple[float, float, float], step_mm: float = 0.2) -> FloatArray:
    """Part of each voxel that lies in the 1 ml sphere around the middle voxel's centre, as weights that sum to 1.

    spacing: mm along (k, j, i); each voxel is seen as points at most step_mm apart. Result: odd size along each axis.
    """
    squares, fine = zip(*(_fine_squares(s, step_mm) for s in spacing), strict=True)
    inside = squares[0][:, None, None] + squares[1][None, :, None] + squares[2][None, None, :] <= PEAK_RADIUS_MM**2
    blocks = inside.reshape([n for points, f in zip(squares, fine, strict=True) for n in (len(points) // f, f)])
    weights: FloatArray = blocks.sum(axis=(1, 3, 5), dtype=np.float64)
    weights /= weights.sum()
    weights.flags.writeable = False
    return weights


def _fine_squares(spacing: float, step_mm: float) -> tuple[FloatArray, int]:
    """Squared distances from the middle, mm2, of points along one axis over all voxels in reach; and how many a voxel has."""
    reach, fine = math.ceil(PEAK_RADIUS_MM / spacing + 0.5) - 1, math.ceil(spacing / step_mm)
    within = (np.arange(fine) + 0.5) / fine - 0.5
    points = (np.arange(-reach, reach + 1)[:, None] + within).ravel() * spacing
    return points**2, fine


def peak_at(pet: FloatArray, spacing: tuple[float, float, float], index: LabelArray) -> FloatArray:
    """(n,) mean of the 1 ml sphere around each of the voxels index (n, 3); beyond the image's border nothing is counted."""
    kernel = peak_kernel(spacing)
    rows, known = zip(*(_along(pet.shape, axis, index[:, axis], n) for axis, n in enumerate(kernel.shape)), strict=True)
    values = pet.ravel()
    total, weight = np.zeros(len(index)), np.zeros(len(index))
    # One pass over the kernel's few hundred weights; all lesion voxels at once.
    for k, j, i in np.argwhere(kernel > 0):
        part = kernel[k, j, i] * (known[0][k] & known[1][j] & known[2][i])
        total += part * values[rows[0][k] + rows[1][j] + rows[2][i]]
        weight += part
    return np.asarray(total / weight)


def _along(shape: tuple[int, ...], axis: int, index: LabelArray, width: int) -> tuple[LabelArray, BoolArray]:
    """(width, n) flat offsets along one axis of the voxels around index (n,), and whether they lie in the image."""
    at = index + np.arange(-(width // 2), width // 2 + 1)[:, None]
    stride = int(np.prod(shape[axis + 1 :]))
    return np.clip(at, 0, shape[axis] - 1) * stride, (at >= 0) & (at < shape[axis])


def free_of_lesions(mask: BoolArray, lesions: LabelArray, *, erode: bool = True) -> BoolArray:
    """The mask eroded by one voxel, without lesions (labels, 0 elsewhere) and their next neighbours. Shape of the PET grid."""
    box = bounding_box(mask, margin=2)
    core = np.zeros_like(mask)
    if box is None:
        return core
    inner = ndimage.binary_erosion(mask[box]) if erode else mask[box]
    core[box] = inner & ~ndimage.binary_dilation(lesions[box] > 0, TOUCHING)
    return core


def index_of(labels: LabelArray | BoolArray) -> LabelArray:
    """(n, 3) indices of the voxels that are not 0, in order."""
    return np.stack(np.unravel_index(np.flatnonzero(labels), labels.shape), axis=1)


def bounding_box(mask: BoolArray, margin: int = 0) -> tuple[slice, slice, slice] | None:
    """The smallest box around the mask, wider by margin voxels within the image; None where the mask is empty."""
    slices = []
    for axis in range(3):
        hit = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        if not hit.size:
            return None
        slices.append(slice(max(0, int(hit[0]) - margin), min(mask.shape[axis], int(hit[-1]) + 1 + margin)))
    return slices[0], slices[1], slices[2]


def region_mean(study: PetCt, mask: BoolArray, min_ml: float) -> float:
    """SUVmean of the mask; NaN where less than min_ml is left of it."""
    voxels = int(mask.sum())
    if voxels == 0 or voxels * study.pet.grid.voxel_ml < min_ml:
        return math.nan
    return float(study.pet.values[mask].mean(dtype=np.float64))


def spleen_mean(study: PetCt, anatomy: Anatomy, lesions: LesionSet, settings: MeasurementSettings) -> float:
    """SUVmean of the spleen, eroded one voxel, without lesions dilated one voxel; NaN below 20 ml."""
    return region_mean(study, free_of_lesions(anatomy.regions.mask("spleen"), lesions.labelmap.labels), settings.min_spleen_ml)


def blood_pool_mean(study: PetCt, anatomy: Anatomy, lesions: LesionSet, settings: MeasurementSettings) -> float:
    """SUVmean of the aorta, eroded one voxel."""
    return region_mean(study, blood_pool(anatomy, lesions.labelmap.labels), settings.min_blood_pool_ml)


def blood_pool(anatomy: Anatomy, lesions: LabelArray) -> BoolArray:
    """The aorta eroded one voxel, without lesions (labels, 0 elsewhere) and their neighbours. Shape of the PET grid."""
    return free_of_lesions(anatomy.regions.mask("aorta"), lesions)


def brain_mean(study: PetCt, anatomy: Anatomy, min_ml: float) -> float:
    """SUVmean of the part of the brain that lies in the field, eroded one voxel.

    Lesions included: of an FDG PET that is called PentixaFor the whole brain exceeds the threshold.
    """
    brain = anatomy.regions.mask("brain")
    box = bounding_box(brain, margin=1)
    if box is None:
        return math.nan
    core = np.zeros_like(brain)
    core[box] = ndimage.binary_erosion(brain[box])
    return region_mean(study, core, min_ml)


def liver_mean(study: PetCt, anatomy: Anatomy, lesions: LesionSet, settings: MeasurementSettings) -> float:
    """SUVmean of a 3 cm sphere in the right lobe, at the place deepest in the liver and farthest from its lesions."""
    values = liver_sphere(study, anatomy, lesions.labelmap.labels, settings)
    return float(values.mean(dtype=np.float64)) if values.size else math.nan


def liver_mean_and_noise(
    study: PetCt, anatomy: Anatomy, lesions: LesionSet, settings: MeasurementSettings
) -> tuple[float, float]:
    """Mean of the same sphere, and its noise: standard deviation over mean; NaN where they are undefined."""
    values = liver_sphere(study, anatomy, lesions.labelmap.labels, settings)
    if not values.size:
        return math.nan, math.nan
    mean = float(values.mean(dtype=np.float64))
    return mean, float(values.std(dtype=np.float64)) / mean if mean > 0 else math.nan


def liver_sphere(study: PetCt, anatomy: Anatomy, lesions: LabelArray, settings: MeasurementSettings) -> FloatArray:
    """(n,) SUV of the voxels of the liver's sphere, away from lesions (labels, 0 elsewhere) and their neighbours.

    Empty where less than min_liver_ml of it is left.
    """
    grid = study.pet.grid
    liver = free_of_lesions(anatomy.regions.mask("liver"), lesions, erode=False)
    index = index_of(liver)
    if not len(index):
        return np.empty(0)
    x = grid.to_world(index)[:, 0]
    right = index[x <= (x.min() + x.max()) / 2]  # x runs to the left: the right lobe is the half with the smaller x
    corner = right.min(axis=0) - 1
    lobe = np.zeros(right.max(axis=0) - corner + 2, dtype=bool)
    lobe[tuple((right - corner).T)] = True
    depth = ndimage.distance_transform_edt(lobe, sampling=grid.spacing)
    centre = grid.to_world(np.unravel_index(int(np.argmax(depth)), lobe.shape) + corner)
    sphere = right[np.linalg.norm(grid.to_world(right) - centre, axis=1) <= settings.liver_radius_mm + 1e-6]
    if len(sphere) * grid.voxel_ml < settings.min_liver_ml:
        return np.empty(0)
    return np.asarray(study.pet.values[tuple(sphere.T)])
