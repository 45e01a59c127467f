"""The exact rate ratio beside R's poisson.test, SciPy, and the intervals that the paper prints."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from r_survival import ask
from scipy import stats

from analysis.cohort.rates import exact_rate_ratio, rate_ratio
from analysis.cohort.values import FollowUp

CASES = [(9, 8, 1500.0, 5200.0), (3, 0, 100.0, 700.0), (0, 4, 90.0, 30.0), (1, 1, 10.0, 10.0), (400, 350, 1e5, 1.1e5)]
# Xue et al. 2026: OS split at the median, 24 cycles (doi 10.1007/s00259-026-07814-5).
PAPER = [(3.9, 1.4, 11.7), (2.8, 1.1, 7.6), (2.6, 1.1, 6.9)]


@pytest.mark.peer("Rscript")
def test_ratio_and_interval_are_those_of_poisson_test(program: Callable[[str], str]) -> None:
    question = "p <- poisson.test(d$x[1:2], d$x[3:4]); say(ratio = c(p$estimate, p$conf.int))"
    asked = {str(case): f"d <- data.frame(t = 1, e = 1, x = c{case})" for case in CASES}
    told = ask(program("Rscript"), question, asked)
    for d1, d0, t1, t0 in CASES:
        found = exact_rate_ratio((d1, d0), (t1, t0))
        theirs = told[str((d1, d0, t1, t0))]["ratio"]
        np.testing.assert_allclose([found.value, found.low, found.high], theirs, rtol=1e-9)


@pytest.mark.parametrize("case", CASES)
def test_p_is_twice_the_smaller_binomial_tail(case) -> None:
    d1, d0, t1, t0 = case
    tails = [stats.binomtest(d1, d1 + d0, t1 / (t1 + t0), alternative=side).pvalue for side in ("less", "greater")]
    assert exact_rate_ratio((d1, d0), (t1, t0)).p == pytest.approx(min(1, 2 * min(tails)))


@pytest.mark.parametrize(("ratio", "low", "high"), PAPER)
def test_some_counts_of_24_cycles_give_the_papers_interval_to_its_last_digit(ratio, low, high) -> None:
    """The counts are not printed: all events of the two groups, at any ratio of times at risk that gives the ratio."""
    ratios = np.arange(ratio - 0.049, ratio + 0.05, 0.002)
    fitting = []
    for d1 in range(1, 24):
        for d0 in range(1, 25 - d1):
            at_one = exact_rate_ratio((d1, d0), (1.0, d0 / d1))  # both ends are proportional to the ratio of times at risk
            ends = np.round([ratios * at_one.low, ratios * at_one.high], 1)
            fitting += [(d1, d0)] * int((ends == [[low], [high]]).all(axis=0).any())
    assert fitting


def test_no_interval_that_is_symmetric_in_logarithms_is_the_papers_first() -> None:
    """3.9 (1.4 to 11.7): whatever was rounded, low x high is above the square of the ratio, so it is no Wald interval."""
    assert 1.35 * 11.65 > 3.95**2


def test_times_and_events_are_counted_by_group() -> None:
    follow = FollowUp(days=np.array([10.0, 30, 5, 15]), event=np.array([True, False, True, True]))
    found = rate_ratio(follow, np.array([False, False, True, True]))
    assert found.value == pytest.approx((2 / 20) / (1 / 40))
    assert found.n == 3


def test_without_events_or_time_it_is_undefined_and_without_events_in_one_group_0_or_infinite() -> None:
    for events, days in (((0, 0), (5.0, 5.0)), ((1, 1), (0.0, 5.0))):
        assert np.isnan([exact_rate_ratio(events, days).value, exact_rate_ratio(events, days).p]).all()
    assert (exact_rate_ratio((3, 0), (9.0, 9.0)).value, exact_rate_ratio((3, 0), (9.0, 9.0)).high) == (math.inf, math.inf)
    assert (exact_rate_ratio((0, 3), (9.0, 9.0)).value, exact_rate_ratio((0, 3), (9.0, 9.0)).low) == (0, 0)
