"""The matrix of findings and settings."""

from __future__ import annotations

from collections.abc import Iterator

import cohorts
import numpy as np
import pytest
from cohort_reports import figures
from figure_texts import cut_off, overlapping

from analysis.cohort.figures_robustness import MOST_CHOICES, robustness_matrix
from analysis.cohort.values import RobustnessRow


@pytest.mark.parametrize("cohort", ["usual", "long", "small"])
def test_no_word_overlaps_or_is_cut(cohort: str) -> None:
    assert overlapping(figures(cohort)["robustness"]) == []
    assert cut_off(figures(cohort)["robustness"]) == []


def many() -> Iterator[RobustnessRow]:
    """As many choices as a figure may hold, with long words, of one finding."""
    for place in range(MOST_CHOICES):
        about = {
            "setting": f"setting {place // 5}",
            "choice": f"a rather long choice, number {place}",
            "chosen": place % 5 == 0,
        }
        numbers = {"estimate": 1.0, "low": 0.5, "high": 2.0, "p": 0.2, "n": 20, "survives": place % 2 == 0}
        yield RobustnessRow(
            **about, feature="TLC[CXCR4 extramedullary discordant]", outcome="PFS", measure="Hedges g", **numbers
        )


def test_as_many_choices_as_a_figure_holds() -> None:
    rows = tuple(many())
    figure = robustness_matrix(rows, [(rows[0].feature, rows[0].outcome)])
    assert overlapping(figure) == []
    assert cut_off(figure) == []


@pytest.mark.parametrize("choices", [1, 2, 6])
def test_a_narrow_matrix_has_its_legend_beside_the_settings(choices: int) -> None:
    rows = tuple(many())[:choices]
    figure = robustness_matrix(rows, [(rows[0].feature, rows[0].outcome)])
    assert overlapping(figure) == []
    assert cut_off(figure) == []


def test_dots_and_crosses_stand_where_findings_survive_and_fail() -> None:
    rows = cohorts.small().robustness
    order = list(dict.fromkeys((row.feature, row.outcome) for row in rows))
    choices = list(dict.fromkeys((row.setting, row.choice) for row in rows))
    axes = robustness_matrix(rows, order).axes[0]
    for marker, survives in (("o", True), ("x", False)):
        drawn = {
            (int(np.asarray(p.get_xdata())[0]), int(np.asarray(p.get_ydata())[0]))
            for p in axes.lines
            if p.get_marker() == marker
        }
        wanted = {
            (choices.index((r.setting, r.choice)), order.index((r.feature, r.outcome))) for r in rows if r.survives is survives
        }
        assert drawn == wanted
