"""Harrell's C of one feature, and its bootstrap over patients: interval and optimism.

A pair of rows is compared where the earlier of them has its event (a row censored on that very day counts as later). C is the
part of these pairs in which the earlier has the higher value; equal values count one half (R's concordance, reverse = TRUE).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import sparse

from analysis.cohort.values import NAN, FollowUp
from analysis.space import BoolArray, FloatArray

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Resamples:
    """Follow-up and the weights of its rows in each resample, in order of time: what all features of the same rows share.

    order: (n,) rows by day, on one day events first. step: (n,) equal for events of one day. event: (n,) in that order.
    weights: (n, b), the first column all 1: the rows as they are. pairs: (b,) weight of all pairs that are compared.
    residuals: (n, b) events less those that Nelson and Aalen expect: x times these is the score of Cox's likelihood at 0.
    Weights are whole numbers, which float32 holds exactly up to 16 million.
    """

    order: Indices
    step: Indices
    event: BoolArray
    weights: FloatArray
    pairs: FloatArray
    residuals: FloatArray

    @classmethod
    def of(cls, follow_up: FollowUp, drawn: FloatArray) -> Resamples:
        """drawn: (n, b - 1) how often each row is in each resample, as `draw` gives it for the rows' patients."""
        order = np.lexsort((~follow_up.event, follow_up.days))
        days, event = follow_up.days[order], follow_up.event[order]
        changes = (np.diff(days) > 0) | (event[1:] != event[:-1])
        step = np.concatenate([[0], np.cumsum(changes)])[: order.size].astype(np.int64)
        weights = np.concatenate([np.ones((order.size, 1), dtype=np.float32), drawn[order]], axis=1)
        at_risk, later = (_from(step, weights, side) for side in ("left", "right"))
        events = weights * event[:, None]
        hazard = np.cumsum(events / np.maximum(at_risk, 1), axis=0)[np.searchsorted(step, step, side="right") - 1]
        pairs = (events * later).sum(axis=0, dtype=np.float64)
        return cls(order=order, step=step, event=event, weights=weights, pairs=pairs, residuals=events - weights * hazard)


def draw(patients: int, *, count: int, seed: int) -> FloatArray:
    """(patients, count) float32: how often each patient is in each of `count` resamples of as many patients."""
    if not patients:
        return np.zeros((0, count), dtype=np.float32)
    drawn = np.random.default_rng(seed).multinomial(patients, np.full(patients, 1 / patients), size=count)
    return np.ascontiguousarray(drawn.T, dtype=np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Concordance:
    """C of the univariate Cox model: of the feature, or of its negative where a higher value goes with a longer life.

    low, high: 95 % percentile interval with the direction held. optimism: mean over resamples of C in the resample less C in
    all rows, the direction found anew in each. NaN where undefined.
    """

    value: float = NAN
    low: float = NAN
    high: float = NAN
    optimism: float = NAN


def concordance(resamples: Resamples, x: FloatArray) -> Concordance:
    """C of x (n,), in the rows' own order, with interval and optimism; NaN where x is constant or no pair can be compared."""
    if x.size == 0 or np.ptp(x) == 0 or resamples.pairs[0] <= 0:
        return Concordance()
    ordered = x[resamples.order]
    c, falls = _c_of(resamples, ordered), (ordered - x.mean()) @ resamples.residuals < 0
    along = 1 - c if falls[0] else c
    known = ~np.isnan(c[1:])
    if not known.any():
        return Concordance(value=float(along[0]))
    low, high = np.quantile(along[1:][known], [0.025, 0.975]).tolist()
    gain = np.where(falls, -1.0, 1.0) * (c - c[0])  # C in the resample less C in all rows, in the resample's own direction
    return Concordance(value=float(along[0]), low=low, high=high, optimism=float(gain[1:][known].mean()))


def _from(step: Indices, values: FloatArray, side: Literal["left", "right"]) -> FloatArray:
    """(n, b) for each row the sum of values over rows of its own step and later (left), or of later steps alone (right)."""
    sums = np.concatenate([np.zeros((1, values.shape[1]), dtype=values.dtype), np.cumsum(values[::-1], axis=0)])[::-1]
    taken: FloatArray = sums[np.searchsorted(step, step, side=side)]
    return taken


def _c_of(resamples: Resamples, x: FloatArray) -> FloatArray:
    """(b,) C of x, which is in order of time; NaN without pairs.

    Equal values count one half: the mean of a ranking in which they never count and one in which they always do. Events of
    one day stand in order of x, so that they never count.
    """
    places = np.lexsort((x, resamples.step))
    x, weights = x[places], resamples.weights[places]
    own = weights * resamples.event[:, None]  # of one step all have the event or none
    sums = _inversions(np.lexsort((x,)), own, weights)  # stable: of equal values the later ranks higher
    if np.unique(x).size < x.size:
        sums = (sums + _inversions(np.lexsort((-resamples.step, x)), own, weights)) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        c: FloatArray = np.where(resamples.pairs > 0, sums / resamples.pairs, NAN)
    return c


def _inversions(ranked: Indices, first: FloatArray, second: FloatArray) -> FloatArray:
    """(b,) the sum of first[i] second[j] over all i before j of which i ranks higher. ranked: (n,) places from low to high.

    Places and ranks are cut into about sqrt(n) blocks each. Pairs of one block of places, or of ranks, are looked at one by
    one; all others are counted from the sums of each block.
    """
    n, b = second.shape
    m = math.ceil(math.sqrt(n))
    rank = np.argsort(ranked)
    near = _within(rank, first, second, m)
    block = np.arange(n) // m
    same_rank = _within(ranked, second[ranked], first[ranked], m, apart=True)
    cells = sparse.csr_matrix((np.ones(n, dtype=np.float32), (block * m + rank // m, np.arange(n))), shape=(m * m, n))
    ones, others = ((cells @ values).reshape(m, m, b) for values in (first, second))
    later = np.cumsum(others[::-1], axis=0)[::-1][1:, :-1]  # [k]: in blocks of places after k
    total: FloatArray = near + same_rank + (ones[:-1, 1:] * np.cumsum(later, axis=1)).sum(axis=(0, 1), dtype=np.float64)
    return total


def _within(key: Indices, first: FloatArray, second: FloatArray, m: int, *, apart: bool = False) -> FloatArray:
    """(b,) the sum of first[i] second[j] over all i before j with key[i] > key[j], i and j in one block of m.

    apart: only pairs whose keys lie in different blocks of m.
    """
    n, b = second.shape
    keys = np.concatenate([key, np.arange(n, m * m)]).reshape(m, m)
    padded = np.zeros((2, m * m, b), dtype=np.float32)
    padded[0, :n], padded[1, :n] = first, second
    ones, others = padded.reshape(2, m, m, b)
    higher = keys[:, :, None] > keys[:, None, :]
    higher &= np.arange(m)[:, None] < np.arange(m)
    if apart:
        higher &= (keys // m)[:, :, None] != (keys // m)[:, None, :]
    total: FloatArray = (ones * (higher.astype(np.float32) @ others)).sum(axis=(0, 1), dtype=np.float64)
    return total
