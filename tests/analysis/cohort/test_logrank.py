"""The log-rank test beside R's survdiff, and its permutation beside every exchange there is."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest
from r_survival import TABLES, ask
from scipy import stats

from analysis.cohort.logrank import log_rank, permuted_p, scores
from analysis.cohort.values import FollowUp

BY_R = """
g <- d$x > median(d$x); if (length(unique(d$x)) == 2) g <- d$x == max(d$x)
s <- survdiff(Surv(t, e) ~ g, d)
say(g = g, chi2 = s$chisq, excess = s$obs[2] - s$exp[2])
"""


@pytest.fixture(scope="module")
def by_r(program: Callable[[str], str]):
    return ask(program("Rscript"), BY_R)


@pytest.mark.peer("Rscript")
@pytest.mark.parametrize("table", TABLES)
def test_log_rank_is_that_of_survdiff(by_r, table: str) -> None:
    told = by_r[table]
    chi2, p = log_rank(told.follow_up, told["g"] == 1)
    assert chi2 == pytest.approx(told["chi2"][0], rel=1e-9)
    assert p == pytest.approx(stats.chi2.sf(told["chi2"][0], 1), rel=1e-9)


@pytest.mark.peer("Rscript")
@pytest.mark.parametrize("table", TABLES)
def test_scores_of_a_group_add_up_to_observed_less_expected(by_r, table: str) -> None:
    told = by_r[table]
    assert scores(told.follow_up)[told["g"] == 1].sum() == pytest.approx(told["excess"][0], abs=1e-9)


def test_permuted_p_approaches_the_share_of_all_exchanges() -> None:
    days = np.array([3, 5, 5, 8, 11, 14, 20.0])
    follow = FollowUp(days=days, event=np.array([1, 1, 1, 1, 0, 1, 0], dtype=bool))
    group = np.array([1, 1, 0, 1, 0, 0, 0.0])
    row_scores = scores(follow)
    all_of_them = np.array([row_scores[list(order)] @ group for order in permutations(range(7))])
    share = np.mean(np.abs(all_of_them) >= abs(row_scores @ group) - 1e-9)
    found = permuted_p(row_scores, np.arange(7), group[:, None], count=20_000, seed=1)[0]
    assert found == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / 20_000))


def test_patients_of_two_cycles_exchange_both_and_only_among_themselves() -> None:
    """Four patients of one row, two of two: 4! 2! exchanges, counted one by one."""
    patients = np.array([0, 1, 2, 3, 4, 4, 5, 5])
    follow = FollowUp(days=np.array([2, 9, 4, 7, 1, 3, 12, 15.0]), event=np.array([1, 0, 1, 1, 1, 1, 0, 1], dtype=bool))
    group, row_scores = np.array([1, 0, 1, 0, 1, 1, 0, 0.0]), scores(follow)
    drawn = []
    for singles in permutations(range(4)):
        for pair in ((4, 5, 6, 7), (6, 7, 4, 5)):
            drawn.append(row_scores[[*singles, *pair]] @ group)
    extreme = np.abs(drawn - np.mean(drawn)) >= abs(row_scores @ group - np.mean(drawn)) - 1e-9
    found = permuted_p(row_scores, patients, group[:, None], count=20_000, seed=3)[0]
    assert found == pytest.approx(extreme.mean(), abs=0.02)


def test_same_seed_same_p_and_a_group_of_all_has_none() -> None:
    generator = np.random.default_rng(5)
    follow = FollowUp(days=generator.exponential(9, 30), event=generator.random(30) < 0.7)
    groups = np.column_stack([generator.random(30) < 0.5, np.ones(30), np.zeros(30)]).astype(float)
    first, again = (permuted_p(scores(follow), np.arange(30), groups, count=99, seed=7) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert 0.01 <= first[0] <= 1
    assert np.isnan(first[1:]).all()


@pytest.mark.parametrize("n", [0, 1])
def test_nothing_to_compare_is_nan(n: int) -> None:
    follow = FollowUp(days=np.ones(n), event=np.ones(n, dtype=bool))
    assert np.isnan(log_rank(follow, np.ones(n, dtype=bool))).all()
    assert np.isnan(permuted_p(scores(follow), np.arange(n), np.ones((n, 1)), count=9, seed=0)).all()
