"""Figures of the response: every feature as a forest, the leading ones value by value."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from analysis.cohort.figures import HIGH, INK, LOW, SOFT, box, canvas, drawn, shortened, styled, swarm_offsets
from analysis.cohort.figures_forest import Mark, Panel, forest, mark_words
from analysis.cohort.report_numbers import MISSING, p_value, unit_of
from analysis.cohort.values import Column, ResponseRow
from analysis.space import FloatArray

_GROUPS = ((1.0, "responders", HIGH), (0.0, "non-responders", LOW), (math.nan, "unknown", SOFT))


def response_forest(rows: Sequence[ResponseRow], others: Sequence[ResponseRow]) -> Figure:
    """Hedges g of each row; others: the same features by the other rule, or nothing."""
    second = {row.feature: row for row in others}
    marks = []
    for row in rows:
        other = second.get(row.feature)
        pair = [Mark(value=row.hedges_g, low=row.g_low, high=row.g_high)]
        pair += [Mark(value=other.hedges_g, low=other.g_low, high=other.g_high, open=True)] if other is not None else []
        marks.append(tuple(pair))
    panel = Panel(
        title="",
        label="Hedges g with 95 % interval (no unit)",
        sides=("higher in non-responders", "higher in responders"),
        heads=("g (95 % interval)", "p", "q"),
        marks=tuple(marks),
        words=tuple((mark_words(pair[0]), p_value(row.p), p_value(row.q)) for pair, row in zip(marks, rows, strict=True)),
    )
    return forest([row.feature for row in rows], [panel])


@styled()
def strips(columns: Sequence[Column], rows: Sequence[ResponseRow], response: FloatArray) -> Figure:
    """Every value of up to six features by response; for responders and others also the mean with its 95 % t interval."""
    high = math.ceil(len(columns) / 3)
    figure = canvas(2.45 * high + 0.1)
    short = shortened([column.name for column in columns], 42)
    for place, (column, row) in enumerate(zip(columns, rows, strict=True)):
        down, across = divmod(place, 3)
        left = 0.5 + across * 2.28
        bottom = 0.1 + (high - 1 - down) * 2.45
        axes = box(figure, (left, bottom + 0.38, left + 1.72, bottom + 2.0))
        _strip(axes, column, response)
        axes.set_title(
            f"{short[column.name]}\np {p_words(row.p)}, q {p_words(row.q)}",
            loc="left",
            pad=5,
            linespacing=1.3,
            size=6.2,
            x=-0.2,
        )
    return figure


def p_words(p: float) -> str:
    """ "= .03", "< .001", "–"."""
    words = p_value(p)
    return words if words[0] in f"<>{MISSING}" else f"= {words}"


def _strip(axes: Axes, column: Column, response: FloatArray) -> None:
    groups = [(words, colour, column.values[_members(response, label)]) for label, words, colour in _GROUPS]
    groups = [(words, colour, values[~np.isnan(values)]) for words, colour, values in groups]
    groups = [group for place, group in enumerate(groups) if group[2].size or place < 2]
    known = np.concatenate([values for *_, values in groups])
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    span = (high - low) or 1.0
    axes.set_ylim(low - 0.08 * span, high + 0.08 * span)
    axes.set_xlim(-0.55, len(groups) - 0.45)
    for place, (_, colour, values) in enumerate(groups):
        dots = values[drawn(values)]
        offsets = swarm_offsets(dots / span * 14, 0.55, 1.2) / 4.2
        axes.plot(place + offsets, dots, "o", ms=3.4, mfc=colour, mec="white", mew=0.4, alpha=0.75, zorder=2)
        if place < 2:
            _mean(axes, place, values)
    axes.set_xticks(
        range(len(groups)), [f"{words}\nn = {values.size}" for words, _, values in groups], size=6 if len(groups) < 3 else 5.4
    )
    axes.tick_params(axis="x", length=0)
    axes.set_ylabel(unit_of(column.unit) or "no unit", labelpad=2)


def _members(response: FloatArray, label: float) -> np.ndarray:
    return np.isnan(response) if math.isnan(label) else response == label


def _mean(axes: Axes, place: int, values: FloatArray) -> None:
    if values.size < 3:
        return
    mean = float(values.mean())
    axes.plot([place - 0.3, place + 0.3], [mean, mean], color=INK, lw=1.4, zorder=3, solid_capstyle="butt")
    half = float(stats.t.ppf(0.975, values.size - 1) * values.std(ddof=1) / math.sqrt(values.size))
    axes.errorbar(place, mean, yerr=half, color=INK, lw=0.9, capsize=3, capthick=0.9, zorder=3)
