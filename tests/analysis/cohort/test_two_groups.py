"""Two groups beside R's t.test, chisq.test, fisher.test and p.adjust, and beside published examples."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from r_survival import ask
from scipy import stats

from analysis.cohort.two_groups import hedges_g, odds_ratio, proportions, q_values, table_test, welch

ONE = {"one": "d <- data.frame(t = 1, e = 1, x = 1)"}
FIRST, SECOND = np.array([4.2, 5.0, 3.1, 6.6, 4.4]), np.array([3.0, 2.2, 4.1, 3.3, 2.9, 7.5, 1.0])
# Newcombe, Stat Med 1998;17:873, table II, method 10.
NEWCOMBE = [
    ((56, 70), (48, 80), (0.0524, 0.3339)),
    ((9, 10), (3, 10), (0.1705, 0.8090)),
    ((6, 7), (2, 7), (0.0582, 0.8062)),
    ((5, 56), (0, 29), (-0.0381, 0.1926)),
    ((0, 10), (0, 20), (-0.1611, 0.2775)),
    ((0, 10), (0, 10), (-0.2775, 0.2775)),
    ((10, 10), (0, 20), (0.6791, 1.0)),
    ((10, 10), (0, 10), (0.6075, 1.0)),
]
TABLES = [((8, 12), (5, 14)), ((3, 8), (1, 12)), ((0, 6), (4, 9)), ((40, 60), (20, 70)), ((11, 11), (2, 13))]


def yes_of(n: tuple[int, int]) -> np.ndarray:
    return np.arange(n[1]) < n[0]


def listed(values: np.ndarray) -> str:
    return f"c({', '.join(map(str, values))})"


@pytest.mark.peer("Rscript")
def test_welch_is_that_of_t_test(program: Callable[[str], str]) -> None:
    question = f"w <- t.test({listed(FIRST)}, {listed(SECOND)}); say(ci = w$conf.int, p = w$p.value)"
    told = ask(program("Rscript"), question, ONE)["one"]
    found = welch(FIRST, SECOND)
    assert found.value == pytest.approx(FIRST.mean() - SECOND.mean())
    np.testing.assert_allclose([found.low, found.high, found.p], [*told["ci"], *told["p"]], rtol=1e-10)


@pytest.mark.peer("Rscript")
def test_counts_are_tested_as_by_chisq_test_or_fisher_test(program: Callable[[str], str]) -> None:
    cells = {f"{a} {b}": np.array([a[0], b[0], a[1] - a[0], b[1] - b[0]]) for a, b in TABLES}
    question = """m <- matrix(d$x, 2); e <- suppressWarnings(chisq.test(m, correct = FALSE))
    say(least = min(e$expected), pearson = e$p.value, fisher = fisher.test(m)$p.value)"""
    asked = {name: f"d <- data.frame(t = 1, e = 1, x = {listed(cell)})" for name, cell in cells.items()}
    told = ask(program("Rscript"), question, asked)
    for first, second in TABLES:
        theirs, (test, p) = told[f"{first} {second}"], table_test(yes_of(first), yes_of(second))
        assert test == ("chi-square" if theirs["least"][0] >= 5 else "Fisher")
        assert p == pytest.approx(theirs["pearson" if test == "chi-square" else "fisher"][0], rel=1e-7)


@pytest.mark.peer("Rscript")
def test_q_is_that_of_p_adjust(program: Callable[[str], str]) -> None:
    p = np.array([0.04, 0.001, 0.3, 0.04, 0.9, 0.02])
    told = ask(program("Rscript"), f"say(q = p.adjust({listed(p)}, 'BH'))", ONE)["one"]
    with_gap = np.insert(p, 2, np.nan)
    np.testing.assert_allclose(np.delete(q_values(with_gap), 2), told["q"], rtol=1e-12)
    assert np.isnan(q_values(with_gap)[2])
    assert np.isnan(q_values(np.full(3, np.nan))).all()
    assert q_values(np.zeros(0)).size == 0


@pytest.mark.parametrize(("first", "second", "interval"), NEWCOMBE)
def test_difference_of_proportions_has_newcombes_published_interval(first, second, interval) -> None:
    found = proportions(yes_of(first), yes_of(second))
    assert found.value == pytest.approx(first[0] / first[1] - second[0] / second[1])
    np.testing.assert_allclose([found.low, found.high], interval, atol=5.1e-5)


def test_hedges_g_by_its_formula_written_out() -> None:
    """n 5 and 7, so m = 10 and J = 1 - 3 / 39; moments by the sums of squares."""
    ss = ((FIRST - FIRST.mean()) ** 2).sum() + ((SECOND - SECOND.mean()) ** 2).sum()
    g = (36 / 39) * (FIRST.mean() - SECOND.mean()) / math.sqrt(ss / 10)
    error = math.sqrt(12 / 35 + g**2 / 24)
    found = hedges_g(FIRST, SECOND)
    np.testing.assert_allclose([found.value, found.low, found.high], [g, g - 1.959964 * error, g + 1.959964 * error], rtol=1e-6)


@pytest.mark.parametrize(("first", "second"), [((141, 561), (928, 14453)), ((8, 12), (5, 14)), ((3, 8), (1, 12))])
def test_odds_ratio_is_scipys_sample_odds_ratio(first, second) -> None:
    """The first is hay fever and eczema of Bland and Altman (BMJ 2000;320:1468), 4.89."""
    table = [[first[0], first[1] - first[0]], [second[0], second[1] - second[0]]]
    theirs = stats.contingency.odds_ratio(table, kind="sample")
    interval = theirs.confidence_interval(0.95)
    found = odds_ratio(yes_of(first), yes_of(second))
    np.testing.assert_allclose([found.value, found.low, found.high], [theirs.statistic, *interval], rtol=1e-10)
    assert first[0] != 141 or round(found.value, 2) == 4.89


def test_a_zero_cell_gets_one_half_in_every_cell() -> None:
    found = odds_ratio(yes_of((0, 6)), yes_of((4, 9)))
    assert found.value == pytest.approx(0.5 * 5.5 / (6.5 * 4.5))
    width = math.sqrt(1 / 0.5 + 1 / 6.5 + 1 / 4.5 + 1 / 5.5)
    assert math.log(found.high / found.value) == pytest.approx(1.959963984540054 * width)


def test_what_is_undefined_is_nan() -> None:
    one, two, same = np.array([1.0]), np.array([1.0, 2.0]), np.array([0.1, 0.1, 0.1])
    assert np.isnan([welch(one, two).p, hedges_g(one, two).value, welch(same, same + 0.2).p, hedges_g(same, same).value]).all()
    nobody = np.zeros(4, dtype=bool)
    assert np.isnan(
        [odds_ratio(nobody, nobody).value, table_test(nobody, nobody)[1], proportions(nobody[:0], nobody).value]
    ).all()
