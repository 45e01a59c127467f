"""The summary at the head of the report: a sentence for each question, written from the numbers and no stronger than they."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from analysis.cohort.report_numbers import counted, fixed, interval, joined, p_value
from analysis.cohort.report_rows import (
    ALPHA,
    Family,
    endpoints,
    excludes_no_effect,
    findings,
    main_folds,
    models,
    response_family,
    rules,
    survival_family,
    tree_rows,
)
from analysis.cohort.values import ModelRow, Results, RobustnessRow, Target

_NAMED = 6  # findings that are named one by one


def summary(results: Results) -> tuple[str, ...]:
    """One sentence each: tests and chance, trees and their null, settings."""
    return (*_tests(results), *_trees(results), *_settings(results))


def response_counts(results: Results) -> str:
    """ "11 responders, 11 non-responders, 2 unknown"."""
    response = results.table.response
    counts = (int((response == 1).sum()), int((response == 0).sum()), int(np.isnan(response).sum()))
    return f"{counted(counts[0], 'responder')}, {counted(counts[1], 'non-responder')}, {counts[2]} unknown"


def family_sentence(name: str, found: Family) -> str:
    """How many tests, how many small p, how many of them chance alone gives."""
    small = f"{found.small_p} {'has' if found.small_p == 1 else 'have'} p < .05"
    chance = f"about {fixed(found.expected, 1)} would by chance alone"
    return f"{name}: of {counted(found.tests, 'test')} {small}, where {chance}; q < .1 in {found.small_q}."


def _tests(results: Results) -> Iterator[str]:
    any_test = False
    for rule in rules(results.table):
        found = response_family(results, rule)
        any_test |= found.tests > 1
        name = "Response" if len(rules(results.table)) == 1 else f"Response, {rule}"
        yield family_sentence(name, found) if found.tests else f"{name}: no test was possible ({response_counts(results)})."
    for endpoint in endpoints(results):
        found = survival_family(results, endpoint)
        any_test |= found.tests > 1
        events = int(results.table.follow_up[endpoint].event.sum()) if endpoint in results.table.follow_up else 0
        no_test = f"{endpoint}: no test was possible ({counted(events, 'event')})."
        yield family_sentence(f"{endpoint}, high against low", found) if found.tests else no_test
    if not endpoints(results):
        yield "Survival: the cohort has no follow-up."
    if any_test:
        yield (
            "The features depend on each other, so small p values come together; those that lead were chosen because their "
            "p is "
            "small, and their effects are likely to be smaller than they look here."
        )


def _trees(results: Results) -> Iterator[str]:
    if not results.trees.models:
        yield "Trees: none were grown."
    for target in Target:
        folds = main_folds(results, target)
        for row in models(results.trees, target):
            if row.folds is folds:
                yield f"{_model(row)}{_agreement(results, target)}."


def _model(row: ModelRow) -> str:
    name = f"Trees for {row.target} ({row.folds})"
    if math.isnan(row.auc):
        return f"{name}: not judged. {row.note}".rstrip(". ")
    measure = "C index" if row.target is Target.OS else "AUC"
    words = f"{name}: held-out {measure} {interval(row.auc, row.auc_low, row.auc_high)}"
    if math.isnan(row.null_p):
        return f"{words}, without a null to hold it against"
    told = (
        "not told apart from relabelled patients"
        if row.null_p >= ALPHA
        else "more than relabelled patients give, in this cohort alone"
    )
    return f"{words}, null p {p_value(row.null_p)}, {told}"


def _agreement(results: Results, target: Target) -> str:
    tested = [row for row in tree_rows(results.trees, target, main_folds(results, target)) if not math.isnan(row.null_p)]
    if not tested:
        return ""
    small = sum(row.null_p < ALPHA for row in tested)
    return (
        f"; signs agree beyond their null (p < .05) in {small} of {counted(len(tested), 'feature')}, by chance about "
        f"{fixed(ALPHA * len(tested), 1)}"
    )


def _settings(results: Results) -> Iterator[str]:
    others = {(row.setting, row.choice) for row in results.robustness if not row.chosen}
    if not others:
        yield "Settings: no other setting was tried, so nothing is known of how far the findings depend on them."
        return
    tried = f"Settings: {counted(len(others), 'other choice')} {'was' if len(others) == 1 else 'were'} tried"
    sure = {finding: _others(rows) for finding, rows in findings(results.robustness).items() if excludes_no_effect(rows)}
    sure = {finding: rows for finding, rows in sure.items() if rows}
    if not sure:
        yield f"{tried}, none of them on a finding whose interval excludes no effect in the main analysis."
        return
    stay = [f"{feature} ({outcome})" for (feature, outcome), rows in sure.items() if all(row.survives for row in rows)]
    named = f": {joined(stay)}" if 0 < len(stay) <= _NAMED else ""
    yield (
        f"{tried}; of {counted(len(sure), 'finding')} that they touch and whose interval excludes no effect in the main "
        f"analysis, {len(stay)} {'does' if len(stay) == 1 else 'do'} so in the same direction under all of them{named}."
    )


def _others(rows: Sequence[RobustnessRow]) -> list[RobustnessRow]:
    return [row for row in rows if not row.chosen]
