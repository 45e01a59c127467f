"""The full tables: each row is there, each number is that of the results, each dash has its reason."""

from __future__ import annotations

import math
from dataclasses import replace

import cohorts

from analysis.cohort.report_numbers import p_value
from analysis.cohort.report_tables import full_tables
from analysis.cohort.report_values import Sentences, TableBlock
from analysis.cohort.values import Endpoint, Folds, Results, Rule, Target


def table(results: Results, title: str) -> TableBlock:
    return next(block for block in full_tables(results) if isinstance(block, TableBlock) and block.title == title)


def test_every_feature_has_its_row_in_each_table() -> None:
    results = cohorts.usual()
    features = [column.name for column in results.table.columns]
    for title in (
        "Response, complete cases",
        "Response, unknown = non-responder",
        "OS, high against low",
        "PFS, further estimates",
    ):
        assert [row[0] for row in table(results, title).rows] == features


def test_the_p_values_are_those_of_the_results() -> None:
    results = cohorts.usual()
    told = table(results, "Response, complete cases")
    wanted = [(p_value(row.p), p_value(row.q)) for row in results.response if row.rule is Rule.COMPLETE]
    places = told.head.index("p"), told.head.index("q")
    assert [(row[places[0]], row[places[1]]) for row in told.rows] == wanted
    survival = table(results, "PFS, high against low")
    wanted_p = [p_value(s.row.logrank_p) for s in results.splits if s.row.endpoint is Endpoint.PFS]
    assert [row[survival.head.index("Log-rank p")] for row in survival.rows] == wanted_p


def test_a_dash_is_told_why() -> None:
    results = cohorts.usual()
    first, *rest = results.response
    bare = replace(first, p=math.nan, q=math.nan, hedges_g=math.nan, note="All values of a group are equal.")
    told = table(replace(results, response=(bare, *rest)), "Response, complete cases")
    assert told.rows[0][told.head.index("p")] == "–¹"
    assert told.footnotes[-1] == "¹ All values of a group are equal."


def test_units_stand_with_means_and_cuts() -> None:
    results = cohorts.usual()
    response = table(results, "Response, complete cases")
    units = {row[0]: row[response.head.index("Unit")] for row in response.rows}
    assert (units["MTV[FDG medullary concordant]"], units["sDmax[FDG]"], units["bmi"]) == ("ml", "1/m", "kg/m²")
    cuts = {row[0]: row[1] for row in table(results, "OS, high against low").rows}
    assert cuts["TLG[FDG medullary concordant]"].endswith(" g")
    assert cuts["sex"] == "yes"


def test_features_that_no_tree_used_are_counted() -> None:
    results = cohorts.small()
    rows = [row for row in results.trees.rows if row.target is Target.OS and row.folds is Folds.GROUPED]
    unused = sum(row.mean_abs_shap == 0 for row in rows)
    told = table(results, "Trees for OS, folds: grouped by patient")
    assert 0 < unused < 8
    assert len(told.rows) == 8 - unused
    assert told.footnotes[-1] == f"{unused} of 8 features were never used by a tree."


def test_trees_that_used_nothing_are_a_sentence() -> None:
    results = cohorts.small()
    rows = tuple(replace(row, mean_abs_shap=0.0, folds_used=0) for row in results.trees.rows)
    blocks = full_tables(replace(results, trees=replace(results.trees, rows=rows)))
    lines = [line for block in blocks if isinstance(block, Sentences) for line in block.lines]
    assert "Trees for OS, folds: grouped by patient: no tree used any of 8 features." in lines


def test_a_table_of_dashes_is_a_sentence() -> None:
    blocks = full_tables(cohorts.tiny())
    assert all(isinstance(block, Sentences) for block in blocks)
    assert isinstance(blocks[0], Sentences)
    assert blocks[0].lines == (
        "Response, complete cases: none of 42 features could be examined (Fewer than two values in a group).",
    )
