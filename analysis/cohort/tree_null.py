"""What the same trees find where nothing is to be found, and without each patient in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from analysis.cohort.tree_arrays import Features, Floats, Ints
from analysis.cohort.tree_fit import Growth, HeldOut, draws, hold_out, kept
from analysis.cohort.tree_labels import Question, exchanged
from analysis.cohort.tree_scores import auc
from analysis.cohort.values import NAN, Folds

LEADING = 0.05  # a feature of this p is tied to the outcomes while the others are tested


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trial:
    """One way to examine a question: with which features, folds and trees, over how many repeats, from which seed.

    tied: the features that stay with the outcomes when these are exchanged between patients. batches: (p, n) as in `hold_out`.
    """

    asked: Question
    features: Features
    folds: Folds
    growth: Growth
    repeats: int
    seed: tuple[int, ...]
    tied: tuple[int, ...] = ()
    batches: Ints | None = None

    def rng(self, *place: int) -> np.random.Generator:
        """A generator of its own for each piece of work, so that their order does not matter."""
        return np.random.default_rng((*self.seed, *place))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Finding:
    """What one run of a trial gave. agreement, size: (p,) sign agreement and mean absolute SHAP value by feature."""

    auc: float
    agreement: Floats
    size: Floats

    @property
    def ranked_agreement(self) -> Floats:
        """(p,) the agreement of the feature of the first rank, of the second, and so on."""
        return self.agreement[np.argsort(-self.size, kind="stable")]


def finding(asked: Question, made: HeldOut) -> Finding:
    return Finding(auc=auc(asked, made), agreement=made.agreement, size=made.size)


def under_null(trial: Trial, number: int) -> Finding:
    """The whole of a trial, folds and pruning included, on outcomes exchanged between patients."""
    rng = trial.rng(1, len(trial.tied), number)
    outcomes = exchanged(trial.asked, rng)
    asked, features, batches, tied = trial.asked.taking(outcomes), trial.features, trial.batches, list(trial.tied)
    if tied:
        features = features._replace(codes=features.codes.copy(), values=features.values.copy())
        features.codes[tied], features.values[tied] = features.codes[tied][:, outcomes], features.values[tied][:, outcomes]
    if tied and batches is not None:  # what moves to another row was still measured where it was
        batches = batches.copy()
        batches[tied] = batches[tied][:, outcomes]
    drawn = draws(asked, trial.folds, trial.growth, len(features.codes), rng, trial.repeats)
    return finding(asked, hold_out(asked, features, drawn, trial.growth, batches))


def without(trial: Trial, patient: int) -> Finding | None:
    """The trial without one patient; None where the rest is too few."""
    asked, rest = trial.asked.without(patient), trial.asked.patients != patient
    drawn = draws(asked, trial.folds, trial.growth, len(trial.features.codes), trial.rng(2, patient), trial.repeats)
    if not drawn:
        return None
    batches = None if trial.batches is None else np.ascontiguousarray(trial.batches[:, rest])
    return finding(asked, hold_out(asked, kept(trial.features, rest), drawn, trial.growth, batches))


def in_threads(work: Callable[[int], Finding | None], numbers: range | list[int], workers: int) -> Iterator[Finding | None]:
    """The work for each number, in order. Threads do: compiled loops run without Python's lock, on one copy of the table."""
    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(work, numbers)


def share_at_least(null: Floats, observed: float) -> float:
    """(1 + relabellings that reach what was observed) / (1 + relabellings); NaN counts as not reached."""
    return NAN if np.isnan(observed) else float((1 + (null >= observed - 1e-12).sum()) / (1 + len(null)))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Null:
    """What relabelled patients gave, b of them. auc: (b,); agreement: (b, p) by rank; size: (b,) the largest not tied."""

    auc: Floats
    agreement: Floats
    size: Floats

    def p_of_agreement(self, found: Finding) -> Floats:
        """(p,) how often the feature of the same rank agrees as much: what a reader of the first ranks looks at."""
        ranks = np.argsort(-found.size, kind="stable")
        p = np.empty(len(ranks))
        for rank, feature in enumerate(ranks):
            p[feature] = share_at_least(self.agreement[:, rank], found.agreement[feature])
        return p

    def p_of_size(self, found: Finding) -> Floats:
        """(p,) how often the largest of the features that were not tied is as large, which allows for their number."""
        return np.array([share_at_least(self.size, size) for size in found.size])


def gathered(found: list[Finding], tied: tuple[int, ...] = ()) -> Null:
    return Null(
        auc=np.array([one.auc for one in found]),
        agreement=np.array([one.ranked_agreement for one in found]),
        size=np.array([np.delete(one.size, tied).max(initial=0.0) for one in found]),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Chance:
    """null: of no feature at all. agreement_p, size_p: (p,) of each feature. tied: those that others were tested beside."""

    null: Null
    agreement_p: Floats
    size_p: Floats
    tied: tuple[int, ...]


def chance(found: Finding, most_tied: int, null: Callable[[tuple[int, ...]], Null]) -> Chance:
    """The p values of all features. null: what relabelling gives with some features tied to the outcomes.

    One strong feature lets trees grow, and then they use others too, more than without any signal. So while the leading
    feature is above chance (p <= 0.05) it is tied to the outcomes and the others are tested again; the larger p stays.
    """
    first = null(())
    agreement, size = first.p_of_agreement(found), first.p_of_size(found)
    ranks = np.argsort(-found.size, kind="stable")
    most = min(most_tied, len(ranks) - 1)
    count = 0
    while count < most and size[ranks[count]] <= LEADING:
        count += 1
        tied, others = tuple(int(k) for k in ranks[:count]), ranks[count:]
        again = null(tied)
        agreement[others] = np.maximum(agreement[others], again.p_of_agreement(found)[others])
        size[others] = np.maximum(size[others], again.p_of_size(found)[others])
    return Chance(null=first, agreement_p=agreement, size_p=size, tied=tuple(int(k) for k in ranks[:count]))
