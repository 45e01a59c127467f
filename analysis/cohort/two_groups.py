"""Two groups compared: Welch's difference, Hedges' g, two proportions, the odds ratio, and Benjamini and Hochberg's q.

Every interval is of 95 %. What is undefined is NaN. `first` and `second` are (n,) values without NaN; differences are first
minus second. Nothing here knows that rows of one patient belong together.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from analysis.cohort.values import NAN, Estimate
from analysis.space import BoolArray, FloatArray

Z = float(stats.norm.ppf(0.975))
SMALLEST_EXPECTED = 5.0  # below it Pearson's chi-square is not trusted, and Fisher's exact test is taken (SCIENCE.md 5)


def welch(first: FloatArray, second: FloatArray) -> Estimate:
    """Difference of means, interval and p by Welch's t with Satterthwaite's degrees of freedom."""
    n = first.size + second.size
    if min(first.size, second.size) < 2:
        return Estimate(name="difference of means", value=NAN, n=n, method="Welch")
    difference = float(first.mean() - second.mean())
    if first.var() + second.var() <= _rounding(first, second):
        return Estimate(name="difference of means", value=difference, n=n, method="Welch")
    tested = stats.ttest_ind(first, second, equal_var=False)
    interval = tested.confidence_interval(0.95)
    low, high, p = float(interval.low), float(interval.high), float(tested.pvalue)
    return Estimate(name="difference of means", value=difference, low=low, high=high, p=p, n=n, method="Welch")


def hedges_g(first: FloatArray, second: FloatArray) -> Estimate:
    """Standardised difference g = J d, d by the pooled SD, J = 1 - 3 / (4 m - 1), m = n1 + n0 - 2 (Hedges 1981).

    SE = sqrt(1 / n~ + g^2 / (2 (n1 + n0))), n~ = n1 n0 / (n1 + n0) (Hedges and Olkin 1985); the interval is g -+ 1.96 SE.
    """
    n1, n0 = first.size, second.size
    if min(n1, n0) < 2:
        return Estimate(name="Hedges g", value=NAN, n=n1 + n0)
    freedom = n1 + n0 - 2
    pooled = ((n1 - 1) * first.var(ddof=1) + (n0 - 1) * second.var(ddof=1)) / freedom
    if pooled <= _rounding(first, second):
        return Estimate(name="Hedges g", value=NAN, n=n1 + n0)
    g = (1.0 - 3.0 / (4.0 * freedom - 1.0)) * float(first.mean() - second.mean()) / math.sqrt(pooled)
    error = math.sqrt((n1 + n0) / (n1 * n0) + g * g / (2.0 * (n1 + n0)))
    return Estimate(name="Hedges g", value=g, low=g - Z * error, high=g + Z * error, n=n1 + n0, method="Hedges and Olkin")


def proportions(first: BoolArray, second: BoolArray) -> Estimate:
    """Difference of two proportions; Newcombe's hybrid score interval (1998, method 10); p by `table_test`.

    `method` is the name of the test: "chi-square" or "Fisher".
    """
    n1, n0 = first.size, second.size
    if min(n1, n0) == 0:
        return Estimate(name="difference of proportions", value=NAN, n=n1 + n0)
    p1, p0 = float(first.mean()), float(second.mean())
    (low1, high1), (low0, high0) = _wilson(p1, n1), _wilson(p0, n0)
    low = p1 - p0 - math.hypot(p1 - low1, high0 - p0)
    high = p1 - p0 + math.hypot(high1 - p1, p0 - low0)
    test, p = table_test(first, second)
    return Estimate(name="difference of proportions", value=p1 - p0, low=low, high=high, p=p, n=n1 + n0, method=test)


def table_test(first: BoolArray, second: BoolArray) -> tuple[str, float]:
    """Pearson's chi-square without continuity correction where every expected count is 5 or more, else Fisher's exact test.

    Fisher's two-sided p is the sum over all tables that are no likelier than the one seen, as in R. NaN where a margin is 0.
    """
    table = _table(first, second)
    if not (table.sum(axis=0).all() and table.sum(axis=1).all()):
        return "Fisher", NAN
    if float(stats.contingency.expected_freq(table).min()) >= SMALLEST_EXPECTED:
        return "chi-square", float(stats.chi2_contingency(table, correction=False).pvalue)
    return "Fisher", float(stats.fisher_exact(table).pvalue)


def odds_ratio(first: BoolArray, second: BoolArray) -> Estimate:
    """Odds of yes in first over second, Woolf's log interval; with a zero cell 1/2 is added to all four (Haldane, Anscombe).

    NaN where nobody, or everybody, is yes.
    """
    table = _table(first, second).astype(np.float64)
    n = int(table.sum())
    if not (table.sum(axis=0).all() and table.sum(axis=1).all()):
        return Estimate(name="odds ratio", value=NAN, n=n)
    cells = table if table.all() else table + 0.5
    log_ratio = math.log(cells[0, 0] * cells[1, 1] / (cells[0, 1] * cells[1, 0]))
    error = Z * math.sqrt(float((1.0 / cells).sum()))
    low, high = math.exp(log_ratio - error), math.exp(log_ratio + error)
    return Estimate(name="odds ratio", value=math.exp(log_ratio), low=low, high=high, n=n, method="Woolf")


def q_values(p: FloatArray) -> FloatArray:
    """Benjamini and Hochberg's adjusted p (n,) of all p that are not NaN; NaN stays NaN."""
    known = ~np.isnan(p)
    q = np.full(p.shape, NAN)
    if known.any():
        q[known] = stats.false_discovery_control(p[known], method="bh")
    return q


def _rounding(first: FloatArray, second: FloatArray) -> float:
    """A variance that is no more than what rounding makes of equal values."""
    return float((1e-12 * max(np.abs(first).max(), np.abs(second).max())) ** 2)


def _wilson(part: float, n: int) -> tuple[float, float]:
    """Wilson's score interval of a proportion."""
    middle = (part + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z * math.sqrt(part * (1 - part) / n + Z * Z / (4 * n * n)) / (1 + Z * Z / n)
    return middle - half, middle + half


def _table(first: BoolArray, second: BoolArray) -> FloatArray:
    """2 x 2 counts: rows first and second, columns yes and no."""
    return np.array([[group.sum(), (~group).sum()] for group in (first, second)], dtype=np.int64)
