"""Figures of survival: Kaplan-Meier curves of the leading splits, and every rate ratio as a forest."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.cohort.figures import FAINT, HIGH, INK, LOW, SOFT, box, canvas, shortened, styled
from analysis.cohort.figures_forest import Mark, Panel, forest, mark_words
from analysis.cohort.figures_response import p_words
from analysis.cohort.report_numbers import interval, number, p_value, with_unit
from analysis.cohort.values import Curve, Endpoint, Split, SurvivalRow

_HIGH, _DEEP = 3.3, 0.02  # inches of a panel with its risk table, and below it


def rate_forest(names: Sequence[str], rows: dict[Endpoint, dict[str, SurvivalRow]]) -> Figure:
    """Rate ratios of each feature, a panel for each endpoint."""
    alone = len(rows) == 1  # a single panel has room for the ratio in figures
    panels = []
    for endpoint, known in rows.items():
        marks = [_mark(known.get(name)) for name in names]
        tests = [_tests(known.get(name)) for name in names]
        words = [(mark_words(mark, number), *test) for mark, test in zip(marks, tests, strict=True)] if alone else tests
        panel = Panel(
            title=str(endpoint),
            label="rate ratio, high over low",
            sides=("fewer events if high", "more events if high"),
            heads=("ratio (95 % interval)", "p", "q") if alone else ("p", "q"),
            marks=tuple((mark,) for mark in marks),
            words=tuple(words),
            none=1.0,
            ratio=True,
            limit=30.0,
        )
        panels.append(panel)
    return forest(names, panels)


def _mark(row: SurvivalRow | None) -> Mark:
    if row is None:
        return Mark(value=math.nan, low=math.nan, high=math.nan)
    return Mark(value=row.rate_ratio, low=row.rate_ratio_low, high=row.rate_ratio_high)


def _tests(row: SurvivalRow | None) -> tuple[str, ...]:
    return (p_value(row.logrank_p), p_value(row.q)) if row is not None else ("–", "–")


@styled()
def kaplan_meier(splits: Sequence[Split]) -> Figure:
    """Up to four splits of one endpoint, two beside each other, with bands, censored patients and numbers at risk."""
    down = math.ceil(len(splits) / 2)
    figure = canvas(_HIGH * down + _DEEP)
    short = shortened([split.row.feature for split in splits], 52)
    for place, split in enumerate(splits):
        left = 0.62 + 3.5 * (place % 2)
        bottom = _DEEP + _HIGH * (down - 1 - place // 2)
        axes = box(figure, (left, bottom + 0.82, left + 2.62, bottom + 2.45))
        _curves(axes, split)
        axes.annotate(
            f"{short[split.row.feature]}",
            (-0.17, 1),
            (0, 35),
            "axes fraction",
            "offset points",
            va="bottom",
            weight="bold",
            size=6.6,
        )
        axes.annotate(
            "\n".join(_told(split.row)),
            (-0.17, 1),
            (0, 6),
            "axes fraction",
            "offset points",
            va="bottom",
            size=6.1,
            linespacing=1.35,
        )
        _at_risk(axes, split)
    return figure


def _told(row: SurvivalRow) -> tuple[str, str, str]:
    cut = "high: yes; low: no" if math.isnan(row.cut) else f"high: above {with_unit(number(row.cut, 3), row.unit)}"
    return (
        f"{cut}; n/n {row.n_high}/{row.n_low}, events {row.events_high}/{row.events_low}",
        f"log-rank p {p_words(row.logrank_p)}, permuted p {p_words(row.logrank_permuted_p)}, q {p_words(row.q)}",
        f"rate ratio {interval(row.rate_ratio, row.rate_ratio_low, row.rate_ratio_high)}",
    )


def _curves(axes: Axes, split: Split) -> None:
    last = max(_end(curve) for curve in (split.high, split.low) if curve is not None)
    for curve, colour, style in ((split.low, LOW, "-"), (split.high, HIGH, (0, (5, 1.2)))):
        if curve is None:
            continue
        days, end = np.append(curve.days, _end(curve)), len(curve.days) - 1
        survival = np.append(curve.survival, curve.survival[end])
        axes.step(days, survival, where="post", color=colour, ls=style, zorder=3)
        low, high = (np.append(limit, limit[end]) for limit in (curve.low, curve.high))
        axes.fill_between(days, low, high, step="post", color=colour, alpha=0.13, lw=0, zorder=1)
        at = curve.survival[np.searchsorted(curve.days, curve.censored, side="right") - 1]
        axes.plot(curve.censored, at, "|", color=colour, ms=5, mew=0.9, zorder=4)
    axes.set_xlim(0, last * 1.02)
    axes.set_ylim(0, 1.03)
    axes.set_yticks(np.arange(0, 1.01, 0.25), ["0", "25", "50", "75", "100"])
    axes.set_ylabel(f"{split.row.endpoint} [%]", labelpad=1)
    axes.set_xlabel(
        "days from therapy" + (f" and {split.row.landmark_days:.0f} more" if split.row.landmark_days else ""), labelpad=1
    )
    axes.axhline(0.5, color=FAINT, lw=0.6, zorder=0)


def _end(curve: Curve) -> float:
    """The last day on which somebody of this curve is seen."""
    return float(max(curve.days[-1], curve.censored[-1] if curve.censored.size else 0.0))


def _at_risk(axes: Axes, split: Split) -> None:
    ticks = [tick for tick in axes.get_xticks() if 0 <= tick <= axes.get_xlim()[1]]
    ticks = ticks[:: math.ceil(len(ticks) / 7)]
    axes.set_xticks(ticks)
    axes.annotate("at risk", (0, 0), (-9, -31), "axes fraction", "offset points", ha="right", va="center", size=5.8, color=SOFT)
    for line, (words, curve, colour) in enumerate((("high", split.high, HIGH), ("low", split.low, LOW))):
        down = -41 - 10 * line
        axes.annotate(
            words,
            (0, 0),
            (-9, down),
            "axes fraction",
            "offset points",
            ha="right",
            va="center",
            size=6.2,
            color=colour,
            weight="bold",
        )
        for tick in ticks:
            seen = "0" if curve is None else str(at_risk(curve, tick))
            axes.annotate(
                seen,
                (tick, 0),
                (0, down),
                ("data", "axes fraction"),
                "offset points",
                ha="center",
                va="center",
                size=6.2,
                color=INK,
            )


def at_risk(curve: Curve, day: float) -> int:
    """How many are still followed without event just before that day."""
    place = int(np.searchsorted(curve.days, day, side="left"))
    later = math.inf if place == len(curve.days) else float(curve.days[place])
    lost = int(((curve.censored >= day) & (curve.censored < later)).sum())
    return lost + (0 if place == len(curve.days) else int(curve.at_risk[place]))
