"""Figures of response: every value is drawn, means with SciPy's interval."""

from __future__ import annotations

import cohorts
import numpy as np
import pytest
from cohort_reports import figures
from figure_texts import cut_off, overlapping, shown
from scipy import stats

from analysis.cohort.figures_response import strips
from analysis.cohort.report_rows import leading_response
from analysis.cohort.values import Column, ResponseRow, Rule


@pytest.mark.parametrize("cohort", ["usual", "long", "small"])
def test_no_word_overlaps_or_is_cut(cohort: str) -> None:
    figure = figures(cohort)["response-leading"]
    assert overlapping(figure) == []
    assert cut_off(figure) == []


def test_every_known_value_is_a_dot() -> None:
    results = cohorts.usual()
    axes = figures("usual")["response-leading"].axes
    for row, panel in zip(leading_response(results), axes, strict=True):
        dots = np.concatenate([np.asarray(line.get_ydata()) for line in panel.lines if line.get_marker() == "o"])
        values = results.table.column(row.feature).values
        assert sorted(dots) == sorted(values[~np.isnan(values)])


def test_means_bear_the_interval_of_a_t_test() -> None:
    """SciPy's one-sample t test gives the interval."""
    values = np.array([3.0, 4.5, 5.0, 7.5, 1.0, 2.0, 2.5, 8.0])
    response = np.array([1.0, 1, 1, 1, 0, 0, 0, np.nan])
    row = ResponseRow(rule=Rule.COMPLETE, feature="f", unit="ml", test="Welch", n_responder=4, n_nonresponder=3, p=0.04)
    panel = strips([Column(name="f", values=values, unit="ml")], [row], response).axes[0]
    whiskers = [segment for bars in panel.containers for segment in bars.lines[2][0].get_segments()]
    assert len(whiskers) == 2
    for group, segment in zip((values[:4], values[4:7]), whiskers, strict=True):
        wanted = stats.ttest_1samp(group, 0.0).confidence_interval(0.95)
        assert segment[:, 1] == pytest.approx([wanted.low, wanted.high])


def test_groups_too_small_for_an_interval_have_none() -> None:
    values, response = np.array([3.0, 4.0, 5.0, 6.0]), np.array([1.0, 1, 0, 0])
    row = ResponseRow(rule=Rule.COMPLETE, feature="f", unit="1", test="Welch", n_responder=2, n_nonresponder=2)
    figure = strips([Column(name="f", values=values)], [row], response)
    assert not figure.axes[0].containers
    assert {"responders\nn = 2", "non-responders\nn = 2", "no unit"} <= {words for words, _ in shown(figure)}
