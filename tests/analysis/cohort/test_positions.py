"""Positions within a cohort against SciPy's percentile of a score, and by hand at the edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import percentileofscore

from analysis.cohort.positions import positions
from analysis.cohort.values import CohortTable, Column, Position

NAME = "SUVmean[FDG medullary concordant]"


def table(values: list[float], **changes: bool) -> CohortTable:
    n = len(values)
    column = Column(name=NAME, values=np.array(values), unit="g/ml{SUVbw}", **changes)
    cycles = tuple(f"P{k:03d}" for k in range(n))
    return CohortTable(cycles=cycles, patients=cycles, columns=(column,), response=np.full(n, math.nan))


@pytest.mark.parametrize("seed", range(20))
def test_percentiles_are_scipys_of_kind_mean(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = np.round(rng.gamma(2.0, 2.0, 24), 1)  # rounded, so that some are tied
    for value in (*values, 0.0, 3.05, 99.0):
        (found,) = positions(table(list(values)), {NAME: float(value)})
        assert found.percentile == pytest.approx(percentileofscore(values, value, kind="mean"), abs=1e-12)
        assert found.above_median == (value > np.median(values))
        assert found.n == 24


def test_the_median_itself_is_at_or_below() -> None:
    (found,) = positions(table([float(k) for k in range(1, 12)]), {NAME: 6.0})
    assert found == Position(feature=NAME, percentile=50.0, above_median=False, n=11)


def test_below_all_is_0_and_above_all_is_100() -> None:
    given = table([float(k) for k in range(10)])
    assert positions(given, {NAME: -1.0})[0].percentile == 0
    assert positions(given, {NAME: 10.0})[0].percentile == 100


@pytest.mark.parametrize(
    ("values", "value", "n"),
    [
        ([1.0] * 9 + [math.nan] * 5, 1.0, 9),
        ([1.0] * 10, math.nan, 10),
        ([1.0] * 10, math.inf, 10),
        ([math.nan] * 12, 1.0, 0),
    ],
)
def test_undefined_without_a_value_or_ten_known_cycles(values: list[float], value: float, n: int) -> None:
    (found,) = positions(table(values), {NAME: value})
    assert math.isnan(found.percentile)
    assert found.above_median is None
    assert found.n == n


def test_only_columns_from_images_that_the_pair_has() -> None:
    values = [float(k) for k in range(12)]
    assert positions(table(values), {"MTV[FDG medullary concordant]": 1.0}) == ()
    assert positions(table(values, clinical=True), {NAME: 1.0}) == ()


@pytest.mark.parametrize("words", [{"percentile": 101.0, "above_median": True}, {"percentile": 50.0}, {"above_median": True}])
def test_half_a_position_is_none(words: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="SUVmean"):
        Position(feature=NAME, **words)  # type: ignore[arg-type]
