"""The scene: any grid stands upright in it, what one scan alone covers is known, every site has its spot."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from balls import BOX, LIVER, Ball, make, turned, upright
from factories import make_analysis

from analysis.values import Tracer, Transform
from dicom_io.fusion import FULL_SCALE, Class, Scene, view
from dicom_io.scene import build_scene, lesion_classes

HEAD = Ball(at=(20.0, 10.0, 200.0), radius=20.0, fdg=7.0, pentixafor=9.0)


def axes(order: tuple[int, ...], signs: tuple[int, ...]) -> np.ndarray:
    """A grid's directions: the world's axes in some order and sense."""
    return np.eye(3)[:, list(order)] * np.array(signs)


EVERY_WAY = [axes(o, s) for o in itertools.permutations(range(3)) for s in itertools.product((1, -1), repeat=3)]


def oblique(degrees: float) -> np.ndarray:
    """Tilted about the left-right axis and turned about the body's."""
    a = np.radians(degrees)
    tilt = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    return tilt @ turn


def place(scene: Scene, mask: np.ndarray) -> tuple[float, float]:
    """Middle of what is marked in a view from the front: x and z in LPS mm."""
    rows, columns = np.nonzero(mask)
    x = scene.axis[0] + (columns.mean() - (mask.shape[1] - 1) / 2) * scene.step_mm / 2
    return float(x), float(scene.top - (rows.mean() + 0.5) * scene.step_mm)


def check_upright(scene: Scene) -> None:
    """Liver on the viewer's left, the hot ball at the head, both where they are."""
    front = view(scene, 0.0)
    assert front.letters == ("R", "L")
    x, z = place(scene, front.lesions > 0)
    assert (x, z) == pytest.approx((HEAD.at[0], HEAD.at[2]), abs=6)
    liver = np.abs(front.fdg / 65535 * FULL_SCALE[Tracer.FDG] - 3.0) < 0.05
    x, z = place(scene, liver)
    assert (x, z) == pytest.approx((LIVER[0][0], LIVER[0][2]), abs=8)
    assert x < scene.axis[0] - 50
    spine = view(scene, 90.0).bone  # from the left: the back is at the right
    assert np.nonzero(spine > 5)[1].mean() > spine.shape[1] / 2 + 10


@pytest.mark.parametrize("way", range(48))
def test_head_up_and_the_liver_at_the_left_for_every_order_of_axes(way: int) -> None:
    """Head first or feet first, slices up or down, sagittal or coronal: what is seen is where the patient is."""
    other = EVERY_WAY[(way * 7 + 5) % 48]
    grids = {Tracer.FDG: turned(other, BOX, 10.0), Tracer.PENTIXAFOR: turned(EVERY_WAY[way], BOX, 10.0)}
    check_upright(build_scene(make([HEAD], grids)))


@pytest.mark.parametrize("degrees", [12.0, -20.0, 35.0])
def test_head_up_and_the_liver_at_the_left_for_tilted_grids(degrees: float) -> None:
    grids = {Tracer.FDG: turned(oblique(-degrees), BOX, 10.0), Tracer.PENTIXAFOR: turned(oblique(degrees), BOX, 10.0)}
    check_upright(build_scene(make([HEAD], grids)))


def moved(x: float, y: float, z: float, degrees: float = 0.0) -> Transform:
    rigid = np.eye(4)
    rigid[:3, :3] = oblique(degrees)
    rigid[:3, 3] = (x, y, z)
    return Transform(rigid=rigid)


def test_fdg_is_drawn_in_the_place_of_pentixafor() -> None:
    """FDG scanned half a metre higher and a little turned: the site on both tracers falls on itself."""
    warp = moved(30.0, -20.0, 500.0, 4.0)
    low, high = (np.array(corner) @ warp.rigid[:3, :3].T + warp.rigid[:3, 3] for corner in BOX)
    grids = {Tracer.FDG: upright(tuple(low), tuple(high)), Tracer.PENTIXAFOR: upright(*BOX)}
    scene = build_scene(make([HEAD], grids, transform=warp))
    front = view(scene, 0.0)
    red = place(scene, front.fdg > 60000)
    assert red == pytest.approx(place(scene, front.pentixafor > 55000), abs=5)
    assert scene.spots[0].at == pytest.approx(HEAD.at, abs=0.1)


def test_what_one_scan_alone_covers_is_shown_and_known() -> None:
    """FDG from head to feet, PentixaFor of the trunk: the scene holds both, the rows of each scan are named."""
    leg = Ball(at=(-30.0, 0.0, -200.0), fdg=6.0, comparable=False)
    trunk = upright((-160.0, -104.0, -100.0), (160.0, 104.0, 100.0))
    scene = build_scene(make([leg], {Tracer.FDG: upright(*BOX), Tracer.PENTIXAFOR: trunk}))
    assert scene.rows * scene.step_mm == pytest.approx(480, abs=17)
    rows = scene.covered[Tracer.PENTIXAFOR]
    z = scene.top - (scene.rows - 0.5 - np.flatnonzero(rows)) * scene.step_mm
    assert (z.min(), z.max()) == pytest.approx((-100, 100), abs=8)
    assert scene.covered[Tracer.FDG].all()
    front = view(scene, 0.0)
    assert place(scene, front.lesions == Class.NOT_COMPARABLE) == pytest.approx((-30, -200), abs=5)
    feet = front.bone[-20:]
    assert feet.max() > 20  # of the FDG CT: there is no other


def test_the_same_the_other_way_round() -> None:
    trunk = upright((-160.0, -104.0, -100.0), (160.0, 104.0, 100.0))
    scene = build_scene(make([HEAD], {Tracer.FDG: trunk, Tracer.PENTIXAFOR: upright(*BOX)}))
    assert scene.covered[Tracer.PENTIXAFOR].all()
    assert 0.3 < scene.covered[Tracer.FDG].mean() < 0.5
    assert view(scene, 0.0).bone[:10].max() > 20


def test_a_lesion_of_one_voxel_is_in_the_scene() -> None:
    scene = build_scene(make([Ball(at=(4.0, 4.0, 4.0), radius=1.0, pentixafor=8.0)]))
    for degrees in (0.0, 45.0, 90.0):
        one = view(scene, degrees)
        assert (one.lesions == Class.PENTIXAFOR_ONLY).any()
        assert one.pentixafor.max() / 65535 * FULL_SCALE[Tracer.PENTIXAFOR] > 3.0  # interpolated between voxels


def test_spots_bear_the_names_of_the_tables() -> None:
    """M of lesions.csv for a site on both, the lesion's id for one on a single tracer; the largest first."""
    spots = build_scene(make_analysis()).spots
    assert [(s.name, s.kind) for s in spots] == [
        ("M1", Class.CONCORDANT),
        ("P2?", Class.PENTIXAFOR_ONLY),
        ("F2", Class.FDG_ONLY),
        ("F3", Class.NOT_COMPARABLE),
    ]
    volumes = [s.volume_ml for s in spots]
    assert volumes == sorted(volumes, reverse=True)


def test_classes_of_the_lesions() -> None:
    analysis = make_analysis()
    fdg, pentixafor = (lesion_classes(analysis, t).labels for t in Tracer)
    assert set(np.unique(fdg)) == {0, Class.CONCORDANT, Class.FDG_ONLY, Class.NOT_COMPARABLE}
    assert set(np.unique(pentixafor)) == {0, Class.CONCORDANT, Class.PENTIXAFOR_ONLY}


def test_nothing_but_noise_is_drawn_whole() -> None:
    """A PET without a body is shown as far as it was scanned."""
    grid = upright((-50.0, -50.0, -50.0), (50.0, 50.0, 50.0))
    analysis = make([], dict.fromkeys(Tracer, grid))
    for tracer in Tracer:
        object.__setattr__(analysis.aligned.study(tracer).pet, "values", np.zeros(grid.shape, np.float32))
    scene = build_scene(analysis)
    assert scene.rows * scene.step_mm == pytest.approx(100, abs=20)
    assert view(scene, 10.0).fdg.max() == 0
