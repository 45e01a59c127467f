"""Brings the PentixaFor CT and the FDG CT together: rigid, then deformable where that is an improvement (docs/METHOD.md 3)."""

from __future__ import annotations

import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
from scipy import ndimage
from scipy.spatial import KDTree

from analysis.errors import UnusableImage
from analysis.grids import apply, resample, to_itk_transform
from analysis.patient.registration_body import AIR_HU, CoarseCt, bone_mask, coarse_ct, cropped
from analysis.patient.registration_deformable import DeformableSettings, deform, jacobian
from analysis.patient.registration_error import calmed, error_map
from analysis.patient.registration_rigid import align_rigid
from analysis.values import AlignedPair, BoolArray, FloatArray, PetCt, RegistrationQuality, Tracer, Transform


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationSettings:
    """step_mm: voxel size both CTs are compared at. starts: shifts the rigid stage is begun from, at most.

    deformable: False keeps the rigid result. elastic: how the deformable stage works; check: how its coarse repetition
    from FDG to PentixaFor works, from which the error is estimated.
    """

    step_mm: float = 4.0
    starts: int = 3
    deformable: bool = True
    elastic: DeformableSettings = field(default_factory=DeformableSettings)
    check: DeformableSettings = field(default_factory=lambda: DeformableSettings(factors=(4, 2), rounds=(8, 4)))

    def __post_init__(self) -> None:
        if not 1.0 <= self.step_mm <= 20.0:
            raise ValueError(f"step_mm is to be 1 to 20 mm, not {self.step_mm:g}")
        if not 1 <= self.starts <= 100:
            raise ValueError(f"starts is to be 1 to 100, not {self.starts}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scans:
    """Both CTs, the fixed one cut to its body, and the way back: moving to fixed points, found on its own and coarser."""

    fixed: CoarseCt
    moving: CoarseCt
    back: Transform


def align(fdg: PetCt, pentixafor: PetCt, settings: RegistrationSettings | None = None) -> AlignedPair:
    """The pair with the transform from PentixaFor points (fixed) to FDG points (moving), LPS mm.

    The same images give the same transform, bit for bit. Raises UnusableImage where a CT shows no body, or where the
    two share no part of it.
    """
    begun = time.monotonic()
    chosen = settings or RegistrationSettings()
    # What runs at once knows nothing of the other, so that the result is the same.
    with ThreadPoolExecutor(max_workers=1) as beside:
        other = beside.submit(coarse_ct, fdg.ct, Tracer.FDG, chosen.step_mm)
        fixed, moving = coarse_ct(pentixafor.ct, Tracer.PENTIXAFOR, chosen.step_mm), other.result()
        rigid = align_rigid(fixed, moving, starts=chosen.starts)
        back = beside.submit(_elastic, moving, fixed, np.linalg.inv(rigid), chosen.check)
        near = cropped(fixed, margin_mm=24.0)
        scanned = beside.submit(lambda: Scans(fixed=near, moving=moving, back=back.result()))
        before = beside.submit(lambda: judged(scanned.result(), Transform(rigid=rigid)))
        elastic = _elastic(fixed, moving, rigid, chosen.elastic) if chosen.deformable else None
        scans, transform, quality = scanned.result(), Transform(rigid=rigid), before.result()
        if elastic is not None:
            elastic = calmed(near, scans.back, elastic)
            error = beside.submit(error_map, near, moving, scans.back, elastic)
            transform, quality = better(scans, transform, quality, elastic)
        kept = elastic is not None and transform is elastic
        errors = error.result() if kept else error_map(near, moving, scans.back, transform)
    quality = replace(quality, seconds=round(time.monotonic() - begun, 2))
    return AlignedPair(fdg=fdg, pentixafor=pentixafor, transform=transform, quality=quality, error=errors)


def _elastic(fixed: CoarseCt, moving: CoarseCt, rigid: FloatArray, settings: DeformableSettings) -> Transform:
    grid, displacement = deform(fixed, moving, rigid, settings)
    return Transform(rigid=rigid, grid=grid, displacement=displacement)


def better(
    scans: Scans, rigid: Transform, before: RegistrationQuality, elastic: Transform
) -> tuple[Transform, RegistrationQuality]:
    """The deformable result, or the rigid one with the reason why it was kept."""
    folded = folding(elastic)
    if folded > 0:
        reason = f"The deformable result folds in {folded:.2%} of its voxels, so the rigid one was kept."
        return rigid, replace(before, reason=reason)
    after = judged(scans, elastic)
    if not after.bone_dice > before.bone_dice:
        dice = f"{after.bone_dice:.3f} against {before.bone_dice:.3f}"
        reason = f"The deformable result does not raise the overlap of bone (Dice {dice}), so the rigid one was kept."
        return rigid, replace(before, reason=reason)
    body = scans.fixed.grid.to_world(np.argwhere(scans.fixed.body)[::10])
    length = np.linalg.norm(apply(elastic, body) - apply(rigid, body), axis=1)
    moved = float(np.percentile(length, 95))
    return elastic, replace(after, method="deformable", bone_dice_rigid=before.bone_dice, displacement_p95_mm=moved)


def folding(transform: Transform) -> float:
    """The fraction of the field's voxels where it folds."""
    if transform.grid is None or transform.displacement is None:
        return 0.0
    return float((jacobian(transform.rigid, transform.grid, transform.displacement) <= 0).mean())


def judged(scans: Scans, transform: Transform) -> RegistrationQuality:
    """Overlaps and error over the field of view that both scans share. Raises UnusableImage where they share no body.

    error_mm is the root mean square over the trunk of how far a point comes to lie from itself when it is carried to
    the FDG scan and back by the independent, coarser registration, and (added as a square) of how far the skeletons'
    surfaces lie apart beyond half a voxel. On real CTs under known deformations it was 1.4 to 2.7 times the true root
    mean square error, for the way back is the coarser one; along a direction in which the tissue is uniform neither part
    sees an error.
    """
    fixed, moving = scans.fixed, scans.moving
    mapping = to_itk_transform(transform)
    hu = resample(moving.grid, moving.hu, fixed.grid, transform=mapping, outside=np.nan)
    common = np.isfinite(hu) & fixed.seen & (resample(moving.grid, moving.seen, fixed.grid, transform=mapping) > 0.5)
    body = resample(moving.grid, moving.body, fixed.grid, transform=mapping) > 0.5
    if not (common & body & fixed.body).any():
        raise UnusableImage("The FDG and the PentixaFor CT share no part of the body: check that both cover the same region.")
    bone = bone_mask(np.nan_to_num(hu, nan=AIR_HU))
    overlap = dice(fixed.bone & common, bone & common)
    core = common & fixed.trunk
    there = _there_and_back_mm(scans, transform, core if core.any() else common & fixed.body)
    gap = max(0.0, _bone_gap_mm(fixed, bone, common) - fixed.step_mm / 2)
    return RegistrationQuality(
        method="rigid",
        bone_dice=overlap,
        bone_dice_rigid=overlap,
        body_dice=dice(fixed.body & common, body & common),
        error_mm=math.hypot(there, gap),
    )


def dice(a: BoolArray, b: BoolArray) -> float:
    """Overlap of two masks, 0..1; 0 where both are empty."""
    both = int(a.sum()) + int(b.sum())
    return 2.0 * int((a & b).sum()) / both if both else 0.0


def _there_and_back_mm(scans: Scans, transform: Transform, where: BoolArray) -> float:
    points = scans.fixed.grid.to_world(np.argwhere(where)[::5])
    returned = apply(scans.back, apply(transform, points))
    return float(np.sqrt(np.mean(np.sum((returned - points) ** 2, axis=1))))


def _bone_gap_mm(fixed: CoarseCt, bone: BoolArray, common: BoolArray) -> float:
    """Root mean square distance of the skeletons' surfaces in the trunk, both ways; 0 where one of them is empty."""
    inner = fixed.trunk & ndimage.binary_erosion(common, iterations=2)
    a, b = (mask & ~ndimage.binary_erosion(mask) for mask in (fixed.bone & common, bone & common))
    if not a.any() or not b.any():
        return 0.0
    gaps = np.concatenate([_to_nearest(a & inner, b), _to_nearest(b & inner, a)]) * fixed.step_mm
    return float(np.sqrt(np.mean(gaps**2))) if gaps.size else 0.0


def _to_nearest(these: BoolArray, others: BoolArray) -> FloatArray:
    """Distance of each of these voxels to the nearest of the others, in voxels."""
    return np.asarray(KDTree(np.argwhere(others)).query(np.argwhere(these))[0])
