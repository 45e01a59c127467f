"""Views drawn as pictures: tracers in colour over the bones, lesions outlined, with sides, scales and legend.

Nothing that identifies the patient is drawn, so the pixels may be shown without the header.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

from analysis.values import PatientAnalysis, Tracer, Verdict
from dicom_io.derived import RESEARCH
from dicom_io.fusion import FULL_SCALE, Class, Scene, View, class_of, view

Colour = tuple[int, int, int]

INK: Colour = (235, 238, 243)
FAINT: Colour = (140, 148, 160)
GROUND: Colour = (9, 11, 15)
AMBER: Colour = (255, 178, 70)
TRACER_COLOURS: dict[Tracer, Colour] = {Tracer.FDG: (255, 46, 36), Tracer.PENTIXAFOR: (28, 214, 70)}
BONE_COLOUR = np.array([96.0, 112.0, 140.0])
LINE_COLOURS: dict[Class, Colour] = {
    Class.NOT_COMPARABLE: (205, 210, 220),
    Class.FDG_ONLY: (255, 128, 116),
    Class.PENTIXAFOR_ONLY: (130, 255, 165),
    Class.CONCORDANT: (255, 226, 84),
}
CLASS_NAMES = {
    Class.CONCORDANT: "on both tracers",
    Class.PENTIXAFOR_ONLY: "PentixaFor only",
    Class.FDG_ONLY: "FDG only",
    Class.NOT_COMPARABLE: "not comparable",
}
VERDICT_COLOURS: dict[Verdict, Colour] = {Verdict.OK: (90, 200, 120), Verdict.WARN: AMBER, Verdict.HOLD: (255, 80, 80)}
GAMMA = 0.95  # lifts the background a little, so that the body is seen around its lesions
YIELD = 0.75  # how much the weaker tracer gives way: yellow is where both are alike, not where one has background
BONE_FULL_MM = 28.0  # this much dense bone along a ray is drawn at full brightness

FRAME_HEIGHT, FRAME_WIDTH = 600, 480  # largest picture of a view within a frame of fusion.dcm
FRAME_HEAD, FRAME_FOOT = 52, 116
STILL_HEIGHT, STILL_WIDTH, PANEL_WIDTH, MARGIN = 960, 1240, 470, 48


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the table of measures: its name and the value of each tracer as shown."""

    name: str
    fdg: str
    pentixafor: str


def frames(scene: Scene, count: int) -> npt.NDArray[np.uint8]:
    """A full turn from the front over the patient's left: (count, rows, columns, 3)."""
    width, height = _turning_size(scene)
    scale = min(FRAME_HEIGHT / height, FRAME_WIDTH / width)
    size = (round(width * scale), round(height * scale))
    drawn = [np.asarray(_frame(view(scene, 360.0 * n / count), size)) for n in range(count)]
    return np.stack(drawn)


def still(scene: Scene, analysis: PatientAnalysis, gap_days: int) -> bytes:
    """PNG: from the front and from the left, the legend, and the main features."""
    views = [_cropped(view(scene, 0.0)), _cropped(view(scene, 90.0))]
    height, width = views[0].fdg.shape[0], sum(v.fdg.shape[1] for v in views)
    scale = min((STILL_HEIGHT - 140) / height, (STILL_WIDTH - 3 * MARGIN) / width)
    sizes = [(round(v.fdg.shape[1] * scale), round(height * scale)) for v in views]
    total = sum(w for w, _ in sizes) + 3 * MARGIN
    picture = Image.new("RGB", (total + PANEL_WIDTH, STILL_HEIGHT), GROUND)
    pen = ImageDraw.Draw(picture)
    x, top = MARGIN, (STILL_HEIGHT - 24 - sizes[0][1]) // 2
    for one, size, title in zip(views, sizes, ("from the front", "from the left"), strict=True):
        picture.paste(render(one, size, line=3), (x, top))
        _sides(pen, one, (x - 18, top, x + size[0] + 18, top + size[1]), 22)
        write(pen, (x + size[0] // 2, top + size[1] + 50), title, 18, FAINT, "mm")
        x += size[0] + MARGIN
    _panel(pen, total, analysis, gap_days)
    stream = io.BytesIO()
    picture.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def render(one: View, size: tuple[int, int], line: int = 2) -> Image.Image:
    """The view at the given size (width, height), lesions outlined with lines of about `line` pixels."""
    picture = Image.fromarray(_coloured(one)).resize(size, Image.Resampling.LANCZOS)
    for bit, colour in LINE_COLOURS.items():
        mask = (one.lesions & bit).astype(bool)
        if mask.any():
            picture.paste(colour, (0, 0), _outline(mask, size, line))
    return picture


def _coloured(one: View) -> npt.NDArray[np.uint8]:
    fdg, pentixafor = (np.power(x / 65535.0, GAMMA)[..., None] for x in (one.fdg, one.pentixafor))
    bone = np.sqrt(np.clip(one.bone / BONE_FULL_MM, 0, 1))[..., None]
    veil = 1.0 - np.maximum(fdg, pentixafor)
    difference = YIELD * (fdg - pentixafor)
    red, green = fdg * (1 + np.minimum(difference, 0)), pentixafor * (1 - np.maximum(difference, 0))
    tracers = red * np.array(TRACER_COLOURS[Tracer.FDG]) + green * np.array(TRACER_COLOURS[Tracer.PENTIXAFOR])
    return np.asarray(np.clip(np.array(GROUND) + bone * BONE_COLOUR * veil + tracers, 0, 255).astype(np.uint8))


def _outline(mask: npt.NDArray[np.bool_], size: tuple[int, int], line: int) -> Image.Image:
    """A smooth line around the mask, as an alpha channel; drawn at double size and reduced."""
    soft = Image.fromarray(mask.astype(np.uint8) * 255).filter(ImageFilter.GaussianBlur(1.2))
    large = soft.resize((2 * size[0], 2 * size[1]), Image.Resampling.BICUBIC)
    smooth = large.point(lambda value: 255 if value > 90 else 0)
    grown = smooth.filter(ImageFilter.BoxBlur(line)).point(lambda value: 255 if value > 0 else 0)
    return ImageChops.subtract(grown, smooth).resize(size, Image.Resampling.LANCZOS)


def _cropped(one: View, least: float = 0.01) -> View:
    """Without the empty columns at both sides."""
    seen = np.maximum(one.fdg, one.pentixafor).max(axis=0) > least * 65535
    columns = np.flatnonzero(seen | (one.bone.max(axis=0) > 1.0))
    first, last = (int(columns[0]), int(columns[-1]) + 1) if columns.size else (0, len(seen))
    part = np.s_[:, first:last]
    return View(
        degrees=one.degrees,
        fdg=one.fdg[part],
        pentixafor=one.pentixafor[part],
        bone=one.bone[part],
        lesions=one.lesions[part],
        step_mm=one.step_mm,
    )


def _turning_size(scene: Scene) -> tuple[int, int]:
    """Width and height in scene steps that hold the body from every side."""
    one = view(scene, 0.0)
    return one.fdg.shape[1], one.fdg.shape[0]


def _frame(one: View, size: tuple[int, int]) -> Image.Image:
    width = max(size[0], 420)
    picture = Image.new("RGB", (width, size[1] + FRAME_HEAD + FRAME_FOOT), GROUND)
    left = (width - size[0]) // 2
    picture.paste(render(one, size), (left, FRAME_HEAD))
    pen = ImageDraw.Draw(picture)
    write(pen, (10, 17), "FDG + PentixaFor", 16, INK, "lm")
    write(pen, (width - 10, 17), RESEARCH.upper(), 14, AMBER, "rm")
    _sides(pen, one, (left + 8, FRAME_HEAD, left + size[0] - 8, FRAME_HEAD + size[1]), 18)
    foot = FRAME_HEAD + size[1]
    for tracer, x in zip(Tracer, (12, width // 2 + 6), strict=True):
        _scale(pen, (x, foot + 50, width // 2 - 30), tracer, 13)
    x = 12
    for bit in (Class.CONCORDANT, Class.PENTIXAFOR_ONLY, Class.FDG_ONLY):
        pen.ellipse((x, foot + 91, x + 11, foot + 102), outline=LINE_COLOURS[bit], width=2)
        write(pen, (x + 17, foot + 97), CLASS_NAMES[bit], 13, INK, "lm")
        x += width // 3 - 2
    return picture


def write(pen: ImageDraw.ImageDraw, at: tuple[float, float], text: str, size: int, colour: Colour, anchor: str = "la") -> None:
    """Text at a point, in the font that Pillow carries with it."""
    pen.text(at, text, fill=colour, font=ImageFont.load_default(size), anchor=anchor)


def _sides(pen: ImageDraw.ImageDraw, one: View, box: tuple[int, int, int, int], size: int) -> None:
    """Orientation letters at the four edges of a view."""
    left, top, right, bottom = box
    middle = ((left + right) // 2, (top + bottom) // 2)
    write(pen, (left, middle[1]), one.letters[0], size, INK, "lm")
    write(pen, (right, middle[1]), one.letters[1], size, INK, "rm")
    write(pen, (middle[0], top - size // 2 - 3), "H", size, INK, "mm")
    write(pen, (middle[0], bottom + size // 2 + 3), "F", size, INK, "mm")


def _scale(pen: ImageDraw.ImageDraw, place: tuple[int, int, int], tracer: Tracer, size: int) -> None:
    """A bar from SUV 0 to full scale; place: left, top, width."""
    left, top, width = place
    ramp = np.power(np.linspace(0, 1, width), GAMMA)
    for n, level in enumerate(ramp):
        colour = tuple(int(g + level * (c - g)) for g, c in zip(GROUND, TRACER_COLOURS[tracer], strict=True))
        pen.line((left + n, top, left + n, top + size - 3), fill=colour)
    pen.rectangle((left, top, left + width, top + size - 3), outline=FAINT)
    write(pen, (left, top - 4), f"{tracer} SUV", size, INK, "ls")
    write(pen, (left, top + size), "0", size - 1, FAINT, "lt")
    write(pen, (left + width, top + size), f"{FULL_SCALE[tracer]:g}+", size - 1, FAINT, "rt")


def _panel(pen: ImageDraw.ImageDraw, left: int, analysis: PatientAnalysis, gap_days: int) -> None:
    right = left + PANEL_WIDTH - MARGIN
    write(pen, (left, 36), "duet", 52, INK)
    write(pen, (left, 102), "[18F]FDG and [68Ga]PentixaFor PET/CT", 22, INK)
    days = "the same day" if gap_days == 0 else f"{gap_days} day{'s' if gap_days > 1 else ''} apart"
    write(pen, (left, 132), f"maximum intensity, one frame of reference, {days}", 16, FAINT)
    y = _sites(pen, left, 184, analysis)
    y = _table(pen, (left, right), y + 26, measures(analysis))
    for tracer in Tracer:
        _scale(pen, (left, y + 48, right - left), tracer, 17)
        y += 66
    _quality(pen, (left, right), y + 46, analysis)
    write(pen, (left, STILL_HEIGHT - 34), RESEARCH.upper(), 21, AMBER, "lm")


def _sites(pen: ImageDraw.ImageDraw, left: int, y: int, analysis: PatientAnalysis) -> int:
    """Number of sites of each class; returns where the next thing may stand."""
    write(pen, (left, y), "Sites of disease", 17, FAINT)
    y += 46
    for bit, name in CLASS_NAMES.items():
        count = sum(class_of(m) is bit for m in analysis.matches)
        if bit is Class.NOT_COMPARABLE and count == 0:
            continue
        pen.ellipse((left + 2, y - 12, left + 26, y + 12), outline=LINE_COLOURS[bit], width=4)
        write(pen, (left + 92, y), str(count), 34, INK, "rm")
        write(pen, (left + 108, y + 2), name, 22, INK, "lm")
        y += 46
    return y


def measures(analysis: PatientAnalysis) -> list[Line]:
    """What the table shows: count, volume, burden, highest SUV, spread, spleen; undefined values as a dash."""

    def row(name: str, digits: int, values: dict[Tracer, float]) -> Line:
        shown = [f"{values[t]:,.{digits}f}" if np.isfinite(values[t]) else "-" for t in Tracer]
        return Line(name, *shown)

    lesions = {t: analysis.lesions[t].lesions for t in Tracer}
    feature = analysis.features.get
    return [
        row("lesions", 0, {t: float(len(lesions[t])) for t in Tracer}),
        row("volume, ml", 1, {t: sum(x.volume_ml for x in lesions[t]) for t in Tracer}),
        row("TLG / TLC, g", 0, {t: sum(x.burden_g for x in lesions[t]) for t in Tracer}),
        row("highest SUV", 1, {t: max((x.suv_max for x in lesions[t]), default=np.nan) for t in Tracer}),
        row("sDmax, 1/m", 2, {t: feature(f"sDmax[{t.bracket}]", np.nan) for t in Tracer}),
        row("spleen SUV", 1, {t: feature(f"SUVmean[{t.bracket} spleen]", np.nan) for t in Tracer}),
    ]


def _table(pen: ImageDraw.ImageDraw, span: tuple[int, int], y: int, lines: list[Line]) -> int:
    left, right = span
    middle = right - 130
    write(pen, (middle, y), "FDG", 18, (255, 120, 108), "rm")
    write(pen, (right, y), "PentixaFor", 18, (110, 235, 140), "rm")
    for line in lines:
        y += 34
        pen.line((left, y - 17, right, y - 17), fill=(34, 39, 48))
        write(pen, (left, y), line.name, 19, FAINT, "lm")
        write(pen, (middle, y), line.fdg, 20, INK, "rm")
        write(pen, (right, y), line.pentixafor, 20, INK, "rm")
    return y


def _quality(pen: ImageDraw.ImageDraw, span: tuple[int, int], y: int, analysis: PatientAnalysis) -> None:
    left, right = span
    found = [f for f in analysis.findings if f.verdict is not Verdict.OK]
    pen.ellipse((left, y - 7, left + 14, y + 7), fill=VERDICT_COLOURS[analysis.verdict])
    uncertain = sum(not m.certain for m in analysis.matches)
    words = f"quality: {len(found)} to look at" if found else "quality: fine"
    if uncertain:
        words += f", {uncertain} uncertain match{'es' if uncertain > 1 else ''}"
    write(pen, (left + 24, y), words, 17, INK, "lm")
    count = len(found)
    names = ", ".join(f.name for f in found)
    while count > 1 and pen.textlength(names, ImageFont.load_default(15)) > right - left - 24:
        count -= 1
        names = f"{', '.join(f.name for f in found[:count])}, +{len(found) - count} more"
    write(pen, (left + 24, y + 24), names, 15, FAINT, "lm")
