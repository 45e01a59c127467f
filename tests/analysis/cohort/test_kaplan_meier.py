"""Kaplan-Meier and restricted means beside R's survfit, and by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from r_survival import TABLES, ask
from scipy import stats

from analysis.cohort.kaplan_meier import kaplan_meier, rmst_difference
from analysis.cohort.values import FollowUp

BY_R = """
fit <- survfit(Surv(t, e) ~ 1, d, conf.type = "log-log")
say(time = fit$time, surv = fit$surv, low = fit$lower, high = fit$upper, at_risk = fit$n.risk)
g <- as.numeric(d$x > median(d$x)); if (length(unique(d$x)) == 2) g <- as.numeric(d$x == max(d$x))
h <- min(max(d$t[g == 1]), max(d$t[g == 0])); m <- summary(survfit(Surv(t, e) ~ g, d), rmean = h)$table
say(g = g, horizon = h, rmean = m[, "rmean"], se = m[, "se(rmean)"], middle = m[, "median"])
"""


def curves(told):
    follow, high = told.follow_up, told["g"] == 1
    return [kaplan_meier(FollowUp(days=follow.days[g], event=follow.event[g])) for g in (high, ~high)]


@pytest.fixture(scope="module")
def by_r(program: Callable[[str], str]):
    return ask(program("Rscript"), BY_R)


@pytest.mark.peer("Rscript")
@pytest.mark.parametrize("table", TABLES)
def test_curve_and_log_log_band_are_those_of_survfit(by_r, table: str) -> None:
    told = by_r[table]
    curve = kaplan_meier(told.follow_up)
    assert (curve.days[0], curve.survival[0], curve.at_risk[0]) == (0, 1, told.x.size)
    np.testing.assert_array_equal(curve.days[1:], told["time"])
    np.testing.assert_array_equal(curve.at_risk[1:], told["at_risk"])
    np.testing.assert_allclose(curve.survival[1:], told["surv"], rtol=1e-12, atol=1e-12)
    for ours, theirs in ((curve.low[1:], told["low"]), (curve.high[1:], told["high"])):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)


@pytest.mark.peer("Rscript")
@pytest.mark.parametrize("table", TABLES)
def test_restricted_mean_and_its_error_are_those_of_survfit(by_r, table: str) -> None:
    told = by_r[table]
    horizon, difference = rmst_difference(*curves(told))
    variances = told["se"][::-1] ** 2
    groups = [told["g"] == 1, told["g"] == 0]
    events = np.array([(told.follow_up.event[g] & (told.follow_up.days[g] <= horizon)).sum() for g in groups])
    theirs = stats.t(df=variances.sum() ** 2 / (variances**2 / (events - 1)).sum())  # the t is ours, the errors are R's
    assert horizon == told["horizon"]
    assert difference.value == pytest.approx(told["rmean"][1] - told["rmean"][0], rel=1e-9)
    assert difference.high - difference.low == pytest.approx(2 * theirs.ppf(0.975) * np.sqrt(variances.sum()), rel=1e-8)
    assert difference.p == pytest.approx(2 * theirs.sf(abs(difference.value) / np.sqrt(variances.sum())), rel=1e-8)


@pytest.mark.peer("Rscript")
@pytest.mark.parametrize("table", sorted(set(TABLES) - {"tied"}))
def test_medians_are_those_of_survfit_where_survival_is_never_one_half(by_r, table: str) -> None:
    told = by_r[table]
    for curve, theirs in zip(curves(told), told["middle"][::-1], strict=True):
        if not np.isclose(curve.survival, 0.5, atol=1e-9).any():
            np.testing.assert_equal(curve.median_days, theirs)


def test_an_event_on_day_zero_makes_a_second_point_there() -> None:
    curve = kaplan_meier(FollowUp(days=np.array([0.0, 4.0]), event=np.array([True, False])))
    np.testing.assert_array_equal(curve.days, [0, 0, 4])
    np.testing.assert_array_equal(curve.survival, [1, 0.5, 0.5])
    np.testing.assert_array_equal(curve.censored, [4])


def test_two_constant_curves_have_no_error() -> None:
    alive = kaplan_meier(FollowUp(days=np.array([5.0, 9.0]), event=np.array([False, False])))
    horizon, difference = rmst_difference(alive, alive)
    assert (horizon, difference.value) == (9, 0)
    assert np.isnan([difference.low, difference.p]).all()
