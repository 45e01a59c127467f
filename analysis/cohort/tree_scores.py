"""How well held-out predictions do: concordance with its interval over patients, balanced accuracy, calibration.

Only rows of one fold are compared with each other: they were predicted by one tree. Across folds a tree that learned nothing
predicts the part of positives of its training rows, which is lowest where most positives are held out, and pooling would
push the area under the curve below one half (Parker et al. 2007). With few rows a fold, folds count by their pairs.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
from scipy.stats import beta

from analysis.cohort.tree_arrays import TIED, Bools, Floats, Folds8, Ints, entrance, plain
from analysis.cohort.tree_fit import HeldOut
from analysis.cohort.tree_labels import Question
from analysis.cohort.values import NAN, Calibration, Folds
from analysis.space import readonly

ROWS_A_GROUP, MOST_GROUPS = 8, 10  # of the calibration plot


@entrance
def concordance(followed: tuple[Floats, Bools, Ints], predicted: tuple[Folds8, Ints, Floats], weight: Floats) -> float:
    """Harrell's C among rows of the same fold, mean over repeats; NaN where no pair can be compared. weight: (n,) of rows.

    For a yes/no label this is the area under the ROC curve. A pair counts where one has the event before the other's time, or
    at the time at which the other is censored. followed, predicted: as Followed and Predicted.
    """
    time, event, order = followed
    folds, leaves, values = predicted
    total, used = 0.0, 0
    for repeat in range(folds.shape[0]):
        fold, leaf, value = folds[repeat], leaves[repeat], values[repeat]
        later = np.zeros(value.shape)
        good, pairs, start = 0.0, 0.0, 0
        while start < order.size:
            end = start
            while end < order.size and time[order[end]] == time[order[start]]:
                row = order[end]
                if not event[row]:
                    later[fold[row], leaf[row]] += weight[row]
                end += 1
            for k in range(start, end):
                row = order[k]
                if not event[row] or weight[row] == 0:
                    continue
                for node in range(value.shape[1]):
                    other = later[fold[row], node] * weight[row]
                    if other > 0:
                        ahead = value[fold[row], leaf[row]] - value[fold[row], node]
                        pairs += other
                        good += other * (1.0 if ahead > TIED else 0.5 if ahead >= -TIED else 0.0)
            for k in range(start, end):
                row = order[k]
                if event[row]:
                    later[fold[row], leaf[row]] += weight[row]
            start = end
        if pairs > 0:
            total += good / pairs
            used += 1
    return total / used if used else np.nan


def auc(asked: Question, made: HeldOut) -> float:
    """The area under the ROC curve, or Harrell's C, of held-out rows."""
    return float(concordance(plain(asked.followed), plain(made.predicted), np.ones(len(asked))))


def auc_interval(asked: Question, made: HeldOut, times: int, rng: np.random.Generator, workers: int) -> tuple[float, float]:
    """95 % percentile interval: patients are drawn again, with their held-out predictions; trees are not grown again."""
    count = int(asked.patients.max()) + 1
    followed, predicted = plain(asked.followed), plain(made.predicted)
    draws = (rng.multinomial(count, np.full(count, 1 / count)) for _ in range(times))

    def again(drawn: Ints) -> float:
        return concordance(followed, predicted, drawn[asked.patients].astype(np.float64))

    with ThreadPoolExecutor(workers) as pool:
        found = np.array(list(pool.map(again, draws)))
    found = found[~np.isnan(found)]
    return (float(np.quantile(found, 0.025)), float(np.quantile(found, 0.975))) if len(found) else (NAN, NAN)


def balanced_accuracy(asked: Question, made: HeldOut) -> float:
    """Mean of sensitivity and specificity. Positive: a leaf with more positives than its training rows; as many: one half."""
    called = np.where(made.risk > made.base + TIED, 1.0, np.where(made.risk < made.base - TIED, 0.0, 0.5)).mean(axis=0)
    return float((called[asked.event].mean() + 1 - called[~asked.event].mean()) / 2)


def brier(asked: Question, made: HeldOut) -> float:
    """Mean squared difference of label and prediction, over rows and repeats."""
    return float(((made.risk - asked.event) ** 2).mean())


def recalibration(asked: Question, made: HeldOut) -> tuple[float, float]:
    """Intercept with the slope held at 1, and slope with its own intercept, of label on the logit of the prediction (Cox 1958).

    All repeats together. Predictions are kept 1/(2n) away from 0 and 1, since a leaf may hold one class alone.
    """
    edge = 1 / (2 * len(asked))
    risk = np.clip(made.risk, edge, 1 - edge).ravel()
    logit, y = np.log(risk / (1 - risk)), np.tile(asked.event, len(made.risk)).astype(np.float64)
    ones = np.ones((len(logit), 1))
    intercept = _logistic(ones, y, logit)
    varied = np.ptp(logit) > TIED
    slope = _logistic(np.column_stack([ones, logit]), y, np.zeros(len(y))) if varied else np.array([NAN, NAN])
    return float(intercept[0]), float(slope[1])


def _logistic(x: Floats, y: Floats, offset: Floats) -> Floats:
    """Coefficients by Newton's method, (k,); NaN where it does not settle, as with separated classes."""
    found = np.zeros(x.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(x @ found + offset, -30, 30)))
        curvature = (x * (p * (1 - p))[:, None]).T @ x
        if np.linalg.cond(curvature) > 1e12:
            break
        step = np.linalg.solve(curvature, x.T @ (y - p))
        found = found + step
        if np.abs(step).max() < 1e-10:
            return found
    return np.full(x.shape[1], NAN)


def calibration(asked: Question, folds: Folds, made: HeldOut) -> Calibration:
    """Rows in groups of neighbouring mean predictions, with the exact interval (Clopper and Pearson) of the observed part."""
    risk = made.risk.mean(axis=0)
    groups = min(MOST_GROUPS, max(1, len(risk) // ROWS_A_GROUP))
    edges = np.unique(np.quantile(risk, np.arange(1, groups) / groups))
    group = np.unique(np.searchsorted(edges, risk - TIED, side="left"), return_inverse=True)[1]
    rows = np.bincount(group).astype(np.int64)
    positives = np.bincount(group, weights=asked.event).astype(np.float64)
    low, high = exact_interval(positives, rows)
    predicted = np.bincount(group, weights=risk) / rows
    return Calibration(
        target=asked.target,
        folds=folds,
        predicted=readonly(predicted),
        observed=readonly(positives / rows),
        low=readonly(low),
        high=readonly(high),
        rows=readonly(rows),
    )


def exact_interval(positives: Floats, rows: npt.NDArray[np.int64]) -> tuple[Floats, Floats]:
    """The 95 % interval of Clopper and Pearson for a proportion; all (k,)."""
    negatives = rows - positives
    low = np.where(positives > 0, beta.ppf(0.025, np.maximum(positives, 1), negatives + 1), 0.0)
    high = np.where(negatives > 0, beta.ppf(0.975, positives + 1, np.maximum(negatives, 1)), 1.0)
    return low, high
