"""What all figures share, and the tool with which their words are checked."""

from __future__ import annotations

import itertools
import re
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
from figure_texts import cut_off, overlapping
from matplotlib.figure import Figure

from analysis.cohort.figures import MOST_DOTS, box, canvas, drawn, pdf_of, shortened, styled, svg_of, swarm_offsets, widest


@styled()
def words(*places: tuple[float, float], turn: float = 0.0) -> Figure:
    figure = canvas(2.0, 4.0)
    for x, y in places:
        figure.text(x, y, f"words at {x} {y}", rotation=turn, rotation_mode="anchor")
    return figure


def test_words_upon_words_are_found() -> None:
    assert len(overlapping(words((0.1, 0.5), (0.12, 0.52)))) == 1
    assert overlapping(words((0.1, 0.5), (0.1, 0.8))) == []


def test_turned_words_beside_each_other_do_not_overlap() -> None:
    """Their upright boxes do; the turned ones are a line apart."""
    assert overlapping(words((0.1, 0.1), (0.15, 0.1), turn=50)) == []
    assert len(overlapping(words((0.1, 0.1), (0.11, 0.1), turn=50))) == 1


def test_words_beyond_the_figure_are_found() -> None:
    assert len(cut_off(words((0.9, 0.5)))) == 1
    assert cut_off(words((0.1, 0.5))) == []


def test_dots_of_a_swarm_keep_their_distance() -> None:
    places = np.sort(np.random.default_rng(1).normal(0, 1, 40))
    offsets = swarm_offsets(places, 0.3, 5.0)
    pairs = itertools.combinations(range(40), 2)
    assert min(np.hypot(places[i] - places[j], offsets[i] - offsets[j]) for i, j in pairs) > 0.3 * 0.99
    assert np.abs(offsets).max() < 5.0


def test_a_swarm_without_room_stays_within_it() -> None:
    offsets = swarm_offsets(np.zeros(30), 1.0, 2.0)
    assert np.abs(offsets).max() <= 3.01  # one step beyond the room, where nothing else is free
    assert swarm_offsets(np.array([]), 1.0, 1.0).size == 0


def test_long_names_stay_different() -> None:
    names = ["a" * 30 + "x" + "b" * 30, "a" * 30 + "y" + "b" * 30, "short"]
    short = shortened(names, 20)
    assert len(set(short.values())) == 3
    assert short["short"] == "short"
    assert all(len(name) <= 24 for name in short.values())


def test_svg_and_pdf_are_the_same_at_each_run_and_bear_no_date() -> None:
    def drawn() -> Figure:
        with styled():
            figure = canvas(1.5)
            box(figure, (0.5, 0.3, 6.0, 1.2)).plot([0, 1], [1, 2])
        return figure

    assert svg_of(drawn()) == svg_of(drawn())
    assert pdf_of([drawn(), drawn()]) == pdf_of([drawn(), drawn()])
    assert ElementTree.fromstring(svg_of(drawn())).tag.endswith("svg")  # noqa: S314 - our own
    assert re.search(r"20\d\d-\d\d", svg_of(drawn())) is None
    assert b"CreationDate" not in pdf_of([drawn()])


def test_the_style_of_the_process_is_neither_used_nor_changed() -> None:
    with mpl.rc_context({"font.size": 30.0, "axes.facecolor": "black"}):
        with styled():
            inside = mpl.rcParams["font.size"], mpl.rcParams["axes.facecolor"]
        assert inside == (7.0, "white")
        assert mpl.rcParams["font.size"] == 30.0


def test_a_longer_text_is_wider_and_a_dollar_is_a_dollar() -> None:
    with styled():
        figure = canvas(1.0)
        assert widest(figure, ["a"], 7) < widest(figure, ["a", "a longer one"], 7)
        assert widest(figure, ["$a$"], 7) > 2 * widest(figure, ["a"], 7)


def test_of_many_values_the_dots_keep_the_ends_and_the_middle() -> None:
    values = np.random.default_rng(1).normal(0, 1, 10_001)
    dots = values[drawn(values)]
    assert dots.size == MOST_DOTS
    assert (dots.min(), dots.max()) == (values.min(), values.max())
    assert abs(np.median(dots) - np.median(values)) < 0.02
    assert sorted(drawn(values[:20]).tolist()) == list(range(20))
