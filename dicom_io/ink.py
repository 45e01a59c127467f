"""What pictures are drawn with: colours, a font, and a pen that remembers where it wrote.

FDG is red, PentixaFor green, both yellow, as in the paper's figure 2. The three differ in lightness as well, for those who
see no difference of red and green, and each class of lesions has its own line and its own letter beside the colour.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

from PIL import Image, ImageDraw, ImageFont

from analysis.values import Tracer, Verdict
from dicom_io.fusion import Class

Colour = tuple[int, int, int]
Box = tuple[float, float, float, float]  # left, top, right, bottom

GROUND: Colour = (9, 11, 15)
INK: Colour = (238, 241, 246)
FAINT: Colour = (160, 168, 181)
RULE: Colour = (40, 46, 56)
AMBER: Colour = (255, 184, 76)
TRACER_COLOURS: dict[Tracer, Colour] = {Tracer.FDG: (255, 52, 38), Tracer.PENTIXAFOR: (60, 228, 96)}
TRACER_INKS: dict[Tracer, Colour] = {Tracer.FDG: (255, 112, 98), Tracer.PENTIXAFOR: (92, 222, 122)}
LINE_COLOURS: dict[Class, Colour] = {
    Class.NOT_COMPARABLE: (190, 198, 212),
    Class.FDG_ONLY: (255, 96, 82),
    Class.PENTIXAFOR_ONLY: (92, 222, 122),
    Class.CONCORDANT: (255, 250, 190),
}
# The line around a lesion in units of its width: how long it is drawn, how long not; None: unbroken.
DASHES: dict[Class, tuple[float, float] | None] = {
    Class.NOT_COMPARABLE: (1.0, 3.0),
    Class.FDG_ONLY: (1.6, 1.7),
    Class.PENTIXAFOR_ONLY: (4.5, 2.4),
    Class.CONCORDANT: None,
}
CLASS_NAMES = {
    Class.CONCORDANT: "on both tracers",
    Class.PENTIXAFOR_ONLY: "PentixaFor only",
    Class.FDG_ONLY: "FDG only",
    Class.NOT_COMPARABLE: "not comparable",
}
CLASS_LETTERS = {Class.CONCORDANT: "M", Class.PENTIXAFOR_ONLY: "P", Class.FDG_ONLY: "F", Class.NOT_COMPARABLE: "F/P"}
VERDICT_COLOURS: dict[Verdict, Colour] = {Verdict.OK: (110, 222, 140), Verdict.WARN: AMBER, Verdict.HOLD: (255, 104, 96)}
VERDICT_WORDS = {
    Verdict.OK: "Quality: fine",
    Verdict.WARN: "Quality: look twice",
    Verdict.HOLD: "HOLD: check before use",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A text that stands in a picture: where, in which colour, on what."""

    text: str
    box: Box
    colour: Colour
    ground: Colour


@lru_cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """The font that Pillow carries with it, laid out by Pillow alone: the same pixels on every machine."""
    face = ImageFont.load_default(size)
    if not isinstance(face, ImageFont.FreeTypeFont):
        raise RuntimeError("this Pillow was built without FreeType")
    return face.font_variant(layout_engine=ImageFont.Layout.BASIC)


def plain_text(text: str) -> str:
    """The text in the letters that the font has: without accents, and ? for any other sign."""
    bare = unicodedata.normalize("NFKD", text)
    return "".join(c for c in bare if not unicodedata.combining(c)).encode("ascii", "replace").decode()


def width_of(text: str, size: int) -> float:
    """Of the text in pixels."""
    return float(font(size).getlength(plain_text(text)))


def fitted(text: str, size: int, width: float) -> str:
    """The text, cut and ended with "..." where it is wider than `width` pixels."""
    if width_of(text, size) <= width:
        return text
    while text and width_of(f"{text}...", size) > width:
        text = text[:-1]
    return f"{text.rstrip(' ,;:(')}..."


def wrapped(text: str, size: int, width: float, lines: int) -> list[str]:
    """The text in at most so many lines of at most `width` pixels, the last one cut where it does not end there."""
    out: list[str] = [""]
    words = [word for word in text.split(" ") if word]
    for n, word in enumerate(words):
        longer = f"{out[-1]} {word}".strip()
        if width_of(longer, size) <= width or not out[-1]:
            out[-1] = longer
        elif len(out) < lines:
            out.append(word)
        else:
            out[-1] = " ".join([out[-1], *words[n:]])
            break
    return [fitted(line, size, width) for line in out]


def harmless(text: str) -> bool:
    """Whether a sentence of a finding may stand in the pixels: no date, no time of day, no long number in it."""
    return re.search(r"\d{5}|\d\s*:\s*\d|\d[-/.]\d+[-/.]\d", text) is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How a text looks: its height in pixels, its anchor as Pillow names it, and whether a dark rim parts it from a picture."""

    size: int
    colour: Colour = INK
    anchor: str = "la"
    bold: bool = False
    rim: bool = False


class Pen:
    """Draws on an image and remembers each text, so that overlaps can be told."""

    def __init__(self, image: Image.Image, ground: Colour = GROUND) -> None:
        self.image = image
        self.draw = ImageDraw.Draw(image)
        self.ground = ground
        self.written: list[Written] = []

    def write(self, at: tuple[float, float], text: str, style: Style) -> Box:
        """Text at a point; returns the box it fills."""
        words, face = plain_text(text), font(style.size)
        weight = style.size / 56 if style.bold else 0
        if style.rim:
            self.draw.text(at, words, fill=GROUND, font=face, anchor=style.anchor, stroke_width=weight + 2)
        self.draw.text(at, words, fill=style.colour, font=face, anchor=style.anchor, stroke_width=weight)
        box = self.box(at, words, style)
        self.written.append(Written(text=words, box=box, colour=style.colour, ground=self.ground))
        return box

    def box(self, at: tuple[float, float], text: str, style: Style) -> Box:
        """Where a text would stand."""
        left, top, right, bottom = self.draw.textbbox(at, plain_text(text), font=font(style.size), anchor=style.anchor)
        return float(left), float(top), float(right), float(bottom)

    def rule(self, left: float, right: float, y: float) -> None:
        self.draw.line((left, y, right, y), fill=RULE, width=1)
