"""Trees held out over all repeats: from rows and folds to predictions and SHAP values of rows that no tree had seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.cohort.combat import harmonised
from analysis.cohort.tree_arrays import MISSING, Features, Floats, Ints, Predicted, Shown, plain
from analysis.cohort.tree_folds import Draw, draw, fold_count, units
from analysis.cohort.tree_kernels import hold_out_fold
from analysis.cohort.tree_labels import Question
from analysis.cohort.values import Folds
from analysis.space import require

MOST_BINS = 64  # values of a feature that are told apart; more of them become so many groups of equally many rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """How trees grow. depth: of splits, at most 8; min_leaf: fewest training rows of a leaf; folds, inner_folds: at most.

    penalty: of each leaf in pruning (sklearn's ccp_alpha); below 0 it is chosen in the inner folds of each training set.
    """

    depth: int = 3
    min_leaf: int = 3
    folds: int = 5
    inner_folds: int = 3
    penalty: float = -1.0

    def __post_init__(self) -> None:
        require(1 <= self.depth <= 8 and self.min_leaf >= 1, "trees: expected a depth of 1 to 8 and leaves of 1 row or more")
        require(self.folds >= 2 and 2 <= self.inner_folds <= 100, "trees: expected two folds or more, outside and inside")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeldOut:
    """What trees said of rows that they did not see. shap: (n, p) mean over repeats; size: (p,) mean absolute SHAP value.

    up, down: (p,) in how many of the folds_all folds the SHAP value rises or falls with the feature. risk: (r, n) predictions;
    base: (r, n) those of a tree without any split.
    """

    predicted: Predicted
    shap: Floats
    size: Floats
    up: Ints
    down: Ints
    folds_all: int

    @property
    def risk(self) -> Floats:
        return self._of(self.predicted.leaf)

    @property
    def base(self) -> Floats:
        return self._of(np.zeros_like(self.predicted.leaf))

    def _of(self, nodes: Ints) -> Floats:
        fold, value = self.predicted.fold, self.predicted.value
        return np.array([one[f, node] for one, f, node in zip(value, fold, nodes, strict=True)])

    @property
    def agreement(self) -> Floats:
        """(p,) the part of the folds with a direction that have the commoner one; NaN where none has."""
        used = self.up + self.down
        return np.where(used > 0, np.maximum(self.up, self.down) / np.maximum(used, 1), np.nan)


def binned(values: npt.NDArray[np.float64]) -> Features:
    """Features of (p, n) values. Up to 64 values of a feature are told apart; more become 64 groups by their ranks alone."""
    order = np.argsort(values, axis=1)  # missing values come last
    ranked = np.take_along_axis(values, order, axis=1)
    known = ~np.isnan(ranked)
    begins = known.copy()
    begins[:, 1:] &= ranked[:, 1:] > ranked[:, :-1]
    group = np.where(known, np.cumsum(begins, axis=1) - 1, MISSING)
    for k in np.flatnonzero(begins.sum(axis=1) > MOST_BINS):
        counts = np.bincount(np.cumsum(begins[k])[known[k]] - 1)
        middle = (np.cumsum(counts) - counts / 2) / counts.sum()
        group[k, known[k]] = np.repeat(np.unique((middle * MOST_BINS).astype(np.int64), return_inverse=True)[1], counts)
    codes = np.empty(values.shape, dtype=np.uint8)
    np.put_along_axis(codes, order, group.astype(np.uint8), axis=1)
    first, last = known.copy(), known.copy()
    first[:, 1:] &= group[:, 1:] != group[:, :-1]
    last[:, :-1] &= group[:, 1:] != group[:, :-1]
    lowest, highest = np.zeros((2, len(values), min(MOST_BINS, max(1, values.shape[1]))))
    for bounds, chosen in ((lowest, first), (highest, last)):
        row = np.nonzero(chosen)[0]
        bounds[row, group[chosen]] = ranked[chosen]
    return Features(codes, lowest, highest, np.array(values, dtype=np.float64, order="C"))


def kept(features: Features, rows: npt.NDArray[np.bool_]) -> Features:
    """The same features of some of the rows."""
    return features._replace(
        codes=np.ascontiguousarray(features.codes[:, rows]), values=np.ascontiguousarray(features.values[:, rows])
    )


def draws(asked: Question, folds: Folds, growth: Growth, features: int, rng: np.random.Generator, repeats: int) -> list[Draw]:
    """One draw of folds for each repeat; none where there cannot be two folds."""
    count = fold_count(asked, folds, growth.folds)
    held = units(asked, folds)
    return [draw(asked, held, (count, growth.inner_folds, features), rng) for _ in range(repeats)] if count else []


def hold_out(
    asked: Question, features: Features, drawn: Sequence[Draw], growth: Growth, batches: Ints | None = None
) -> HeldOut:
    """Grows, prunes and explains one tree for each fold of each draw. drawn: at least one.

    batches: (p, n) which scanner a value is from; the training rows of each fold bring them together for it. None: as they are.
    """
    p, n = features.codes.shape
    folds = len(drawn[0].inner)
    limits = (growth.depth, growth.min_leaf, growth.penalty)
    made = Shown(np.zeros(n, np.int64), np.zeros((n, p)), np.zeros(p), np.zeros(p, np.int64), np.zeros(p, np.int64))
    leaf = np.zeros((len(drawn), n), np.int64)
    value = np.zeros((len(drawn), folds, 2 ** (growth.depth + 1) - 1))
    for repeat, one in enumerate(drawn):
        for fold, seen in enumerate(_seen(features, one, batches)):
            folds_of_rows = (one.inner[fold], one.order[fold])
            value[repeat, fold] = hold_out_fold(plain(seen), plain(asked.outcome), folds_of_rows, limits, plain(made))
        leaf[repeat] = made.leaf
    return HeldOut(
        predicted=Predicted(np.array([one.outer for one in drawn]), leaf, value),
        shap=made.shap / len(drawn),
        size=made.size / len(drawn) / n,
        up=made.up,
        down=made.down,
        folds_all=len(drawn) * folds,
    )


def _seen(features: Features, one: Draw, batches: Ints | None) -> Iterator[Features]:
    """The features as the trees of each fold see them."""
    folds, p = len(one.inner), len(features.codes)
    if batches is None:
        yield from [features] * folds
        return
    of_all = binned(harmonised(features.values, batches, one.inner >= 0).values.reshape(folds * p, -1))
    for fold in range(folds):
        own = slice(fold * p, (fold + 1) * p)
        yield Features(of_all.codes[own], of_all.lowest[own], of_all.highest[own], of_all.values[own])
