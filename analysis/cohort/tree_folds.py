"""Which rows trees do not see: folds of single rows or of whole patients, stratified, with folds inside for pruning."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.cohort.tree_arrays import Folds8, Ints
from analysis.cohort.tree_labels import Question
from analysis.cohort.values import Folds

FEWEST_UNITS = 4  # so that two folds of two rows or patients can be made


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Draw:
    """One way to hold out, f folds. outer: (n,) the fold of a row; inner: (f, n) its fold inside each training set, else -1.

    order: (f, p) the order in which features are tried, since equally good splits are common in small cohorts.
    """

    outer: Folds8
    inner: Folds8
    order: Ints


def units(asked: Question, folds: Folds) -> Ints:
    """(n,) what is held out together: a row alone, or all rows of a patient."""
    return asked.patients if folds is Folds.GROUPED else np.arange(len(asked))


def fold_count(asked: Question, folds: Folds, wanted: int) -> int:
    """As many folds as are wanted, fewer where either class has fewer rows or patients; 0 where there cannot be two."""
    held = units(asked, folds)
    classes = [len(np.unique(held[asked.event]))]
    if asked.label:
        classes.append(len(np.unique(held[~asked.event])))
    count = min(wanted, *classes, len(np.unique(held)) // 2)
    return count if count >= 2 and len(np.unique(held)) >= FEWEST_UNITS else 0


def draw(asked: Question, held: Ints, counts: tuple[int, int, int], rng: np.random.Generator) -> Draw:
    """Shuffles units, puts those with most positives first, then those with most rows, and deals them out.

    held: (n,) the unit of each row. counts: outer folds, inner folds, features.
    """
    outer_folds, inner_folds, features = counts
    size = int(held.max()) + 1
    positives, rows = np.bincount(held[asked.event], minlength=size), np.bincount(held, minlength=size)
    stratum = -(positives * (rows.max() + 1) + rows).astype(np.float64)
    outer = _dealt(stratum + rng.random(size), outer_folds)
    out = outer == np.arange(outer_folds)[:, None]
    keys = np.where(out, np.inf, stratum + rng.random((outer_folds, size)))
    inner = np.where(out, -1, _dealt(keys, inner_folds))
    order = np.argsort(rng.random((outer_folds, features)), axis=-1)
    return Draw(outer=outer[held].astype(np.int8), inner=np.ascontiguousarray(inner[:, held].astype(np.int8)), order=order)


def _dealt(keys: npt.NDArray[np.float64], folds: int) -> Ints:
    """The fold of each unit: its place by key, dealt out in turn."""
    places = np.argsort(np.argsort(keys, axis=-1), axis=-1)
    return (places % folds).astype(np.int64)
