"""Scores against scikit-learn, scikit-survival and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from chance_cohorts import cohort
from scipy.stats import binomtest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, brier_score_loss, roc_auc_score
from sksurv.metrics import concordance_index_censored

from analysis.cohort.tree_arrays import Predicted
from analysis.cohort.tree_fit import HeldOut
from analysis.cohort.tree_labels import Question, question
from analysis.cohort.tree_scores import (
    auc,
    auc_interval,
    balanced_accuracy,
    brier,
    calibration,
    concordance,
    exact_interval,
    recalibration,
)
from analysis.cohort.values import Folds, Rule, Target

NODES = 15


def made(fold: np.ndarray, leaf: np.ndarray, value: np.ndarray) -> HeldOut:
    """Predictions without any tree. fold, leaf: (r, n); value: (r, f, nodes)."""
    nothing, none = np.zeros((fold.shape[1], 1)), np.zeros(1)
    predicted = Predicted(fold.astype(np.int8), leaf.astype(np.int64), value)
    return HeldOut(predicted=predicted, shap=nothing, size=none, up=none, down=none, folds_all=1)


def at_random(seed: int, n: int = 60, repeats: int = 3, folds: int = 4) -> HeldOut:
    rng = np.random.default_rng(seed)
    value = np.round(rng.random((repeats, folds, NODES)), 1)  # rounded, so that some leaves are tied
    return made(rng.integers(0, folds, (repeats, n)), rng.integers(1, NODES, (repeats, n)), value)


def asked(seed: int, target: Target, n: int = 60) -> Question:
    rng = np.random.default_rng(seed)
    table = cohort(np.zeros((n, 1)), rng.integers(0, 2, n), rng.integers(1, 40, n), rng.random(n) < 0.6, rng.integers(0, 20, n))
    return question(table, target, Rule.COMPLETE)


@pytest.mark.parametrize("seed", range(5))
def test_auc_is_sklearns_within_folds_weighted_by_pairs(seed: int) -> None:
    one, held = asked(seed, Target.RESPONSE), at_random(seed)
    repeats = []
    for fold, risk in zip(held.predicted.fold, held.risk, strict=True):
        parts = [(one.event[fold == k], risk[fold == k]) for k in range(4)]
        pairs = [y.sum() * (~y).sum() for y, _ in parts]
        repeats.append(np.average([roc_auc_score(y, x) for y, x in parts], weights=pairs))
    assert auc(one, held) == pytest.approx(np.mean(repeats), abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_c_is_that_of_scikit_survival_within_folds(seed: int) -> None:
    one, held = asked(seed, Target.OS), at_random(seed)
    repeats = []
    for fold, risk in zip(held.predicted.fold, held.risk, strict=True):
        good = pairs = 0.0
        for k in range(4):
            rows = fold == k
            _, concordant, discordant, tied, _ = concordance_index_censored(one.event[rows], one.time[rows], risk[rows])
            good, pairs = good + concordant + tied / 2, pairs + concordant + discordant + tied
        repeats.append(good / pairs)
    assert auc(one, held) == pytest.approx(np.mean(repeats), abs=1e-12)


def test_a_weight_of_two_is_a_row_twice() -> None:
    one, held = asked(1, Target.OS), at_random(1)
    weight = np.random.default_rng(1).integers(0, 3, len(one))
    twice = np.repeat(np.arange(len(one)), weight)
    again = made(held.predicted.fold[:, twice], held.predicted.leaf[:, twice], held.predicted.value)
    direct = concordance(tuple(one.followed), tuple(held.predicted), weight.astype(float))
    assert direct == pytest.approx(auc(one.taking(twice), again), abs=1e-12)


def test_without_any_pair_there_is_no_auc() -> None:
    one = asked(0, Target.RESPONSE)
    assert np.isnan(concordance(tuple(one.followed), tuple(at_random(0).predicted), one.event.astype(float)))


def test_the_interval_draws_patients_and_not_rows() -> None:
    """Each patient's rows five times over: drawn as rows the interval would be narrower by a factor of two."""
    one, held = asked(2, Target.RESPONSE, 40), at_random(2, 40)
    five = np.tile(np.arange(40), 5)
    again = made(held.predicted.fold[:, five], held.predicted.leaf[:, five], held.predicted.value)
    copies = one.taking(five)
    object.__setattr__(copies, "patients", one.patients[five])
    object.__setattr__(copies, "rows", five)
    alone = auc_interval(one, held, 400, np.random.default_rng(0), 2)
    together = auc_interval(copies, again, 400, np.random.default_rng(0), 2)
    assert together == pytest.approx(alone, abs=1e-12)
    assert alone[0] < auc(one, held) < alone[1]


def test_balanced_accuracy_and_brier_are_sklearns() -> None:
    one, held = asked(3, Target.RESPONSE), at_random(3)
    held.predicted.value[:, :, 0] = 0.45  # of the root; no leaf has it
    peers = [balanced_accuracy_score(one.event, risk > 0.45) for risk in held.risk]
    assert balanced_accuracy(one, held) == pytest.approx(np.mean(peers), abs=1e-12)
    assert brier(one, held) == pytest.approx(np.mean([brier_score_loss(one.event, risk) for risk in held.risk]), abs=1e-12)


def test_a_tree_without_a_split_has_a_balanced_accuracy_of_one_half() -> None:
    one, held = asked(3, Target.RESPONSE), at_random(3)
    held.predicted.value[:] = 0.4
    assert balanced_accuracy(one, held) == pytest.approx(0.5)
    assert auc(one, held) == pytest.approx(0.5)
    assert np.isnan(recalibration(one, held)[1])


def test_recalibration_is_an_unpenalised_logistic_regression() -> None:
    one, held = asked(4, Target.RESPONSE, 400), at_random(4, 400)
    held.predicted.value[:] = 0.1 + 0.8 * held.predicted.value
    logit = np.log(held.risk / (1 - held.risk)).ravel()
    y = np.tile(one.event, 3)
    peer = LogisticRegression(C=np.inf, tol=1e-12, max_iter=1000).fit(logit[:, None], y)
    intercept, slope = recalibration(one, held)
    assert slope == pytest.approx(peer.coef_[0, 0], abs=1e-6)
    # With the slope at 1 the score equation is that predictions, shifted by the intercept, have the mean of the labels.
    assert (1 / (1 + np.exp(-logit - intercept))).mean() == pytest.approx(y.mean(), abs=1e-9)


def test_perfect_separation_has_no_slope() -> None:
    one, held = asked(5, Target.RESPONSE), at_random(5)
    held.predicted.value[:, :, 1], held.predicted.value[:, :, 2] = 0.9, 0.1
    held.predicted.leaf[:] = np.where(one.event, 1, 2)
    assert np.isnan(recalibration(one, held)[1])
    assert auc(one, held) == 1.0


def test_calibration_groups_hold_all_rows_with_exact_intervals() -> None:
    one, held = asked(6, Target.RESPONSE), at_random(6)
    found = calibration(one, Folds.GROUPED, held)
    assert found.rows.sum() == len(one)
    assert (found.rows * found.observed).sum() == pytest.approx(one.event.sum())
    assert (found.rows * found.predicted).sum() == pytest.approx(held.risk.mean(axis=0).sum())
    assert (np.diff(found.predicted) > 0).all()


def test_the_exact_interval_is_scipys() -> None:
    cases = [(0, 7), (3, 7), (7, 7), (1, 30)]
    low, high = exact_interval(np.array([float(k) for k, _ in cases]), np.array([n for _, n in cases]))
    peers = [binomtest(k, n).proportion_ci(0.95, method="exact") for k, n in cases]
    np.testing.assert_allclose(low, [peer.low for peer in peers], atol=1e-9)
    np.testing.assert_allclose(high, [peer.high for peer in peers], atol=1e-9)
