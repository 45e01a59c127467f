"""The null: uniform where nothing is to be found, independent of threads, and its p values by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from chance_cohorts import noise, planted

from analysis.cohort import tree_null
from analysis.cohort.tree_fit import Growth, binned, draws, hold_out
from analysis.cohort.tree_labels import question
from analysis.cohort.tree_null import (
    Finding,
    Null,
    Trial,
    chance,
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
    return gathered([under_null(one, number) for number in range(times)], one.tied)


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


def test_a_tied_feature_stays_with_the_outcomes_and_leads_in_every_relabelling() -> None:
    one = replace(trial(planted(4)), tied=(3,))
    assert all(under_null(one, number).size.argmax() == 3 for number in range(10))
    assert sum(under_null(replace(one, tied=()), number).size.argmax() == 3 for number in range(10)) < 8


def test_leading_features_are_tied_while_they_are_above_chance() -> None:
    """Feature 2 leads, 0 follows; beside 2 alone feature 0 is above chance, and feature 1 is not beside both."""
    found = Finding(auc=0.9, agreement=np.array([1.0, 1.0, 1.0]), size=np.array([0.3, 0.1, 0.9]))
    asked = []

    def made(tied: tuple[int, ...]) -> Null:
        asked.append(tied)
        largest = {(): 0.05, (2,): 0.2, (2, 0): 0.15}[tied]
        return Null(auc=np.full(39, 0.5), agreement=np.full((39, 3), 0.5), size=np.full(39, largest))

    seen = chance(found, 2, made)
    assert (asked, seen.tied) == ([(), (2,), (2, 0)], (2, 0))
    np.testing.assert_allclose(seen.size_p, [1 / 40, 1.0, 1 / 40])
    np.testing.assert_allclose(seen.agreement_p, 1 / 40)
    assert chance(found, 0, made).tied == ()


def test_noise_beside_a_strong_feature_is_not_taken_for_a_finding() -> None:
    """A strong feature lets trees grow into noise: without tying it, noise would often be "above chance"."""
    plain, beside = [], []
    for seed in range(12):
        one = replace(trial(planted(seed, rows=60, features=6, patients=60), repeats=2), growth=Growth(min_leaf=8))
        rng = np.random.default_rng(seed)
        flipped = one.asked.taking(np.where(rng.random(60) < 0.25, rng.permutation(60), np.arange(60)))
        one = replace(one, asked=flipped)
        seen = observed(one)
        found = chance(
            seen, 2, lambda tied, one=one: gathered([under_null(replace(one, tied=tied), k) for k in range(19)], tied)
        )
        others = np.arange(6) != 3
        plain.append(found.null.p_of_size(seen)[others].min())
        beside.append(found.size_p[others].min())
    assert np.sum(np.array(beside) <= 0.05) <= 3  # binomial of 12 and 0.05: 1 in 500 beyond
    assert np.sum(np.array(beside) <= 0.05) <= np.sum(np.array(plain) <= 0.05)


def test_a_value_keeps_its_scanner_wherever_it_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a leading feature its values move with the outcomes, and were still measured where they were."""
    table = noise(1)
    batches = np.tile(np.arange(24) % 3, (10, 1))
    one = replace(trial(table, repeats=1), batches=batches, tied=(2, 5))
    seen = []

    def spied(asked, features, drawn, growth, batches):
        seen.append((features.values, batches))
        return hold_out(asked, features, drawn, growth, batches)

    monkeypatch.setattr(tree_null, "hold_out", spied)
    under_null(one, 0)
    without(one, 4)
    scanner_of = dict(zip(one.features.values.ravel(), batches.ravel(), strict=True))
    for values, given in seen:
        np.testing.assert_array_equal(given, np.vectorize(scanner_of.get)(values))
    assert (seen[0][1][[2, 5]] != batches[[2, 5]]).any()
    assert seen[1][1].shape[1] < 24
