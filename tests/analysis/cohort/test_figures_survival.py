"""Figures of survival: steps, bands, censored ticks and numbers at risk as the curves have them."""

from __future__ import annotations

import math

import cohorts
import numpy as np
import pytest
from cohort_reports import figures
from figure_texts import cut_off, overlapping, shown

from analysis.cohort.figures_survival import at_risk, kaplan_meier, rate_forest
from analysis.cohort.report_rows import leading_splits
from analysis.cohort.values import Endpoint, Split, SurvivalRow


@pytest.mark.parametrize("cohort", ["usual", "long", "small"])
def test_no_word_overlaps_or_is_cut(cohort: str) -> None:
    figure = figures(cohort)["os-curves"]
    assert overlapping(figure) == []
    assert cut_off(figure) == []


def test_numbers_at_risk_are_those_still_followed() -> None:
    """Freireich's 6-MP arm (21 patients): at risk as printed in Klein and Moeschberger, Survival Analysis, table 4.1."""
    days = np.array([6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35], dtype=float)
    event = np.array([1, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0], dtype=bool)
    curve = cohorts.curve_of("6-MP", days, event)
    printed = {6: 21, 7: 17, 10: 15, 13: 12, 16: 11, 22: 7, 23: 6}
    assert {day: at_risk(curve, day) for day in printed} == printed
    for day in (0, 1, 8, 12, 24, 32, 33, 35, 36):
        assert at_risk(curve, day) == int((days >= day).sum())


def test_the_curve_drawn_is_the_curve() -> None:
    split = leading_splits(cohorts.usual(), Endpoint.OS)[0]
    assert split.high is not None
    assert split.low is not None
    axes = kaplan_meier([split]).axes[0]
    steps = [line for line in axes.lines if line.get_drawstyle() == "steps-post"]
    for line, curve in zip(steps, (split.low, split.high), strict=True):
        drawn = dict(zip(np.asarray(line.get_xdata())[:-1], np.asarray(line.get_ydata())[:-1], strict=True))
        assert drawn == dict(zip(curve.days, curve.survival, strict=True))
    ticks = sorted(x for line in axes.lines if line.get_marker() == "|" for x in np.asarray(line.get_xdata()))
    assert ticks == sorted([*split.low.censored, *split.high.censored])


def test_what_stands_above_a_curve_comes_from_its_row() -> None:
    row = SurvivalRow(
        feature="TLG[FDG medullary concordant]",
        unit="g",
        endpoint=Endpoint.OS,
        cut=312.4,
        n_high=12,
        n_low=12,
        events_high=11,
        events_low=7,
        rate_ratio=3.94,
        rate_ratio_low=1.41,
        rate_ratio_high=11.7,
        logrank_p=0.0042,
        logrank_permuted_p=0.011,
        q=0.18,
    )
    days, event = np.array([10.0, 20, 30, 40]), np.array([True, True, False, True])
    split = Split(row=row, high=cohorts.curve_of("high", days, event), low=None)
    words = "\n".join(words for words, _ in shown(kaplan_meier([split])))
    assert "high: above 312 g; n/n 12/12, events 11/7" in words
    assert "log-rank p = .0042, permuted p = .011, q = .18" in words
    assert "rate ratio 3.9 (1.4 to 12)" in words  # the paper: 3.9 (1.4-11.7)


def test_a_lone_endpoint_has_its_ratios_in_figures_and_an_absent_row_a_dash() -> None:
    row = SurvivalRow(feature="a", unit="1", endpoint=Endpoint.OS, rate_ratio=2.0, rate_ratio_low=0.0, rate_ratio_high=math.inf)
    words = [words for words, _ in shown(rate_forest(["a", "b"], {Endpoint.OS: {"a": row}}))]
    assert "2.0 (0 to ∞)" in words
    assert words.count("–") == 5  # p and q of a, all three of b
