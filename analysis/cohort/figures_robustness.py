"""The matrix of findings and settings: which finding keeps its direction and its certainty under which choice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from analysis.cohort.figures import FAINT, HIGH, INK, LOW, LOW_PALE, SOFT, WIDTH, box, canvas, shortened, styled, widest
from analysis.cohort.figures_rows import name_rows
from analysis.cohort.values import RobustnessRow

MOST_FINDINGS, MOST_CHOICES = 30, 30  # of one figure
_ROW, _SIZE = 0.19, 6.1


@styled()
def robustness_matrix(rows: Sequence[RobustnessRow], findings: Sequence[tuple[str, str]]) -> Figure:
    """findings: (feature, outcome), one a line, up to MOST_FINDINGS; up to MOST_CHOICES choices, in the order of the rows."""
    choices = list(dict.fromkeys((row.setting, row.choice) for row in rows))
    cells = {(row.feature, row.outcome, row.setting, row.choice): row for row in rows}
    short = shortened([feature for feature, _ in findings], 42)
    names = [f"{short[feature]}, {outcome}" for feature, outcome in findings]
    heads = [shortened([choice for _, choice in choices], 24)[choice] for _, choice in choices]
    body, below = _ROW * len(findings), 0.27 + 0.15 * max(3, len({setting for setting, _ in choices}))
    probe = canvas(1.0)
    left = widest(probe, names, _SIZE) + 0.12
    lengths = [widest(probe, [head], _SIZE) for head in heads]
    figure = canvas(below + body + 0.8 * max(lengths) + 0.15)
    across = min(0.34, *((WIDTH - left - 0.65 * length) / (place + 0.6) for place, length in enumerate(lengths)))
    axes = box(figure, (left, below, left + across * len(choices), below + body))
    _grid(axes, len(findings), choices)
    name_rows(axes, names, _SIZE)
    for line, finding in enumerate(findings):
        for column, choice in enumerate(choices):
            _cell(axes, column, line, cells.get((*finding, *choice)))
    _heads(axes, heads)
    _settings(axes, choices)
    right = widest(probe, [f"{len(choices)}  {setting}" for setting, _ in choices], _SIZE) + 0.3
    _legend(axes, right / (across * len(choices)), -18 / 72 / body)
    return figure


def _heads(axes: Axes, heads: Sequence[str]) -> None:
    turned: dict[str, Any] = {"rotation": 50, "rotation_mode": "anchor", "ha": "left", "va": "bottom", "size": _SIZE}
    for column, head in enumerate(heads):
        axes.annotate(head, (column, 1), (0, 4), ("data", "axes fraction"), textcoords="offset points", **turned)


def _grid(axes: Axes, lines: int, choices: Sequence[tuple[str, str]]) -> None:
    axes.set_xlim(-0.5, len(choices) - 0.5)
    axes.set_ylim(lines - 0.5, -0.5)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    for line in range(lines + 1):
        axes.axhline(line - 0.5, color=FAINT, lw=0.5, zorder=0)
    for column, (setting, _) in enumerate(choices):
        if column and choices[column - 1][0] != setting:
            axes.axvline(column - 0.5, color=SOFT, lw=0.6, zorder=1)


def _cell(axes: Axes, column: int, line: int, row: RobustnessRow | None) -> None:
    if row is None:
        return
    if row.chosen:
        axes.add_patch(Rectangle((column - 0.5, line - 0.5), 1, 1, fc="#eef1f4", ec="none", zorder=0))
    if row.survives:
        axes.plot(column, line, "o", ms=4.6, color=LOW, mec=LOW_PALE, mew=0.3, zorder=3)
    else:
        axes.plot(column, line, "x", ms=4.2, color=HIGH, mew=1.3, zorder=3)


def _legend(axes: Axes, right: float, down: float) -> None:
    """What the marks mean, below the matrix and right of the settings, at these parts of the axes."""
    handles = [
        Line2D([], [], ls="", marker="o", ms=4.6, color=LOW, label="survives"),
        Line2D([], [], ls="", marker="x", ms=4.2, mew=1.3, color=HIGH, label="does not"),
        Rectangle((0, 0), 1, 1, fc="#e3e7eb", label="the main analysis"),
    ]
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(right, down), frameon=False, fontsize=_SIZE)


def _settings(axes: Axes, choices: Sequence[tuple[str, str]]) -> None:
    """Below the matrix a number for each setting, and below that its name."""
    names = list(dict.fromkeys(setting for setting, _ in choices))
    for place, name in enumerate(names):
        columns = [column for column, (setting, _) in enumerate(choices) if setting == name]
        middle = (columns[0] + columns[-1]) / 2
        axes.annotate(
            str(place + 1),
            (middle, 0),
            (0, -4),
            ("data", "axes fraction"),
            "offset points",
            ha="center",
            va="top",
            size=_SIZE,
            weight="bold",
        )
        axes.annotate(
            f"{place + 1}  {name}",
            (0, 0),
            (0, -18 - 10.8 * place),
            "axes fraction",
            "offset points",
            va="top",
            size=_SIZE,
            color=INK,
        )
