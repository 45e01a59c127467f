"""The views: sides, projection, and nothing that shimmers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from balls import Ball, make

from analysis.values import Tracer
from dicom_io.fusion import FULL_SCALE, Class, Scene, side_letters, turn, view
from dicom_io.scene import build_scene


@pytest.mark.parametrize(
    ("degrees", "right", "left"),
    [(0, "L", "R"), (90, "P", "A"), (180, "R", "L"), (270, "A", "P"), (45, "LP", "RA"), (10, "L", "R")],
)
def test_sides_as_a_radiograph_has_them(degrees: float, right: str, left: str) -> None:
    """From the front the patient's left is at the right; from the patient's left the front is at the left."""
    assert set(side_letters(degrees)) == set(right)
    assert set(side_letters(degrees + 180)) == set(left)


def one_voxel(x: float, y: float, row: int = 3, rows: int = 10, step: float = 2.5) -> Scene:
    """A single bright voxel among dark columns."""
    places = np.array([(i * step, j * step) for j in range(-30, 31) for i in range(-40, 41)])
    hot = int(np.flatnonzero((places == (x, y)).all(axis=1))[0])
    columns = {name: np.zeros((len(places), rows), np.uint16) for name in ("FDG", "PentixaFor", "bone")}
    columns["lesions"] = np.zeros((len(places), rows), np.uint8)
    columns["FDG"][hot, row], columns["bone"][hot, row], columns["lesions"][hot, row] = 51234, 100, Class.FDG_ONLY
    covered = dict.fromkeys(Tracer, np.ones(rows, np.bool_))
    return Scene(columns=columns, places=places, axis=(0.0, 0.0), top=25.0, step_mm=step, covered=covered)


@pytest.mark.parametrize("degrees", np.arange(0, 360, 15).tolist())
def test_a_bright_voxel_stands_where_geometry_says_and_keeps_its_brightness(degrees: float) -> None:
    """x cos + y sin right of the axis, to a quarter of a voxel; the same value from every side, so nothing shimmers."""
    scene = one_voxel(55.0, -32.5)
    one = view(scene, degrees)
    rows, columns = np.nonzero(one.fdg)
    assert set(rows) == {10 - 1 - 3}
    assert one.fdg.max() == 51234
    assert len(columns) == 2  # a voxel's width in half steps
    expected = 55.0 * math.cos(math.radians(degrees)) - 32.5 * math.sin(math.radians(degrees))
    seen = (columns.mean() - (one.fdg.shape[1] - 1) / 2) * scene.step_mm / 2
    assert seen == pytest.approx(expected, abs=0.25 * scene.step_mm + 1e-6)
    assert np.array_equal(one.lesions > 0, one.fdg > 0)
    assert one.bone.max() == pytest.approx(2.5)


def test_a_turn_begins_in_front_and_its_second_half_mirrors_the_first() -> None:
    scene = one_voxel(55.0, -32.5)
    views = turn(scene, 24)
    assert [one.degrees for one in views] == [15.0 * n for n in range(24)]
    for one in views:
        alone = view(scene, one.degrees)
        for name in ("fdg", "pentixafor", "bone", "lesions"):
            assert np.array_equal(getattr(one, name), getattr(alone, name)), (one.degrees, name)
    assert [one.degrees for one in turn(scene, 3)] == [0.0, 120.0, 240.0]


def test_dense_bone_is_added_up_along_the_ray() -> None:
    """61 voxels of 2.5 mm one behind the other, seen from the front; 81 from the side."""
    scene = one_voxel(0.0, 0.0)
    scene.columns["bone"][:] = 100
    for degrees, count in ((0.0, 61), (90.0, 81), (30.0, 61 / math.cos(math.pi / 6))):
        middle = view(scene, degrees).bone[:, 80:-80]
        assert middle.mean() == pytest.approx(2.5 * count, rel=0.03), degrees


def test_the_view_from_the_front_shows_lesions_where_they_are() -> None:
    """Head up, left at the right, and each tracer at its own brightness."""
    balls = [Ball(at=(60, 0, 120), fdg=6.3, pentixafor=9.0), Ball(at=(-40, 20, -100), pentixafor=5.0)]
    scene = build_scene(make(balls))
    front = view(scene, 0.0)
    assert front.letters == ("R", "L")
    middle = (front.fdg.shape[1] - 1) / 2
    for ball, bit in zip(balls, (Class.CONCORDANT, Class.PENTIXAFOR_ONLY), strict=True):
        rows, columns = np.nonzero(front.lesions & bit)
        assert scene.top - (rows.mean() + 0.5) * scene.step_mm == pytest.approx(ball.at[2], abs=4)
        assert scene.axis[0] + (columns.mean() - middle) * scene.step_mm / 2 == pytest.approx(ball.at[0], abs=4)
        hot = front.pentixafor[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].max()
        assert hot / 65535 * FULL_SCALE[Tracer.PENTIXAFOR] == pytest.approx(ball.pentixafor, rel=0.01)


def test_nothing_to_see_is_still_a_view() -> None:
    scene = one_voxel(0.0, 0.0)
    empty = Scene(
        columns={name: values[:0] for name, values in scene.columns.items()},
        places=scene.places[:0],
        axis=(0.0, 0.0),
        top=25.0,
        step_mm=2.5,
        covered=scene.covered,
    )
    assert view(empty, 30.0).fdg.shape[0] == 10
