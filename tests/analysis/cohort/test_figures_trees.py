"""Figures of trees: dots are SHAP values, bars their means, bands the null."""

from __future__ import annotations

import math
from dataclasses import replace

import cohorts
import numpy as np
import pytest
from cohort_reports import figures
from figure_texts import cut_off, overlapping, shown

from analysis.cohort.figures_trees import performance, shap_ranks
from analysis.cohort.report_rows import models, tree_rows
from analysis.cohort.values import Folds, Target


@pytest.mark.parametrize("cohort", ["usual", "long", "small"])
@pytest.mark.parametrize("name", ["response-trees", "six-months-performance", "os-performance"])
def test_no_word_overlaps_or_is_cut(cohort: str, name: str) -> None:
    figure = figures(cohort)[name]
    assert overlapping(figure) == []
    assert cut_off(figure) == []


def test_dots_are_the_shap_values_and_bars_their_means() -> None:
    trees = cohorts.small().trees
    swarm = next(s for s in trees.swarms if s.target is Target.RESPONSE and s.folds is Folds.GROUPED)
    rows = tree_rows(trees, Target.RESPONSE, Folds.GROUPED)[:3]
    dots, bars, _ = shap_ranks(swarm, rows, ()).axes
    for row, drawn in zip(rows, dots.collections, strict=True):
        wanted = swarm.shap[:, swarm.features.index(row.feature)]
        assert np.asarray(drawn.get_offsets())[:, 0] == pytest.approx(wanted)
    assert [bar.get_width() for bar in bars.patches if bar.get_height() == 0.55] == [row.mean_abs_shap for row in rows]


def test_the_null_band_and_the_interval_are_those_of_the_row() -> None:
    row = models(cohorts.small().trees, Target.OS)[0]
    axes = performance([row], []).axes[0]
    assert (axes.patches[0].get_x(), axes.patches[0].get_width()) == pytest.approx((row.null_low, row.null_high - row.null_low))
    assert np.asarray(axes.lines[0].get_xdata()).tolist() == [row.auc_low, row.auc_high]


def test_a_model_without_numbers_draws_nothing_and_says_so() -> None:
    row = models(cohorts.small().trees, Target.OS)[0]
    nothing = {"auc": math.nan, "auc_low": math.nan, "auc_high": math.nan, "null_p": math.nan, "null_low": math.nan}
    figure = performance([replace(row, **nothing)], [])
    assert not figure.axes[0].patches
    assert "not judged" in [words for words, _ in shown(figure)]
