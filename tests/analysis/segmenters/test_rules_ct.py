"""Lungs that the field cuts: a cone of lung, a tube of gas, and the real scan of the shared data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from analysis.grids import centres
from analysis.segmenters.rules_ct import find_air
from analysis.values import BoolArray, FloatArray, Grid

MM = 3.0
GRID = Grid(
    shape=(40, 90, 90), affine=np.vstack([np.column_stack([MM * np.eye(3)[::-1], [-133.5, -133.5, 0.0]]), [0, 0, 0, 1]])
)
POINTS = centres(GRID)
X, Y, Z = POINTS[..., 0], POINTS[..., 1], POINTS[..., 2]
BODY = np.hypot(X, Y) < 125.0
TOP = float(Z.max())


def lungs(hu: float, air: BoolArray, grain: float = 30.0) -> BoolArray:
    """What is called lung in a body of soft tissue with this air in it, whose field ends above."""
    values: FloatArray = np.where(BODY, 40.0, -1000.0).astype(np.float32)
    values[air] = hu
    values += grain * np.random.default_rng(1).standard_normal(GRID.shape).astype(np.float32)
    return find_air(GRID, values, BODY)[0]


def sickle(y: float) -> BoolArray:
    """Between the chest wall and a dome that narrows upwards, 40 mm deep, at most 20 mm thick."""
    dome = 110.0 - 0.5 * np.maximum(Z - (TOP - 40.0), 0.0)
    return np.asarray((np.hypot(X, Y) < 110.0) & (np.hypot(X, Y) > dome) & (Z > TOP - 40.0) & (Y * np.sign(y) > 20.0))


def test_a_thin_sickle_of_lung_at_the_back_is_found() -> None:
    air = sickle(+1.0)
    found = lungs(-800.0, air)
    assert 2 * (found & air).sum() / (found.sum() + air.sum()) > 0.85


@pytest.mark.parametrize(
    ("hu", "air", "grain"),
    [
        (-800.0, sickle(-1.0), 30.0),  # in front: bowel
        (-985.0, sickle(+1.0), 10.0),  # gas
        (-800.0, (np.hypot(X - 50.0, Y - 50.0) < 18.0) & (Z > TOP - 60.0), 30.0),  # a tube as wide below as above
        (-800.0, sickle(+1.0), 250.0),  # stool
        (-800.0, sickle(+1.0) & (np.abs(X) < 7.0), 30.0),  # a few ml
    ],
)
def test_other_air_at_the_top_is_no_lung(hu: float, air: BoolArray, grain: float) -> None:
    assert not lungs(hu, air, grain).any()


def test_the_bases_of_both_lungs_in_a_real_ct(real_ct: Any) -> None:
    """Only the recesses lie in its field, 111 ml by TotalSegmentator (labels 10 to 14)."""
    found, true = real_ct.ct.lungs, real_ct.laid(np.isin(real_ct.labels, range(10, 15)))
    assert 2 * (found & true).sum() / (found.sum() + true.sum()) >= 0.9
