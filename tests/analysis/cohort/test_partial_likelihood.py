"""The partial likelihood and its derivatives beside R's coxph at given coefficients, and beside differences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from r_survival import TABLES, ask

from analysis.cohort.partial_likelihood import RiskSets, terms
from analysis.cohort.values import FollowUp

COEFFICIENTS = (-0.8, 0.0, 0.3)
BY_R = """
d$x <- d$x / sd(d$x)
for (b in c(-0.8, 0, 0.3)) { f <- coxph(Surv(t, e) ~ x, d, init = b, control = coxph.control(iter.max = 0))
  told <- list(f$loglik[2], f$var[1]); names(told) <- paste0(c("log", "var"), b); do.call(say, told) }
"""


@pytest.fixture(scope="module")
def by_r(program: Callable[[str], str]):
    return ask(program("Rscript"), BY_R)


@pytest.mark.peer("Rscript")
@pytest.mark.parametrize("table", TABLES)
def test_log_likelihood_and_information_are_those_of_coxph(by_r, table: str) -> None:
    told = by_r[table]
    sets = RiskSets.of(told.follow_up)
    for b, name in zip(COEFFICIENTS, ("-0.8", "0", "0.3"), strict=True):
        at = terms(sets, told.x / told.x.std(ddof=1), b)
        assert at.log.sum() == pytest.approx(told[f"log{name}"][0], rel=1e-9)
        assert 1 / at.variance.sum() == pytest.approx(told[f"var{name}"][0], rel=1e-8)


@pytest.mark.parametrize("b", [-3.0, 0.4, 2.0])
def test_each_derivative_is_the_slope_of_the_one_before(b: float) -> None:
    generator = np.random.default_rng(2)
    follow = FollowUp(days=generator.integers(1, 15, 60).astype(float), event=generator.random(60) < 0.6)
    sets, x, h = RiskSets.of(follow), generator.normal(size=60), 1e-5
    below, at, above = (terms(sets, x, b + d) for d in (-h, 0, h))
    np.testing.assert_allclose((above.log - below.log) / (2 * h), at.score, atol=1e-7)
    np.testing.assert_allclose((above.score - below.score) / (2 * h), -at.variance, atol=1e-7)
    np.testing.assert_allclose((above.variance - below.variance) / (2 * h), at.third, atol=1e-7)


def test_separated_and_constant_covariates_are_told() -> None:
    sets = RiskSets.of(FollowUp(days=np.arange(6.0), event=np.array([1, 1, 0, 1, 0, 0], dtype=bool)))
    falling, mixed, constant = np.arange(6.0)[::-1], np.array([3.0, 5, 1, 0, 2, 4]), np.ones(6)
    assert [sets.finite(x) for x in (falling, -falling, mixed, constant)] == [False, False, True, False]
    assert [sets.varies(x) for x in (falling, constant)] == [True, False]


def test_a_column_that_varies_only_after_the_last_event_or_before_the_first_says_nothing() -> None:
    follow = FollowUp(days=np.array([1.0, 2, 3, 4]), event=np.array([False, True, False, False]))
    assert not RiskSets.of(follow).varies(np.array([9.0, 1, 1, 1]))
