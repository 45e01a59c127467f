"""A view as a picture: tracers in colour over the bones, lesions marked, sides named.

Nothing that identifies the patient is drawn, so the pixels may be shown without the header.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from analysis.values import Tracer
from dicom_io.fusion import Scene, View
from dicom_io.ink import FAINT, GROUND, INK, TRACER_COLOURS, Box, Pen, Style
from dicom_io.marks import Marking, Window, name_spots, outline

BONE_COLOUR = np.array([96.0, 112.0, 140.0])
GAMMA = 0.95  # lifts the background a little, so that the body is seen around its lesions
YIELD = 0.75  # how much the weaker tracer gives way: yellow is where both are alike, not where one has background
BONE_FULL_MM = 28.0  # this much dense bone along a ray is drawn at full brightness
HATCH = 46  # brightness of the lines over what one tracer alone covers
LEAST_GAP_MM = 7.5  # a lower strip that only one scan covers is the edge of its field
LEAST_WORDS = 64  # pixels: a lower strip is hatched without words
LEAST_WIDTH = 320  # pixels: in a narrower view words would stand on the body
RULER_MM = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Rows (from the top, last one excluded) that the scan of `missing` does not reach and the other does."""

    missing: Tracer
    first: int
    last: int


def draw_view(pen: Pen, one: View, scene: Scene, window: Window, how: Marking) -> list[str]:
    """The view with its marks and sides into its window; returns the names of the sites that stand beside their marks."""
    size = (window.width, window.height)
    picture = Image.fromarray(coloured(one)).resize(size, Image.Resampling.BICUBIC)
    pen.image.paste(_hatched(picture, scene, window), (window.left, window.top))
    outline(pen.image, one, scene, window, how)
    _sides(pen, one, window)
    taken = [box for gap in gaps(scene) for box in _name_gap(pen, gap, scene, window)]
    return name_spots(pen, one, scene, (window, taken), how)


def coloured(one: View) -> npt.NDArray[np.uint8]:
    """(rows, columns, 3): FDG red, PentixaFor green, both yellow, over bone in blue grey."""
    fdg, pentixafor = (np.power(x.astype(np.float32) / 65535, GAMMA)[..., None] for x in (one.fdg, one.pentixafor))
    bone = np.sqrt(np.clip(one.bone.astype(np.float32) / BONE_FULL_MM, 0, 1))[..., None]
    veil = 1.0 - np.maximum(fdg, pentixafor)
    difference = YIELD * (fdg - pentixafor)
    red, green = fdg * (1 + np.minimum(difference, 0)), pentixafor * (1 - np.maximum(difference, 0))
    red_colour, green_colour, ground = (
        np.array(c, np.float32) for c in (TRACER_COLOURS[Tracer.FDG], TRACER_COLOURS[Tracer.PENTIXAFOR], GROUND)
    )
    total = ground + bone * BONE_COLOUR.astype(np.float32) * veil + red * red_colour + green * green_colour
    return np.asarray(np.clip(total, 0, 255).astype(np.uint8))


def gaps(scene: Scene) -> list[Gap]:
    """What one tracer alone covers, from head to feet."""
    found = []
    for tracer in Tracer:
        missing = (~scene.covered[tracer] & scene.covered[tracer.other])[::-1]
        edges = np.flatnonzero(np.diff(np.concatenate([[False], missing, [False]]).astype(np.int8)))
        found += [Gap(missing=tracer, first=int(a), last=int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
    return [gap for gap in found if (gap.last - gap.first) * scene.step_mm >= LEAST_GAP_MM]


def _hatched(picture: Image.Image, scene: Scene, window: Window) -> Image.Image:
    """With slanting lines over the rows that one scan alone covers: dark there means not scanned, not without uptake."""
    pixels = np.array(picture)
    y, x = np.ogrid[: window.height, : window.width]
    lines = ((x + y) % 14 < 2) * np.uint8(HATCH)
    for gap in gaps(scene):
        top, bottom = (round(row * scene.step_mm * window.scale) for row in (gap.first, gap.last))
        np.maximum(pixels[top:bottom], lines[top:bottom, :, None], out=pixels[top:bottom])
    return Image.fromarray(pixels)


def _name_gap(pen: Pen, gap: Gap, scene: Scene, window: Window) -> list[Box]:
    """Says at the outer corner of a strip whose scan is missing there."""
    top, bottom = (window.top + row * scene.step_mm * window.scale for row in (gap.first, gap.last))
    if bottom - top < LEAST_WORDS or window.width < LEAST_WIDTH:
        return []
    first = bottom - 56 if gap.last == scene.rows else top + 6
    style = Style(size=20, colour=INK, rim=True)
    lines = (f"no {gap.missing}", "scan here")
    return [pen.write((window.left + 4, first + n * 25), words, style) for n, words in enumerate(lines)]


def _sides(pen: Pen, one: View, window: Window) -> None:
    """Orientation letters at the four edges of a view."""
    x, y = window.left + window.width / 2, window.top + window.height / 2
    places = (
        (one.letters[0], (window.left - 6, y), "rm"),
        (one.letters[1], (window.left + window.width + 6, y), "lm"),
        ("H", (x, window.top - 5), "mb"),
        ("F", (x, window.top + window.height + 5), "mt"),
    )
    for letters, at, anchor in places:
        pen.write(at, letters, Style(size=28, anchor=anchor, bold=True))


def ruler(pen: Pen, right: float, bottom: float, window: Window) -> None:
    """A bar of 10 cm that ends at a point."""
    left = right - RULER_MM * window.scale
    pen.draw.line((left, bottom, right, bottom), fill=FAINT, width=2)
    for x in (left, right):
        pen.draw.line((x, bottom - 6, x, bottom + 6), fill=FAINT, width=2)
    pen.write(((left + right) / 2, bottom - 8), "10 cm", Style(size=20, colour=FAINT, anchor="mb"))
