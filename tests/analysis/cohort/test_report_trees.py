"""What is told of trees."""

from __future__ import annotations

import math
from dataclasses import replace

import cohorts

from analysis.cohort.report_trees import six_month_section, tree_blocks
from analysis.cohort.report_values import FigureBlock, Sentences
from analysis.cohort.values import Target, TreeResults


def test_rows_positives_and_rows_left_out_are_told_for_both_ways_of_folding() -> None:
    first = six_month_section(cohorts.usual()).blocks[0]
    assert isinstance(first, Sentences)
    assert first.lines == (
        "Trees for 6-month survival, rows held out one by one as in the paper: 22 cycles, of them 12 deaths within six months; "
        "2 left out without a label.",
        "Trees for 6-month survival, patients held out whole: 22 cycles, of them 12 deaths within six months; "
        "2 left out without a label.",
    )


def test_a_target_without_trees_is_a_sentence() -> None:
    blocks = tree_blocks(replace(cohorts.small(), trees=TreeResults()), Target.OS)
    assert blocks == (Sentences(lines=("No trees were grown for OS in this cohort.",)),)


def test_trees_that_could_not_be_judged_have_no_figure_of_how_well_they_do() -> None:
    trees = cohorts.small().trees
    models = tuple(replace(row, auc=math.nan, note="One class alone.") for row in trees.models)
    blocks = tree_blocks(replace(cohorts.small(), trees=replace(trees, models=models)), Target.RESPONSE)
    assert [block.name for block in blocks if isinstance(block, FigureBlock)] == ["response-trees"]
    assert isinstance(blocks[0], Sentences)
    assert blocks[0].lines[0].endswith("One class alone.")


def test_trees_that_used_nothing_have_no_ranks() -> None:
    trees = cohorts.small().trees
    rows = tuple(replace(row, mean_abs_shap=0.0, folds_used=0) for row in trees.rows)
    blocks = tree_blocks(replace(cohorts.small(), trees=replace(trees, rows=rows)), Target.RESPONSE)
    assert [block.name for block in blocks if isinstance(block, FigureBlock)] == ["response-performance"]
