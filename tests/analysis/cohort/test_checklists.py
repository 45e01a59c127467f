"""The checklists: every item, and no claim that the data do not bear."""

from __future__ import annotations

import re

import cohorts

from analysis.cohort.checklists import AUTHORS, checklist_section
from analysis.cohort.report_values import TableBlock
from analysis.cohort.values import Results

# TRIPOD+AI (Collins et al. 2024) has 27 items, these of them with parts; REMARK (McShane et al. 2005) has 20.
PARTS = {3: "abc", 5: "ab", 6: "abc", 8: "abc", 9: "abc", 12: "abcdefg", 18: "abcdef", 20: "abc", 23: "ab", 27: "abc"}


def tables(results: Results) -> list[TableBlock]:
    return [block for block in checklist_section(results).blocks if isinstance(block, TableBlock)]


def test_every_item_is_there_once_and_in_order() -> None:
    tripod, remark = tables(cohorts.usual())
    wanted = [f"{item}{part}" for item in range(1, 28) for part in PARTS.get(item, [""])]
    assert [row[0] for row in tripod.rows] == wanted
    assert [row[0] for row in remark.rows] == [str(item) for item in range(1, 21)]


def test_each_answer_is_one_of_four() -> None:
    for results in (cohorts.usual(), cohorts.tiny()):
        for table in tables(results):
            for _, _, where in table.rows:
                assert re.match(rf"reported here: .|not applicable: .|not in this cohort$|{AUTHORS}$", where)


def test_what_a_cohort_lacks_is_not_claimed() -> None:
    tripod, remark = ({row[0]: row[2] for row in table.rows} for table in tables(cohorts.tiny()))
    assert tripod["23a"] == tripod["12c"] == remark["15"] == remark["18"] == "not in this cohort"
    full = {row[0]: row[2] for row in tables(cohorts.usual())[0].rows}
    assert full["23a"].startswith("reported here")
    assert full["17"] == AUTHORS
