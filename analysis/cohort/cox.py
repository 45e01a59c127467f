"""Cox regression of one covariate: the hazard ratio by Cox and by Firth, and the test of proportional hazards.

Follow-up has no unknown days, x (n,) no NaN. Ties are Efron's, as in R's coxph. Rows are taken as independent.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy import optimize, stats

from analysis.cohort.partial_likelihood import RiskSets, terms
from analysis.cohort.values import NAN, Estimate, FollowUp
from analysis.space import FloatArray

Z = float(stats.norm.ppf(0.975))
FALL = float(stats.chi2.ppf(0.95, 1)) / 2  # of the log likelihood at the ends of a 95 % profile interval
STEPS, LONGEST_STEP, ENOUGH = 100, 2.0, 1e-10  # of Newton's method, in standard deviations of x
FARTHEST = 200.0  # standard deviations of log hazard to which an end of a profile interval is looked for


def cox(sets: RiskSets, x: FloatArray) -> Estimate:
    """Hazard ratio for one unit of x with Wald's interval and p, as R's coxph. NaN where the likelihood has no maximum.

    That is so without an event, where x does not vary, and where every event has the highest (or each the lowest) x of those
    at risk ("separated").
    """
    n = x.size
    if not sets.finite(x):
        return Estimate(name="hazard ratio", value=NAN, n=n, method="Cox")
    unit = float(x.std())

    def derivatives(b: float) -> tuple[float, float, float]:
        at = terms(sets, x / unit, b)
        return float(at.log.sum()), float(at.score.sum()), float(at.variance.sum())

    b = _maximum(derivatives)
    error = 1.0 / math.sqrt(derivatives(b)[2])
    low, value, high = np.exp(np.array([b - Z * error, b, b + Z * error]) / unit).tolist()
    p = float(2 * stats.norm.sf(abs(b) / error))
    return Estimate(name="hazard ratio", value=value, low=low, high=high, p=p, n=n, method="Cox")


def firth(sets: RiskSets, x: FloatArray) -> Estimate:
    """Hazard ratio that maximises log likelihood + log(information) / 2 (Firth 1993; Heinze and Schemper 2001).

    Interval: where twice the penalised log likelihood has fallen by 3.84; p: by its fall to a ratio of 1. Finite wherever x
    varies among those at risk, also for separated data; else NaN.
    """
    n = x.size
    if not sets.varies(x):
        return Estimate(name="hazard ratio", value=NAN, n=n, method="Firth")
    unit = float(x.std())

    def derivatives(b: float) -> tuple[float, float, float]:
        at = terms(sets, x / unit, b)
        information = float(at.variance.sum())
        if information <= 0:
            return -math.inf, NAN, NAN
        score = float(at.score.sum() + at.third.sum() / information / 2)
        return float(at.log.sum()) + math.log(information) / 2, score, information

    b = _maximum(derivatives)
    top = derivatives(b)[0]
    ends = [_end(lambda at: derivatives(at)[0] - top + FALL, b, sign) for sign in (-1.0, 1.0)]
    low, value, high = np.exp(np.array([ends[0], b, ends[1]]) / unit).tolist()
    p = float(stats.chi2.sf(max(0.0, 2 * (top - derivatives(0.0)[0])), 1))
    return Estimate(name="hazard ratio", value=value, low=low, high=high, p=p, n=n, method="Firth")


def proportional_hazards_p(follow_up: FollowUp, sets: RiskSets, x: FloatArray, hazard_ratio: float) -> float:
    """p of the score test that the hazard ratio of x does not change with time; NaN where it cannot be tested.

    Time is 1 - Kaplan-Meier just before each event, as in R's cox.zph(transform = "km") from survival 3.0 on: the score of
    x g(t) at the fitted coefficient, with its variance given that coefficient (Grambsch and Therneau 1994, exact form).
    """
    if not math.isfinite(hazard_ratio) or hazard_ratio <= 0:
        return NAN
    at = terms(sets, x, math.log(hazard_ratio))
    deaths = np.bincount(sets.tie)
    at_risk = follow_up.days.size - np.searchsorted(np.sort(follow_up.days), np.unique(follow_up.days[sets.event]))
    time = (1.0 - np.concatenate([[1.0], np.cumprod(1.0 - deaths / at_risk)[:-1]]))[sets.tie]
    time = time - time.mean()
    cross = float((time * at.variance).sum())
    variance = float((time**2 * at.variance).sum()) - cross**2 / float(at.variance.sum())
    if variance <= 1e-12 * float(at.variance.sum()):
        return NAN
    return float(stats.chi2.sf(float((time * at.score).sum()) ** 2 / variance, 1))


def _maximum(derivatives: Callable[[float], tuple[float, float, float]]) -> float:
    """Where a function with this value, slope and (expected) curvature is greatest: Newton's method from 0, steps halved."""
    b, (value, slope, information) = 0.0, derivatives(0.0)
    for _ in range(STEPS):
        step = float(np.clip(slope / information, -LONGEST_STEP, LONGEST_STEP))
        while abs(step) > ENOUGH and derivatives(b + step)[0] < value:
            step /= 2
        if abs(step) <= ENOUGH:
            break
        b += step
        value, slope, information = derivatives(b)
    return b


def _end(above: Callable[[float], float], middle: float, sign: float) -> float:
    """Where `above`, positive in the middle, becomes 0 on this side."""
    width = 0.5
    while above(middle + sign * width) > 0:
        width *= 2
        if width > FARTHEST:
            return sign * math.inf
    near, far = middle + sign * width / 2 * (width > 0.5), middle + sign * width
    return float(optimize.brentq(above, near, far, xtol=1e-10))
