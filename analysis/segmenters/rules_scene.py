"""One study as the rules for organs see it: CT and both PETs together, in coordinates laid along the spine.

`right_left` grows to the patient's left, `front_back` to the back. Distances are those of adult anatomy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from analysis.segmenters.morphology import components, dilate
from analysis.segmenters.rules_ct import CtStructures
from analysis.values import BoolArray, FloatArray, Tracer

# SUV that an excreting organ exceeds: the usual kidney is about 3 (FDG) and 5 (PentixaFor), soft tissue 0.6.
HOT = {Tracer.FDG: 2.5, Tracer.PENTIXAFOR: 3.0}
URINE = {Tracer.FDG: 3.5, Tracer.PENTIXAFOR: 3.5}
MISREGISTRATION_MM = 7.5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scene:
    """One study as the rules see it: CT structures, and both tracers' SUV on the CT's working grid.

    suv: by tracer; NaN where that PET does not reach. right_left, front_back, height: mm, broadcastable to the grid.
    """

    ct: CtStructures
    suv: Mapping[Tracer, FloatArray]
    right_left: FloatArray
    front_back: FloatArray
    height: FloatArray
    soft: BoolArray

    def box(self, right_left: tuple[float, float], front_back: tuple[float, float]) -> BoolArray:
        """Where both coordinates lie between the limits (mm)."""
        across = (self.right_left >= right_left[0]) & (self.right_left <= right_left[1])
        along = (self.front_back >= front_back[0]) & (self.front_back <= front_back[1])
        return np.broadcast_to(across & along, self.ct.grid.shape)

    def hot(self, limits: Mapping[Tracer, float]) -> BoolArray:
        """Above the limit on each tracer that reaches the voxel, give or take the registration; on at least one."""
        every = np.ones(self.ct.grid.shape, dtype=bool)
        some = np.zeros(self.ct.grid.shape, dtype=bool)
        for tracer, suv in self.suv.items():
            above = suv > limits[tracer]  # NaN is not
            every &= ~np.isfinite(suv) | dilate(self.ct.grid, above, MISREGISTRATION_MM)
            some |= above
        return every & some & ~self.ct.skeleton & self.ct.body

    def relative(self, mask: BoolArray) -> FloatArray | None:
        """The higher uptake of both tracers as part of each one's median in the mask; None where no PET tells it from flesh."""
        most: FloatArray | None = None
        for suv in self.suv.values():
            here, flesh = np.isfinite(suv) & mask, np.isfinite(suv) & self.soft
            if here.any() and (level := float(np.median(suv[here]))) > 1.5 * float(np.median(suv[flesh])):
                share = np.nan_to_num(suv, nan=level) / level
                most = share if most is None else np.maximum(most, share)
        return most

    def reach(self, mask: BoolArray) -> tuple[float, float] | None:
        """Lowest and highest z (mm) of a mask."""
        rows = np.flatnonzero(mask.any(axis=(1, 2)))
        return (float(self.height[rows[0], 0, 0]), float(self.height[rows[-1], 0, 0])) if rows.size else None

    def lungs_bottom(self) -> float | None:
        """z (mm) below which the lungs are less than a fifth of their widest section; None without lungs."""
        area = self.ct.lungs.sum(axis=(1, 2))
        return float(self.height[np.flatnonzero(area > 0.2 * area.max())[0], 0, 0]) if area.any() else None


def look(ct: CtStructures, suv: Mapping[Tracer, FloatArray]) -> Scene:
    """Lays the spine's coordinates over a CT's upright working grid; without a spine the body's middle serves."""
    grid = ct.grid
    z, y, x = (grid.affine[2 - a, 3] + grid.spacing[a] * np.arange(grid.shape[a]) for a in range(3))
    middle = grid.to_world(np.argwhere(ct.body)).mean(axis=0)[:2]
    spine = ct.spine if ct.spine is not None else np.tile(middle, (z.size, 1))
    smooth = ct.smooth
    return Scene(
        ct=ct,
        suv={tracer: steady(v) for tracer, v in suv.items()},
        right_left=(x[None, :] - spine[:, :1])[:, None, :],
        front_back=(y[None, :] - spine[:, 1:])[:, :, None],
        height=z[:, None, None],
        soft=(smooth > -10) & (smooth < 450) & ct.body & ~ct.skeleton,
    )


def steady(suv: FloatArray) -> FloatArray:
    """SUV smoothed against noise (NaN where the PET does not reach stays NaN)."""
    reach = np.isfinite(suv)
    if reach.all():
        return np.asarray(ndimage.gaussian_filter(suv, 1.0, truncate=3.0))
    weight = ndimage.gaussian_filter(reach.astype(np.float32), 1.0, truncate=3.0)
    smooth = ndimage.gaussian_filter(np.where(reach, suv, 0.0), 1.0, truncate=3.0) / np.maximum(weight, 1e-3)
    return np.where(reach, smooth, np.nan)


def hottest(scene: Scene, mask: BoolArray, least_ml: float) -> BoolArray:
    """The component with the greatest total uptake of the tracers that see it, at least least_ml large."""
    labels, sizes = components(mask)
    if not sizes.size or sizes.max() * scene.ct.grid.voxel_ml < least_ml:
        return np.zeros_like(mask)
    where = labels > 0
    uptake = sum(np.nan_to_num(suv[where]) / HOT[tracer] for tracer, suv in scene.suv.items())
    total = np.bincount(labels[where], weights=uptake, minlength=sizes.size + 1)[1:]
    total = np.where(sizes * scene.ct.grid.voxel_ml >= least_ml, total, -1.0)
    return np.asarray(labels == int(np.argmax(total)) + 1)
