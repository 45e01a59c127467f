"""Numbers in words."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from analysis.cohort.report_numbers import (
    Footnotes,
    Letters,
    counted,
    fixed,
    interval,
    joined,
    number,
    p_value,
    percent,
    spread,
    unit_of,
    with_unit,
)


@pytest.mark.parametrize(
    ("p", "words"),
    [
        (0.0342, ".034"),
        (0.2, ".20"),
        (0.00123, ".0012"),
        (0.001, ".0010"),
        (0.00099, "< .001"),
        (0.0, "< .001"),
        (0.0999, ".100"),
        (0.991, "> .99"),
        (1.0, "> .99"),
        (math.nan, "–"),
    ],
)
def test_p_has_two_significant_digits(p: float, words: str) -> None:
    assert p_value(p) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (-0.063, "−0.063"),
        (3.94, "3.9"),
        (11.7, "12"),
        (1234.0, "1234"),
        (0.0, "0"),
        (2e7, "2.0e+07"),
        (-1e-5, "−1.0e−05"),
        (math.inf, "∞"),
        (-math.inf, "−∞"),
        (math.nan, "–"),
    ],
)
def test_numbers_keep_two_digits_and_a_true_minus(value: float, words: str) -> None:
    assert number(value) == words


def test_intervals() -> None:
    assert interval(3.94, 1.4, 11.7) == "3.9 (1.4 to 12)"  # the paper's TLG[FDG medullary concordant] is 3.9 (1.4-11.7)
    assert interval(2.0, 0.0, math.inf) == "2.0 (0 to ∞)"
    assert interval(2.0, math.nan, math.nan) == "2.0"
    assert interval(math.nan, 1.0, 2.0) == "–"
    assert interval(2.0, math.nan, 3.0) == "2.0 (– to 3.0)"


def test_an_interval_around_zero_has_the_same_decimals_at_both_ends() -> None:
    assert spread(0.0099, -0.894, 0.914) == "0.01 (−0.89 to 0.91)"
    assert spread(320.4, -161.2, 800.0) == "320 (−161 to 800)"
    assert spread(math.nan, 1.0, 2.0) == "–"
    assert spread(0.5, math.nan, math.nan) == "0.50"
    assert spread(0.0, 0.0, 0.0) == "0.00 (0.00 to 0.00)"


@pytest.mark.parametrize("write", [number, fixed, p_value])
def test_a_missing_number_is_a_dash_and_never_zero(write: Callable[[float], str]) -> None:
    assert write(math.nan) == "–"


def test_counts_units_and_lists() -> None:
    assert (counted(1, "cycle"), counted(0, "cycle"), counted(2, "entry", "entries")) == ("1 cycle", "0 cycles", "2 entries")
    assert (joined(["a"]), joined(["a", "b"]), joined(["a", "b", "c"]), joined([])) == ("a", "a and b", "a, b and c", "")
    assert (unit_of("g/ml{SUVbw}"), unit_of("1"), unit_of("kg/m2"), unit_of("mmol/l")) == ("SUV", "", "kg/m²", "mmol/l")
    assert (with_unit("5.3", "ml"), with_unit("5.3", "1"), with_unit("–", "ml")) == ("5.3 ml", "5.3", "–")
    assert (percent(1, 3), percent(0, 0)) == ("33 %", "–")


def test_each_reason_is_told_once_and_marked_where_it_holds() -> None:
    notes = Footnotes()
    assert notes.cell("–", "No event.") == "–¹"
    assert notes.cell("–", "One group is empty.") == "–²"
    assert notes.cell("–", "No event.") == "–¹"
    assert notes.cell("3.1", "No event.") == "3.1"
    assert notes.cell("–", "") == "–"
    assert notes.sentences == ("¹ No event.", "² One group is empty.")


def test_letters_go_on_after_z_and_a_patient_keeps_the_first() -> None:
    letters = Letters([*(f"P{i:03d}" for i in range(703)), "P000"])
    assert [letters.of[f"P{i:03d}"] for i in (0, 25, 26, 51, 52, 701, 702)] == ["A", "Z", "AA", "AZ", "BA", "ZZ", "AAA"]


def test_notes_lose_identifiers_and_keep_counts() -> None:
    letters = Letters(["P01", "P011", "12", "9000123"])
    sentence = "P011, P01 and 9000123 of 12 rows; XP01 stays, P01: odd."
    assert letters.without_names(sentence) == "patient B, patient A and patient D of 12 rows; XP01 stays, patient A: odd."
    assert letters.at("nobody") == ""
