"""Forest plots: axes that hold the intervals, arrows for those that go on, words that do not overlap."""

from __future__ import annotations

import math

import pytest
from cohort_reports import figures
from figure_texts import cut_off, overlapping, shown

from analysis.cohort.figures_forest import Mark, Panel, forest, mark_words

CASES = [(c, n) for c in ("usual", "long") for n in figures(c) if n.startswith(("response-forest", "rate-ratios"))]


@pytest.mark.parametrize(("cohort", "name"), CASES)
def test_no_word_overlaps_or_is_cut(cohort: str, name: str) -> None:
    figure = figures(cohort)[name]
    assert overlapping(figure) == []
    assert cut_off(figure) == []
    assert figure.get_size_inches()[1] < 8.5  # with its caption on a page of A4


def panel(*marks: Mark, ratio: bool = False) -> Panel:
    return Panel(
        title="",
        label="estimate",
        sides=("less", "more"),
        heads=("p",),
        marks=tuple((mark,) for mark in marks),
        words=tuple((f".{place}",) for place, _ in enumerate(marks)),
        none=1.0 if ratio else 0.0,
        ratio=ratio,
        limit=30.0 if ratio else 4.0,
    )


def test_the_axis_holds_every_interval_within_the_limit_and_is_even_to_both_sides() -> None:
    low, high = panel(Mark(value=0.5, low=-0.2, high=1.7), Mark(value=-1.0, low=-2.9, high=0.9)).ends()
    assert -low == high
    assert 2.9 < high < 4.0
    low, high = panel(Mark(value=3.0, low=1.2, high=8.0), Mark(value=0.4, low=0.05, high=2.0), ratio=True).ends()
    assert math.isclose(low * high, 1.0)
    assert low < 0.05
    assert 20.0 < high <= 30.0


def test_an_infinite_or_empty_interval_does_not_break_the_axis() -> None:
    marks = (
        Mark(value=math.inf, low=0.7, high=math.inf),
        Mark(value=0.0, low=0.0, high=5.0),
        Mark(value=math.nan, low=math.nan, high=math.nan),
    )
    for ratio in (True, False):
        figure = forest(["one", "two", "three"], [panel(*marks, ratio=ratio)])
        assert {"one", "two", "three", ".0", ".1", ".2"} <= {words for words, _ in shown(figure)}
    assert panel(Mark(value=math.inf, low=0.7, high=math.inf), ratio=True).ends()[1] <= 30.0


def test_an_interval_beyond_the_axis_ends_in_an_arrow() -> None:
    figure = forest(["wide", "narrow"], [panel(Mark(value=1.0, low=-9.0, high=9.0), Mark(value=0.1, low=-0.2, high=0.4))])
    markers = [str(line.get_marker()) for line in figure.axes[0].lines]
    assert (markers.count("<"), markers.count(">"), markers.count("o")) == (1, 1, 2)


def test_words_of_an_estimate() -> None:
    assert mark_words(Mark(value=-0.8, low=-1.61, high=0.02)) == "−0.80 (−1.61 to 0.02)"
    assert mark_words(Mark(value=math.nan, low=1.0, high=2.0)) == "–"
