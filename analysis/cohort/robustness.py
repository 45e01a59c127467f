"""Which findings survive another choice of settings: each leading result again, one setting changed at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from analysis.cohort.clinical import Clinical
from analysis.cohort.combat import brought_together
from analysis.cohort.rereading import Choice, changed, choices
from analysis.cohort.response_tests import response_rows
from analysis.cohort.settings import CohortSettings
from analysis.cohort.survival_tests import SurvivalSettings, splits
from analysis.cohort.table import Joined, tabulated
from analysis.cohort.values import CohortTable, Endpoint, ResponseRow, RobustnessRow, Rule, SurvivalRow

LEADING = 3  # of each outcome at least so many are looked at, more where more have p < .05
MOST = 12
G, RATIO = "Hedges g", "rate ratio"
RESPONSE = "response"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One leading result of the main analysis: a feature, what it is compared by, and the estimate with its interval."""

    feature: str
    outcome: str
    measure: str
    estimate: float
    low: float
    high: float
    p: float
    n: int

    @property
    def none(self) -> float:
        """The value that means no effect."""
        return 0.0 if self.measure == G else 1.0

    @property
    def decided(self) -> bool:
        """Whether its interval excludes no effect."""
        return self.low > self.none or self.high < self.none

    def survives(self, other: Finding) -> bool:
        """Whether another reading has the same direction, and still excludes no effect where this one does."""
        if math.isnan(other.estimate) or (other.estimate > self.none) != (self.estimate > self.none):
            return False
        return other.decided or not self.decided


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What robustness is asked of."""

    joined: Joined
    clinical: Clinical
    settings: CohortSettings
    table: CohortTable


def robustness_rows(question: Question, leading: Sequence[Finding]) -> tuple[RobustnessRow, ...]:
    """Each leading finding under every choice that changes its feature, and response under either rule for the unknown.

    Where features are to be harmonised: also with ComBat over all rows, which are not held out here.
    """
    rows: list[RobustnessRow] = []
    pairs = [cycle.pair for cycle in question.joined.cycles]
    for choice in choices(pairs, question.settings):
        rows += _under(choice, question, leading)
    rows += _by_rule(question, leading)
    rows += _by_batch(question, leading) if question.settings.harmonise else ()
    return tuple(rows)


def _under(choice: Choice, question: Question, leading: Sequence[Finding]) -> Iterator[RobustnessRow]:
    pairs = [cycle.pair for cycle in question.joined.cycles]
    others = [choice.reread(pair) for pair in pairs]
    differs = changed(pairs, others)
    asked = [finding for finding in leading if choice.chosen or differs.get(finding.feature, False)]
    if not asked:
        return
    cycles = tuple(replace(cycle, pair=pair) for cycle, pair in zip(question.joined.cycles, others, strict=True))
    table = tabulated(replace(question.joined, cycles=cycles), question.clinical, question.settings)
    for main in asked:
        yield _row(choice.setting, choice.choice, main, _again(main, table, question.settings.rule), chosen=choice.chosen)


def _by_rule(question: Question, leading: Sequence[Finding]) -> Iterator[RobustnessRow]:
    for rule in Rule:
        for main in leading:
            if main.outcome == RESPONSE:
                other = _again(main, question.table, rule)
                yield _row("unknown response", rule.value, main, other, chosen=rule is question.settings.rule)


def _by_batch(question: Question, leading: Sequence[Finding]) -> Iterator[RobustnessRow]:
    together = brought_together(question.table, question.settings.harmonise)
    for main in leading:
        tables = {"as measured": question.table, "harmonised (ComBat)": together}
        before, after = (table.column(main.feature).values for table in tables.values())
        if np.array_equal(before, after, equal_nan=True):
            continue
        for choice, table in tables.items():
            other = _again(main, table, question.settings.rule)
            yield _row(question.settings.harmonise, choice, main, other, chosen=table is question.table)


def _row(setting: str, choice: str, main: Finding, other: Finding, *, chosen: bool) -> RobustnessRow:
    return RobustnessRow(
        setting=setting,
        choice=choice,
        chosen=chosen,
        feature=main.feature,
        outcome=main.outcome,
        measure=main.measure,
        estimate=other.estimate,
        low=other.low,
        high=other.high,
        p=other.p,
        n=other.n,
        survives=main.survives(other),
    )


def _again(main: Finding, table: CohortTable, rule: Rule) -> Finding:
    """The same question of another table."""
    one = replace(table, columns=(table.column(main.feature),))
    if main.outcome == RESPONSE:
        return of_response(response_rows(one, rule)[0])
    quick = SurvivalSettings(landmark_days=0, permutations=1, resamples=1)
    rows = [split.row for split in splits(one, quick)]
    return of_survival(next(row for row in rows if row.endpoint == main.outcome and row.landmark_days == 0))


def of_response(row: ResponseRow) -> Finding:
    """A row of response.csv as a finding."""
    return Finding(
        feature=row.feature,
        outcome=RESPONSE,
        measure=G,
        estimate=row.hedges_g,
        low=row.g_low,
        high=row.g_high,
        p=row.p,
        n=row.n_responder + row.n_nonresponder,
    )


def of_survival(row: SurvivalRow) -> Finding:
    """A row of survival.csv as a finding."""
    return Finding(
        feature=row.feature,
        outcome=row.endpoint.value,
        measure=RATIO,
        estimate=row.rate_ratio,
        low=row.rate_ratio_low,
        high=row.rate_ratio_high,
        p=row.logrank_p,
        n=row.n_high + row.n_low,
    )


def leading_findings(response: Sequence[ResponseRow], survival: Sequence[SurvivalRow], rule: Rule) -> tuple[Finding, ...]:
    """The results with the smallest p of response and of each endpoint: all below .05, three at least and twelve at most."""
    found = _smallest([of_response(row) for row in response if row.rule is rule and not math.isnan(row.hedges_g)])
    for endpoint in Endpoint:
        rows = [row for row in survival if row.endpoint is endpoint and row.landmark_days == 0]
        found += _smallest([of_survival(row) for row in rows if not math.isnan(row.rate_ratio)])
    return tuple(found)


def _smallest(findings: Sequence[Finding]) -> list[Finding]:

    known = sorted((finding for finding in findings if not math.isnan(finding.p)), key=lambda finding: finding.p)
    below = sum(finding.p < 0.05 for finding in known)
    return known[: min(max(below, LEADING), MOST)]
