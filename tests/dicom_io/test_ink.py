"""Colours for every eye, and text that fits."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from PIL import Image
from vision import KINDS, contrast, lightness, seen_by

from analysis.values import Tracer, Verdict
from dicom_io.fusion import Class
from dicom_io.ink import (
    AMBER,
    DASHES,
    FAINT,
    GROUND,
    INK,
    LINE_COLOURS,
    TRACER_COLOURS,
    TRACER_INKS,
    VERDICT_COLOURS,
    Pen,
    Style,
    fitted,
    harmless,
    plain_text,
    width_of,
    wrapped,
)

SEEN = (Class.FDG_ONLY, Class.PENTIXAFOR_ONLY, Class.CONCORDANT)


@pytest.mark.parametrize("kind", KINDS)
def test_the_three_classes_differ_in_lightness_for_every_eye(kind: str) -> None:
    """Lines, and what they enclose: red darkest, then green, then yellow; 10 of CIE L* apart at least."""
    yellow = np.clip(np.sum([TRACER_COLOURS[t] for t in Tracer], axis=0), 0, 255)
    fills = [TRACER_COLOURS[Tracer.FDG], TRACER_COLOURS[Tracer.PENTIXAFOR], yellow]
    for colours in ([LINE_COLOURS[c] for c in SEEN], fills):
        steps = np.diff(lightness(seen_by(colours, kind)))
        assert steps.min() > 10, (kind, steps)


def test_the_classes_differ_in_shape_as_well() -> None:
    assert DASHES[Class.CONCORDANT] is None
    broken = [DASHES[c] for c in (Class.FDG_ONLY, Class.PENTIXAFOR_ONLY, Class.NOT_COMPARABLE)]
    for one, other in itertools.combinations(broken, 2):
        assert one is not None
        assert other is not None
        assert abs(one[0] / sum(one) - other[0] / sum(other)) > 0.1 or abs(sum(one) - sum(other)) > 1


@pytest.mark.parametrize("kind", KINDS)
def test_text_has_the_contrast_that_wcag_asks_for(kind: str) -> None:
    """4.5 to 1 for text (WCAG 2.2, 1.4.3); colour-blind readers included."""
    inks = [INK, FAINT, AMBER, *TRACER_INKS.values(), *LINE_COLOURS.values(), *VERDICT_COLOURS.values()]
    for ink in inks:
        assert contrast(seen_by(ink, kind), seen_by(GROUND, kind)) >= 4.5, (kind, ink)
    assert contrast(seen_by(AMBER, kind), seen_by(GROUND, kind)) >= 4.5


@pytest.mark.parametrize("kind", KINDS)
def test_disease_stands_out_from_the_ground(kind: str) -> None:
    """3 to 1 for graphical objects (WCAG 2.2, 1.4.11)."""
    for colour in [*TRACER_COLOURS.values(), *(VERDICT_COLOURS[v] for v in Verdict)]:
        assert contrast(seen_by(colour, kind), seen_by(GROUND, kind)) >= 3


def test_text_is_cut_and_wrapped_to_its_width() -> None:
    long = "The weights could not be verified against the list, because the file was not found."
    assert width_of(fitted(long, 22, 200), 22) <= 200
    assert fitted(long, 22, 200).endswith("...")
    assert fitted("short", 22, 200) == "short"
    lines = wrapped(long, 22, 250, 3)
    assert len(lines) == 3
    assert max(width_of(line, 22) for line in lines) <= 250
    assert lines[-1].endswith("...")
    assert wrapped("a b", 22, 250, 3) == ["a b"]
    assert wrapped("", 22, 250, 3) == [""]
    assert width_of(wrapped("x" * 400, 22, 250, 2)[0], 22) <= 250


def test_signs_that_the_font_lacks_are_replaced() -> None:
    assert plain_text("Müller, 3 ≥ 2, 心") == "Muller, 3 ? 2, ?"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FDG was measured 159 min after injection, outside 50 to 75 min.", True),
        ("FDG shows 210 lesions of 3004 ml in all.", True),
        ("Born 1960-01-01 in one study.", False),
        ("Born 01.02.1960 in one study.", False),
        ("PatientID 1234567 and 1234568 differ.", False),
        ("The series began at 10:22.", False),
        ("SeriesDate is 20260310.", False),
    ],
)
def test_dates_times_and_numbers_of_the_patient_are_told_from_measures(text: str, expected: bool) -> None:
    assert harmless(text) is expected


def test_a_pen_remembers_where_it_wrote() -> None:
    pen = Pen(Image.new("RGB", (200, 60), GROUND))
    box = pen.write((20, 10), "SUV", Style(size=24))
    drawn = np.argwhere(np.asarray(pen.image).max(axis=2) > 60)
    assert drawn[:, 1].min() >= box[0] - 1
    assert drawn[:, 1].max() <= box[2] + 1
    assert drawn[:, 0].max() <= box[3] + 1
    assert pen.written[0].text == "SUV"
