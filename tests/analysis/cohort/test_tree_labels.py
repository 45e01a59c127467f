"""Who counts as what, day 183 included, and that relabelling moves whole patients."""

from __future__ import annotations

import numpy as np
import pytest
from chance_cohorts import cohort, noise

from analysis.cohort.tree_labels import MOST_TIMES, exchanged, question, six_months
from analysis.cohort.values import CohortTable, Rule, Target

# days, died, label of 6-month survival by SCIENCE: death <= 183 d; followed >= 183 d; censored before: left out
CASES = (
    (0, True, 1),
    (182, True, 1),
    (183, True, 1),
    (184, True, 0),
    (182, False, np.nan),
    (183, False, 0),
    (900, False, 0),
    (np.nan, False, np.nan),
    (np.nan, True, np.nan),
)


def followed(days, died) -> CohortTable:
    n = len(days)
    return cohort(np.zeros((n, 1)), np.zeros(n), np.array(days), np.array(died), np.arange(n))


@pytest.mark.parametrize(("days", "died", "label"), CASES)
def test_six_months(days: float, died: bool, label: float) -> None:
    np.testing.assert_array_equal(six_months(followed([days], [died])), [label])


def test_rows_without_an_answer_are_left_out_and_counted() -> None:
    days, died, labels = (np.array(column) for column in zip(*CASES, strict=True))
    asked = question(followed(days, died.astype(bool)), Target.SIX_MONTHS, Rule.COMPLETE)
    assert asked.left_out == np.isnan(labels).sum() == 3
    np.testing.assert_array_equal(asked.event, labels[~np.isnan(labels)] == 1)
    assert question(followed(days, died.astype(bool)), Target.OS, Rule.COMPLETE).left_out == 2


def test_unknown_response_by_either_rule() -> None:
    response = np.array([1.0, 0.0, np.nan])
    table = cohort(np.zeros((3, 1)), response, np.ones(3), np.ones(3, bool), np.arange(3))
    complete, paper = (question(table, Target.RESPONSE, rule) for rule in (Rule.COMPLETE, Rule.PAPER))
    assert (len(complete), complete.left_out, complete.event.sum()) == (2, 1, 1)
    assert (len(paper), paper.left_out, paper.event.sum()) == (3, 0, 1)


def test_a_row_is_at_risk_at_each_event_time_up_to_its_own() -> None:
    days, died = [10, 20, 20, 25, 30, 5], [True, True, False, False, True, False]
    asked = question(followed(days, died), Target.OS, Rule.COMPLETE)
    at_risk = [sum(day >= time for time in (10, 20, 30)) for day in days]
    np.testing.assert_array_equal(asked.seen, at_risk)
    assert asked.times == 3


def test_many_event_times_become_groups_in_which_no_event_is_lost() -> None:
    rng = np.random.default_rng(0)
    asked = question(followed(rng.permutation(5000) + 1.0, rng.random(5000) < 0.7), Target.OS, Rule.COMPLETE)
    assert asked.times == MOST_TIMES
    counts = np.bincount(asked.seen[asked.event], minlength=MOST_TIMES + 1)
    assert counts[0] == 0
    assert np.ptp(counts[1:]) <= 2
    order = np.argsort(asked.time, kind="stable")
    assert (np.diff(asked.seen[order][asked.event[order]]) >= 0).all()


def test_relabelling_moves_the_outcomes_of_whole_patients() -> None:
    """Rows 22 and 23 are the second ones of the first two patients: these two exchange both or none."""
    asked = question(noise(3), Target.OS, Rule.COMPLETE)
    days = asked.time
    moved = set()
    for seed in range(20):
        other = asked.taking(exchanged(asked, np.random.default_rng(seed)))
        np.testing.assert_array_equal(np.sort(other.time), np.sort(days))
        np.testing.assert_array_equal(other.seen[np.argsort(other.time)], asked.seen[np.argsort(days)])
        blocks = (tuple(other.time[[0, 22]]), tuple(other.time[[1, 23]]))
        assert set(blocks) == {tuple(days[[0, 22]]), tuple(days[[1, 23]])}
        moved.add(blocks)
        assert (other.time[2:22] != days[2:22]).any()
    assert len(moved) == 2


def test_a_patient_of_a_size_of_its_own_keeps_its_outcomes() -> None:
    table = cohort(np.zeros((5, 1)), np.array([1, 0, 1, 0, 0]), np.arange(5), np.ones(5, bool), np.array([0, 0, 1, 2, 3]))
    asked = question(table, Target.OS, Rule.COMPLETE)
    other = asked.taking(exchanged(asked, np.random.default_rng(1)))
    np.testing.assert_array_equal(other.time[:2], [0, 1])
