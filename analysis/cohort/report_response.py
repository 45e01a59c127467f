"""The part on response: every feature in responders and non-responders, and the leading ones value by value."""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise

from analysis.cohort.figures import dots_sentence
from analysis.cohort.figures_forest import ROWS_ON_A_PAGE
from analysis.cohort.figures_response import response_forest, strips
from analysis.cohort.report_numbers import counted, fixed
from analysis.cohort.report_rows import leading_response, main_rule, response_family, response_rows, rules
from analysis.cohort.report_summary import family_sentence, response_counts
from analysis.cohort.report_trees import tree_blocks
from analysis.cohort.report_values import Block, FigureBlock, Section, Sentences
from analysis.cohort.values import ResponseRow, Results, Rule, Target

_RULES = {
    Rule.COMPLETE: "cycles of unknown response are left out",
    Rule.PAPER: "an unknown response counts as none, as in the paper",
}


def response_section(results: Results) -> Section:
    """Figure 2 of the paper, for this cohort."""
    blocks = (*_tests(results), *tree_blocks(results, Target.RESPONSE))
    return Section(key="response", title="Response (Figure 2 of the paper, for this cohort)", blocks=blocks)


def _tests(results: Results) -> tuple[Block, ...]:
    found = response_family(results, main_rule(results))
    counts = f"Response in this cohort: {response_counts(results)}."
    if found.tests == 0:
        return (Sentences(lines=(f"{counts} No feature could be compared between responders and non-responders.",)),)
    told = [f"{_name(rule, results)} ({_RULES[rule]})" for rule in rules(results.table)]
    lines = (
        counts,
        *(family_sentence(name, response_family(results, rule)) for name, rule in zip(told, rules(results.table), strict=True)),
    )
    return (Sentences(lines=lines), *forests(results), *_strips(results))


def _name(rule: Rule, results: Results) -> str:
    return "All cycles" if len(rules(results.table)) == 1 else str(rule).capitalize()


def parts(n: int) -> tuple[slice, ...]:
    """As few slices of n rows as a page each can hold, of nearly equal length."""
    count = max(1, math.ceil(n / ROWS_ON_A_PAGE))
    ends = [round(place * n / count) for place in range(count + 1)]
    return tuple(slice(start, stop) for start, stop in pairwise(ends))


def forests(results: Results) -> tuple[FigureBlock, ...]:
    """The forest of all features, in as many figures as need be."""
    rule = main_rule(results)
    rows = response_rows(results, rule)
    both = len(rules(results.table)) > 1
    other = next(each for each in Rule if each is not rule) if both else None
    others = response_rows(results, other) if other is not None else ()
    second = f" Open diamonds: {_RULES[other]}." if other is not None else ""
    pages = parts(len(rows))
    return tuple(
        FigureBlock(
            label="",
            name="response-forest" + (f"-{place + 1}" if len(pages) > 1 else ""),
            title="Every feature in responders and non-responders"
            + (f", part {place + 1} of {len(pages)}" if len(pages) > 1 else ""),
            alt=_alt(rows[page]),
            shows=(
                "Standardised difference (Hedges g) of each feature with its 95 % interval, in the order of the table; "
                f"filled: {_RULES[rule]}.{second}"
            ),
            shows_not=(
                "It does not show which feature matters: no interval is widened for the number of features, and yes/no "
                "columns have no g (see the full table)."
            ),
            draw=partial(response_forest, rows[page], others),
        )
        for place, page in enumerate(pages)
    )


def _alt(rows: tuple[ResponseRow, ...]) -> str:
    known = [row for row in rows if not math.isnan(row.hedges_g)]
    if not known:
        return f"Forest plot of {counted(len(rows), 'feature')}, none of them with an estimate."
    low, high = min(known, key=lambda row: row.hedges_g), max(known, key=lambda row: row.hedges_g)
    return (
        f"Forest plot of Hedges g for {counted(len(rows), 'feature')}, from {fixed(low.hedges_g)} ({low.feature}) to "
        f"{fixed(high.hedges_g)} ({high.feature}). Every number stands in the full table of response."
    )


def _strips(results: Results) -> tuple[Block, ...]:
    rows = leading_response(results)
    if not rows:
        return ()
    tests = response_family(results, main_rule(results)).tests
    columns = [results.table.column(row.feature) for row in rows]
    return (
        FigureBlock(
            label="",
            name="response-leading",
            title=f"The {counted(len(rows), 'measured feature')} with the smallest p, value by value",
            alt=(
                f"Strip plots by response of {', '.join(row.feature for row in rows)}, with the mean of each group and its "
                "interval."
            ),
            shows=(
                "Each dot is a cycle; the line is the mean of its group and the whisker the 95 % t interval of that mean "
                f"(three values or more).{dots_sentence(len(results.table))}"
            ),
            shows_not=(
                f"It does not show typical features: taking the smallest of {tests} p values is selection, and a second "
                "cycle of a patient is drawn like another patient."
            ),
            draw=partial(strips, columns, rows, results.table.response),
        ),
    )
