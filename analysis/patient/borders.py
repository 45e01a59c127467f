"""What lesions would measure if their border were drawn otherwise, each definition beside the others.

Stands below the steps; knows values and ports alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from scipy.spatial import KDTree

from analysis.patient.measures import index_of
from analysis.ports import LesionMap
from analysis.values import Border, FloatArray, Grid, LabelArray, PetCt


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Borders:
    """By definition, (n + 1,) by lesion label 1..n, and 0 for all regions of the tracer together."""

    suv: Mapping[str, FloatArray]
    volume_ml: Mapping[str, FloatArray]
    suv_mean: Mapping[str, FloatArray]

    def of(self, label: int) -> Mapping[str, Border]:
        """What the lesion measures by each definition; label 0: all regions together."""
        return MappingProxyType(
            {
                name: Border(
                    suv=float(self.suv[name][label]),
                    volume_ml=float(self.volume_ml[name][label]),
                    suv_mean=float(self.suv_mean[name][label]),
                )
                for name in self.suv
            }
        )

    def agreement(self, min_volume_ml: float) -> FloatArray | None:
        """(n + 1,) by lesion: of the thresholds that hold for the whole study the share under which it still is a lesion.

        That is, at least min_volume_ml of its regions exceed the threshold. None where less than two are defined.
        """
        whole = [name for name, suv in self.suv.items() if math.isfinite(suv[0])]
        if len(whole) < 2:
            return None
        return np.asarray(np.mean([self.volume_ml[name] >= min_volume_ml - 1e-9 for name in whole], axis=0))


def borders(study: PetCt, labels: LabelArray, found: LesionMap) -> Borders:
    """What each lesion 1..n of `labels` measures in its regions above each threshold of the map.

    A region that holds several lesions is divided among them: each voxel goes to the nearest one.
    """
    count = int(labels.max(initial=0))
    if found.regions is None:
        return Borders(suv={}, volume_ml={}, suv_mean={})
    index = index_of(found.regions)
    at = tuple(index.T)
    region, suv = found.regions[at], study.pet.values[at].astype(np.float64)
    lesion = owners(labels[at], region, index, study.pet.grid)
    measured = {name: _measured(suv, limits, region, lesion, count) for name, limits in found.limits.items()}
    voxel_ml = study.pet.grid.voxel_ml
    return Borders(
        suv={name: one[0] for name, one in measured.items()},
        volume_ml={name: one[1] * voxel_ml for name, one in measured.items()},
        suv_mean={name: one[2] for name, one in measured.items()},
    )


def owners(label: LabelArray, region: LabelArray, index: LabelArray, grid: Grid) -> LabelArray:
    """(n,) the lesion that each voxel of a region belongs to, 0 where its region holds none.

    label, region: (n,) at the voxels index (n, 3).
    """
    inside = label > 0
    pairs = np.unique(np.stack([region[inside], label[inside]], axis=1), axis=0)
    owner = np.zeros(int(region.max(initial=0)) + 1, dtype=np.int64)
    owner[pairs[:, 0]] = pairs[:, 1]
    lesion = np.where(inside, label, owner[region])
    regions, lesions = np.unique(pairs[:, 0], return_counts=True)
    for shared in regions[lesions > 1]:
        here = np.flatnonzero(region == shared)
        own = here[inside[here]]
        lesion[here] = label[own][_nearest(grid.to_world(index[here]), grid.to_world(index[own]))]
    return lesion


def _nearest(places: FloatArray, among: FloatArray) -> LabelArray:
    """(n,) which of the points `among` (m, 3) is nearest to each of the places (n, 3)."""
    return np.asarray(KDTree(among).query(places)[1])


def _measured(
    suv: FloatArray, limits: FloatArray, region: LabelArray, lesion: LabelArray, count: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Threshold, voxels and SUVmean above it by lesion label, 0 for all; NaN where undefined.

    suv, region, lesion: (n,) by voxel; limits: by region number, at 0 the threshold that holds for all regions.
    """
    limit = limits[region]
    above = suv > limit
    voxels, total, known = (
        np.bincount(lesion[chosen], weights, minlength=count + 1).astype(np.float64)
        for chosen, weights in ((above, None), (above, suv[above]), (slice(None), None))
    )
    undefined = bool(np.isnan(limits[1:]).any())
    highest = np.zeros(count + 1)
    np.maximum.at(highest, lesion, np.nan_to_num(limit))
    voxels[0], total[0], highest[0] = above.sum(), suv[above].sum(), limits[0]
    unknown = known == 0
    unknown[0] = False
    unknown |= undefined
    voxels[unknown], highest[unknown] = math.nan, math.nan
    mean = np.divide(total, voxels, out=np.full(count + 1, math.nan), where=voxels > 0)
    return highest, voxels, mean
