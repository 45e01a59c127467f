"""Bins that keep every value of a small cohort, and held-out rows that no tree has seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from chance_cohorts import cohort, noise, planted

from analysis.cohort.combat import harmonised
from analysis.cohort.tree_arrays import MISSING
from analysis.cohort.tree_fit import MOST_BINS, Growth, binned, draws, hold_out, kept
from analysis.cohort.tree_labels import question
from analysis.cohort.values import Folds, Rule, Target

GROWTH = Growth()


def values(table) -> np.ndarray:
    return np.array([column.values for column in table.columns])


def held(table, target=Target.RESPONSE, folds=Folds.GROUPED, growth=GROWTH, seed=0):
    asked = question(table, target, Rule.COMPLETE)
    features = binned(values(table)[:, asked.rows])
    drawn = draws(asked, folds, growth, len(features.codes), np.random.default_rng(seed), 10)
    return asked, drawn, hold_out(asked, features, drawn, growth)


def test_up_to_64_values_are_bins_of_their_own() -> None:
    column = np.array([5.0, np.nan, -1.0, 5.0, 2.0])
    made = binned(column[None])
    np.testing.assert_array_equal(made.codes, [[2, MISSING, 0, 2, 1]])
    np.testing.assert_array_equal(made.lowest[0, :3], [-1, 2, 5])
    np.testing.assert_array_equal(made.highest[0, :3], [-1, 2, 5])


def test_more_values_become_64_groups_in_their_order() -> None:
    column = np.random.default_rng(0).exponential(size=10_000)
    made = binned(column[None])
    counts = np.bincount(made.codes[0])
    assert len(counts) == MOST_BINS
    assert np.ptp(counts) <= 2
    for code in range(MOST_BINS):
        inside = column[made.codes[0] == code]
        assert (made.lowest[0, code], made.highest[0, code]) == (inside.min(), inside.max())
    assert (made.highest[0, :-1] < made.lowest[0, 1:]).all()


def test_a_heavy_value_is_never_divided() -> None:
    column = np.append(np.zeros(5_000), np.arange(1.0, 5_001.0))
    made = binned(column[None])
    assert len(set(made.codes[0, :5_000])) == 1
    assert made.highest[0, made.codes[0, 0]] == 0


def test_an_absent_or_constant_column_is_never_used() -> None:
    table = planted(0)
    x = values(table).T.copy()
    x[:, 0], x[:, 1] = np.nan, 7.0
    other = cohort(x, table.response, np.ones(24), np.ones(24, bool), table.patient_codes)
    for growth in (GROWTH, replace(GROWTH, penalty=0.0)):
        made = held(other, growth=growth)[2]
        assert (made.size[:2] == 0).all()
        assert (made.up + made.down)[:2].sum() == 0
        assert np.isnan(made.agreement[:2]).all()


@pytest.mark.parametrize("target", [Target.RESPONSE, Target.OS])
def test_changing_a_held_out_outcome_changes_no_prediction_of_its_own(target: Target) -> None:
    """The held-out rows' outcomes are turned over, folds kept: what is predicted of them must stay."""
    asked, drawn, _ = held(noise(1), target)
    features, growth = binned(values(noise(1))), replace(GROWTH, penalty=0.0)
    for fold in range(5):
        rows = np.flatnonzero(drawn[0].outer == fold)
        other = asked.taking(np.where(np.isin(np.arange(24), rows), np.roll(np.arange(24), 1), np.arange(24)))
        before = hold_out(asked, features, drawn[:1], growth).risk[0, rows]
        np.testing.assert_allclose(hold_out(other, features, drawn[:1], growth).risk[0, rows], before)


def test_a_second_cycle_does_not_tell_of_the_first() -> None:
    """Every patient twice, with the same values and a label of chance: only folds that split patients can know it."""
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(20, 5)), rng.permutation(np.arange(20) % 2)
    twice = np.tile(np.arange(20), 2)
    table = cohort(x[twice], y[twice], np.ones(40), np.ones(40, bool), twice)
    growth = replace(GROWTH, penalty=0.0, min_leaf=1, depth=6)
    scores = {}
    for folds in Folds:
        asked, _, made = held(table, folds=folds, growth=growth)
        scores[folds] = ((made.risk > 0.5) == asked.event).mean()
    assert scores[Folds.PAPER] > 0.8
    assert scores[Folds.GROUPED] < 0.65


def test_the_planted_feature_leads_with_its_direction() -> None:
    for target, sign in ((Target.RESPONSE, 1), (Target.SIX_MONTHS, -1), (Target.OS, -1)):
        made = held(planted(2), target)[2]
        assert made.size.argmax() == 3
        assert np.sign(made.up - made.down)[3] == sign
        assert made.agreement[3] == 1


def test_shap_values_add_up_in_every_repeat() -> None:
    _, _, made = held(noise(4), growth=replace(GROWTH, penalty=0.0))
    np.testing.assert_allclose(made.shap.sum(axis=1), (made.risk - made.base).mean(axis=0), atol=1e-12)
    assert made.size.sum() >= np.abs(made.shap).mean(axis=0).sum()


def test_kept_rows_keep_their_values() -> None:
    features = binned(values(noise(0)))
    rows = np.arange(24) % 3 > 0
    some = kept(features, rows)
    np.testing.assert_array_equal(some.values, features.values[:, rows])
    np.testing.assert_array_equal(some.codes, features.codes[:, rows])


@pytest.mark.parametrize("wrong", [{"depth": 9}, {"depth": 0}, {"min_leaf": 0}, {"folds": 1}, {"inner_folds": 1}])
def test_trees_that_cannot_be_grown_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="trees"):
        Growth(**wrong)


@pytest.mark.parametrize("depth", [1, 5, 8])
def test_other_depths_add_up_as_well(depth: int) -> None:
    made = held(noise(2, rows=80, patients=70), growth=replace(GROWTH, depth=depth, penalty=0.0))[2]
    np.testing.assert_allclose(made.shap.sum(axis=1), (made.risk - made.base).mean(axis=0), atol=1e-9)


def test_bins_of_many_features_are_those_of_each() -> None:
    """Against the definition, value by value: ties, gaps, nothing but gaps, and more than 64 values."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(6, 200)).round(1)
    x[1], x[2], x[3, rng.random(200) < 0.9] = np.nan, 4.0, np.nan
    x[4] = rng.normal(size=200)
    made = binned(x)
    for k in (0, 1, 2, 3, 5):
        different, codes = np.unique(x[k, ~np.isnan(x[k])], return_inverse=True)
        assert len(different) <= MOST_BINS
        np.testing.assert_array_equal(made.codes[k, ~np.isnan(x[k])], codes)
        assert (made.codes[k, np.isnan(x[k])] == MISSING).all()
        for bounds in (made.lowest, made.highest):
            np.testing.assert_array_equal(bounds[k], np.append(different, np.zeros(MOST_BINS - len(different))))
    for k in range(6):
        for whole, own in zip(made, binned(x[k : k + 1]), strict=True):
            np.testing.assert_array_equal(whole[k], own[0])


@pytest.mark.parametrize("target", [Target.RESPONSE, Target.OS])
def test_each_fold_sees_features_as_its_training_rows_harmonise_them(target: Target) -> None:
    """One fold at a time, with features harmonised and binned by hand, gives what all folds at once give."""
    table = noise(6)
    x, batches = np.exp(values(table)), np.tile(np.arange(24) % 2, (10, 1))
    asked = question(table, target, Rule.COMPLETE)
    growth = replace(GROWTH, penalty=0.0)
    drawn = draws(asked, Folds.GROUPED, growth, 10, np.random.default_rng(1), 2)
    made = hold_out(asked, binned(x), drawn, growth, batches)
    for repeat, one in enumerate(drawn):
        for fold in range(len(one.inner)):
            out = one.outer == fold
            alone = binned(harmonised(x, batches, ~out[None]).values[0])
            np.testing.assert_array_equal(made.risk[repeat, out], hold_out(asked, alone, [one], growth).risk[0, out])


def test_held_out_values_change_no_tree_of_their_fold() -> None:
    """Harmonised: the nodes of a fold's tree predict the same, whatever its held-out rows hold."""
    table = noise(7)
    x, batches = np.exp(values(table)), np.tile(np.arange(24) % 2, (10, 1))
    asked = question(table, Target.RESPONSE, Rule.COMPLETE)
    drawn = draws(asked, Folds.GROUPED, GROWTH, 10, np.random.default_rng(1), 1)
    growth = replace(GROWTH, penalty=0.0)
    before = hold_out(asked, binned(x), drawn, growth, batches).predicted.value[0]
    for fold in range(5):
        other = x.copy()
        other[:, drawn[0].outer == fold] *= 40
        after = hold_out(asked, binned(other), drawn, growth, batches).predicted.value[0]
        np.testing.assert_array_equal(after[fold], before[fold])
        assert not np.array_equal(after, before)
