"""Which rows of the results a part of the report speaks of: by rule, endpoint and target; the leading ones; families."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.cohort.values import (
    CohortTable,
    Endpoint,
    Folds,
    Kind,
    ModelRow,
    ResponseRow,
    Results,
    RobustnessRow,
    Rule,
    Split,
    SurvivalRow,
    Target,
    TreeResults,
    TreeRow,
)

ALPHA, FALSE_DISCOVERY = 0.05, 0.1
STRIPS, CURVES = 6, 4  # leading features that are drawn one by one


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Tests that were made together: how many, how many have p < .05 and q < .1, and how many p < .05 chance alone gives."""

    tests: int
    small_p: int
    small_q: int

    @property
    def expected(self) -> float:
        return ALPHA * self.tests


def family(rows: Sequence[tuple[float, float]]) -> Family:
    """rows: p and q of each test; a missing p is no test."""
    known = [(p, q) for p, q in rows if not math.isnan(p)]
    return Family(
        tests=len(known),
        small_p=sum(p < ALPHA for p, _ in known),
        small_q=sum(q < FALSE_DISCOVERY for _, q in known),
    )


def rules(table: CohortTable) -> tuple[Rule, ...]:
    """Both rules, or one where every response is known and they are the same."""
    return tuple(Rule) if bool(np.isnan(table.response).any()) else (Rule.COMPLETE,)


def response_rows(results: Results, rule: Rule) -> tuple[ResponseRow, ...]:
    return tuple(row for row in results.response if row.rule is rule)


def response_family(results: Results, rule: Rule) -> Family:
    return family([(row.p, row.q) for row in response_rows(results, rule)])


def paper_leads(results: Results) -> bool:
    """Whether the settings make the paper's reading the main one."""
    return bool(results.settings.get("cohort", {}).get("preset") == "paper")


def main_rule(results: Results) -> Rule:
    """Complete cases; the paper's rule where the settings say so, or where only that was computed."""
    first, second = (Rule.PAPER, Rule.COMPLETE) if paper_leads(results) else (Rule.COMPLETE, Rule.PAPER)
    return first if response_rows(results, first) else second


def splits(results: Results, endpoint: Endpoint) -> tuple[Split, ...]:
    """The splits of an endpoint from the day of therapy on; landmark analyses stand apart."""
    return tuple(s for s in results.splits if s.row.endpoint is endpoint and s.row.landmark_days == 0)


def landmarks(results: Results) -> tuple[SurvivalRow, ...]:
    return tuple(s.row for s in results.splits if s.row.landmark_days > 0)


def survival_family(results: Results, endpoint: Endpoint) -> Family:
    return family([(s.row.logrank_p, s.row.q) for s in splits(results, endpoint)])


def endpoints(results: Results) -> tuple[Endpoint, ...]:
    """The endpoints that the table follows or that have splits."""
    return tuple(e for e in Endpoint if e in results.table.follow_up or splits(results, e))


def leading_response(results: Results) -> tuple[ResponseRow, ...]:
    """The measured features with the smallest p for response; a yes/no column has no values to draw."""
    numbers = {column.name for column in results.table.columns if column.kind is Kind.NUMBER}
    known = [r for r in response_rows(results, main_rule(results)) if r.feature in numbers and not math.isnan(r.p)]
    return tuple(sorted(known, key=lambda row: row.p)[:STRIPS])


def leading_splits(results: Results, endpoint: Endpoint) -> tuple[Split, ...]:
    """The splits with the smallest log-rank p."""
    known = [s for s in splits(results, endpoint) if not math.isnan(s.row.logrank_p)]
    return tuple(sorted(known, key=lambda split: split.row.logrank_p)[:CURVES])


def tree_rows(trees: TreeResults, target: Target, folds: Folds) -> tuple[TreeRow, ...]:
    """In the order of their ranks."""
    return tuple(sorted((r for r in trees.rows if r.target is target and r.folds is folds), key=lambda row: row.rank))


def models(trees: TreeResults, target: Target) -> tuple[ModelRow, ...]:
    return tuple(row for row in trees.models if row.target is target)


def main_folds(results: Results, target: Target) -> Folds:
    """Grouped by patient; the paper's where the settings say so, or where only those were computed."""
    first, second = (Folds.PAPER, Folds.GROUPED) if paper_leads(results) else (Folds.GROUPED, Folds.PAPER)
    known = {row.folds for row in results.trees.rows if row.target is target}
    known |= {row.folds for row in models(results.trees, target)}
    return second if known == {second} else first


Finding = tuple[str, str]  # feature and outcome


def findings(rows: Sequence[RobustnessRow]) -> dict[Finding, tuple[RobustnessRow, ...]]:
    """The rows of each finding: first those whose main interval excludes no effect, else in the order they came."""
    gathered: dict[Finding, list[RobustnessRow]] = {}
    for row in rows:
        gathered.setdefault((row.feature, row.outcome), []).append(row)
    ordered = sorted(gathered.items(), key=lambda item: not excludes_no_effect(item[1]))
    return {finding: tuple(own) for finding, own in ordered}


def excludes_no_effect(rows: Sequence[RobustnessRow]) -> bool:
    """Whether the interval of the main analysis leaves out 0 (Hedges g) or 1 (a ratio)."""
    main = next((row for row in rows if row.chosen), None)
    if main is None or math.isnan(main.low) or math.isnan(main.high):
        return False
    none = 1.0 if main.measure == "rate ratio" else 0.0
    return not main.low <= none <= main.high
