"""Forest plots: one row a feature, its estimate with the interval, and the numbers beside it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from analysis.cohort.figures import HIGH, LOW, SOFT, WIDTH, box, canvas, clipped, shortened, styled, widest
from analysis.cohort.figures_rows import columns, name_rows, names_room, shaded
from analysis.cohort.report_numbers import fixed

ROWS_ON_A_PAGE = 45
_ROW, _TOP, _BOTTOM, _GAP = 0.155, 0.42, 0.64, 0.14  # inches
_SIZE = 6.3  # points
_TICKS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """An estimate with its interval; open: drawn as an open diamond, for a second reading of the same rows."""

    value: float
    low: float
    high: float
    open: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """A column of estimates. marks and words: of each row. heads: above the words. sides: what left and right mean.

    none: the value of no effect; ratio: drawn on a logarithmic axis. limit: no axis goes farther (a ratio's: or below 1/limit).
    """

    title: str
    label: str
    sides: tuple[str, str]
    heads: tuple[str, ...]
    marks: tuple[tuple[Mark, ...], ...]
    words: tuple[tuple[str, ...], ...]
    none: float = 0.0
    ratio: bool = False
    limit: float = 4.0

    def ends(self) -> tuple[float, float]:
        """The axis: wide enough for all that lies within the limit, and the same to both sides of no effect."""
        known = [v for marks in self.marks for m in marks for v in (m.value, m.low, m.high) if math.isfinite(v)]
        if self.ratio:
            far = max((abs(math.log(v)) for v in known if v > 0), default=1.0)
            far = min(max(far * 1.05, math.log(2.5)), math.log(self.limit))
            return math.exp(-far), math.exp(far)
        far = min(max((abs(v) for v in known), default=1.0) * 1.05, self.limit)
        far = max(far, 1.0)
        return -far, far


@styled()
def forest(names: Sequence[str], panels: Sequence[Panel]) -> Figure:
    """names: one a row, from the top. An arrow ends an interval that goes on beyond the axis."""
    figure = canvas(_TOP + _BOTTOM + _ROW * len(names))
    short = shortened(names)
    left = names_room(figure, short, _SIZE)
    room = (WIDTH - left - _GAP * (len(panels) - 1) - 0.02) / len(panels)
    for place, panel in enumerate(panels):
        start = left + place * (room + _GAP)
        words = columns(figure, panel.heads, panel.words, _SIZE)
        axes = box(figure, (start, _BOTTOM, start + room - words.room, _BOTTOM + _ROW * len(names)))
        _frame(axes, panel, len(names))
        _sides(figure, axes, f"← {panel.sides[0]}", f"{panel.sides[1]} →")
        for row, marks in enumerate(panel.marks):
            _estimates(axes, row, marks, panel)
        words.write(axes)
        if place == 0:
            name_rows(axes, [short[name] for name in names], _SIZE)
    return figure


def _frame(axes: Axes, panel: Panel, rows: int) -> None:
    low, high = panel.ends()
    if panel.ratio:
        axes.set_xscale("log")
        ticks = [tick for tick in _TICKS if low <= tick <= high]
        ticks = ticks if len(ticks) <= 7 else [tick for tick in ticks if tick in (0.02, 0.1, 0.5, 1.0, 2.0, 10.0, 50.0)]
        axes.xaxis.set_major_locator(FixedLocator(ticks))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(low, high)
    shaded(axes, rows)
    axes.axvline(panel.none, color=SOFT, lw=0.7, zorder=1)
    axes.set_xlabel(panel.label, labelpad=2)
    if panel.title:
        axes.annotate(panel.title, (0.5, 1), (0, 20), "axes fraction", "offset points", ha="center", va="bottom", weight="bold")


def _sides(figure: Figure, axes: Axes, left: str, right: str) -> None:
    """What either side means, below each other where the axis is too short for both."""
    need = widest(figure, [left], 5.8) + widest(figure, [right], 5.8) + 0.08
    beside = need < axes.get_position().width * figure.get_size_inches()[0]
    for x, words, side, down in ((0.0, left, "left", -27), (1.0, right, "right", -27 if beside else -35)):
        axes.annotate(words, (x, 0), (0, down), "axes fraction", "offset points", ha=side, va="top", size=5.8, color=SOFT)


def _estimates(axes: Axes, row: int, marks: Sequence[Mark], panel: Panel) -> None:
    shift = 0.2 if len(marks) > 1 else 0.0
    for place, mark in enumerate(marks):
        if math.isnan(mark.value):
            continue
        y = row + shift * (2 * place - 1)
        colour = SOFT if mark.open else HIGH if mark.value > panel.none else LOW
        _interval(axes, y, mark, colour)
        low, high = axes.get_xlim()
        if low <= mark.value <= high:
            face = "white" if mark.open else colour
            axes.plot(
                mark.value, y, "D" if mark.open else "o", ms=2.4 if mark.open else 3.2, mfc=face, mec=colour, mew=0.7, zorder=4
            )


def _interval(axes: Axes, y: float, mark: Mark, colour: str) -> None:
    low, high = axes.get_xlim()
    ends = [mark.value if math.isnan(end) else end for end in (mark.low, mark.high)]
    axes.plot([clipped(end, low, high) for end in ends], [y, y], color=colour, lw=0.9, solid_capstyle="butt", zorder=3)
    for beyond, place, arrow in ((ends[0] < low, low, "<"), (ends[1] > high, high, ">")):
        if beyond:
            axes.plot(place, y, arrow, ms=2.8, color=colour, clip_on=False, zorder=4)


def mark_words(mark: Mark, written: Callable[[float], str] = fixed) -> str:
    """ "−0.80 (−1.60 to 0.02)" for a column of the forest."""
    if math.isnan(mark.value):
        return "–"
    return f"{written(mark.value)} ({written(mark.low)} to {written(mark.high)})"
