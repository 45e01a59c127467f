"""Figures of the trees: SHAP value by value with ranks and their null, how well held-out trees do, and calibration."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from analysis.cohort.figures import (
    HIGH,
    HIGH_PALE,
    INK,
    LOW,
    LOW_PALE,
    SOFT,
    WIDTH,
    box,
    canvas,
    drawn,
    shortened,
    styled,
    swarm_offsets,
    widest,
)
from analysis.cohort.figures_rows import columns, name_rows, names_room, shaded
from analysis.cohort.report_numbers import MISSING, fixed, p_value
from analysis.cohort.values import Calibration, Folds, ModelRow, Swarm, Target, TreeRow
from analysis.space import FloatArray

SHOWN = 12  # features of a figure, by rank
_ROW, _TOP, _BOTTOM, _SIZE = 0.27, 0.42, 0.72, 6.3
_SHADES = LinearSegmentedColormap.from_list("low to high", [LOW, LOW_PALE, "#d9d9d9", HIGH_PALE, HIGH])
_HEADS = ("sign", "agreement", "folds", "null p", "|SHAP| p")


@styled()
def shap_ranks(swarm: Swarm, rows: Sequence[TreeRow], others: Sequence[TreeRow]) -> Figure:
    """The leading features: SHAP of each held-out row, mean |SHAP| by both ways of folding, and sign agreement with its null.

    rows: of the swarm's own folds, in the order of their ranks; others: of the other folds, may be empty.
    """
    rows = rows[:SHOWN]
    figure = canvas(_TOP + _BOTTOM + _ROW * len(rows))
    short = shortened([row.feature for row in rows], 42)
    left, top = names_room(figure, short, _SIZE), _BOTTOM + _ROW * len(rows)
    words = columns(figure, _HEADS, [_words(row) for row in rows], 5.9)
    room = WIDTH - left - words.room - 0.02
    dots = box(figure, (left, _BOTTOM, left + 0.61 * room, top))
    bars = box(figure, (left + 0.67 * room, _BOTTOM, left + room, top))
    _swarms(dots, swarm, rows)
    name_rows(dots, [short[row.feature] for row in rows], _SIZE)
    _bars(bars, rows, {row.feature: row.mean_abs_shap for row in others})
    words.write(bars)
    _scale(figure, left)
    return figure


def _words(row: TreeRow) -> tuple[str, ...]:
    sign = {1: "+", -1: "−"}.get(row.sign, MISSING)
    agreement = MISSING if math.isnan(row.sign_agreement) else f"{100 * row.sign_agreement:.0f} %"
    return sign, agreement, f"{row.folds_used}/{row.folds_all}", p_value(row.null_p), p_value(row.shap_null_p)


def _swarms(axes: Axes, swarm: Swarm, rows: Sequence[TreeRow]) -> None:
    shaded(axes, len(rows))
    places = [swarm.features.index(row.feature) for row in rows]
    far = max(float(np.nanmax(np.abs(swarm.shap[:, places]), initial=0.0)) * 1.08, 1e-6)
    axes.set_xlim(-far, far)
    axes.axvline(0, color=SOFT, lw=0.7, zorder=1)
    for row, place in enumerate(places):
        shap, values = swarm.shap[:, place], swarm.values[:, place]
        colours, known = _colours(values), np.flatnonzero(~np.isnan(shap))
        seen = known[drawn(shap[known])]
        offsets = swarm_offsets(shap[seen] / far * 10, 0.33, 1.3) / 3.4
        axes.scatter(
            shap[seen], row + offsets, s=7, c=[colours[place] for place in seen], linewidths=0.25, edgecolors="white", zorder=3
        )
    axes.locator_params(axis="x", nbins=5, prune="both")
    axes.set_xlabel("SHAP of each held-out cycle", labelpad=2)


def _colours(values: FloatArray) -> list[tuple[float, float, float, float] | str]:
    """Blue to orange by rank of the value; white with a rim would be lost, so a missing value is dark grey."""
    known = np.sort(values[~np.isnan(values)])
    last = max(len(known) - 1, 1)
    middle = [(np.searchsorted(known, v, "left") + np.searchsorted(known, v, "right") - 1) / 2 / last for v in values]
    return [SOFT if math.isnan(v) else _SHADES(float(place)) for v, place in zip(values, middle, strict=True)]


def _bars(axes: Axes, rows: Sequence[TreeRow], others: dict[str, float]) -> None:
    shaded(axes, len(rows))
    axes.barh(range(len(rows)), [row.mean_abs_shap for row in rows], height=0.55, color="#8a97a3", zorder=2)
    for place, row in enumerate(rows):
        if row.feature in others:
            axes.plot(others[row.feature], place, "D", ms=3, mfc="white", mec=INK, mew=0.7, zorder=4, clip_on=False)
    axes.set_xlim(0, max([row.mean_abs_shap for row in rows] + [others.get(row.feature, 0.0) for row in rows] + [1e-6]) * 1.08)
    axes.locator_params(axis="x", nbins=3)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel("mean |SHAP|", labelpad=2)


def _scale(figure: Figure, left: float) -> None:
    """The legend of the colours, below the dots."""
    axes = box(figure, (left, 0.2, left + 0.9, 0.27))
    shades = np.linspace(0, 1, 40)
    axes.bar(shades, 1, width=1.4 / 40, color=_SHADES(shades), lw=0)  # bars: an image would be pixels
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(0, 1)
    axes.set_axis_off()
    axes.annotate("low", (0, 0.5), (-3, 0), "axes fraction", "offset points", ha="right", va="center", size=5.8)
    axes.annotate(
        "high value of the feature", (1, 0.5), (3, 0), "axes fraction", "offset points", ha="left", va="center", size=5.8
    )


@styled()
def performance(models: Sequence[ModelRow], calibrations: Sequence[Calibration]) -> Figure:
    """Held-out area under the curve (or C) with its interval, before the null of relabelled patients; calibration beside it.

    Where there are no calibrations the first takes the whole width.
    """
    pitch = 0.6 if calibrations else 0.34
    high = max(0.85 + pitch * len(models), 2.72 if calibrations else 0.0)
    figure = canvas(high)
    right = 3.75 if calibrations else WIDTH
    labels = [_model_name(row, several=len({row.target for row in models}) > 1) for row in models]
    left = widest(figure, labels, 6.5) + 0.12
    words = [_judged(row) for row in models]
    across = right - 0.1 if calibrations else right - widest(figure, words, 6.3) - 0.15
    axes = box(figure, (left, high - 0.3 - pitch * len(models), across, high - 0.3))
    for place, row in enumerate(models):
        _model(axes, place, row)
        where = (0.5, place - 0.38) if calibrations else (1.0, place)
        axes.annotate(
            words[place],
            where,
            (0, 0) if calibrations else (6, 0),
            ("axes fraction", "data"),
            "offset points",
            ha="center" if calibrations else "left",
            va="center",
            size=5.8 if calibrations else 6.3,
            bbox={"fc": "white", "ec": "none", "pad": 0.8},
        )
    axes.set_yticks(range(len(models)), labels)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_ylim(len(models) - 0.5, -0.62)
    axes.set_xlim(0, 1)
    axes.axvline(0.5, color=SOFT, lw=0.7, zorder=1)
    axes.set_xlabel("C index" if all(row.target is Target.OS for row in models) else "area under the ROC curve")
    if calibrations:
        _calibration(box(figure, (4.35, 0.45, WIDTH - 0.1, 2.45)), calibrations)
    return figure


def _judged(row: ModelRow) -> str:
    if math.isnan(row.auc):
        return "not judged"
    return f"{fixed(row.auc)} ({fixed(row.auc_low)} to {fixed(row.auc_high)}), null p {p_value(row.null_p)}"


def _model_name(row: ModelRow, several: bool) -> str:
    folds = "paper's folds" if row.folds is Folds.PAPER else "grouped by patient"
    return f"{row.target}, {folds}" if several else folds


def _model(axes: Axes, place: int, row: ModelRow) -> None:
    if not (math.isnan(row.null_low) or math.isnan(row.null_high)):
        axes.barh(place, row.null_high - row.null_low, left=row.null_low, height=0.3, color="#e3e7eb", zorder=0)
    if math.isnan(row.auc):
        return
    axes.plot([row.auc_low, row.auc_high], [place, place], color=INK, lw=1.2, zorder=3)
    axes.plot(row.auc, place, "o", ms=4.5, color=INK, zorder=4)


def _calibration(axes: Axes, calibrations: Sequence[Calibration]) -> None:
    axes.plot([0, 1], [0, 1], color=SOFT, lw=0.7, ls=(0, (4, 3)), zorder=1)
    for calibration in calibrations:
        paper = calibration.folds is Folds.PAPER
        colour, shift = (SOFT, 0.012) if paper else (INK, -0.012)
        low, high = calibration.observed - calibration.low, calibration.high - calibration.observed
        axes.errorbar(
            calibration.predicted + shift,
            calibration.observed,
            yerr=np.nan_to_num(np.clip([low, high], 0, None)),
            fmt="D" if paper else "o",
            mfc="white" if paper else colour,
            ms=4,
            color=colour,
            lw=0.9,
            label="paper's folds" if paper else "grouped by patient",
        )
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel("mean held-out prediction")
    axes.set_ylabel("observed part")
    axes.legend(frameon=False, fontsize=6, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, handletextpad=0.3)
