"""What stands beside the views: quality, sites of disease by class, the main features, and the SUV scales."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from analysis.values import Finding, PatientAnalysis, Site, Tracer, Verdict
from dicom_io.fusion import FULL_SCALE, Class, class_of
from dicom_io.ink import (
    CLASS_LETTERS,
    CLASS_NAMES,
    FAINT,
    GROUND,
    INK,
    LINE_COLOURS,
    TRACER_COLOURS,
    TRACER_INKS,
    VERDICT_COLOURS,
    VERDICT_WORDS,
    Pen,
    Style,
    fitted,
    harmless,
    width_of,
    wrapped,
)
from dicom_io.marks import ring
from dicom_io.picture import GAMMA

SCALES = 7.2
NO_BREAK = "\u00a0"


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the table of measures: its name and the value of each tracer as shown."""

    name: str
    fdg: str
    pentixafor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """Where a panel stands on its page: its edges, and the height of its text."""

    left: int
    right: int
    size: int

    @property
    def width(self) -> int:
        return self.right - self.left


def measures(analysis: PatientAnalysis) -> list[Line]:
    """What the table shows: count, volume, burden, SUV, spread, spleen; undefined values as a dash."""
    lesions = {t: analysis.lesions[t].lesions for t in Tracer}
    known = {t: np.nan if t in analysis.not_run else 1.0 for t in Tracer}
    volume = {t: known[t] * sum(x.volume_ml for x in lesions[t]) for t in Tracer}
    burden = {t: known[t] * sum(x.burden_g for x in lesions[t]) for t in Tracer}
    feature = analysis.features.get
    count = {t: "not run" if t in analysis.not_run else number(len(lesions[t]), 0) for t in Tracer}
    return [
        Line("lesions", *(count[t] for t in Tracer)),
        _row("medullary", 0, {t: known[t] * sum(x.site is Site.MEDULLARY for x in lesions[t]) for t in Tracer}),
        _row("volume, ml", 1, volume),
        _row("TLG / TLC, g", 0, burden),
        _row("highest SUV", 1, {t: max((x.suv_max for x in lesions[t]), default=np.nan) for t in Tracer}),
        _row("mean SUV", 1, {t: burden[t] / volume[t] if volume[t] else np.nan for t in Tracer}),
        _row("sDmax, 1/m", 2, {t: feature(f"sDmax[{t.bracket}]", np.nan) for t in Tracer}),
        _row("spleen SUV", 1, {t: feature(f"SUVmean[{t.bracket} spleen]", np.nan) for t in Tracer}),
    ]


def concordant_measures(analysis: PatientAnalysis) -> list[Line]:
    """The paper's features of the medullary lesions that both tracers show."""

    def value(name: str) -> dict[Tracer, float]:
        chosen = {t: t.burden if name == "burden" else name for t in Tracer}
        subset = f"{Site.MEDULLARY} concordant"
        return {t: float(analysis.features.get(f"{chosen[t]}[{t.bracket} {subset}]", np.nan)) for t in Tracer}

    return [
        _row("volume, ml", 1, value("MTV")),
        _row("TLG / TLC, g", 0, value("burden")),
        _row("mean SUV", 1, value("SUVmean")),
    ]


def _row(name: str, digits: int, values: dict[Tracer, float]) -> Line:
    return Line(name, *(number(values[t], digits) for t in Tracer))


def number(value: float, digits: int) -> str:
    """A value as the table shows it, never longer than 9 letters; undefined: a dash."""
    if not np.isfinite(value):
        return "-"
    shown = f"{value:,.{digits}f}"
    if len(shown) > 9:
        shown = f"{value:,.0f}"
    return shown if len(shown) <= 9 else f"{value:.2e}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """The findings that warn or hold as they stand in a panel: each with its lines, and how many have no room."""

    findings: tuple[tuple[Finding, list[str]], ...]
    more: int

    @property
    def lines(self) -> int:
        return sum(len(lines) for _, lines in self.findings) + (self.more > 0)


def told(analysis: PatientAnalysis, column: Column, lines: int) -> Told:
    """What led to the verdict in at most so many lines, holds first: in sentences where there is room, else in short."""
    found = sorted((f for f in analysis.findings if f.verdict is not Verdict.OK), key=lambda f: f.verdict is Verdict.WARN)
    both, holds = (Verdict.HOLD, Verdict.WARN), (Verdict.HOLD,)
    for whole, most in ((both, 4), (holds, 4), (holds, 3), ((), 2), ((), 1)):
        drawn = [(f, _lines(f, column, sentence=f.verdict in whole, most=most)) for f in found]
        if sum(len(words) for _, words in drawn) <= lines:
            return Told(findings=tuple(drawn), more=0)
    shown = max(lines - 1, 0)
    return Told(findings=tuple(drawn[:shown]), more=len(drawn) - shown)


def _lines(finding: Finding, column: Column, *, sentence: bool, most: int) -> list[str]:
    ways = (finding.message,) if sentence and harmless(finding.message) else in_short(finding)
    unbroken = [re.sub(r"\(.*?\)", lambda part: part[0].replace(" ", NO_BREAK), words) for words in ways]
    for words in unbroken:
        drawn = wrapped(words, *_room(column), most)
        if " ".join(drawn) == words:
            break
    return drawn


def _room(column: Column) -> tuple[int, float]:
    """Letter size and width in pixels of a finding's words."""
    return column.size - 2, column.width - _indent(column)


def _indent(column: Column) -> float:
    return column.size * 1.75


def quality_height(column: Column, lines: int) -> float:
    """What draw_quality takes with so many lines of findings, in pixels."""
    return column.size * 1.9 + lines * (column.size - 2) * 1.32


def draw_quality(pen: Pen, column: Column, y: float, verdict: Verdict, reasons: Told) -> float:
    """The verdict with its sign and word, and what led to it; returns where the next thing may stand."""
    size, left = column.size, column.left + _indent(column)
    sign(pen, (column.left + size * 0.75, y + size * 0.75), size * 0.75, verdict)
    style = Style(size=size + 4, colour=VERDICT_COLOURS[verdict], anchor="lm", bold=True)
    pen.write((left + 4, y + size * 0.75), VERDICT_WORDS[verdict], style)
    y += size * 1.9
    small = size - 2
    for finding, lines in reasons.findings:
        sign(pen, (left - small * 0.75, y + small * 0.5), small * 0.42, finding.verdict)
        for line in lines:
            pen.write((left, y), line, Style(size=small))
            y += small * 1.32
    if reasons.more:
        pen.write((left, y), f"and {reasons.more} more: see the report", Style(size=small, colour=FAINT))
        y += small * 1.32
    return y


def in_short(finding: Finding) -> tuple[str, ...]:
    """The finding's name, value and first limit, then with less; a value that might hold a date or an ID is left out."""
    value = f"{finding.value:.3g}" if isinstance(finding.value, (int, float)) else str(finding.value or "")
    if not value or not harmless(value) or len(value) > 24:
        return (finding.name,)
    limit = finding.limit.replace(";", ",").split(",")[0].strip()
    brief = (f"{finding.name} {value}", finding.name)
    return (f"{finding.name} {value} ({limit})", *brief) if limit and harmless(limit) else brief


def sign(pen: Pen, at: tuple[float, float], radius: float, verdict: Verdict) -> None:
    """A tick in a circle, an exclamation mark in a triangle, or a bar in an octagon: each verdict has its own shape."""
    (x, y), r, colour = at, radius, VERDICT_COLOURS[verdict]
    line = max(2, round(r / 4))
    if verdict is Verdict.OK:
        pen.draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)
        pen.draw.line((x - r / 2, y, x - r / 8, y + r / 2.4, x + r / 2, y - r / 2.4), fill=GROUND, width=line, joint="curve")
    elif verdict is Verdict.WARN:
        pen.draw.polygon([(x, y - r), (x + r * 1.05, y + r * 0.85), (x - r * 1.05, y + r * 0.85)], fill=colour)
        pen.draw.line((x, y - r * 0.4, x, y + r * 0.3), fill=GROUND, width=line)
        pen.draw.line((x, y + r * 0.48, x, y + r * 0.68), fill=GROUND, width=line)
    else:
        pen.draw.regular_polygon((x, y, r * 1.08), 8, rotation=22.5, fill=colour)
        pen.draw.line((x - r * 0.6, y, x + r * 0.6, y), fill=GROUND, width=max(2, round(r / 2.4)))


def sites_height(column: Column, analysis: PatientAnalysis) -> float:
    """What draw_sites takes, in pixels."""
    rows = 3 + any(class_of(m) is Class.NOT_COMPARABLE for m in analysis.matches)
    return column.size * (1.2 + 1.75 * rows + (1.2 if any(not m.certain for m in analysis.matches) else 0))


def draw_sites(pen: Pen, column: Column, y: float, analysis: PatientAnalysis) -> float:
    """The legend with the number of sites of each class, and how many may be of another class."""
    size = column.size
    pen.write((column.left, y), "Sites of disease", Style(size=size, colour=FAINT))
    y += size * 2.07
    for kind, name in CLASS_NAMES.items():
        count = sum(class_of(m) is kind for m in analysis.matches)
        if kind is Class.NOT_COMPARABLE and count == 0:
            continue
        radius = size * 0.62
        ring(pen.image, (column.left + radius + 2, y), radius, kind, size / 7)
        letter = Style(size=size, colour=LINE_COLOURS[kind], anchor="mm", bold=True)
        pen.write((column.left + size * 2.4, y), CLASS_LETTERS[kind], letter)
        pen.write((column.left + size * 5.7, y), str(count), Style(size=round(size * 1.4), anchor="rm", bold=True))
        pen.write((column.left + size * 6.2, y + 1), name, Style(size=size, anchor="lm"))
        y += size * 1.75
    uncertain = sum(not m.certain for m in analysis.matches)
    if uncertain:
        words = f"? {uncertain} uncertain: class may change"
        pen.write((column.left, y - size * 0.6), fitted(words, size - 2, column.width), Style(size=size - 2, colour=INK))
        y += size * 1.2
    return y - size * 0.87


def table_height(column: Column, rows: int) -> float:
    """What draw_table takes, in pixels."""
    return column.size * (1.3 + 1.45 * rows)


def draw_table(pen: Pen, column: Column, y: float, lines: list[Line], title: str = "") -> float:
    """Names and both tracers' values, with a rule above each row."""
    size, middle = column.size, column.right - column.size * 5.6
    y += size * 0.5
    if title:
        pen.write((column.left, y), fitted(title, size, middle - column.left), Style(size=size, colour=FAINT, anchor="lm"))
    for tracer, x in ((Tracer.FDG, middle), (Tracer.PENTIXAFOR, column.right)):
        pen.write((x, y), str(tracer), Style(size=size, colour=TRACER_INKS[tracer], anchor="rm", bold=True))
    for line in lines:
        y += size * 1.45
        pen.rule(column.left, column.right, y - size * 0.74)
        room = middle - column.left - width_of(line.fdg, size) - 8
        pen.write((column.left, y), fitted(line.name, size, room), Style(size=size, colour=FAINT, anchor="lm"))
        pen.write((middle, y), line.fdg, Style(size=size, anchor="rm"))
        pen.write((column.right, y), line.pentixafor, Style(size=size, anchor="rm"))
    return y + size * 0.8


def draw_scales(pen: Pen, column: Column, y: float) -> float:
    """A bar from SUV 0 to full brightness for each tracer; SCALES times the text's height in all."""
    size = column.size
    for tracer in Tracer:
        pen.write((column.left, y), f"{tracer} SUV", Style(size=size - 2, colour=INK))
        y += size * 1.25
        _bar(pen, column, y, tracer)
        for share, anchor in ((0.0, "la"), (0.5, "ma"), (1.0, "ra")):
            text = f"{FULL_SCALE[tracer] * share:g}{' and more' if share == 1 else ''}"
            pen.write(
                (column.left + share * column.width, y + size * 0.8), text, Style(size=size - 3, colour=FAINT, anchor=anchor)
            )
        y += size * 2.35
    return y


def _bar(pen: Pen, column: Column, y: float, tracer: Tracer) -> None:
    height = column.size * 0.6
    for n, level in enumerate(np.power(np.linspace(0, 1, column.width), GAMMA)):
        colour = tuple(int(g + level * (c - g)) for g, c in zip(GROUND, TRACER_COLOURS[tracer], strict=True))
        pen.draw.line((column.left + n, y, column.left + n, y + height), fill=colour)
    pen.draw.rectangle((column.left, y, column.right, y + height), outline=FAINT)
