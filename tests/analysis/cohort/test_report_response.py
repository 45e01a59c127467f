"""The part on response: which rule leads, how many figures, what is told of chance."""

from __future__ import annotations

from dataclasses import replace

import cohorts
import pytest

from analysis.cohort.report_response import parts, response_section
from analysis.cohort.report_values import FigureBlock, Sentences


@pytest.mark.parametrize(
    ("rows", "lengths"), [(1, [1]), (42, [42]), (45, [45]), (46, [23, 23]), (60, [30, 30]), (136, [34, 34, 34, 34])]
)
def test_rows_are_divided_evenly_and_none_is_lost(rows: int, lengths: list[int]) -> None:
    assert [len(range(rows)[part]) for part in parts(rows)] == lengths


def test_both_rules_are_drawn_where_a_response_is_unknown() -> None:
    blocks = response_section(cohorts.usual()).blocks
    forest = next(block for block in blocks if isinstance(block, FigureBlock))
    assert "Open diamonds: an unknown response counts as none, as in the paper." in forest.shows
    diamonds = [line for line in forest.draw().axes[0].lines if line.get_marker() == "D"]
    assert len(diamonds) == 40  # 42 features, two of them yes/no


def test_one_rule_is_drawn_where_every_response_is_known() -> None:
    results = cohorts.usual()
    known = replace(results, table=replace(results.table, response=(results.table.response == 1) * 1.0))
    forest = next(block for block in response_section(known).blocks if isinstance(block, FigureBlock))
    assert "diamonds" not in forest.shows
    assert not [line for line in forest.draw().axes[0].lines if line.get_marker() == "D"]


def test_the_choice_of_the_leading_features_is_called_selection() -> None:
    blocks = response_section(cohorts.usual()).blocks
    leading = next(block for block in blocks if isinstance(block, FigureBlock) and block.name == "response-leading")
    assert "taking the smallest of 42 p values is selection" in leading.shows_not
    first = blocks[0]
    assert isinstance(first, Sentences)
    assert first.lines[0] == "Response in this cohort: 7 responders, 15 non-responders, 2 unknown."
