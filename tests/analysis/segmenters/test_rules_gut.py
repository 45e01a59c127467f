"""Tubes of FDG: rods, balls and plates of known size at known places beside a column of bone."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.segmenters.rules_ct import CtStructures
from analysis.segmenters.rules_gut import fdg_parts, find_loops, find_oesophagus, is_tube
from analysis.segmenters.rules_scene import Scene, look
from analysis.values import BoolArray, Grid, Tracer

MM = 3.0
GRID = Grid(shape=(50, 60, 60), affine=np.vstack([np.column_stack([MM * np.eye(3)[::-1], [-90.0, -120.0, 0.0]]), [0, 0, 0, 1]]))
POINTS = GRID.to_world(np.argwhere(np.ones(GRID.shape, dtype=bool))).reshape(*GRID.shape, 3)
X, Y, Z = POINTS[..., 0], POINTS[..., 1], POINTS[..., 2]


def rod(x: float, y: float, length: float, width: float) -> BoolArray:
    return np.asarray((np.hypot(X - x, Y - y) <= width / 2) & (np.abs(Z - 75.0) <= length / 2))


def ball(x: float, y: float, width: float) -> BoolArray:
    return np.asarray(np.linalg.norm(POINTS - (x, y, 75.0), axis=-1) <= width / 2)


def scene(hot: BoolArray) -> Scene:
    """A body of soft tissue, a column of bone of 30 mm at x = y = 0, lungs at both sides; SUV 6 where hot, else 1."""
    body, bone, lungs = np.ones(GRID.shape, dtype=bool), np.hypot(X, Y) <= 15.0, np.abs(X) > 60.0
    hu = np.where(bone, 300.0, 40.0).astype(np.float32)
    ct = CtStructures(
        grid=GRID, hu=hu, smooth=hu, body=body, lungs=lungs, gas=~body, skeleton=bone, spine=np.zeros((GRID.shape[0], 2))
    )
    return look(ct, {Tracer.FDG: np.where(hot, 12.0, 1.0).astype(np.float32)})


@pytest.mark.parametrize(
    ("mask", "tube"),
    [
        (rod(0, -40, 60, 12), True),
        (rod(0, -40, 24, 12), False),  # short
        (rod(0, -40, 120, 32), False),  # broad
        (ball(0, -40, 24), False),
        (ball(0, -40, 24) | ball(24, -40, 24), False),  # two lesions that touch
        ((np.abs(Y + 40) < 5) & (np.abs(X) < 30) & (np.abs(Z - 75) < 30), False),  # a plate
    ],
)
def test_a_tube_is_long_and_thin(mask: BoolArray, tube: bool) -> None:
    assert is_tube(np.argwhere(mask) * MM) is tube


def test_a_tube_in_front_of_the_spine_is_oesophagus_and_a_ball_or_what_lies_at_bone_is_not() -> None:
    along, lesion, plaque = rod(12, -40, 75, 10), ball(-15, -45, 20), rod(0, -19, 75, 10)
    seen = scene(along | lesion)
    found = find_oesophagus(seen, fdg_parts(seen))
    assert found[along].mean() > 0.9
    assert not found[lesion].any()
    at_bone = scene(plaque)
    assert not find_oesophagus(at_bone, fdg_parts(at_bone)).any()


def test_a_tube_that_reaches_the_wall_of_bowel_is_a_loop() -> None:
    loop, lesion = rod(30, -70, 75, 10), ball(-15, -80, 20)
    wall = Z > 90.0
    seen = scene(loop | lesion)
    found = find_loops(seen, fdg_parts(seen), wall, np.zeros(GRID.shape, dtype=bool))
    assert found[loop].mean() > 0.9
    assert not found[lesion].any()
    assert not find_loops(seen, fdg_parts(seen), Z > 300.0, wall).any()
