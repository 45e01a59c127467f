"""The compiled trees against scikit-learn, scikit-survival and shap, which know nothing of them."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np
import pytest
import shap
from sklearn.tree import DecisionTreeClassifier
from sksurv.tree import SurvivalTree

from analysis.cohort.tree_fit import binned
from analysis.cohort.tree_kernels import hold_out_fold
from analysis.cohort.tree_labels import _grid

DEPTH, LEAF = 3, 20


class Told(NamedTuple):
    """What a tree says of its held-out rows: predictions (m,), SHAP values (m, p), and the prediction of the root."""

    risk: np.ndarray
    shap: np.ndarray
    root: float


def tell(x, outcome, inner, penalty, leaf) -> Told:
    """The tree of the rows with inner >= 0, told of the others. x: (n, p); outcome: seen, event, times, label."""
    n, p = x.shape
    shown = (np.zeros(n, np.int64), np.zeros((n, p)), np.zeros(p), np.zeros(p, np.int64), np.zeros(p, np.int64))
    folds = (inner.astype(np.int8), np.arange(p))
    value = hold_out_fold(tuple(binned(x.T)), outcome, folds, (DEPTH, leaf, penalty), shown)
    out = inner < 0
    return Told(value[shown[0]][out], shown[1][out], value[0])


def of_label(x, y, inner, penalty=-1.0, leaf=LEAF) -> Told:
    return tell(x, (np.ones(len(y), np.int64), y == 1, 1, True), inner, penalty, leaf)


def of_time(x, days, died, inner, penalty=-1.0) -> Told:
    seen, times = _grid(days, died)
    return tell(x, (seen, died, times, False), inner, penalty, LEAF)


def labelled(seed: int, missing: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features of at most 40 values, labels that depend on three of them, and 200 of 500 rows held out."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 40, (500, 6)).astype(float)
    y = (x[:, 0] + 0.7 * x[:, 1] * (x[:, 2] > 15) + rng.normal(0, 18, 500) > 30).astype(float)
    x[rng.random(x.shape) < missing] = np.nan
    return x, y, np.where(np.arange(500) < 300, np.arange(500) % 3, -1)


def followed(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The same with days of at most 50 values, a third censored."""
    x, y, inner = labelled(seed)
    rng = np.random.default_rng(seed + 1000)
    return x, np.ceil(rng.exponential(np.where(y == 1, 8, 20))).clip(1, 50), rng.random(len(y)) < 0.67, inner


def sklearns(x, y, inner, penalty=0.0) -> DecisionTreeClassifier:
    tree = DecisionTreeClassifier(max_depth=DEPTH, min_samples_leaf=LEAF, ccp_alpha=penalty, random_state=0)
    return tree.fit(x[inner >= 0], y[inner >= 0])


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("missing", [0.0, 0.15])
def test_pruning_is_sklearns_refit_at_every_penalty(seed: int, missing: float) -> None:
    x, y, inner = labelled(seed, missing)
    links = sklearns(x, y, inner).cost_complexity_pruning_path(x[inner >= 0], y[inner >= 0]).ccp_alphas
    assert len(links) > 3
    for penalty in (0.0, *(links[:-1] + links[1:]) / 2, 1.0):
        peer = sklearns(x, y, inner, penalty).predict_proba(x[inner < 0])[:, 1]
        np.testing.assert_allclose(of_label(x, y, inner, penalty).risk, peer, atol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_the_penalty_is_that_of_least_squared_error_in_inner_folds_of_sklearn(seed: int) -> None:
    """Of equal ones the largest."""
    x, y, inner = labelled(seed)
    links = sklearns(x, y, inner).cost_complexity_pruning_path(x[inner >= 0], y[inner >= 0]).ccp_alphas[1:]
    penalties = [0.0, *np.sqrt(links[:-1] * links[1:]), 1.0]
    losses = np.zeros(len(penalties))
    for k, fold in itertools.product(range(len(penalties)), range(3)):
        part = sklearns(x, y, np.where(inner == fold, -1, inner), penalties[k])
        losses[k] += ((part.predict_proba(x[inner == fold])[:, 1] - y[inner == fold]) ** 2).sum()
    peer = sklearns(x, y, inner, penalties[np.flatnonzero(losses <= losses.min() * (1 + 1e-9))[-1]]).predict_proba(
        x[inner < 0]
    )[:, 1]
    np.testing.assert_allclose(of_label(x, y, inner).risk, peer, atol=1e-12)


@pytest.mark.parametrize("seed", range(40))
def test_small_samples_split_where_sklearn_gains_as_much(seed: int) -> None:
    """Of several equally good splits each may take another: so the gain is compared, not the place."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(20, 5)), rng.permutation(np.arange(20) % 2).astype(float)
    both, labels = np.vstack([x, x]), np.append(y, y)
    inner = np.repeat([0, -1], 20)
    stump = DecisionTreeClassifier(max_depth=1, min_samples_leaf=8).fit(x, y)
    theirs = stump.predict_proba(x)[:, 1]
    ours = of_label(both, labels, inner, penalty=0.0, leaf=8).risk
    assert (ours * (1 - ours)).mean() == pytest.approx((theirs * (1 - theirs)).mean(), abs=1e-12)


@pytest.mark.parametrize("seed", range(6))
def test_survival_trees_are_those_of_scikit_survival(seed: int) -> None:
    x, days, died, inner = followed(seed)
    peer = sksurvs(x, days, died, inner)
    np.testing.assert_allclose(of_time(x, days, died, inner, 0.0).risk, peer.predict(x[inner < 0]), rtol=1e-9)


def sksurvs(x, days, died, inner) -> SurvivalTree:
    y = np.array(list(zip(died, days, strict=True)), dtype=[("died", bool), ("days", float)])
    return SurvivalTree(max_depth=DEPTH, min_samples_leaf=LEAF, random_state=0).fit(x[inner >= 0], y[inner >= 0])


@pytest.mark.parametrize("seed", range(3))
def test_shap_values_of_labels_are_those_of_treeexplainer(seed: int) -> None:
    x, y, inner = labelled(seed)
    peer = shap.TreeExplainer(sklearns(x, y, inner)).shap_values(x[inner < 0])[:, :, 1]
    told = of_label(x, y, inner, 0.0)
    np.testing.assert_allclose(told.shap, peer, atol=1e-10)
    assert np.abs(told.shap).max() > 0.05


@pytest.mark.parametrize("seed", range(3))
def test_shap_values_of_survival_are_those_of_treeexplainer_on_the_same_tree(seed: int) -> None:
    x, days, died, inner = followed(seed)
    model = sksurvs(x, days, died, inner)
    tree = model.tree_
    held = np.array([(model.tree_.value[node, :, 0] * model.is_event_time_).sum() for node in range(tree.node_count)])
    same = {
        "children_left": tree.children_left,
        "children_right": tree.children_right,
        "children_default": tree.children_right,
        "features": tree.feature,
        "thresholds": tree.threshold,
        "values": held[:, None],
        "node_sample_weight": tree.weighted_n_node_samples,
    }
    peer = shap.TreeExplainer({"trees": [same]}).shap_values(x[inner < 0])
    np.testing.assert_allclose(of_time(x, days, died, inner, 0.0).shap, peer.reshape(-1, 6), atol=1e-6 * held.max())


@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_shap_values_add_up_to_the_prediction(missing: float) -> None:
    """Their sum is the prediction less the mean prediction of the training rows, missing values included."""
    x, y, inner = labelled(7, missing)
    told = of_label(x, y, inner, 0.0)
    assert told.root == pytest.approx(y[inner >= 0].mean())
    np.testing.assert_allclose(told.root + told.shap.sum(axis=1), told.risk, atol=1e-12)
    x, days, died, inner = followed(7)
    told = of_time(x, days, died, inner, 0.0)
    mean = of_time(
        x[np.r_[:300, :300]], days[np.r_[:300, :300]], died[np.r_[:300, :300]], np.repeat([0, -1], 300), 0.0
    ).risk.mean()
    np.testing.assert_allclose(mean + told.shap.sum(axis=1), told.risk, atol=1e-9)


def test_a_missing_value_is_explained_by_where_it_goes() -> None:
    """One split: missing and high go one way. Shapley value of a single feature: prediction less mean, by hand."""
    x = np.array([0.0] * 10 + [1.0] * 10 + [np.nan] * 10 + [0.0, 1.0, np.nan])[:, None]
    y = np.array([0.0] * 10 + [1.0] * 20 + [0, 0, 0])
    told = of_label(x, y, np.array([0] * 30 + [-1] * 3), 0.0, leaf=5)
    np.testing.assert_allclose(told.risk, [0, 1, 1])
    np.testing.assert_allclose(told.shap[:, 0], [-2 / 3, 1 / 3, 1 / 3])


def expected(tree, x: np.ndarray, known: set[int], node: int = 0) -> float:
    """The prediction where only these features are known: else both ways, weighted by training rows (Lundberg et al. 2018)."""
    left, right, feature = tree.children_left[node], tree.children_right[node], tree.feature[node]
    if left < 0:
        return float(tree.value[node, 0, 1])
    if feature in known:
        goes_left = bool(tree.missing_go_to_left[node]) if np.isnan(x[feature]) else x[feature] <= tree.threshold[node]
        return expected(tree, x, known, left if goes_left else right)
    rows = tree.weighted_n_node_samples
    both = rows[left] * expected(tree, x, known, left) + rows[right] * expected(tree, x, known, right)
    return float(both / rows[node])


def test_shap_values_with_missing_values_are_shapleys_formula_on_sklearns_tree() -> None:
    x, y, inner = labelled(1, 0.3)
    tree, told = sklearns(x, y, inner).tree_, of_label(x, y, inner, 0.0)
    for k, row in enumerate(x[inner < 0][:12]):
        for feature in range(6):
            others = [other for other in range(6) if other != feature]
            total = 0.0
            for size in range(6):
                for known in itertools.combinations(others, size):
                    gain = expected(tree, row, {*known, feature}) - expected(tree, row, set(known))
                    total += gain * math.factorial(size) * math.factorial(5 - size) / math.factorial(6)
            assert told.shap[k, feature] == pytest.approx(total, abs=1e-12)
