"""Where the words of a figure lie: what overlaps, and what is cut off at its edges."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.text import Text

from analysis.cohort.figures import styled

Corners = np.ndarray  # (4, 2), in points


def shown(figure: Figure) -> list[tuple[str, Corners]]:
    """Every visible text with the corners of its box, turned as the text is."""
    with styled():
        figure.draw_without_rendering()
        hidden = _hidden(figure)
        texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
        return [(text.get_text(), _corners(text, figure)) for text in texts if text not in hidden]


def _hidden(figure: Figure) -> set[Text]:
    """Labels of ticks that exist and are not drawn: beyond the ends of an axis, or of axes that are off."""
    found = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
                if not (axes.axison and low <= tick.get_loc() <= high):
                    found |= {tick.label1, tick.label2}
                found.add(tick.label2)
    return found


def _corners(text: Text, figure: Figure) -> Corners:
    """The box of the text before it is turned, turned about its anchor."""
    turn = text.get_rotation()
    if not turn % 180:
        box = text.get_window_extent()
        flat = np.array([[box.x0, box.y0], [box.x1, box.y0], [box.x1, box.y1], [box.x0, box.y1]])
        return flat * 72 / figure.dpi
    around = text.get_window_extent()
    text.set_rotation(0)
    flat = text.get_window_extent()
    text.set_rotation(turn)
    width, height = flat.width, flat.height
    angle = np.deg2rad(turn)
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]]) @ matrix.T
    moved = corners - corners.min(axis=0) + np.array([around.x0, around.y0])
    return moved * 72 / figure.dpi


def overlapping(figure: Figure, slack: float = 0.6) -> list[tuple[str, str]]:
    """Pairs of texts whose boxes share more than `slack` points in every direction (separating axes)."""
    texts = shown(figure)
    low, high = (np.array([edge(corners, axis=0) for _, corners in texts]) for edge in (np.min, np.max))
    depth = np.minimum(high[:, None], high[None]) - np.maximum(low[:, None], low[None])
    near = np.argwhere(np.triu((depth > slack).all(axis=2), k=1))
    return [(texts[i][0], texts[j][0]) for i, j in near if _depth(texts[i][1], texts[j][1]) > slack]


def _depth(one: Corners, two: Corners) -> float:
    depths = []
    for corners in (one, two):
        for start, end in ((0, 1), (1, 2)):
            axis = corners[end] - corners[start]
            axis = axis / max(float(np.linalg.norm(axis)), 1e-9)
            a, b = one @ axis, two @ axis
            depths.append(min(a.max(), b.max()) - max(a.min(), b.min()))
    return float(min(depths))


def cut_off(figure: Figure, slack: float = 0.5) -> list[str]:
    """Texts that reach beyond the figure."""
    width, height = figure.get_size_inches() * 72
    beyond = []
    for words, corners in shown(figure):
        (left, bottom), (right, top) = corners.min(axis=0), corners.max(axis=0)
        if left < -slack or bottom < -slack or right > width + slack or top > height + slack:
            beyond.append(words)
    return beyond
