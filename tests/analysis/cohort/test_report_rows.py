"""Which rows a part speaks of."""

from __future__ import annotations

import math
from dataclasses import replace

import cohorts

from analysis.cohort.report_rows import (
    excludes_no_effect,
    family,
    findings,
    landmarks,
    leading_response,
    leading_splits,
    main_folds,
    main_rule,
    rules,
    splits,
    tree_rows,
)
from analysis.cohort.values import Endpoint, Folds, Kind, Rule, Target, TreeResults


def test_a_family_counts_only_tests_that_were_made() -> None:
    found = family([(0.01, 0.05), (0.05, 0.1), (math.nan, math.nan), (0.049, 0.3)])
    assert (found.tests, found.small_p, found.small_q) == (3, 2, 1)
    assert found.expected == 0.05 * 3


def test_the_leading_features_have_the_smallest_p_and_are_numbers() -> None:
    results = cohorts.usual()
    numbers = {column.name for column in results.table.columns if column.kind is Kind.NUMBER}
    leading = leading_response(results)
    rest = [row.p for row in results.response if row.rule is Rule.COMPLETE and row.feature in numbers]
    assert [row.p for row in leading] == sorted(rest)[:6]
    known = [split.row.logrank_p for split in splits(results, Endpoint.PFS)]
    assert [split.row.logrank_p for split in leading_splits(results, Endpoint.PFS)] == sorted(known)[:4]


def test_landmark_rows_stand_apart() -> None:
    results = cohorts.usual()
    assert len(landmarks(results)) == 10
    assert all(split.row.landmark_days == 0 for split in splits(results, Endpoint.OS))
    assert len(splits(results, Endpoint.OS)) == 42


def test_rules_are_one_where_every_response_is_known() -> None:
    table = cohorts.usual().table
    assert rules(table) == tuple(Rule)
    assert rules(replace(table, response=(table.response == 1) * 1.0)) == (Rule.COMPLETE,)


def test_grouped_folds_come_first_where_there_are_both() -> None:
    results = cohorts.small()
    assert main_folds(results, Target.OS) is Folds.GROUPED
    paper = replace(results, trees=TreeResults(rows=tree_rows(results.trees, Target.OS, Folds.PAPER)))
    assert main_folds(paper, Target.OS) is Folds.PAPER
    assert [row.rank for row in tree_rows(results.trees, Target.OS, Folds.PAPER)] == list(range(1, 9))


def test_the_preset_of_the_paper_makes_its_reading_the_main_one() -> None:
    results = cohorts.small()
    assert main_rule(results) is Rule.COMPLETE
    paper = replace(results, settings={"cohort": {"preset": "paper"}})
    assert main_rule(paper) is Rule.PAPER
    assert main_folds(paper, Target.RESPONSE) is Folds.PAPER
    grouped = TreeResults(rows=tree_rows(results.trees, Target.OS, Folds.GROUPED))
    assert main_folds(replace(paper, trees=grouped), Target.OS) is Folds.GROUPED


def test_findings_that_exclude_no_effect_stand_first() -> None:
    row = cohorts.small().robustness[0]
    unsure = replace(row, feature="unsure", measure="Hedges g", low=-0.1, high=1.0, chosen=True)
    sure = replace(row, feature="sure", measure="rate ratio", low=1.1, high=4.0, chosen=True)
    assert list(findings([unsure, sure])) == [("sure", row.outcome), ("unsure", row.outcome)]
    assert not excludes_no_effect([replace(sure, chosen=False)])
    assert excludes_no_effect([replace(unsure, low=0.2)])
    assert not excludes_no_effect([replace(sure, measure="Hedges g", low=-4.0)])
