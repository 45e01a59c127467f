"""Harrell's C beside R's concordance, beside counting every pair, and its bootstrap beside resampled rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from r_survival import TABLES, ask

from analysis.cohort.concordance import Resamples, concordance, draw
from analysis.cohort.values import FollowUp

BY_R = """
fit <- coxph(Surv(t, e) ~ x, d)
say(c = concordance(Surv(t, e) ~ x, d, reverse = TRUE)$concordance, cox = concordance(fit)$concordance)
"""


@pytest.fixture(scope="module")
def by_r(program: Callable[[str], str]):
    return ask(program("Rscript"), BY_R)


@pytest.mark.peer("Rscript")
@pytest.mark.parametrize("table", TABLES)
def test_c_is_that_of_the_univariate_cox_model(by_r, table: str) -> None:
    told = by_r[table]
    n = told.x.size
    found = concordance(Resamples.of(told.follow_up, draw(n, count=3, seed=0)), told.x)
    assert found.value == pytest.approx(told["cox"][0], rel=1e-6)
    assert told["cox"][0] == pytest.approx(told["c"][0]) or told["cox"][0] == pytest.approx(1 - told["c"][0])


def by_pairs(days, event, x) -> float:
    earlier = event[:, None] & ((days[:, None] < days) | ((days[:, None] == days) & ~event))
    right = (x[:, None] > x) + 0.5 * (x[:, None] == x)
    return (right * earlier).sum() / earlier.sum() if earlier.any() else np.nan


def expanded(n: int, seed: int, levels: int):
    """A table with ties in time and value, patients of one to three rows, and its resamples written out row by row."""
    generator = np.random.default_rng(seed)
    days = generator.integers(0, n // 2 + 2, n).astype(float)
    event, x = generator.random(n) < 0.6, generator.integers(0, levels, n).astype(float)
    patients = np.sort(generator.integers(0, n // 2 + 1, n))
    codes = np.unique(patients, return_inverse=True)[1]
    drawn = draw(int(codes.max()) + 1, count=40, seed=seed)
    rows = [np.repeat(np.arange(n), drawn[codes, b].astype(int)) for b in range(40)]
    return FollowUp(days=days, event=event), x, drawn[codes], rows


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("n", "levels"), [(9, 4), (24, 2), (50, 50), (137, 12)])
def test_bootstrap_is_that_of_resampled_rows(seed: int, n: int, levels: int) -> None:
    follow, x, drawn, rows = expanded(n, seed, levels)
    found = concordance(Resamples.of(follow, drawn), x)
    whole = by_pairs(follow.days, follow.event, x)
    c = np.array([by_pairs(follow.days[r], follow.event[r], x[r]) for r in rows])
    falls = [score(follow, x, r) < -1e-6 for r in [np.arange(n), *rows]]
    known = ~np.isnan(c)
    along = 1 - c if falls[0] else c
    assert found.value == pytest.approx(1 - whole if falls[0] else whole, rel=1e-6)
    np.testing.assert_allclose([found.low, found.high], np.quantile(along[known], [0.025, 0.975]), rtol=1e-6)
    gain = np.where(falls[1:], -1, 1) * (c - whole)
    assert found.optimism == pytest.approx(gain[known].mean(), abs=1e-6)


def score(follow: FollowUp, x: np.ndarray, rows: np.ndarray) -> float:
    """Of Cox's likelihood at 0, event by event."""
    days, event, x = follow.days[rows], follow.event[rows], x[rows]
    return sum(x[i] - x[days >= days[i]].mean() for i in np.flatnonzero(event))


def test_every_resample_has_as_many_patients_as_there_are() -> None:
    drawn = draw(22, count=50, seed=1)
    assert drawn.shape == (22, 50)
    assert (drawn.sum(axis=0) == 22).all()


def test_without_a_pair_or_without_variation_c_is_undefined() -> None:
    days = np.array([1.0, 2, 3])
    for event, x in (([0, 0, 0], [1, 2, 3]), ([1, 1, 0], [2, 2, 2]), ([0, 0, 1], [1, 2, 3])):
        follow = FollowUp(days=days, event=np.array(event, dtype=bool))
        assert np.isnan(concordance(Resamples.of(follow, draw(3, count=5, seed=0)), np.array(x, dtype=float)).value)
    nobody = Resamples.of(FollowUp(days=np.zeros(0), event=np.zeros(0, dtype=bool)), draw(0, count=5, seed=0))
    assert np.isnan(concordance(nobody, np.zeros(0)).value)
