"""Views in colour: red, green and yellow as defined; what is not scanned is not black."""

from __future__ import annotations

import numpy as np
import pytest
from balls import BOX, Ball, make, upright
from PIL import Image

from analysis.values import Tracer
from dicom_io.fusion import View, view
from dicom_io.ink import GROUND, TRACER_COLOURS, Pen
from dicom_io.marks import Window, marking
from dicom_io.picture import Gap, coloured, draw_view, gaps
from dicom_io.scene import build_scene


def pixel(fdg: float, pentixafor: float, bone: float = 0.0) -> np.ndarray:
    values = [np.full((1, 1), round(x * 65535), np.uint16) for x in (fdg, pentixafor)]
    one = View(
        degrees=0,
        fdg=values[0],
        pentixafor=values[1],
        bone=np.full((1, 1), bone),
        lesions=np.zeros((1, 1), np.uint8),
        step_mm=2.5,
    )
    return coloured(one)[0, 0].astype(int)


def test_fdg_is_red_pentixafor_green_and_both_yellow() -> None:
    """The convention of the paper's figure 2."""
    assert pixel(1, 0) == pytest.approx(np.clip(np.add(TRACER_COLOURS[Tracer.FDG], GROUND), 0, 255), abs=1)
    assert pixel(0, 1) == pytest.approx(np.add(TRACER_COLOURS[Tracer.PENTIXAFOR], GROUND), abs=1)
    red, green, blue = pixel(1, 1)
    assert min(red, green) > 250
    assert blue < 160
    assert pixel(0, 0) == pytest.approx(GROUND, abs=0)


def test_background_of_one_tracer_does_not_change_the_colour_of_the_other() -> None:
    red, green, _ = pixel(1, 0.2)
    assert green < 0.4 * red
    red, green, _ = pixel(0.2, 1)
    assert red < 0.5 * green


def test_more_uptake_is_brighter() -> None:
    for tracer in ((1.0, 0.0), (0.0, 1.0), (1.0, 1.0)):
        levels = [pixel(tracer[0] * s, tracer[1] * s).sum() for s in np.linspace(0, 1, 9)]
        assert levels == sorted(levels)
    assert pixel(0, 0, bone=10).sum() > pixel(0, 0).sum()


def test_what_one_scan_alone_covers_is_hatched_and_named() -> None:
    """Dark there means not scanned, not without uptake."""
    trunk = upright((-160.0, -104.0, -100.0), (160.0, 104.0, 240.0))
    scene = build_scene(
        make([Ball(at=(0, 0, -200), fdg=7, comparable=False)], {Tracer.FDG: upright(*BOX), Tracer.PENTIXAFOR: trunk})
    )
    found = gaps(scene)
    assert [gap.missing for gap in found] == [Tracer.PENTIXAFOR]
    assert isinstance(found[0], Gap)
    assert found[0].last == scene.rows
    window = Window(
        left=50, top=40, width=round(2 * scene.radius * 1.5), height=round(scene.rows * scene.step_mm * 1.5), scale=1.5
    )
    pen = Pen(Image.new("RGB", (window.width + 100, window.height + 80), GROUND))
    draw_view(pen, view(scene, 0.0), scene, window, marking(1, names=10, letters=20))
    assert "no PentixaFor" in [w.text for w in pen.written]
    border = window.top + round(found[0].first * scene.step_mm * 1.5)
    corner = np.asarray(pen.image)[:, window.left + window.width - 12 : window.left + window.width]
    assert corner[border + 5 : window.top + window.height].max() > 40
    assert corner[window.top : border - 5].max() <= max(GROUND) + 8


def test_sides_stand_at_their_edges() -> None:
    scene = build_scene(make([]))
    window = Window(left=60, top=60, width=400, height=600, scale=1.2)
    for degrees, letters in ((0, "RL"), (90, "AP"), (180, "LR"), (270, "PA")):
        pen = Pen(Image.new("RGB", (520, 720), GROUND))
        draw_view(pen, view(scene, degrees), scene, window, marking(0, names=10, letters=20))
        at = {w.text: w.box for w in pen.written}
        assert at[letters[0]][2] <= 60
        assert at[letters[1]][0] >= 460
        assert at["H"][3] <= 60
        assert at["F"][1] >= 660
