"""Columns of words beside the axes: as wide as they must be, and no wider."""

from __future__ import annotations

from figure_texts import overlapping, shown

from analysis.cohort.figures import WIDTH, box, canvas, styled
from analysis.cohort.figures_rows import columns, name_rows, names_room, shaded


def test_columns_and_names_fit_beside_the_axes() -> None:
    with styled():
        figure = canvas(2.0)
        names = {"a": "a short one", "b": "a much longer name of a feature"}
        words = columns(figure, ("value", "a long head"), (("1", "2"), ("300 (200 to 400)", "4")), 6.5)
        left = names_room(figure, names, 6.5)
        axes = box(figure, (left, 0.3, WIDTH - words.room, 1.5))
        shaded(axes, 2)
        name_rows(axes, list(names.values()), 6.5)
        words.write(axes)
    assert overlapping(figure) == []
    edges = {text: (corners.min(axis=0)[0], corners.max(axis=0)[0]) for text, corners in shown(figure)}
    assert edges["a much longer name of a feature"][0] >= 0
    assert abs(edges["a long head"][1] - WIDTH * 72) < 0.5
    assert axes.get_ylim() == (1.5, -0.5)
