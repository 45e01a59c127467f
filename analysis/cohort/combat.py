"""ComBat: what scanners add to features and how they stretch them, learned on training rows and taken out of all rows.

Parametric empirical Bayes of Johnson, Li and Rabinovic, Biostatistics 2007;8:118-127, without covariates: nothing here knows an
outcome. f training sets, p features, n rows; a batch is what one scanner measured.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from analysis.cohort.tree_arrays import Bools, Floats, Ints, compiled, entrance
from analysis.cohort.values import CohortTable, Column, Kind
from analysis.space import require

FEWEST_ROWS = 3  # known training values of a feature: a batch with fewer stays as measured
MOST_STEPS = 200  # of the iteration, which mostly needs ten
FARTHEST = 230.0  # a logarithm beyond it, 1e100, says nothing but that a value lies far outside


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Harmonised:
    """values: (f, p, n) of every row, as each training set brings them together; moved: (f, p, n) which were not left alone."""

    values: Floats
    moved: Bools


@compiled
def _shrunk(n: Floats, mean: Floats, variance: Floats) -> tuple[Floats, Floats]:
    """Shift and squared scale of one batch, of the features in which it takes part, drawn towards what it does to all of them.

    mean, variance (n - 1): of the standardised values. The two conditional posterior means in turn, with priors by moments.
    Both sides of the scale's are multiplied by the variance of its prior, which may be 0: one feature keeps its estimates.
    """
    few = max(mean.size - 1, 1)
    centre, usual = mean.mean(), variance.mean()
    spread2, unusual = ((mean - centre) ** 2).sum() / few, ((variance - usual) ** 2).sum() / few
    shift, scale2 = mean.copy(), variance.copy()
    for k in range(mean.size):
        for _ in range(MOST_STEPS):
            shift[k] = (n[k] * spread2 * mean[k] + scale2[k] * centre) / (n[k] * spread2 + scale2[k])
            squares = (n[k] - 1) * variance[k] + n[k] * (mean[k] - shift[k]) ** 2
            before = scale2[k]
            scale2[k] = (usual**3 + usual * unusual + unusual * squares / 2) / (usual**2 + unusual * (1 + n[k] / 2))
            if abs(scale2[k] - before) <= 1e-12 * before:
                break
    return shift, scale2


@compiled
def _learned(values: Floats, batches: Ints, training: Bools, count: int) -> tuple[Bools, Floats, Floats]:
    """fitted: (p, batches) who takes part in which feature. A value becomes value * slope + offset, both (p, batches)."""
    p = len(values)
    n, mean, squares = np.zeros((p, count)), np.zeros((p, count)), np.zeros((p, count))
    for k in range(p):
        for row in range(training.size):
            batch, value = batches[k, row], values[k, row]
            if training[row] and batch >= 0 and not np.isnan(value):
                n[k, batch] += 1
                away = value - mean[k, batch]
                mean[k, batch] += away / n[k, batch]
                squares[k, batch] += away * (value - mean[k, batch])
    fitted = (n >= FEWEST_ROWS) & (squares > 0)
    centre, spread = np.zeros(p), np.ones(p)
    for k in range(p):
        if fitted[k].sum() < 2:
            fitted[k] = False
            continue
        rows = (n[k] * fitted[k]).sum()
        centre[k] = (n[k] * mean[k] * fitted[k]).sum() / rows
        spread[k] = np.sqrt((squares[k] * fitted[k]).sum() / rows)
    slope, offset = np.ones((p, count)), np.zeros((p, count))
    for batch in range(count):
        own = np.flatnonzero(fitted[:, batch])
        if own.size > 0:
            rows_of, middle, width = n[own, batch], centre[own], spread[own]
            variance = squares[own, batch] / (rows_of - 1) / width**2
            shift, scale2 = _shrunk(rows_of, (mean[own, batch] - middle) / width, variance)
            for k in range(own.size):
                slope[own[k], batch] = 1 / np.sqrt(scale2[k])
                offset[own[k], batch] = middle[k] - slope[own[k], batch] * (middle[k] + width[k] * shift[k])
    return fitted, slope, offset


@entrance
def _together(values: Floats, batches: Ints, training: Bools, count: int) -> tuple[Floats, Bools]:
    """What `combat` gives."""
    made = np.empty((len(training), *values.shape))
    moved = np.zeros((len(training), *values.shape), np.bool_)
    for fold in range(len(training)):
        fitted, slope, offset = _learned(values, batches, training[fold], count)
        for k in range(values.shape[0]):
            for row in range(values.shape[1]):
                batch, value = batches[k, row], values[k, row]
                made[fold, k, row] = value
                if batch >= 0 and fitted[k, batch] and not np.isnan(value):
                    made[fold, k, row] = value * slope[k, batch] + offset[k, batch]
                    moved[fold, k, row] = True
    return made, moved


def combat(values: Floats, batches: Ints, training: Bools) -> Harmonised:
    """Every row as the training rows alone bring it together. values: (p, n), NaN where missing; training: (f, n).

    batches: (p, n) from 0, -1 for a value that stays. A batch takes part in a feature with three known training values that
    are not all equal, and where another one does too; else its values stay.
    """
    made, moved = _together(values, batches, training, int(batches.max(initial=-1)) + 1)
    return Harmonised(values=made, moved=moved)


def harmonised(values: Floats, batches: Ints, training: Bools) -> Harmonised:
    """`combat` on the logarithm of the values; 0 stays, and does not count. A feature that may be below 0 is taken as it is.

    What a scanner does to an uptake or a volume is a factor, and what comes out stays above 0. A volume of 0 means that there
    is no lesion, which no scanner changes.
    """
    signed = (values < 0).any(axis=1, keepdims=True)
    scaled = np.log(values, where=~signed & (values > 0), out=np.where(signed, values, np.nan))
    made = combat(scaled, batches, training)
    together = np.where(signed, made.values, np.exp(np.clip(made.values, -FARTHEST, FARTHEST)))
    return Harmonised(values=np.where(made.moved, together, values), moved=made.moved)


def batches_of(table: CohortTable, name: str) -> Ints:
    """(p, n) in which batch the fact `name` puts a value; -1 where it is not told, for what is not measured on images."""
    require(name in table.facts, f"harmonise: the cohort has no fact {name!r}")
    words = table.facts[name]
    codes = {word: code for code, word in enumerate(dict.fromkeys(word for word in words if word is not None))}
    of_rows = np.array([-1 if word is None else codes[word] for word in words], dtype=np.int64)

    def of(column: Column) -> Ints:
        return np.full_like(of_rows, -1) if column.clinical or column.kind is Kind.YES_NO else of_rows

    return np.array([of(column) for column in table.columns], dtype=np.int64).reshape(-1, len(table))


def brought_together(table: CohortTable, name: str) -> CohortTable:
    """The table with its image features harmonised over all rows, for statistics that hold no rows out."""
    values = np.array([column.values for column in table.columns], dtype=np.float64).reshape(-1, len(table))
    together = harmonised(values, batches_of(table, name), np.ones((1, len(table)), dtype=np.bool_)).values[0]
    columns = tuple(replace(column, values=row) for column, row in zip(table.columns, together, strict=True))
    return replace(table, columns=columns)
