"""What the same trees find where nothing is to be found, and without each patient in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from analysis.cohort.tree_arrays import Features, Floats
from analysis.cohort.tree_fit import Growth, HeldOut, draws, hold_out, kept
from analysis.cohort.tree_labels import Question, relabelled
from analysis.cohort.tree_scores import auc
from analysis.cohort.values import NAN, Folds


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trial:
    """One way to examine a question: with which features, folds and trees, over how many repeats, from which seed."""

    asked: Question
    features: Features
    folds: Folds
    growth: Growth
    repeats: int
    seed: tuple[int, ...]

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
    rng = trial.rng(1, number)
    asked = relabelled(trial.asked, rng)
    drawn = draws(asked, trial.folds, trial.growth, len(trial.features.codes), rng, trial.repeats)
    return finding(asked, hold_out(asked, trial.features, drawn, trial.growth))


def without(trial: Trial, patient: int) -> Finding | None:
    """The trial without one patient; None where the rest is too few."""
    asked, rest = trial.asked.without(patient), trial.asked.patients != patient
    drawn = draws(asked, trial.folds, trial.growth, len(trial.features.codes), trial.rng(2, patient), trial.repeats)
    if not drawn:
        return None
    return finding(asked, hold_out(asked, kept(trial.features, rest), drawn, trial.growth))


def in_threads(work: Callable[[int], Finding | None], numbers: range | list[int], workers: int) -> Iterator[Finding | None]:
    """The work for each number, in order. Threads do: compiled loops run without Python's lock, on one copy of the table."""
    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(work, numbers)


def share_at_least(null: Floats, observed: float) -> float:
    """(1 + relabellings that reach what was observed) / (1 + relabellings); NaN counts as not reached."""
    return NAN if np.isnan(observed) else float((1 + (null >= observed - 1e-12).sum()) / (1 + len(null)))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Null:
    """What relabelled patients gave, b of them. auc: (b,); agreement: (b, p) by rank; size: (b,) the largest of any feature."""

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
        """(p,) how often the largest of all features is as large, which allows for the number of features."""
        return np.array([share_at_least(self.size, size) for size in found.size])


def gathered(found: list[Finding]) -> Null:
    return Null(
        auc=np.array([one.auc for one in found]),
        agreement=np.array([one.ranked_agreement for one in found]),
        size=np.array([one.size.max(initial=0.0) for one in found]),
    )
