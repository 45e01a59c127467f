"""Folds that are stratified, of nearly equal size, and never split a patient where patients are held out."""

from __future__ import annotations

import numpy as np
import pytest
from chance_cohorts import cohort, noise

from analysis.cohort.tree_folds import draw, fold_count, units
from analysis.cohort.tree_labels import Question, question
from analysis.cohort.values import Folds, Rule, Target


def asked(patients, response) -> Question:
    n = len(patients)
    table = cohort(np.zeros((n, 1)), np.array(response), np.ones(n), np.ones(n, bool), np.array(patients))
    return question(table, Target.RESPONSE, Rule.COMPLETE)


def many(seed: int) -> Question:
    rng = np.random.default_rng(seed)
    return asked(rng.integers(0, 40, 120), rng.permutation(np.arange(120) % 3 == 0))


@pytest.mark.parametrize("seed", range(5))
def test_no_patient_is_on_both_sides_of_a_fold_outside_or_inside(seed: int) -> None:
    one = many(seed)
    drawn = draw(one, units(one, Folds.GROUPED), (5, 3, 7), np.random.default_rng(seed))
    for patient in np.unique(one.patients):
        rows = one.patients == patient
        assert len(set(drawn.outer[rows])) == 1
        assert all(len(set(inner[rows])) == 1 for inner in drawn.inner)


@pytest.mark.parametrize("folds", Folds)
def test_the_inner_folds_leave_out_the_held_out_rows_and_no_other(folds: Folds) -> None:
    one = many(0)
    drawn = draw(one, units(one, folds), (5, 3, 7), np.random.default_rng(0))
    assert set(drawn.outer) == set(range(5))
    for fold, inner in enumerate(drawn.inner):
        np.testing.assert_array_equal(inner == -1, drawn.outer == fold)
        assert set(inner) == {-1, 0, 1, 2}
    assert (np.sort(drawn.order, axis=1) == np.arange(7)).all()


@pytest.mark.parametrize("seed", range(5))
def test_rows_are_stratified_to_the_row(seed: int) -> None:
    one = question(noise(seed), Target.RESPONSE, Rule.COMPLETE)
    drawn = draw(one, units(one, Folds.PAPER), (5, 3, 7), np.random.default_rng(seed))
    assert np.ptp(np.bincount(drawn.outer)) <= 1
    assert np.ptp(np.bincount(drawn.outer[one.event], minlength=5)) <= 1
    for fold, inner in enumerate(drawn.inner):
        seen = drawn.outer != fold
        assert np.ptp(np.bincount(inner[seen & one.event], minlength=3)) <= 1


def test_draws_differ() -> None:
    one, rng = many(0), np.random.default_rng(0)
    first, second = (draw(one, units(one, Folds.PAPER), (5, 3, 7), rng) for _ in range(2))
    assert (first.outer != second.outer).any()
    assert len({tuple(order) for order in first.order}) > 1


@pytest.mark.parametrize(
    ("patients", "response", "rows", "grouped"),
    [
        (range(24), [1] * 11 + [0] * 13, 5, 5),
        (range(24), [1] * 3 + [0] * 21, 3, 3),  # fewer positives than folds
        (range(24), [1] + [0] * 23, 0, 0),  # a single positive: some training set would have none
        (range(24), [1] * 24, 0, 0),  # one class
        (range(5), [1, 1, 0, 0, 0], 2, 2),
        ([0, 0, 0, 0, 1, 1, 1, 1], [1, 0, 1, 0, 1, 0, 1, 0], 4, 0),  # two patients cannot be held out in turn
        ([0, 0, 0, 1, 2, 3, 4, 5], [1, 1, 1, 0, 0, 0, 0, 0], 3, 0),  # all positives are one patient's
        (range(3), [1, 0, 1], 0, 0),
    ],
)
def test_fewer_folds_where_a_class_is_small(patients, response, rows: int, grouped: int) -> None:
    one = asked(list(patients), response)
    assert fold_count(one, Folds.PAPER, 5) == rows
    assert fold_count(one, Folds.GROUPED, 5) == grouped


@pytest.mark.parametrize("folds", Folds)
def test_each_training_set_has_both_classes(folds: Folds) -> None:
    for seed in range(50):
        rng = np.random.default_rng(seed)
        one = asked(rng.integers(0, 8, 12), rng.permutation([1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]))
        count = fold_count(one, folds, 5)
        if count == 0:
            continue
        drawn = draw(one, units(one, folds), (count, 3, 1), rng)
        for fold in range(count):
            assert one.event[drawn.outer != fold].any()
