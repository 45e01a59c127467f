"""What figures with one row a feature share: shaded rows, names to the left of the axes, columns of numbers to their right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.cohort.figures import WIDTH, widest

SHADE = "#f3f5f7"
_GAP = 0.1  # inches between columns


def shaded(axes: Axes, rows: int) -> None:
    """Rows from the top at 0, 1, ..., every second one shaded; no axis to the left."""
    axes.set_ylim(rows - 0.5, -0.5)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    for row in range(0, rows, 2):
        axes.axhspan(row - 0.5, row + 0.5, color=SHADE, lw=0, zorder=0)


def name_rows(axes: Axes, names: Sequence[str], size: float) -> None:
    """Each name to the left of its row."""
    left: dict[str, Any] = {"textcoords": "offset points", "ha": "right", "va": "center", "size": size}
    for row, name in enumerate(names):
        axes.annotate(name, (0, row), (-4, 0), ("axes fraction", "data"), **left)


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Words to the right of the axes. rows: the words of each row; heads: above them; widths in inches, the gaps within."""

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    widths: tuple[float, ...]
    size: float

    @property
    def room(self) -> float:
        return sum(self.widths)

    def write(self, axes: Axes) -> None:
        """Each column as far right as its widest words need."""
        at, inches = 1.0, axes.get_position().width * WIDTH
        text: dict[str, Any] = {"textcoords": "offset points", "ha": "right", "size": self.size}
        for place, (head, width) in enumerate(zip(self.heads, self.widths, strict=True)):
            at += width / inches
            axes.annotate(head, (at, 1), (0, 5), "axes fraction", va="bottom", weight="bold", **text)
            for row, words in enumerate(self.rows):
                axes.annotate(words[place], (at, row), (0, 0), ("axes fraction", "data"), va="center", **text)


def columns(figure: Figure, heads: Sequence[str], rows: Sequence[Sequence[str]], size: float) -> Columns:
    """Columns that are as wide as their widest words."""
    widths = [widest(figure, [head, *(row[place] for row in rows)], size) + _GAP for place, head in enumerate(heads)]
    return Columns(heads=tuple(heads), rows=tuple(map(tuple, rows)), widths=tuple(widths), size=size)


def names_room(figure: Figure, names: Mapping[str, str], size: float) -> float:
    """Inches that the names to the left need."""
    return widest(figure, list(names.values()), size) + 0.12
