"""Rows of responders against non-responders: what is counted, what is left out and why."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from analysis.cohort.response_tests import response_rows
from analysis.cohort.values import CohortTable, Column, Kind, Rule

RESPONSE = np.array([1, 1, 1, 1, 0, 0, 0, 0, np.nan, np.nan])
SUV = np.array([1, 2, 3, 5, 4, 6, 8, 9, 7, np.nan])
MALE = np.array([1, 1, 1, 0, 0, 0, 1, 0, 0, 1.0])


def table(*columns: Column, response: np.ndarray = RESPONSE) -> CohortTable:
    n = len(response)
    return CohortTable(
        cycles=tuple(f"c{i}" for i in range(n)), patients=tuple(f"p{i}" for i in range(n)), columns=columns, response=response
    )


def number(name: str, values: np.ndarray) -> Column:
    return Column(name=name, values=values, unit="g/ml{SUVbw}")


COHORT = table(
    number("SUV", SUV),
    Column(name="sex", values=MALE, kind=Kind.YES_NO, yes="male"),
    number("constant", np.full(10, 0.1)),
    number("flat in each", np.where(RESPONSE == 1, 1.0, 2.0)),
    number("none known", np.full(10, np.nan)),
    number("one responder", np.where(np.arange(10) > 2, np.arange(10.0), np.nan)),
)


@pytest.mark.parametrize(("rule", "others"), [(Rule.COMPLETE, [4, 6, 8, 9]), (Rule.PAPER, [4, 6, 8, 9, 7])])
def test_an_unknown_response_is_left_out_or_counts_as_none(rule: Rule, others: list[float]) -> None:
    row = response_rows(COHORT, rule)[0]
    theirs = stats.ttest_ind([1, 2, 3, 5], others, equal_var=False)
    assert (row.test, row.n_responder, row.n_nonresponder, row.unit) == ("Welch", 4, len(others), "g/ml{SUVbw}")
    assert (row.mean_responder, row.mean_nonresponder) == (2.75, np.mean(others))
    assert row.p == pytest.approx(theirs.pvalue)
    np.testing.assert_allclose([row.difference_low, row.difference_high], theirs.confidence_interval(0.95))
    assert row.g_low < row.hedges_g < row.g_high
    assert np.isnan(row.odds_ratio)


def test_yes_no_has_proportions_and_odds_and_no_g() -> None:
    row = response_rows(COHORT, Rule.COMPLETE)[1]
    assert (row.test, row.mean_responder, row.mean_nonresponder, row.difference) == ("Fisher", 0.75, 0.25, 0.5)
    assert row.p == pytest.approx(stats.fisher_exact([[3, 1], [1, 3]]).pvalue)
    assert row.odds_ratio == pytest.approx(9)
    assert np.isnan(row.hedges_g)


@pytest.mark.parametrize(
    ("place", "why"),
    [(2, "same value"), (3, "do not vary within"), (4, "0 non-responders"), (5, "1 responders")],
)
def test_what_cannot_be_tested_says_why(place: int, why: str) -> None:
    row = response_rows(COHORT, Rule.COMPLETE)[place]
    assert row.test == "none"
    assert why in row.note
    assert np.isnan([row.p, row.q, row.difference, row.hedges_g, row.odds_ratio]).all()


def test_yes_no_that_separates_the_groups_is_tested() -> None:
    apart = table(Column(name="x", values=np.nan_to_num(RESPONSE), kind=Kind.YES_NO))
    row = response_rows(apart, Rule.COMPLETE)[0]
    assert row.p == pytest.approx(stats.fisher_exact([[4, 0], [0, 4]]).pvalue)
    assert np.isfinite([row.odds_ratio, row.or_low, row.or_high]).all()


def test_q_counts_only_what_was_tested() -> None:
    rows = response_rows(COHORT, Rule.COMPLETE)
    tested = [row for row in rows if row.test != "none"]
    np.testing.assert_allclose([r.q for r in tested], stats.false_discovery_control([r.p for r in tested]))


def test_no_response_at_all_and_no_row_at_all() -> None:
    unknown = table(number("SUV", SUV), response=np.full(10, np.nan))
    assert [row.test for row in response_rows(unknown, Rule.COMPLETE)] == ["none"]
    assert response_rows(unknown, Rule.PAPER)[0].n_nonresponder == 9
    empty = table(number("SUV", np.zeros(0)), response=np.zeros(0))
    assert response_rows(empty, Rule.COMPLETE)[0].test == "none"
