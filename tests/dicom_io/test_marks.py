"""Lines around lesions: their shape by class, their weight by number; names that do not collide."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from balls import NAN, Ball, make
from PIL import Image
from scipy.ndimage import label

from dicom_io.fusion import Class, view
from dicom_io.ink import GROUND, LINE_COLOURS, Pen
from dicom_io.marks import Window, marking, name_spots, outline, overlap, ring
from dicom_io.scene import build_scene


def drawn(balls: list[Ball], degrees: float = 0.0) -> tuple[np.ndarray, list[str], Pen]:
    """The marks alone on an empty page, the names that found room, and the pen."""
    scene = build_scene(make(balls))
    one = view(scene, degrees)
    window = Window(left=20, top=20, width=round(2 * scene.radius * 1.6), height=round(480 * 1.6), scale=1.6)
    pen = Pen(Image.new("RGB", (window.width + 40, window.height + 40), GROUND))
    how = marking(len(scene.spots), names=10, letters=20)
    outline(pen.image, one, scene, window, how)
    marks = np.asarray(pen.image).copy()
    return marks, name_spots(pen, one, scene, (window, []), how), pen


def pieces(kind: Class) -> tuple[int, float]:
    """How many pieces the legend's ring of a class has, and how much of it is drawn."""
    picture = Image.new("RGB", (80, 80), GROUND)
    ring(picture, (40, 40), 14, kind, 3.3)
    lit = np.asarray(picture).astype(int).max(axis=2) > 120
    return int(label(lit, np.ones((3, 3)))[1]), float(lit.sum())


def test_each_class_has_a_line_of_its_own() -> None:
    """Unbroken, long dashes, short dashes, dots: told apart by the number of pieces, without any colour."""
    counts = [pieces(c)[0] for c in (Class.CONCORDANT, Class.PENTIXAFOR_ONLY, Class.FDG_ONLY, Class.NOT_COMPARABLE)]
    assert counts[0] == 1
    assert 3 <= counts[1] < counts[2] - 1
    whole, dots = pieces(Class.CONCORDANT)[1], pieces(Class.NOT_COMPARABLE)[1]
    assert dots < 0.45 * whole


def test_the_line_runs_around_the_lesion_not_over_it() -> None:
    marks, _, _ = drawn([Ball(at=(40, 0, 100), radius=20, fdg=8, pentixafor=8)])
    lit = np.argwhere(marks.max(axis=2) > 150)
    middle = (lit.min(axis=0) + lit.max(axis=0)) / 2
    distance = np.hypot(*(lit - middle).T) / 1.6
    assert distance.min() > 15
    assert distance.max() < 26


@pytest.mark.parametrize("seen", [(8.0, NAN), (NAN, 8.0), (8.0, 8.0)])
def test_one_small_lesion_does_not_vanish(seen: tuple[float, float]) -> None:
    """One voxel, from every side: a ring of at least 8 mm, and its name."""
    for degrees in (0.0, 40.0, 90.0):
        marks, named, _ = drawn([Ball(at=(4, 4, 4), radius=1, fdg=seen[0], pentixafor=seen[1])], degrees)
        lit = np.argwhere(marks.max(axis=2) > 120)
        assert np.ptp(lit, axis=0).min() >= 2 * 8 * 1.6 - 3
        assert len(named) == 1


def test_a_site_outside_the_picture_is_no_error() -> None:
    """A lesion at the edge of the field, or a centroid that the registration carries away."""
    for at in ((0.0, 0.0, 900.0), (0.0, 0.0, -900.0), (900.0, 0.0, 0.0), (-900.0, 0.0, 0.0), (148.0, 0.0, 239.0)):
        for degrees in (0.0, 90.0):
            assert len(drawn([Ball(at=at, radius=5, fdg=8, pentixafor=8)], degrees)[1]) <= 1


def crowd(count: int) -> list[Ball]:
    chance = np.random.default_rng(count)
    places = chance.uniform((-120, -70, -220), (120, 70, 220), (count, 3))
    suv = [(8.0, NAN), (NAN, 9.0), (7.0, 10.0)]
    return [
        Ball(at=tuple(p), radius=float(r), fdg=suv[n % 3][0], pentixafor=suv[n % 3][1])
        for n, (p, r) in enumerate(zip(places, chance.uniform(5, 12, count), strict=True))
    ]


@pytest.mark.parametrize("count", [109, 300])
def test_many_marks_do_not_bury_the_disease(count: int) -> None:
    """Of all the pixels that show lesions, four in five stay free of lines."""
    balls = crowd(count)
    scene = build_scene(make(balls))
    one = view(scene, 0.0)
    marks, named, _ = drawn(balls)
    size = (round(2 * scene.radius * 1.6), round(480 * 1.6))
    disease = np.asarray(Image.fromarray((one.lesions > 0).astype(np.uint8) * 255).resize(size)) > 127
    lines = marks[20 : 20 + size[1], 20 : 20 + size[0]].max(axis=2) > 120
    assert lines[disease].mean() < 0.2
    assert 3 <= len(named) <= 10


def test_names_touch_neither_each_other_nor_the_edge() -> None:
    for degrees in (0.0, 45.0, 90.0):
        _, named, pen = drawn(crowd(60), degrees)
        assert [w.text for w in pen.written] == named
        for one, other in itertools.combinations([w.box for w in pen.written], 2):
            assert not overlap(one, other)
        for written in pen.written:
            assert written.box[0] >= 20
            assert written.box[2] <= pen.image.width - 20


def test_names_say_what_the_colour_says() -> None:
    """F, P or M before the number; a question mark where the class may change."""
    balls = [
        Ball(at=(-80, 0, 150), fdg=8),
        Ball(at=(80, 0, 150), pentixafor=8),
        Ball(at=(0, 0, -150), fdg=8, pentixafor=8, certain=False),
    ]
    _, named, pen = drawn(balls)
    assert sorted(named) == ["F1", "M3?", "P1"]
    colours = {w.text[0]: w.colour for w in pen.written}
    assert colours == {
        "F": LINE_COLOURS[Class.FDG_ONLY],
        "P": LINE_COLOURS[Class.PENTIXAFOR_ONLY],
        "M": LINE_COLOURS[Class.CONCORDANT],
    }
