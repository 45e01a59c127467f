"""What all figures share: their look, their sizes, and how one becomes the same SVG or PDF at each run."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure

from analysis.space import FloatArray

WIDTH = 6.85  # inches between the margins of an A4 page
INK, SOFT, FAINT = "#1f2933", "#5b6772", "#d5dbe1"
HIGH, LOW = "#c8580a", "#1f66a8"  # orange and blue: told apart without red and green
HIGH_PALE, LOW_PALE = "#f2b98b", "#a9c9e6"
MOST_DOTS = 300  # of a group; more would be a blot, and megabytes
LONGEST_NAME = 50
STYLE: dict[Any, Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": 7.0,
    "axes.titlesize": 7.5,
    "axes.labelsize": 7.0,
    "axes.labelcolor": INK,
    "axes.edgecolor": SOFT,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "text.color": INK,
    "text.parse_math": False,  # a name may hold a dollar sign
    "text.usetex": False,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.2,
    "svg.fonttype": "path",  # letters as outlines: the same everywhere, without a font
    "svg.hashsalt": "duet",
    "pdf.fonttype": 42,
    "figure.facecolor": "white",
    "figure.dpi": 288.0,  # texts are measured as they will be drawn, without rounding to pixels
    "text.hinting": "none",
}


@contextmanager
def styled() -> Iterator[None]:
    """Matplotlib's own defaults with this style, whatever the process has set."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        yield


def canvas(height: float, width: float = WIDTH) -> Figure:
    """An empty figure of that size in inches, with a canvas on which texts can be measured."""
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def svg_of(figure: Figure) -> str:
    """The figure as SVG without a date, a document type or an outside reference."""
    out = io.StringIO()
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    with styled():
        figure.savefig(out, format="svg", metadata=nothing)
    text = out.getvalue()
    return text[text.index("<svg") :]


def pdf_of(figures: Sequence[Figure]) -> bytes:
    """The figures as the pages of one PDF without a date; together they embed each font once."""
    out = io.BytesIO()
    nothing = {"CreationDate": None, "Creator": None, "Producer": None}
    with styled(), PdfPages(out, metadata=nothing) as pages:
        for figure in figures:
            pages.savefig(figure)
    return out.getvalue()


def box(figure: Figure, inches: Sequence[float]) -> Axes:
    """Axes at (left, bottom, right, top) in inches from the figure's lower left corner."""
    left, bottom, right, top = inches
    width, height = figure.get_size_inches()
    return figure.add_axes((left / width, bottom / height, (right - left) / width, (top - bottom) / height))


def shortened(names: Sequence[str], longest: int = LONGEST_NAME) -> dict[str, str]:
    """Each name with its middle left out where it is long; numbered where two would become the same."""
    short = {name: _elided(name, longest) for name in names}
    seen = list(short.values())
    return {name: f"{text} #{1 + place}" if seen.count(text) > 1 else text for place, (name, text) in enumerate(short.items())}


def _elided(name: str, longest: int) -> str:
    half = (longest - 1) // 2
    return name if len(name) <= longest else f"{name[:half]}…{name[-(longest - 1 - half) :]}"


def widest(figure: Figure, texts: Sequence[str], size: float) -> float:
    """Inches that the widest of the texts takes at that size in points."""
    probe = figure.text(0, 0, "", fontsize=size)
    widths = []
    for text in texts:
        probe.set_text(text)
        widths.append(probe.get_window_extent().width / figure.dpi)
    probe.remove()
    return max(widths, default=0.0)


def drawn(values: FloatArray) -> npt.NDArray[np.int64]:
    """Which values are drawn as dots: all up to MOST_DOTS, else as many evenly over their order, both ends among them."""
    if values.size <= MOST_DOTS:
        return np.arange(values.size)
    places = np.linspace(0, values.size - 1, MOST_DOTS).round().astype(np.int64)
    return np.sort(np.argsort(values, kind="stable")[places])


def dots_sentence(most: int) -> str:
    """What a figure says where a group has so many values at most; empty where all are drawn."""
    return f" Of more than {MOST_DOTS} dots {MOST_DOTS} are drawn, evenly over their order." if most > MOST_DOTS else ""


def swarm_offsets(places: FloatArray, distance: float, room: float) -> FloatArray:
    """(n,) sideways shifts in the unit of `places`, so that dots nearer than `distance` stand beside each other.

    The shifts stay within +- room; where there are too many dots for it they overlap.
    """
    offsets = np.zeros(places.size)
    done: list[int] = []
    for index in np.argsort(places, kind="stable"):
        near = [other for other in done if abs(places[index] - places[other]) < distance]
        offsets[index] = _free_place(
            [(offsets[other], math.sqrt(distance**2 - (places[index] - places[other]) ** 2)) for other in near], room
        )
        done.append(int(index))
    return offsets


def _free_place(taken: Sequence[tuple[float, float]], room: float) -> float:
    """The place nearest to the middle that keeps clear of every (place, reach)."""
    tries = [0.0, *(place + side * reach * 1.001 for place, reach in taken for side in (1, -1))]
    free = [t for t in tries if abs(t) <= room and all(abs(t - place) >= reach * 0.999 for place, reach in taken)]
    return min(free, key=abs) if free else min(tries[1:], key=lambda t: abs(abs(t) - room))


def clipped(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)
