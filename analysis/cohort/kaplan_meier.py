"""Kaplan-Meier curves, and the difference of restricted mean survival."""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from analysis.cohort.values import NAN, Curve, Estimate, FollowUp

Z = float(stats.norm.ppf(0.975))


def kaplan_meier(follow_up: FollowUp, name: str = "") -> Curve:
    """The product-limit estimate with Greenwood's variance on the log-log scale, at every day on which something happens.

    As R's survfit(conf.type = "log-log"): the band is NaN while survival is 1 and where it is 0. An event on day 0 makes a
    second point on day 0. follow_up without unknown days, at least one row.
    """
    days, index = np.unique(follow_up.days, return_inverse=True)
    deaths = np.bincount(index, weights=follow_up.event, minlength=days.size)
    left = np.bincount(index, minlength=days.size)
    at_risk = follow_up.days.size - np.concatenate([[0], np.cumsum(left)[:-1]])
    survival = np.cumprod(1.0 - deaths / at_risk)
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = np.cumsum(deaths / (at_risk * (at_risk - deaths)))
        shift = Z * np.sqrt(variance) / np.log(survival)
        low, high = survival ** np.exp(-shift), survival ** np.exp(shift)
    inside = (survival > 0) & (survival < 1)
    return Curve(
        name=name,
        days=np.concatenate([[0.0], days]),
        survival=np.concatenate([[1.0], survival]),
        low=np.concatenate([[NAN], np.where(inside, low, NAN)]),
        high=np.concatenate([[NAN], np.where(inside, high, NAN)]),
        at_risk=np.concatenate([[follow_up.days.size], at_risk]).astype(np.int64),
        censored=np.sort(follow_up.days[~follow_up.event]),
        n=follow_up.days.size,
        events=int(follow_up.event.sum()),
    )


def rmst_difference(high: Curve, low: Curve) -> tuple[float, Estimate]:
    """The horizon in days, and restricted mean survival of high less that of low up to it, in days.

    The horizon is the smaller of the two groups' longest follow-up. Variance of each mean, as in R's survfit and survRM2:
    Greenwood's, integrated: the sum over event days t of (area under the curve from t to the horizon)^2 d / (n (n - d)). Its
    error is itself rough where events are few, so interval and p are by Student's t, with Satterthwaite's degrees of freedom
    from events - 1 of each group; R takes the normal distribution. NaN where neither mean has a variance.
    """
    horizon, n = float(min(high.days[-1], low.days[-1])), high.n + low.n
    means, variances, events = np.array([_restricted(curve, horizon) for curve in (high, low)]).T
    difference, variance = float(means[0] - means[1]), float(variances.sum())
    if variance == 0:
        return horizon, Estimate(name="RMST difference", value=difference, n=n, unit="d")
    freedom = variance**2 / float((variances**2 / np.maximum(events - 1, 1)).sum())
    error = math.sqrt(variance)
    half, p = error * float(stats.t.ppf(0.975, freedom)), float(2 * stats.t.sf(abs(difference) / error, freedom))
    ends = {"low": difference - half, "high": difference + half}
    return horizon, Estimate(name="RMST difference", value=difference, **ends, p=p, n=n, unit="d", method="Welch's t")


def _restricted(curve: Curve, horizon: float) -> tuple[float, float, float]:
    """Mean survival up to the horizon in days, its variance, and the events until then."""
    inside = curve.days <= horizon
    days, survival, at_risk = curve.days[inside], curve.survival[inside], curve.at_risk[inside]
    areas = survival * np.diff(days, append=horizon)
    after = np.cumsum(areas[::-1])[::-1]  # the area from each day to the horizon
    before = np.concatenate([[1.0], survival[:-1]])
    deaths = np.rint(at_risk * (1.0 - np.divide(survival, before, out=np.ones_like(before), where=before > 0)))
    left = at_risk - deaths
    hazard = np.divide(deaths, at_risk * left, out=np.zeros_like(after), where=left > 0)  # nobody left: no area either
    return float(after[0]), float((after**2 * hazard).sum()), float(deaths.sum())
