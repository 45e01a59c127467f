"""Organs of physiological uptake by name, told from CT and both PETs together."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from analysis.segmenters.morphology import closing, dilate, fill_slices, largest, opening
from analysis.segmenters.rules_gut import fdg_parts, find_loops, find_oesophagus
from analysis.segmenters.rules_scene import HOT, URINE, Scene
from analysis.segmenters.rules_trunk import find_aorta, find_heart, find_liver, find_spleen
from analysis.segmenters.rules_urinary import find_bladder, find_ureters, kidney, pelvis_top
from analysis.values import BoolArray


def find_organs(scene: Scene) -> dict[str, BoolArray]:
    """Masks on the working grid by name; later names give way to earlier ones where they meet."""
    crest, excreting, urine = pelvis_top(scene), scene.hot(HOT), scene.hot(URINE)
    left, right = (kidney(scene, excreting, crest, side) for side in (+1, -1))
    bladder = find_bladder(scene, urine & ~left & ~right, crest)
    heart = find_heart(scene)
    liver = find_liver(scene, left | right | heart, crest)
    middle, glowing = scene.right_left > 0, fdg_parts(scene)
    bowel = find_bowel(scene, left | right | bladder | liver)
    return {
        "kidney_left": left,
        "kidney_right": right,
        "urinary_bladder": bladder,
        "ureter": find_ureters(scene, urine, left | right, bladder),
        "brain": find_brain(scene),
        "spleen": find_spleen(scene, left | right, liver),
        "liver": liver,
        "heart": heart,
        "esophagus": find_oesophagus(scene, glowing),
        "aorta": find_aorta(scene),
        "pharynx": find_pharynx(scene),
        "small_bowel": find_loops(scene, glowing, bowel, left | right | bladder | liver),
        "bowel": bowel,
        "lung_left": scene.ct.lungs & middle,
        "lung_right": scene.ct.lungs & ~middle,
    }


def find_brain(scene: Scene) -> BoolArray:
    """Soft tissue enclosed by the skull: what a ring of bone holds in axial slices, at least 150 ml and 30 mm thick."""
    grid = scene.ct.grid
    ring = closing(grid, scene.ct.skeleton, 6.0)
    inside = fill_slices(ring) & ~scene.ct.skeleton & (scene.ct.smooth > -20) & (scene.ct.smooth < 110)
    core = largest(opening(grid, closing(grid, inside, 3.0), 15.0))
    if core.sum() * grid.voxel_ml < 150.0:
        return np.zeros_like(core)
    return dilate(grid, core, 12.0) & inside


def find_pharynx(scene: Scene) -> BoolArray:
    """Mucosa and tonsils: soft tissue within 10 mm of the airway, more than 50 mm above the lungs."""
    top = scene.reach(scene.ct.lungs)
    if top is None:
        return np.zeros(scene.ct.grid.shape, dtype=bool)
    above = scene.height > top[1] + 50.0
    airway = scene.ct.gas & above & scene.box((-35.0, 35.0), (-160.0, 0.0))
    return dilate(scene.ct.grid, airway, 10.0) & scene.soft & above


def find_bowel(scene: Scene, other: BoolArray) -> BoolArray:
    """The walls of gas-holding bowel and stomach: soft tissue within 12 mm of gas in front of the spine, below the lungs."""
    bottom = scene.lungs_bottom()
    below = scene.height < (np.inf if bottom is None else bottom + 60.0)
    gas = scene.ct.gas & below & scene.box((-200.0, 200.0), (-400.0, 10.0))
    return dilate(scene.ct.grid, gas, 12.0) & scene.soft & below & ~other


def tidy(masks: Mapping[str, BoolArray]) -> dict[str, BoolArray]:
    """The masks without overlap: each voxel goes to the first name that claims it."""
    taken = np.zeros(next(iter(masks.values())).shape, dtype=bool)
    out = {}
    for name, mask in masks.items():
        out[name] = mask & ~taken
        taken |= mask
    return out
