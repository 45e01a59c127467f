"""How far each region that the rules found is to be trusted, 0 to 1, from evidence that can be told.

Each region's confidence is the product of what applies to it:
volume    1 within the usual range of adults, falling to 0 at half the lower and twice the upper limit; where the field cuts
          the organ, only the upper limit counts, and the whole is taken times 0.8
even      1 where half its inner voxels lie within 25 HU of their median, as in a solid organ, falling to 0 at 70 HU
uptake    the part of it that each PET shows as it should be (kidneys and bladder hot, liver above flesh, spleen above liver
          on PentixaFor, brain hot on FDG); 0.6 where no PET tells
paired    kidneys and lungs: 1 for two alike, falling to 0.5 where one is alone
drawn     0.7 for the aorta, whose border is a circle round its way, not seen
The skeleton has its share of the body; its mineral (0.65 where the column is thin and thresholds had to be lowered); and what
is as dense but none of it, contrast or noise: from 1 at a twentieth of its volume to 0.7 at half.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod

import numpy as np

from analysis.segmenters.morphology import dilate, erode
from analysis.segmenters.rules_scene import HOT, Scene
from analysis.segmenters.rules_skeleton import DENSE_HU
from analysis.values import BoolArray, Tracer

NO_PET = 0.6
CUT = 0.8
DRAWN = {"aorta": 0.7}
# Usual volume in ml, as METHOD.md 5 has it, wider where the rules find less than the whole organ.
USUAL_ML = {
    "liver": (800.0, 2500.0),
    "spleen": (80.0, 500.0),
    "kidney_left": (90.0, 320.0),
    "kidney_right": (90.0, 320.0),
    "urinary_bladder": (30.0, 600.0),
    "brain": (950.0, 1700.0),
    "heart": (250.0, 1000.0),
    "aorta": (40.0, 350.0),
    "lung_left": (800.0, 3500.0),
    "lung_right": (800.0, 3500.0),
}
SOLID = ("liver", "spleen", "brain", "heart", "urinary_bladder", "aorta")
PAIRS = {"kidney_left": "kidney_right", "lung_left": "lung_right"}
PAIRS |= {right: left for left, right in PAIRS.items()}


def confidences(scene: Scene, organs: Mapping[str, BoolArray]) -> dict[str, float]:
    """Region > confidence, of those that were found and of which anything can be told."""
    found = {name: mask for name, mask in organs.items() if mask.any()}
    told = {name: _of_organ(scene, found, name) for name in found if name in USUAL_ML}
    if scene.ct.skeleton.any():
        told["skeleton"] = _of_skeleton(scene)
    return {name: round(value, 2) for name, value in told.items()}


def _of_organ(scene: Scene, found: Mapping[str, BoolArray], name: str) -> float:
    mask = found[name]
    rows = np.flatnonzero(scene.ct.body.any(axis=(1, 2)))
    cut = bool(mask[rows[0]].any() or mask[rows[-1]].any())
    factors = [volume_factor(float(mask.sum()) * scene.ct.grid.voxel_ml, USUAL_ML[name], cut=cut)]
    factors.append(DRAWN.get(name, 1.0))
    if name in SOLID:
        factors.append(_even(scene, mask))
    if name in UPTAKES:
        factors.append(UPTAKES[name](scene, found))
    if name in PAIRS:
        other = found.get(PAIRS[name], np.zeros_like(mask))
        factors.append(0.5 + 0.5 * min(mask.sum(), other.sum()) / max(mask.sum(), other.sum()))
    return float(prod(factors))


def volume_factor(ml: float, usual: tuple[float, float], *, cut: bool) -> float:
    """1 within the usual range, falling in straight lines to 0 at half its lower and twice its upper limit."""
    low, high = usual
    share = float(np.interp(ml, [0.5 * low, low, high, 2.0 * high], [0.0, 1.0, 1.0, 0.0]))
    return CUT * (1.0 if ml <= high else share) if cut else share


def _even(scene: Scene, mask: BoolArray) -> float:
    inner = erode(scene.ct.grid, mask, 4.0)
    hu = scene.ct.hu[inner if inner.any() else mask]
    return float(np.interp(np.median(np.abs(hu - np.median(hu))), [25.0, 70.0], [1.0, 0.0]))


def _of_skeleton(scene: Scene) -> float:
    share = float(scene.ct.skeleton.sum() / max(scene.ct.body.sum(), 1))
    place = 1.0 if scene.ct.spine is not None else 0.5
    alike = (scene.ct.hu > DENSE_HU * scene.ct.mineral) & scene.ct.body
    alike &= ~dilate(scene.ct.grid, scene.ct.skeleton, 4.5)
    clear = float(np.interp(alike.sum() / scene.ct.skeleton.sum(), [0.05, 0.5], [1.0, 0.7]))
    return float(np.interp(share, [0.02, 0.05, 0.2, 0.4], [0.0, 1.0, 1.0, 0.0])) * place * scene.ct.mineral * clear


def _mean(parts: list[float]) -> float:
    return float(np.mean(parts)) if parts else NO_PET


def _excretes(name: str) -> Callable[[Scene, Mapping[str, BoolArray]], float]:
    def share(scene: Scene, found: Mapping[str, BoolArray]) -> float:
        """Of the tracers that reach it and show anything hot at all: half of the organ hot is as it should be."""
        mask = found[name]
        parts = []
        for tracer, suv in scene.suv.items():
            here = suv[mask & np.isfinite(suv)]
            if here.size and np.nanmax(suv) > HOT[tracer]:
                parts.append(min(1.0, 2.0 * float((here > HOT[tracer]).mean())))
        return _mean(parts)

    return share


def _above_flesh(name: str, times: float) -> Callable[[Scene, Mapping[str, BoolArray]], float]:
    def share(scene: Scene, found: Mapping[str, BoolArray]) -> float:
        """Of the tracers that tell organs from flesh: the part of the organ that takes up more than so many times flesh."""
        parts = []
        for suv in scene.suv.values():
            seen = np.isfinite(suv)
            here, flesh = suv[found[name] & seen], suv[scene.soft & seen]
            if here.size and np.percentile(flesh, 95) > 1.5 * np.median(flesh):
                parts.append(min(1.0, 1.2 * float((here > times * np.median(flesh)).mean())))
        return _mean(parts)

    return share


def _spleen(scene: Scene, found: Mapping[str, BoolArray]) -> float:
    """PentixaFor above the liver's: certain at 1.3 times, doubtful where it is no higher."""
    suv = scene.suv.get(Tracer.PENTIXAFOR)
    liver = found.get("liver")
    if suv is None or liver is None:
        return NO_PET
    levels = [float(np.nanmedian(suv[mask])) for mask in (found["spleen"], liver)]
    if not np.isfinite(levels).all() or levels[1] <= 0.1:
        return NO_PET
    return float(np.interp(levels[0] / levels[1], [0.6, 1.3], [0.2, 1.0]))


def _brain(scene: Scene, found: Mapping[str, BoolArray]) -> float:
    """FDG at least four times that of flesh."""
    suv = scene.suv.get(Tracer.FDG)
    if suv is None or not np.isfinite(suv[found["brain"]]).any():
        return NO_PET
    flesh = max(float(np.nanmedian(suv[scene.soft])), 0.1)
    return float(np.interp(float(np.nanmedian(suv[found["brain"]])) / flesh, [1.0, 4.0], [0.4, 1.0]))


UPTAKES: Mapping[str, Callable[[Scene, Mapping[str, BoolArray]], float]] = {
    "kidney_left": _excretes("kidney_left"),
    "kidney_right": _excretes("kidney_right"),
    "urinary_bladder": _excretes("urinary_bladder"),
    "liver": _above_flesh("liver", 1.5),
    "heart": _above_flesh("heart", 1.5),
    "aorta": _above_flesh("aorta", 1.3),
    "spleen": _spleen,
    "brain": _brain,
}
