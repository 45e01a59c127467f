"""Cox's partial likelihood of one covariate with Efron's ties, and its derivatives, in one pass over the sorted rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.cohort.values import FollowUp
from analysis.space import FloatArray

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RiskSets:
    """Who is at risk at each of the e events.

    order: (n,) rows from the longest follow-up to the shortest, so that a risk set is a beginning of it. size: (e,) rows at
    risk. event: (e,) the row that has it, in order of time. tie: (e,) which event day, 0, 1, ... part: (e,) Efron's l / d:
    what part of the weight of those who die on that day is taken away.
    """

    order: Indices
    size: Indices
    event: Indices
    tie: Indices
    part: FloatArray

    @classmethod
    def of(cls, follow_up: FollowUp) -> RiskSets:
        """The risk sets of follow-up without unknown days; events and censored of one day are all at risk on it."""
        ascending = np.argsort(follow_up.days, kind="stable")
        event = ascending[follow_up.event[ascending]]
        times, tie, deaths = np.unique(follow_up.days[event], return_inverse=True, return_counts=True)
        first = np.concatenate([[0], np.cumsum(deaths)[:-1]]).astype(np.int64)
        before = np.searchsorted(follow_up.days[ascending], times)
        part = (np.arange(event.size) - first[tie]) / deaths[tie]
        return cls(order=ascending[::-1], size=(ascending.size - before)[tie], event=event, tie=tie, part=part)

    def finite(self, x: FloatArray) -> bool:
        """Whether the likelihood of x has a maximum: some event is not the highest of its risk set, and some not the lowest."""
        if not self.event.size:
            return False
        highest = np.maximum.accumulate(x[self.order])[self.size - 1]
        lowest = np.minimum.accumulate(x[self.order])[self.size - 1]
        return bool((x[self.event] < highest).any() and (x[self.event] > lowest).any())

    def varies(self, x: FloatArray) -> bool:
        """Whether x varies within any risk set; if not, the data say nothing of its hazard."""
        return bool(self.event.size and np.ptp(x[self.order][: int(self.size.max())]) > 0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Terms:
    """Each event's part of the likelihood at one coefficient, all (e,): log likelihood, and x of the event less its mean in the
    risk set, the variance and the third central moment of x there."""

    log: FloatArray
    score: FloatArray
    variance: FloatArray
    third: FloatArray


def terms(sets: RiskSets, x: FloatArray, coefficient: float) -> Terms:
    """The terms of the partial likelihood of covariate x (n,) at this log hazard ratio per unit of x.

    x is counted from its end with the greatest hazard: weights are at most 1, and nothing cancels where the data are separated.
    """
    x = x - (x.max() if coefficient > 0 else x.min())
    weights = np.exp(coefficient * x)
    moments = []
    for _ in range(4):
        dying = np.bincount(sets.tie, weights=weights[sets.event])
        moments.append(np.cumsum(weights[sets.order])[sets.size - 1] - sets.part * dying[sets.tie])
        weights = weights * x
    whole, own = moments[0], x[sets.event]
    mean, second, third = (moment / whole for moment in moments[1:])
    return Terms(
        log=coefficient * own - np.log(whole),
        score=own - mean,
        variance=second - mean**2,
        third=third - 3 * second * mean + 2 * mean**3,
    )
