"""The confidence of regions: its parts by hand. What it says of whole subjects is in tests/bench/bench_anatomy.py."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.segmenters.rules_confidence import confidences, volume_factor
from analysis.segmenters.rules_ct import CtStructures
from analysis.segmenters.rules_scene import Scene, look
from analysis.values import Grid, Tracer

GRID = Grid(shape=(60, 60, 60), affine=np.array([[0, 0, 4.0, -118], [0, 4.0, 0, -118], [4.0, 0, 0, -118], [0, 0, 0, 1]]))


@pytest.mark.parametrize(
    ("ml", "cut", "expected"),
    [
        (100, False, 1.0),
        (50, False, 0.5),
        (25, False, 0.0),
        (300, False, 0.5),
        (400, False, 0.0),
        (10, True, 0.8),
        (300, True, 0.4),
    ],
)
def test_a_volume_counts_by_its_distance_from_the_usual(ml: float, cut: bool, expected: float) -> None:
    low, high = (200 / 3, 200.0)
    assert volume_factor(ml, (low, high), cut=cut) == pytest.approx(expected, abs=1e-9)


def ball(radius_mm: float) -> np.ndarray:
    k, j, i = np.indices(GRID.shape)
    return np.asarray(np.hypot(np.hypot(k - 29.5, j - 29.5), i - 29.5) * 4.0 <= radius_mm)


def scene(hu: np.ndarray, suv: dict[Tracer, np.ndarray]) -> Scene:
    nothing = np.zeros(GRID.shape, dtype=bool)
    ct = CtStructures(
        grid=GRID,
        hu=hu.astype(np.float32),
        smooth=hu.astype(np.float32),
        body=ball(115.0),
        lungs=nothing,
        gas=nothing,
        skeleton=nothing,
        spine=None,
    )
    return look(ct, {tracer: values.astype(np.float32) for tracer, values in suv.items()})


def test_an_even_liver_above_flesh_is_certain_and_each_lack_lowers_it() -> None:
    liver = ball(70.0)  # 1.4 litres
    rough = 200.0 * np.random.default_rng(1).standard_normal(GRID.shape)
    warm, cold = np.where(liver, 2.0, 0.5), np.full(GRID.shape, 0.5)
    even = confidences(scene(np.full(GRID.shape, 55.0), dict.fromkeys(Tracer, warm)), {"liver": liver})["liver"]
    unseen = confidences(scene(np.full(GRID.shape, 55.0), dict.fromkeys(Tracer, cold)), {"liver": liver})["liver"]
    uneven = confidences(scene(rough, dict.fromkeys(Tracer, warm)), {"liver": liver})["liver"]
    assert even == 1.0
    assert unseen == 0.6
    assert uneven == 0.0


def test_a_lone_kidney_is_less_certain_than_two_and_a_cold_one_is_not_believed() -> None:
    i = np.indices(GRID.shape)[2]
    left, right = ball(60.0) & (i > 42), ball(60.0) & (i < 17)
    hot = np.where(left | right, 4.0, 0.5)
    told = scene(np.full(GRID.shape, 40.0), dict.fromkeys(Tracer, hot))
    two = confidences(told, {"kidney_left": left, "kidney_right": right})
    assert confidences(told, {"kidney_left": left})["kidney_left"] == pytest.approx(0.5 * two["kidney_left"], abs=0.02)
    elsewhere = np.where(ball(110.0) & ~ball(70.0), 4.0, 0.5)
    cold = scene(np.full(GRID.shape, 40.0), dict.fromkeys(Tracer, elsewhere))
    assert confidences(cold, {"kidney_left": left, "kidney_right": right})["kidney_left"] == 0.0


def test_a_pet_that_shows_nothing_hot_tells_nothing_of_the_bladder() -> None:
    bladder = ball(35.0)
    told = scene(np.full(GRID.shape, 8.0), dict.fromkeys(Tracer, np.full(GRID.shape, 1.0)))
    assert confidences(told, {"urinary_bladder": bladder})["urinary_bladder"] == 0.6


def test_what_was_not_found_has_no_confidence() -> None:
    told = scene(np.full(GRID.shape, 40.0), {})
    assert confidences(told, {"liver": np.zeros(GRID.shape, dtype=bool)}) == {}
