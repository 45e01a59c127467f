"""The panel: numbers, findings in short, nothing of the patient."""

from __future__ import annotations

import pytest
from balls import Ball, make
from factories import make_analysis
from PIL import Image

from analysis.values import Finding, Verdict
from dicom_io.ink import GROUND, Pen
from dicom_io.panel import Column, concordant_measures, draw_sites, in_short, measures, number, sign, told

COLUMN = Column(left=20, right=380, size=23)
LONG = "The weights of the network could not be verified against the list of the operator, so nobody knows what made the masks."


def finding(verdict: Verdict, name: str = "weights", **changes: object) -> Finding:
    words = {"value": None, "limit": "", "message": LONG, **changes}
    return Finding(name=name, verdict=verdict, **words)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "digits", "expected"),
    [
        (float("nan"), 1, "-"),
        (float("inf"), 1, "-"),
        (0.0, 1, "0.0"),
        (1234.56, 1, "1,234.6"),
        (123456.78, 1, "123,456.8"),
        (1234567.8, 1, "1,234,568"),
        (1.2345e9, 0, "1.23e+09"),
        (0.1234, 2, "0.12"),
    ],
)
def test_numbers_never_grow_too_wide(value: float, digits: int, expected: str) -> None:
    assert number(value, digits) == expected
    assert len(expected) <= 9


def test_the_table_shows_a_dash_for_what_is_undefined() -> None:
    lines = {line.name: line for line in measures(make_analysis(()))}
    assert (lines["lesions"].fdg, lines["highest SUV"].fdg, lines["mean SUV"].pentixafor) == ("0", "-", "-")
    assert {line.name: line for line in measures(make_analysis())}["highest SUV"].pentixafor == "10.2"
    assert [line.fdg for line in concordant_measures(make(()))] == ["-", "-", "-"]


def test_the_table_is_the_sum_of_the_lesions() -> None:
    """Two balls of 20 mm radius, 33.5 ml each, SUV 4 and 8."""
    lines = {x.name: x for x in measures(make([Ball(at=(0, 0, 0), radius=20, fdg=4), Ball(at=(0, 0, 90), radius=20, fdg=8)]))}
    assert [lines[n].fdg for n in ("lesions", "medullary", "volume, ml", "TLG / TLC, g", "highest SUV", "mean SUV")] == [
        "2",
        "2",
        "67.0",
        "402",
        "8.0",
        "6.0",
    ]
    assert lines["lesions"].pentixafor == "0"


def test_a_finding_in_short() -> None:
    words = {"value": 158.83, "limit": "50-75 min, hold below 30 or above 150 min"}
    assert in_short(finding(Verdict.HOLD, "FDG uptake time", **words))[0] == "FDG uptake time 159 (50-75 min)"
    organs = finding(Verdict.WARN, "FDG organs", value="spleen", limit="liver, spleen")
    assert in_short(organs)[0] == "FDG organs spleen (liver)"
    assert in_short(finding(Verdict.WARN, "same patient", value="ID 1234567", limit="same"))[0] == "same patient"
    assert in_short(finding(Verdict.WARN, "x"))[0] == "x"


def test_a_limit_stays_in_one_piece() -> None:
    words = {"value": 96.81, "limit": "<= 15 min", "message": "x " * 200}
    reasons = told(make([], findings=(finding(Verdict.WARN, "uptake time difference", **words),)), COLUMN, 2)
    assert [line.replace("\u00a0", " ") for line in reasons.findings[0][1]] == ["uptake time difference 96.8", "(<= 15 min)"]


def test_a_limit_that_has_no_room_is_left_out_whole() -> None:
    words = {"value": 96.81, "limit": "<= 15 min", "message": "x " * 200}
    others = (finding(Verdict.WARN, f"warn {n}") for n in range(4))
    reasons = told(make([], findings=(finding(Verdict.WARN, "uptake time difference", **words), *others)), COLUMN, 5)
    assert reasons.findings[0][1] == ["uptake time difference 96.8"]


def test_holds_come_first_and_what_has_no_room_is_counted() -> None:
    found = (finding(Verdict.OK), *(finding(Verdict.WARN, f"warn {n}") for n in range(5)), finding(Verdict.HOLD, "held"))
    reasons = told(make([], findings=found), COLUMN, 4)
    assert [f.name for f, _ in reasons.findings] == ["held", "warn 0", "warn 1"]
    assert reasons.more == 3
    assert reasons.lines == 4


def test_findings_are_sentences_where_there_is_room() -> None:
    reasons = told(make([], findings=(finding(Verdict.HOLD),)), COLUMN, 6)
    assert " ".join(reasons.findings[0][1]).startswith("The weights of the network could not be verified")
    assert told(make([]), COLUMN, 3).findings == ()


def test_a_sentence_with_a_date_stays_out_of_the_pixels() -> None:
    dated = finding(Verdict.HOLD, "same patient", message="Born 19600101 in one study and 19610101 in the other.")
    reasons = told(make([], findings=(dated,)), COLUMN, 6)
    assert reasons.findings[0][1] == ["same patient"]


def test_sites_are_counted_by_class() -> None:
    balls = [
        Ball(at=(0, 0, 0), fdg=5, pentixafor=5),
        Ball(at=(0, 0, 60), fdg=5, certain=False),
        Ball(at=(0, 0, 120), fdg=5, comparable=False),
    ]
    pen = Pen(Image.new("RGB", (400, 400), GROUND))
    draw_sites(pen, COLUMN, 20, make(balls))
    words = [w.text for w in pen.written]
    for row in (["M", "1", "on both tracers"], ["P", "0", "PentixaFor only"], ["F", "1", "FDG only"]):
        at = words.index(row[0])
        assert words[at : at + 3] == row
    assert words[-4:] == ["F/P", "1", "not comparable", "? 1 uncertain: class may change"]


def test_each_verdict_has_its_own_shape() -> None:
    """Told apart in black and white: how much of its square each sign fills, and where."""
    shapes = []
    for verdict in Verdict:
        pen = Pen(Image.new("RGB", (40, 40), GROUND))
        sign(pen, (20, 20), 16, verdict)
        shapes.append(pen.image.convert("L").point(lambda v: 255 if v > 90 else 0).tobytes())
    for one in range(3):
        for other in range(one):
            differ = sum(a != b for a, b in zip(shapes[one], shapes[other], strict=True))
            assert differ > 150
