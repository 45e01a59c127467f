"""Responders against non-responders, one row a feature.

Rows are treatment cycles. Where a patient has several, the rows are not independent, and p is somewhat too small.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from analysis.cohort.two_groups import hedges_g, odds_ratio, proportions, q_values, welch
from analysis.cohort.values import CohortTable, Column, Kind, ResponseRow, Rule
from analysis.space import FloatArray


def response_rows(table: CohortTable, rule: Rule) -> tuple[ResponseRow, ...]:
    """Every column tested by itself, in the table's order; q over all p of this table.

    A number: means, Welch, Hedges' g. Yes/no: proportions, their difference with Newcombe's interval, chi-square or Fisher,
    the odds ratio. test is "none", and the note says why, where a group has fewer than two rows or nothing varies.
    """
    labels = table.labels(rule)
    rows = [_row(column, labels, rule) for column in table.columns]
    q = q_values(np.array([row.p for row in rows], dtype=np.float64))
    return tuple(replace(row, q=float(value)) for row, value in zip(rows, q, strict=True))


def _row(column: Column, labels: FloatArray, rule: Rule) -> ResponseRow:
    known = ~np.isnan(column.values) & ~np.isnan(labels)
    yes, no = (column.values[known & (labels == label)] for label in (1.0, 0.0))
    bare = _described(column, yes, no, rule)
    if note := _hindrance(column.kind, yes, no):
        return replace(bare, note=note)
    return _of_yes_no(bare, yes, no) if column.kind is Kind.YES_NO else _of_number(bare, yes, no)


def _described(column: Column, yes: FloatArray, no: FloatArray, rule: Rule) -> ResponseRow:
    """The row before any test: how many, and the means of the groups that are not empty."""
    row = ResponseRow(
        rule=rule, feature=column.name, unit=column.unit, test="none", n_responder=yes.size, n_nonresponder=no.size
    )
    if yes.size:
        row = replace(row, mean_responder=float(yes.mean()))
    return replace(row, mean_nonresponder=float(no.mean())) if no.size else row


def _hindrance(kind: Kind, yes: FloatArray, no: FloatArray) -> str:
    """Why there is no test, one sentence; empty where there is nothing in the way."""
    if min(yes.size, no.size) < 2:
        which = "responders" if yes.size < no.size else "non-responders"
        return f"Not tested: {min(yes.size, no.size)} {which} with a value, and at least 2 are needed."
    if np.ptp(np.concatenate([yes, no])) == 0:
        return "Not tested: every row has the same value."
    if kind is Kind.NUMBER and np.ptp(yes) == 0 and np.ptp(no) == 0:
        return "Not tested: the values do not vary within either group."
    return ""


def _of_number(bare: ResponseRow, yes: FloatArray, no: FloatArray) -> ResponseRow:
    difference, g = welch(yes, no), hedges_g(yes, no)
    return replace(
        bare,
        test="Welch",
        difference=difference.value,
        difference_low=difference.low,
        difference_high=difference.high,
        p=difference.p,
        hedges_g=g.value,
        g_low=g.low,
        g_high=g.high,
    )


def _of_yes_no(bare: ResponseRow, yes: FloatArray, no: FloatArray) -> ResponseRow:
    first, second = yes == 1, no == 1
    difference, ratio = proportions(first, second), odds_ratio(first, second)
    return replace(
        bare,
        test=difference.method,
        difference=difference.value,
        difference_low=difference.low,
        difference_high=difference.high,
        p=difference.p,
        odds_ratio=ratio.value,
        or_low=ratio.low,
        or_high=ratio.high,
    )
