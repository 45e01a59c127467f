"""The ratio of two event rates with its exact conditional interval: what the paper calls HR."""

from __future__ import annotations

import math

from scipy import stats

from analysis.cohort.values import NAN, Estimate, FollowUp
from analysis.space import BoolArray


def rate_ratio(follow_up: FollowUp, high: BoolArray) -> Estimate:
    """Events per day at risk of the rows in high (n,) over that of the others."""
    events = [int(follow_up.event[group].sum()) for group in (high, ~high)]
    days = [float(follow_up.days[group].sum()) for group in (high, ~high)]
    return exact_rate_ratio((events[0], events[1]), (days[0], days[1]))


def exact_rate_ratio(events: tuple[int, int], days: tuple[float, float]) -> Estimate:
    """(d1 / T1) / (d0 / T0). Given d1 + d0, d1 is binomial: Clopper and Pearson's interval of its part, p / (1 - p) T0 / T1.

    p: twice the smaller tail, at most 1, so that p < .05 just where the interval excludes 1. Without an event in the first
    group ratio and low end are 0; without one in the second, ratio and high end are infinite. NaN without any event, or
    where a group has no time at risk.
    """
    (d1, d0), (t1, t0) = events, days
    if d1 + d0 == 0 or min(t1, t0) <= 0:
        return Estimate(name="rate ratio", value=NAN, n=d1 + d0, method="exact conditional")
    low = float(stats.beta.ppf(0.025, d1, d0 + 1)) if d1 else 0.0
    high = float(stats.beta.ppf(0.975, d1 + 1, d0)) if d0 else 1.0
    value = d1 / d0 * t0 / t1 if d0 else math.inf
    chance = t1 / (t1 + t0)
    tail = min(float(stats.binom.cdf(d1, d1 + d0, chance)), float(stats.binom.sf(d1 - 1, d1 + d0, chance)))
    return Estimate(
        name="rate ratio",
        value=value,
        low=low / (1 - low) * t0 / t1,
        high=high / (1 - high) * t0 / t1 if d0 else math.inf,
        p=min(1.0, 2 * tail),
        n=d1 + d0,
        method="exact conditional",
    )
