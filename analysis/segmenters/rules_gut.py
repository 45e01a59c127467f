"""FDG along the oesophagus and in a loop of bowel: tubes of uptake at their places, which are physiological.

Inflamed or contracting gut glows over some length and is thin; a lesion beside it is a ball, a plate along bone, or broad.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from analysis.segmenters.morphology import components, dilate
from analysis.segmenters.rules_scene import Scene
from analysis.values import BoolArray, FloatArray, LabelArray, Tracer

LEVELS = (2.5, 3.0, 3.5)  # SUV: above all muscle and blood, below the usual lesion
LEAST_MM, WIDEST_MM, SLENDER = 35.0, 20.0, 2.5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Parts:
    """The connected parts of what takes up more FDG than one of the levels. labels: 1..n; sizes, at_bone: (n,) voxels."""

    labels: LabelArray
    sizes: LabelArray
    at_bone: LabelArray


def fdg_parts(scene: Scene) -> list[Parts]:
    """The parts at each level, bone left out; none without FDG."""
    suv = scene.suv.get(Tracer.FDG)
    if suv is None:
        return []
    near = dilate(scene.ct.grid, scene.ct.skeleton, 6.0)
    found = [components((suv > level) & ~scene.ct.skeleton) for level in LEVELS]
    return [
        Parts(labels=labels, sizes=sizes, at_bone=np.bincount(labels[near], minlength=sizes.size + 1)[1:])
        for labels, sizes in found
    ]


def find_oesophagus(scene: Scene, parts: Sequence[Parts]) -> BoolArray:
    """Tubes of FDG between the lungs, in front of the spine; the wall of the descending aorta, which runs beside, included."""
    span = scene.reach(scene.ct.lungs)
    if span is None:
        return np.zeros(scene.ct.grid.shape, dtype=bool)
    rows = (scene.height > span[0]) & (scene.height < span[1])
    zone = scene.box((-25.0, 45.0), (-75.0, -15.0)) & rows & scene.soft
    return tubes(scene, parts, zone, 0.8)


def find_loops(scene: Scene, parts: Sequence[Parts], bowel: BoolArray, other: BoolArray) -> BoolArray:
    """Tubes of FDG in the belly, well in front of the spine, that run to the wall of gas-holding bowel."""
    zone = scene.box((-200.0, 200.0), (-400.0, -45.0)) & bowel & ~other
    return tubes(scene, parts, zone, 0.1) & ~other


def tubes(scene: Scene, parts: Sequence[Parts], zone: BoolArray, least_share: float) -> BoolArray:
    """What is a tube of FDG, at any of the levels, with at least this share of it in the zone and little of it at bone."""
    out = np.zeros(zone.shape, dtype=bool)
    for part in parts if zone.any() else ():
        inside = np.bincount(part.labels[zone], minlength=part.sizes.size + 1)[1:]
        boxes = ndimage.find_objects(part.labels)
        for n in np.flatnonzero((inside >= least_share * part.sizes) & (part.at_bone < 0.2 * part.sizes)):
            here = part.labels[boxes[n]] == n + 1
            if is_tube(np.argwhere(here) * scene.ct.grid.spacing):
                out[boxes[n]] |= here
    return out


def is_tube(points_mm: FloatArray) -> bool:
    """Whether (n, 3) points fill something long and thin: 35 mm, 2.5 times its width, which is at most 20 mm.

    Length and width are those of the straight rod with the same principal moments (L^2 / 12 and d^2 / 16).
    """
    if len(points_mm) < 20:
        return False
    moments = np.maximum(np.linalg.eigvalsh(np.cov(points_mm.T)), 0.0)
    length, width = float(np.sqrt(12.0 * moments[2])), 4.0 * float(np.sqrt(moments[1]))
    return length >= LEAST_MM and width <= WIDEST_MM and length >= SLENDER * width
