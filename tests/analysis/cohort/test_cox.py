"""Cox, Firth and proportional hazards beside R's coxph and cox.zph.

R has no Firth here. Its own log likelihood and information at any coefficient, penalised and maximised in R, are the peer.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from r_survival import TABLES, ask
from scipy import optimize

from analysis.cohort.cox import cox, firth, proportional_hazards_p
from analysis.cohort.partial_likelihood import RiskSets
from analysis.cohort.values import FollowUp

BY_R = """
fit <- coxph(Surv(t, e) ~ x, d, control = coxph.control(eps = 1e-12, iter.max = 50)); s <- summary(fit)
say(cox = s$conf.int[c(1, 3, 4)], p = s$coefficients[5], zph = cox.zph(fit, transform = "km")$table[1, "p"])
"""
PENALISED = """
d$x <- d$x / sd(d$x)
at <- function(b) suppressWarnings(coxph(Surv(t, e) ~ x, d, init = b, control = coxph.control(iter.max = 0)))
pl <- function(b) { f <- at(b); f$loglik[2] - log(f$var[1]) / 2 }
top <- optimize(pl, c(-12, 12), maximum = TRUE, tol = 1e-9)
fall <- function(b) pl(b) - top$objective + qchisq(.95, 1) / 2
low <- uniroot(fall, c(top$maximum - 12, top$maximum), tol = 1e-9)$root
high <- uniroot(fall, c(top$maximum, top$maximum + 12), tol = 1e-9)$root
say(b = c(top$maximum, low, high), p = pchisq(2 * (top$objective - pl(0)), 1, lower.tail = FALSE))
"""
SEPARATED = {
    "separated": "d <- data.frame(t = 1:8, e = c(T, T, T, F, F, F, T, F), x = c(1, 1, 1, 0, 0, 0, 0, 0)); d$e[7] <- FALSE",
    "one event": "d <- data.frame(t = 1:12, e = 1:12 == 3, x = c(0, 0, 1, 0, 1, 0, 1, 0, 1, 0, 0, 1))",
    "no number": "d <- data.frame(t = 1:6, e = c(T, T, T, F, F, F), x = c(9.1, 7.5, 6, 2, 1, 0.5))",
}
SMALL = {name: TABLES[name] for name in ("lung, sex", "ovarian, rx", "ovarian, age", "veteran, karno", "tied")} | SEPARATED


@pytest.fixture(scope="module")
def by_r(program: Callable[[str], str]):
    return ask(program("Rscript"), BY_R)


@pytest.fixture(scope="module")
def penalised(program: Callable[[str], str]):
    return ask(program("Rscript"), PENALISED, SMALL)


@pytest.mark.peer("Rscript")
@pytest.mark.parametrize("table", TABLES)
def test_hazard_ratio_interval_and_p_are_those_of_coxph(by_r, table: str) -> None:
    told = by_r[table]
    found = cox(RiskSets.of(told.follow_up), told.x)
    np.testing.assert_allclose([found.value, found.low, found.high], told["cox"], rtol=1e-7)
    assert found.p == pytest.approx(told["p"][0], rel=1e-5)


@pytest.mark.peer("Rscript")
@pytest.mark.parametrize("table", TABLES)
def test_proportional_hazards_are_those_of_cox_zph(by_r, table: str) -> None:
    told = by_r[table]
    sets = RiskSets.of(told.follow_up)
    assert proportional_hazards_p(told.follow_up, sets, told.x, told["cox"][0]) == pytest.approx(told["zph"][0], rel=1e-6)


@pytest.mark.peer("Rscript")
@pytest.mark.parametrize("table", SMALL)
def test_firth_is_the_maximum_of_rs_own_penalised_likelihood(penalised, table: str) -> None:
    told = penalised[table]
    found = firth(RiskSets.of(told.follow_up), told.x / told.x.std(ddof=1))
    np.testing.assert_allclose(np.log([found.value, found.low, found.high]), told["b"], rtol=1e-5, atol=1e-5)
    assert found.p == pytest.approx(told["p"][0], rel=1e-5)


def brute(follow: FollowUp, x: np.ndarray, b: float) -> float:
    """Minus the penalised log likelihood, event by event in loops, for days that are all different."""
    log, information = 0.0, 0.0
    for i in np.flatnonzero(follow.event):
        at_risk = x[follow.days >= follow.days[i]]
        part = np.exp(b * (at_risk - at_risk.max())) / np.exp(b * (at_risk - at_risk.max())).sum()
        log += b * (x[i] - at_risk.max()) - np.log(np.exp(b * (at_risk - at_risk.max())).sum())
        information += (part * (at_risk - (part * at_risk).sum()) ** 2).sum()
    return -log - np.log(information) / 2


@pytest.mark.parametrize("seed", range(8))
def test_firth_by_brute_force(seed: int) -> None:
    generator = np.random.default_rng(seed)
    follow = FollowUp(days=generator.exponential(100, 15), event=generator.random(15) < 0.6)
    x = generator.normal(size=15) if seed % 2 else (generator.random(15) < 0.5).astype(float)
    best = optimize.minimize_scalar(lambda b: brute(follow, x, b), bounds=(-15, 15), options={"xatol": 1e-10})
    found = firth(RiskSets.of(follow), x)
    assert np.log(found.value) == pytest.approx(best.x, abs=1e-5)
    for end in (found.low, found.high):
        assert brute(follow, x, np.log(end)) - best.fun == pytest.approx(3.841458820694124 / 2, abs=1e-6)


@pytest.mark.parametrize("sign", [-1, 1])
def test_separated_data_have_no_cox_estimate_and_a_finite_firth(sign: int) -> None:
    follow = FollowUp(days=np.arange(1.0, 9), event=np.arange(8) < 3)
    sets, x = RiskSets.of(follow), sign * (np.arange(8) < 3).astype(float)
    assert np.isnan(cox(sets, x).value)
    found = firth(sets, x)
    assert 0 < found.low < found.value < found.high < np.inf
    assert (found.value > 1) == (sign > 0)


def test_high_over_low_is_the_inverse_of_low_over_high() -> None:
    generator = np.random.default_rng(3)
    follow = FollowUp(days=generator.integers(1, 9, 24).astype(float), event=generator.random(24) < 0.8)
    sets, high = RiskSets.of(follow), (np.arange(24) % 3 == 0).astype(float)
    for method in (cox, firth):
        one, other = method(sets, high), method(sets, 1 - high)
        np.testing.assert_allclose([one.value, one.low, one.high], [1 / other.value, 1 / other.high, 1 / other.low], rtol=1e-6)


@pytest.mark.parametrize(
    ("days", "event", "x"), [([], [], []), ([3], [1], [2]), ([3, 4], [0, 0], [1, 2]), ([3, 4], [0, 1], [1, 2])]
)
def test_no_information_is_nan(days, event, x) -> None:
    follow = FollowUp(days=np.array(days, dtype=float), event=np.array(event, dtype=bool))
    sets, x = RiskSets.of(follow), np.array(x, dtype=float)
    assert np.isnan([cox(sets, x).value, firth(sets, x).value, proportional_hazards_p(follow, sets, x, np.nan)]).all()
