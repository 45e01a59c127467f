"""Lines around the lesions of a view, and their names beside them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import contourpy
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

from analysis.values import BoolArray, FloatArray
from dicom_io.fusion import Class, Scene, Spot, View, across
from dicom_io.ink import DASHES, GROUND, LINE_COLOURS, Box, Pen, Style

FINE = 2  # lines are drawn at so many times the picture's size, and reduced
LEVEL = 0.32  # of a softened mask: a little outside its edge, so that the line does not cover what it marks


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Where a view stands on a page: its upper left corner and size in pixels, and pixels per mm."""

    left: int
    top: int
    width: int
    height: int
    scale: float

    def at(self, scene: Scene, place: tuple[float, float, float], degrees: float) -> tuple[float, float]:
        """The page's pixel that shows a place (PentixaFor frame, LPS mm) from `degrees`."""
        x = across((place[0] - scene.axis[0], place[1] - scene.axis[1]), degrees)
        return self.left + self.width / 2 + x * self.scale, self.top + (scene.top - place[2]) * self.scale


@dataclass(frozen=True, slots=True, kw_only=True)
class Marking:
    """How marks are drawn: line width in pixels, the least radius of a mark in mm, names at most, their height in pixels."""

    line: float
    least_mm: float
    names: int
    letters: int


def marking(sites: int, *, names: int, letters: int, line: float = 2.2) -> Marking:
    """Few lesions are marked boldly, many finely, so that the marks do not bury the disease."""
    bold, least = (1.0, 8.0) if sites <= 30 else (0.8, 6.0) if sites <= 80 else (0.62, 4.0)
    return Marking(line=line * bold, least_mm=least, names=names, letters=letters)


def outline(picture: Image.Image, one: View, scene: Scene, window: Window, how: Marking) -> None:
    """Draws a line around the lesions of each class onto the page, unbroken, dashed or dotted by class."""
    size = (window.width * FINE, window.height * FINE)
    colours, cover = Image.new("RGB", size, GROUND), Image.new("L", size)
    pens = ImageDraw.Draw(colours), ImageDraw.Draw(cover)
    width = how.line * FINE
    for kind, colour in LINE_COLOURS.items():
        mask = _marked(one, scene, kind, how.least_mm)
        if not mask.any():
            continue
        for path in _paths(mask, size):
            for points in _dashed(path, DASHES[kind], width):
                pens[1].line(points, fill=240, width=round(width + 1.5 * FINE))  # with a dark rim, for bright places
                pens[0].line(points, fill=colour, width=round(width))
    picture.paste(colours.reduce(FINE), (window.left, window.top), cover.reduce(FINE))


def _marked(one: View, scene: Scene, kind: Class, least_mm: float) -> BoolArray:
    """Where lesions of the class are seen, each at least as large as a disc of the least radius."""
    mask = (one.lesions & kind) > 0
    rows, columns = mask.shape
    for spot in scene.spots:
        if spot.kind is kind:
            x = across((spot.at[0] - scene.axis[0], spot.at[1] - scene.axis[1]), one.degrees)
            row, column = (scene.top - spot.at[2]) / one.step_mm - 0.5, 2 * x / one.step_mm + (columns - 1) / 2
            reach = max(least_mm / one.step_mm, 1.0)
            top, bottom = max(0, math.floor(row - reach)), min(rows, math.ceil(row + reach) + 1)
            left, right = max(0, math.floor(column - 2 * reach)), min(columns, math.ceil(column + 2 * reach) + 1)
            if top < bottom and left < right:
                v, u = np.ogrid[top:bottom, left:right]
                mask[top:bottom, left:right] |= (v - row) ** 2 + (u - column) ** 2 / 4 <= reach**2
    return mask


def _paths(mask: BoolArray, size: tuple[int, int]) -> Iterator[FloatArray]:
    """Smooth closed lines around a mask, (n, 2) points (x, y) in a picture of the given size."""
    pad = 4
    soft = gaussian_filter(np.pad(mask, pad).astype(np.float32), (0.9, 1.8))
    scale = np.array([size[0] / mask.shape[1], size[1] / mask.shape[0]])
    for path in contourpy.contour_generator(z=soft).lines(LEVEL):
        yield (np.asarray(path) - pad + 0.5) * scale


def _dashed(path: FloatArray, dash: tuple[float, float] | None, width: float) -> Iterator[list[tuple[float, float]]]:
    """The path as pieces to be drawn; a broken line closes evenly, with at least three pieces."""
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(path, axis=0).T))])
    total = float(along[-1])
    on, off = dash or (1.0, 0.0)
    count = max(3, round(total / ((on + off) * width))) if dash else 1
    piece = total / count * on / (on + off)
    places = np.arange(count)[:, None] * total / count + np.linspace(0.0, piece, max(2, math.ceil(piece / 4)))
    x, y = (np.interp(places, along, path[:, axis]) for axis in (0, 1))
    for points in np.stack([x, y], axis=-1).tolist():
        yield [(u, v) for u, v in points]


def name_spots(pen: Pen, one: View, scene: Scene, room: tuple[Window, list[Box]], how: Marking) -> list[str]:
    """Writes the names of the largest sites beside them, as far as there is room; returns those that stand there.

    room: the window, and what is taken in it.
    """
    window, taken = room[0], list(room[1])
    rings = [(spot, window.at(scene, spot.at, one.degrees), _radius(spot, window, how)) for spot in scene.spots]
    boxes: list[Box] = [(x - r, y - r, x + r, y + r) for _, (x, y), r in rings]
    named: list[str] = []
    for n, (spot, at, radius) in enumerate(rings):
        if len(named) == how.names:
            break
        others = [box for m, box in enumerate(boxes[: 3 * how.names]) if m != n]
        for place, anchor in _beside(at, radius):
            style = Style(size=how.letters, colour=LINE_COLOURS[spot.kind], anchor=anchor, rim=True, bold=True)
            if _free(pen.box(place, spot.name, style), [*taken, *others], window):
                taken.append(pen.write(place, spot.name, style))
                named.append(spot.name)
                break
    return named


def _radius(spot: Spot, window: Window, how: Marking) -> float:
    """Of the mark in pixels: that of a ball of the site's volume."""
    return max(how.least_mm, math.cbrt(spot.volume_ml * 750 / math.pi)) * window.scale + how.line + 2


def _beside(at: tuple[float, float], radius: float) -> Iterator[tuple[tuple[float, float], str]]:
    """Places for a name around a mark, the best first, with the text's anchor."""
    (x, y), far, slant = at, radius + 3, 0.75 * (radius + 3)
    yield (x + far, y), "lm"
    yield (x - far, y), "rm"
    yield from (((x + slant, y + sign * slant), "lm") for sign in (-1, 1))
    yield from (((x - slant, y + sign * slant), "rm") for sign in (-1, 1))
    yield (x, y - far), "mb"
    yield (x, y + far), "mt"


def _free(box: Box, others: Sequence[Box], window: Window) -> bool:
    inside = (
        box[0] >= window.left
        and box[1] >= window.top
        and box[2] <= window.left + window.width
        and box[3] <= window.top + window.height
    )
    return inside and not any(overlap(box, other) for other in others)


def overlap(one: Box, other: Box) -> bool:
    """Whether two boxes share any point."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def ring(picture: Image.Image, at: tuple[float, float], radius: float, kind: Class, line: float) -> None:
    """The mark of a class as the legend shows it, in the page's pixels."""
    side = math.ceil(radius + line + 2)
    size = 2 * side * FINE
    colours, cover = Image.new("RGB", (size, size), LINE_COLOURS[kind]), Image.new("L", (size, size))
    angle = np.linspace(0, 2 * math.pi, 60)
    path: npt.NDArray[np.float64] = (np.stack([np.cos(angle), np.sin(angle)], axis=1) * radius + side) * FINE
    pen = ImageDraw.Draw(cover)
    for points in _dashed(path, DASHES[kind], line * FINE):
        pen.line(points, fill=255, width=round(line * FINE), joint="curve")
    picture.paste(colours.reduce(FINE), (round(at[0]) - side, round(at[1]) - side), cover.reduce(FINE))
