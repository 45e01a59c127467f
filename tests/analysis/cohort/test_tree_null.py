"""The null: uniform where nothing is to be found, independent of threads, and its p values by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cohorts import noise, planted

from analysis.cohort.tree_fit import Growth, binned, draws, hold_out
from analysis.cohort.tree_labels import question
from analysis.cohort.tree_null import (
    Finding,
    Null,
    Trial,
    finding,
    gathered,
    in_threads,
    share_at_least,
    under_null,
    without,
)
from analysis.cohort.values import CohortTable, Folds, Rule, Target


def trial(table: CohortTable, target: Target = Target.RESPONSE, folds: Folds = Folds.GROUPED, repeats: int = 10) -> Trial:
    asked = question(table, target, Rule.COMPLETE)
    features = binned(np.array([column.values[asked.rows] for column in table.columns]))
    return Trial(asked=asked, features=features, folds=folds, growth=Growth(), repeats=repeats, seed=(1, 2))


def observed(one: Trial) -> Finding:
    drawn = draws(one.asked, one.folds, one.growth, len(one.features.codes), one.rng(0), one.repeats)
    return finding(one.asked, hold_out(one.asked, one.features, drawn, one.growth))


def null(one: Trial, times: int) -> Null:
    return gathered([under_null(one, number) for number in range(times)])


def test_p_values_count_the_observed_itself() -> None:
    made = np.array([0.2, 0.5, 0.5, 0.9])
    assert share_at_least(made, 0.5) == 4 / 5
    assert share_at_least(made, 0.95) == 1 / 5
    assert share_at_least(np.array([np.nan, 0.4]), 0.3) == 2 / 3
    assert np.isnan(share_at_least(made, np.nan))


def test_agreement_is_compared_by_rank_and_size_with_the_largest() -> None:
    agreement, size = np.array([0.6, 1.0, np.nan]), np.array([0.1, 0.3, 0.0])
    found = Finding(auc=0.7, agreement=agreement, size=size)
    np.testing.assert_array_equal(found.ranked_agreement, [1.0, 0.6, np.nan])
    other = Null(
        auc=np.array([0.5, 0.5]),
        agreement=np.array([[1.0, 0.5, 1.0], [0.9, 0.7, 1.0]]),
        size=np.array([0.2, 0.05]),
    )
    np.testing.assert_allclose(other.p_of_agreement(found), [2 / 3, 2 / 3, np.nan])
    np.testing.assert_allclose(other.p_of_size(found), [2 / 3, 1 / 3, 1.0])


@pytest.mark.parametrize("target", Target)
@pytest.mark.parametrize("folds", Folds)
def test_p_values_of_noise_are_no_smaller_than_uniform(target: Target, folds: Folds) -> None:
    """Exchangeable outcomes give P(p <= a) <= a exactly. 40 cohorts, 19 relabellings; limits: binomial, 1 in 10,000."""
    found = []
    for seed in range(40):
        one = trial(noise(seed, features=4), target, folds, repeats=1)
        chance, seen = null(one, 19), observed(one)
        found.append((share_at_least(chance.auc, seen.auc), chance.p_of_size(seen).min()))
    for p in np.array(found).T:
        assert (p <= 0.1).sum() <= 12
        assert (p <= 0.5).sum() <= 31
        assert (p <= 0.5).sum() >= 2


@pytest.mark.parametrize("target", Target)
def test_a_planted_feature_reaches_the_floor(target: Target) -> None:
    one = trial(planted(1), target)
    chance, seen = null(one, 99), observed(one)
    assert share_at_least(chance.auc, seen.auc) == 1 / 100
    sizes = chance.p_of_size(seen)
    assert (sizes.argmin(), sizes.min()) == (3, 1 / 100)


def test_the_number_of_threads_changes_nothing() -> None:
    one = trial(noise(3), Target.OS)
    for work, numbers in ((under_null, range(12)), (without, [0, 5, 9])):
        runs = [
            [(found.auc, *found.size) for found in in_threads(lambda k, do=work: do(one, k), numbers, workers) if found]
            for workers in (1, 3)
        ]
        assert runs[0] == runs[1]
        assert len(runs[0]) == len(numbers)


def test_another_seed_is_another_null() -> None:
    one = trial(noise(3))
    assert under_null(one, 0).auc != under_null(replace(one, seed=(9, 9)), 0).auc


def test_leaving_out_a_patient_takes_its_rows_alone() -> None:
    """Without patient 0 the answer is that of the table without these two rows."""
    one = trial(noise(6), Target.OS)
    rest = one.asked.patients != 0
    seen = without(one, 0)
    smaller = replace(one, asked=one.asked.without(0), features=binned(one.features.values[:, rest]))
    drawn = draws(smaller.asked, one.folds, one.growth, len(one.features.codes), one.rng(2, 0), one.repeats)
    other = finding(smaller.asked, hold_out(smaller.asked, smaller.features, drawn, one.growth))
    assert seen is not None
    assert seen.auc == pytest.approx(other.auc, abs=1e-12)
    np.testing.assert_allclose(seen.size, other.size, atol=1e-12)
