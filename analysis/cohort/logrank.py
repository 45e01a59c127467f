"""The log-rank test of two groups, and the same with patients exchanged.

Observed minus expected is a sum over the rows of a group: event minus the pooled Nelson-Aalen estimate at the row's own day.
So every relabelling is one product of a matrix of exchanged scores with the groups.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from scipy import stats

from analysis.cohort.values import NAN, FollowUp
from analysis.space import BoolArray, FloatArray

BLOCK = 250_000  # scores that are exchanged at once: 2 MB stay in the processor's memory
Indices = npt.NDArray[np.int64]


def log_rank(follow_up: FollowUp, high: BoolArray) -> tuple[float, float]:
    """Chi-square on one degree of freedom and its p, as R's survdiff (Mantel's variance); NaN where nothing can be compared.

    high: (n,) one group. follow_up without unknown days.
    """
    ordered = np.sort(follow_up.days)
    times, deaths = np.unique(follow_up.days[follow_up.event], return_counts=True)
    at_risk = ordered.size - np.searchsorted(ordered, times)
    of_high = int(high.sum()) - np.searchsorted(np.sort(follow_up.days[high]), times)
    part = of_high / at_risk
    spread = deaths * part * (1 - part) * (at_risk - deaths) / np.maximum(at_risk - 1, 1)
    variance = float(spread.sum())
    if variance <= 0:
        return NAN, NAN
    excess = float(follow_up.event[high].sum() - (deaths * part).sum())
    chi2 = excess * excess / variance
    return chi2, float(stats.chi2.sf(chi2, 1))


def scores(follow_up: FollowUp) -> FloatArray:
    """(n,) event minus the pooled Nelson-Aalen cumulative hazard at the row's day; their sum is 0."""
    times, deaths = np.unique(follow_up.days[follow_up.event], return_counts=True)
    at_risk = follow_up.days.size - np.searchsorted(np.sort(follow_up.days), times)
    hazard = np.concatenate([[0.0], np.cumsum(deaths / at_risk)])
    expected: FloatArray = hazard[np.searchsorted(times, follow_up.days, side="right")]
    return follow_up.event.astype(np.float64) - expected


def permuted_p(row_scores: FloatArray, patients: Indices, groups: FloatArray, *, count: int, seed: int) -> FloatArray:
    """(c,) two-sided p of each column of groups (n, c), 1 in the group and 0 not: (1 + as extreme) / (1 + count).

    patients: (n,) whose row it is. Patients with equally many rows exchange their labels, all rows of a patient together, the
    first for the first. What counts is the distance of observed minus expected from its mean over all exchanges. NaN where no
    exchange changes anything.
    """
    sets = [row_numbers for row_numbers in _exchangeable(patients) if len(row_numbers) > 1]
    seen, spread = _observed(row_scores, groups, sets)
    if not sets:
        return np.full(groups.shape[1], NAN)
    extreme = np.zeros(groups.shape[1])
    limit = np.abs(seen) - 1e-9 * np.abs(row_scores).sum()
    generator = np.random.default_rng(seed)
    for size in _blocks(count, sum(row_numbers.size for row_numbers in sets)):
        drawn = sum(_exchanged(row_scores, groups, row_numbers, size, generator) for row_numbers in sets)
        extreme += (np.abs(drawn) >= limit).sum(axis=0)
    extreme[~spread] = NAN
    return (1.0 + extreme) / (1.0 + count)


def _exchangeable(patients: Indices) -> Iterator[Indices]:
    """For each number of rows a patient may have: (m, k) the rows of the m patients who have k."""
    order = np.argsort(patients, kind="stable")
    _, first, rows = np.unique(patients[order], return_index=True, return_counts=True)
    for k in np.unique(rows):
        yield order[first[rows == k][:, None] + np.arange(k)]


def _observed(row_scores: FloatArray, groups: FloatArray, sets: list[Indices]) -> tuple[FloatArray, BoolArray]:
    """(c,) the statistic less its mean over all exchanges, and whether an exchange can change it."""
    seen, spread = np.zeros(groups.shape[1]), np.zeros(groups.shape[1], dtype=np.bool_)
    for row_numbers in sets:
        labels = groups[row_numbers] - groups[row_numbers].mean(axis=0)  # (m, k, c)
        centred = row_scores[row_numbers] - row_scores[row_numbers].mean(axis=0)
        seen += np.einsum("mkc,mk->c", labels, centred)
        spread |= labels.any(axis=(0, 1)) & bool(centred.any())
    return seen, spread


def _exchanged(
    row_scores: FloatArray, groups: FloatArray, row_numbers: Indices, size: int, generator: np.random.Generator
) -> FloatArray:
    """(size, c) what `size` exchanges of these patients add to the statistic, less its mean."""
    m, k = row_numbers.shape
    centred = row_scores[row_numbers] - row_scores[row_numbers].mean(axis=0)
    if k == 1:  # nearly all patients: the scores themselves are shuffled, which is twice as fast
        drawn = generator.permuted(np.broadcast_to(centred[:, 0], (size, m)), axis=1)
    else:
        drawn = centred[generator.permuted(np.broadcast_to(np.arange(m), (size, m)), axis=1)].reshape(size, m * k)
    product: FloatArray = drawn @ groups[row_numbers.ravel()]
    return product


def _blocks(count: int, rows: int) -> Iterator[int]:
    size = max(1, BLOCK // rows)
    for done in range(0, count, size):
        yield min(size, count - done)
