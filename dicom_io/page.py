"""The pages that are handed out: each frame of the rotating picture, and the still one for reports."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from analysis.values import PatientAnalysis
from dicom_io.derived import RESEARCH, version_of
from dicom_io.fusion import AT_ONCE, FAINTEST, Scene, View, turn, view
from dicom_io.ink import AMBER, FAINT, GROUND, INK, Pen, Style, Written
from dicom_io.marks import Window, marking
from dicom_io.panel import (
    SCALES,
    Column,
    Line,
    concordant_measures,
    draw_quality,
    draw_scales,
    draw_sites,
    draw_table,
    measures,
    quality_height,
    sites_height,
    table_height,
    told,
)
from dicom_io.picture import draw_view, ruler

FRAME = 1024  # rows and columns of a frame: readable at a glance, and still at half the size
STILL_WIDTH, STILL_HEIGHT = 1600, 1200
STRIP = 42  # the height of the strip that says what this is for
MARGIN = 26
SIDE = 40  # room for an orientation letter beside a view
HEAD = 74  # room for the title and a letter above a view
EDGE_MM = 10.0  # beside the body in the still picture, so that marks are whole
LEAST_GAP = 12.0  # between the parts of a panel
MOST_GAP = 30.0  # beyond it the panel falls apart


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Page:
    """A drawn page, every text on it, and where its views stand."""

    image: Image.Image
    written: tuple[Written, ...]
    windows: tuple[Window, ...]


def frames(scene: Scene, analysis: PatientAnalysis, gap_days: int, count: int) -> npt.NDArray[np.uint8]:
    """A full turn from the front over the patient's left: (count, FRAME, FRAME, 3)."""
    blank, out = _frame_around(analysis, gap_days), np.empty((count, FRAME, FRAME, 3), np.uint8)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        drawn = pool.map(lambda one: np.asarray(_with_view(blank, one, scene).image), turn(scene, count))
        for n, picture in enumerate(drawn):
            out[n] = picture
    return out


def frame(scene: Scene, analysis: PatientAnalysis, gap_days: int, degrees: float) -> Page:
    """One frame of the rotating picture."""
    return _with_view(_frame_around(analysis, gap_days), view(scene, degrees), scene)


def _frame_around(analysis: PatientAnalysis, gap_days: int) -> Page:
    """What does not turn: title, panel and strip."""
    image = Image.new("RGB", (FRAME, FRAME), GROUND)
    pen = Pen(image)
    _title(pen, (MARGIN, FRAME - MARGIN), gap_days)
    column = Column(left=640, right=FRAME - MARGIN, size=23)
    _panel(pen, column, (86, FRAME - STRIP - 12), analysis, [("", measures(analysis))])
    _strip(pen, analysis)
    return Page(image=image, written=tuple(pen.written), windows=())


def _with_view(around: Page, one: View, scene: Scene) -> Page:
    image = around.image.copy()
    pen = Pen(image)
    window = _windows(scene, [2 * scene.radius], (MARGIN, HEAD + 34, 620, FRAME - STRIP - 44))[0]
    draw_view(pen, one, scene, window, marking(len(scene.spots), names=10, letters=20))
    ruler(pen, 618, FRAME - STRIP - 16, window)
    return Page(image=image, written=(*around.written, *pen.written), windows=(window,))


def _windows(scene: Scene, widths_mm: list[float], box: tuple[int, int, int, int]) -> list[Window]:
    """Windows for views of the given widths side by side in a box (left, top, right, bottom), as large as fits, centred."""
    left, top, right, bottom = box
    height_mm = scene.rows * scene.step_mm
    room = right - left - 2 * SIDE * len(widths_mm)
    scale = min((bottom - top) / height_mm, room / sum(widths_mm))
    spare = (room - sum(widths_mm) * scale) / len(widths_mm)
    windows, x = [], float(left)
    for width_mm in widths_mm:
        width, height = round(width_mm * scale), round(height_mm * scale)
        place = (round(x + SIDE + spare / 2), round(top + (bottom - top - height) / 2))
        windows.append(Window(left=place[0], top=place[1], width=width, height=height, scale=scale))
        x += 2 * SIDE + spare + width_mm * scale
    return windows


def _title(pen: Pen, span: tuple[int, int], gap_days: int) -> None:
    pen.write((span[0], 42), "FDG + PentixaFor PET/CT", Style(size=30, anchor="lm", bold=True))
    days = "on the same day" if gap_days == 0 else f"{gap_days} day{'s' if gap_days > 1 else ''} apart"
    pen.write((span[1], 42), f"scans {days}", Style(size=24, colour=INK, anchor="rm"))


def _strip(pen: Pen, analysis: PatientAnalysis) -> None:
    """What every page ends with."""
    width, height = pen.image.size
    pen.draw.rectangle((0, height - STRIP, width, height), fill=AMBER)
    pen.ground = AMBER
    middle = height - STRIP / 2
    pen.write(
        (MARGIN, middle),
        f"{RESEARCH.upper()}: not for diagnosis or treatment",
        Style(size=24, colour=GROUND, anchor="lm", bold=True),
    )
    version = version_of(analysis)[:16]
    pen.write((width - MARGIN, middle), f"duet {version}", Style(size=20, colour=GROUND, anchor="rm"))
    pen.ground = GROUND


def still_page(scene: Scene, analysis: PatientAnalysis, gap_days: int) -> Page:
    """From the front and from the left, with the names of the lesions; legend, table and findings beside them."""
    image = Image.new("RGB", (STILL_WIDTH, STILL_HEIGHT), GROUND)
    pen = Pen(image)
    column = Column(left=1104, right=STILL_WIDTH - 44, size=23)
    _title(pen, (44, STILL_WIDTH - 44), gap_days)
    views = [view(scene, 0.0), view(scene, 90.0)]
    windows = _windows(scene, [_width_mm(one) for one in views], (20, HEAD + 40, 1080, STILL_HEIGHT - STRIP - 84))
    how = marking(len(scene.spots), names=24, letters=21, line=2.6)
    for one, window, words in zip(views, windows, ("from the front", "from the left"), strict=True):
        draw_view(pen, _cropped(one, window), scene, window, how)
        middle = window.left + window.width / 2
        pen.write((middle, window.top + window.height + 56), words, Style(size=22, colour=FAINT, anchor="mm"))
    ruler(pen, 1080, STILL_HEIGHT - STRIP - 22, windows[0])
    tables = [("", measures(analysis)), ("medullary, on both", concordant_measures(analysis))]
    _panel(pen, column, (88, STILL_HEIGHT - STRIP - 16), analysis, tables)
    _strip(pen, analysis)
    return Page(image=image, written=tuple(pen.written), windows=tuple(windows))


def _panel(
    pen: Pen, column: Column, span: tuple[int, int], analysis: PatientAnalysis, tables: list[tuple[str, list[Line]]]
) -> None:
    """Quality, sites, tables and scales between two heights; what is left goes to the reasons and to the gaps."""
    y, end = float(span[0]), float(span[1])
    fixed = sites_height(column, analysis) + sum(table_height(column, len(t)) for _, t in tables) + SCALES * column.size
    gaps = 2 + len(tables)
    spare = end - y - fixed - gaps * LEAST_GAP - quality_height(column, 0)
    reasons = told(analysis, column, max(1, int(spare / (quality_height(column, 1) - quality_height(column, 0)))))
    spare -= quality_height(column, reasons.lines) - quality_height(column, 0)
    gap = LEAST_GAP + min(max(spare, 0) / gaps, MOST_GAP)
    y = draw_quality(pen, column, y, analysis.verdict, reasons)
    y = draw_sites(pen, column, y + gap, analysis) + gap
    for title, table in tables:
        y = draw_table(pen, column, y, table, title) + gap
    draw_scales(pen, column, end - SCALES * column.size)


def _width_mm(one: View) -> float:
    """As wide as what is seen, to both sides of the axis, with a little edge."""
    seen = np.maximum(np.maximum(one.fdg, one.pentixafor).max(axis=0) > FAINTEST, one.bone.max(axis=0) > 1.0)
    columns = np.flatnonzero(seen)
    middle = (one.fdg.shape[1] - 1) / 2
    reach = float(np.abs(columns - middle).max()) if columns.size else middle
    return float(min(reach * one.step_mm + 2 * EDGE_MM, one.fdg.shape[1] * one.step_mm / 2))


def _cropped(one: View, window: Window) -> View:
    """Without the empty columns at both sides, as wide as its window."""
    width = round(window.width / window.scale / one.step_mm * 2)
    first = (one.fdg.shape[1] - width) // 2
    part = np.s_[:, max(first, 0) : max(first, 0) + width]
    return View(
        degrees=one.degrees,
        fdg=one.fdg[part],
        pentixafor=one.pentixafor[part],
        bone=one.bone[part],
        lesions=one.lesions[part],
        step_mm=one.step_mm,
    )


def png(page: Page) -> bytes:
    """The page as a file."""
    stream = io.BytesIO()
    page.image.save(stream, "PNG")
    return stream.getvalue()
