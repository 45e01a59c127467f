"""The pages: everything in its place for any input, and legible at half the size."""

from __future__ import annotations

import io
import itertools
import math

import numpy as np
import pytest
from balls import BOX, Ball, make, upright
from PIL import Image
from vision import contrast

from analysis.values import Finding, PatientAnalysis, Tracer, Verdict
from dicom_io.fusion import Scene
from dicom_io.ink import AMBER, GROUND
from dicom_io.marks import overlap
from dicom_io.page import FRAME, STILL_HEIGHT, STILL_WIDTH, STRIP, Page, frame, frames, png, still_page
from dicom_io.scene import build_scene

FEW = [
    Ball(at=(70.0, 10.0, 150.0), fdg=7.0, pentixafor=10.0),
    Ball(at=(-90.0, -10.0, -60.0), fdg=7.0),
    Ball(at=(60.0, 20.0, -120.0), pentixafor=10.0),
]
LONG = "The weights of the network could not be verified against the list of the operator, so nobody knows what made the masks."


def many_findings(count: int) -> tuple[Finding, ...]:
    verdicts = (Verdict.HOLD, Verdict.WARN, Verdict.OK)
    return tuple(
        Finding(
            name=f"an unusually long name for finding number {n}",
            value=123456.789,
            limit=">= 0.5, hold below 0.3",
            verdict=verdicts[n % 3],
            message=LONG,
        )
        for n in range(count)
    )


def crowd(count: int) -> list[Ball]:
    chance = np.random.default_rng(7)
    places = chance.uniform((-120, -70, -220), (120, 70, 220), (count, 3))
    return [
        Ball(
            at=tuple(p),
            radius=9.0,
            fdg=8.0 if n % 3 else float("nan"),
            pentixafor=8.0 if n % 3 != 1 else float("nan"),
            certain=n % 5 > 0,
            comparable=n % 11 > 0,
        )
        for n, p in enumerate(places)
    ]


def huge() -> dict[str, float]:
    return {
        f"{name}[{t.bracket}{rest}]": 9.87654321e8 for t in Tracer for name, rest in (("sDmax", ""), ("SUVmean", " spleen"))
    }


TRUNK = upright((-160.0, -104.0, -90.0), (160.0, 104.0, 90.0))
LEGS = upright((-160.0, -104.0, -1400.0), (160.0, 104.0, 240.0), 16.0)
WIDE = upright((-330.0, -250.0, -240.0), (330.0, 250.0, 240.0), 16.0)
CASES: dict[str, PatientAnalysis] = {
    "few": make(FEW),
    "none": make([]),
    "crowd": make(crowd(300), findings=many_findings(14), features=huge()),
    "truncated": make(crowd(30), {Tracer.FDG: upright(*BOX), Tracer.PENTIXAFOR: TRUNK}, findings=many_findings(2)),
    "tall": make(FEW, dict.fromkeys(Tracer, LEGS), findings=many_findings(1)),
    "wide": make(FEW, dict.fromkeys(Tracer, WIDE)),
}


@pytest.fixture(scope="module", params=CASES)
def drawn(request: pytest.FixtureRequest) -> list[Page]:
    analysis = CASES[request.param]
    scene = build_scene(analysis)
    return [frame(scene, analysis, 30, 0.0), frame(scene, analysis, 30, 45.0), still_page(scene, analysis, 0)]


def test_no_text_leaves_the_page_or_touches_another(drawn: list[Page]) -> None:
    """However many lesions, findings and digits there are."""
    for page in drawn:
        width, height = page.image.size
        for written in page.written:
            left, top, right, bottom = written.box
            assert left >= 0, written
            assert top >= 0, written
            assert right <= width, written
            assert bottom <= height, written
        for one, other in itertools.combinations(page.written, 2):
            assert not overlap(one.box, other.box), (one, other)


def test_text_stays_legible_at_half_the_size(drawn: list[Page]) -> None:
    """Contrast of 4.5 to 1 (WCAG 2.2, 1.4.3); capitals of at least 14 pixels, so 7 where a viewer shows the page at 512."""
    for page in drawn:
        for written in page.written:
            assert contrast(written.colour, written.ground) >= 4.5, written
            if any(c.isupper() or c.isdigit() for c in written.text):
                assert written.box[3] - written.box[1] >= 13, written


def test_research_use_only_is_unmistakable(drawn: list[Page]) -> None:
    for page in drawn:
        told = next(w for w in page.written if "RESEARCH USE ONLY" in w.text)
        assert told.ground == AMBER
        strip = np.asarray(page.image)[-STRIP + 2 :, 2:20].reshape(-1, 3)
        assert (strip == AMBER).all()


def test_views_stand_within_the_page_and_beside_the_panel(drawn: list[Page]) -> None:
    for page in drawn:
        for window in page.windows:
            assert window.left > 0
            assert window.left + window.width < (640 if page.image.width == FRAME else 1104)
            assert window.top > 60
            assert window.top + window.height < page.image.height - STRIP


def words(page: Page) -> list[str]:
    return [w.text for w in page.written]


def few() -> tuple[Scene, PatientAnalysis]:
    return build_scene(CASES["few"]), CASES["few"]


@pytest.mark.parametrize("degrees", [0, 45, 90, 135, 180, 225, 270, 315])
def test_lesions_stand_at_their_pixels_in_their_colours(degrees: int) -> None:
    """From front and sides, by geometry alone; the window's middle is the axis, its top the scene's."""
    scene, analysis = few()
    page = frame(scene, analysis, 2, degrees)
    window, pixels = page.windows[0], np.asarray(page.image).astype(int)
    turn = math.radians(degrees)
    for ball in FEW:
        across = (ball.at[0] - scene.axis[0]) * math.cos(turn) + (ball.at[1] - scene.axis[1]) * math.sin(turn)
        x = window.left + window.width / 2 + across * window.scale
        y = window.top + (scene.top - ball.at[2]) * window.scale
        red, green, blue = pixels[round(y) - 2 : round(y) + 3, round(x) - 2 : round(x) + 3].mean(axis=(0, 1))
        assert blue < 165
        assert bool(red > 200) is math.isfinite(ball.fdg), (ball, red)
        assert bool(green > 190) is math.isfinite(ball.pentixafor), (ball, green)


@pytest.mark.parametrize(("degrees", "letters"), [(0, "RL"), (90, "AP"), (180, "LR"), (270, "PA")])
def test_letters_name_the_sides_of_each_frame(degrees: int, letters: str) -> None:
    scene, analysis = few()
    page = frame(scene, analysis, 2, degrees)
    found = {w.text: w.box[0] for w in page.written if w.box[0] < 640 and w.text in ("L", "R", "A", "P")}
    assert sorted(found, key=lambda text: found[text]) == list(letters)


def test_pages_tell_the_distance_of_the_scans_and_no_date() -> None:
    scene, analysis = few()
    assert "scans 24 days apart" in words(frame(scene, analysis, 24, 0))
    assert "scans 1 day apart" in words(still_page(scene, analysis, 1))
    assert "scans on the same day" in words(still_page(scene, analysis, 0))


def test_the_still_names_the_lesions_in_both_views() -> None:
    scene, analysis = few()
    page = still_page(scene, analysis, 2)
    assert page.image.size == (STILL_WIDTH, STILL_HEIGHT)
    for name in ("M1", "F2", "P2"):
        assert words(page).count(name) == 2
    assert {"from the front", "from the left"} <= set(words(page))


def test_frames_are_the_pages_and_the_same_every_time() -> None:
    scene, analysis = few()
    made = frames(scene, analysis, 2, 4)
    assert made.shape == (4, FRAME, FRAME, 3)
    assert np.array_equal(made[1], np.asarray(frame(scene, analysis, 2, 90.0).image))
    assert np.array_equal(made, frames(build_scene(analysis), analysis, 2, 4))
    assert png(still_page(scene, analysis, 2)) == png(still_page(build_scene(analysis), analysis, 2))


def test_only_the_view_turns() -> None:
    """The panel stands still while the body turns: all that changes lies left of it."""
    scene, analysis = few()
    made = frames(scene, analysis, 2, 4)
    assert (made[0][:, 636:] == made[1][:, 636:]).all()
    assert (made[0][:, :636] != made[1][:, :636]).any()


def test_the_png_is_the_page() -> None:
    scene, analysis = few()
    page = still_page(scene, analysis, 2)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png(page)))), np.asarray(page.image))
    assert page.image.getpixel((2, 2)) == GROUND
