"""Features of many pairs, from a file of many rows or from result folders."""

from __future__ import annotations

import math
from datetime import date
from pathlib import Path

import pytest
from clinical_tables import csv_file

from analysis.cohort.pairs import read_pairs
from analysis.errors import BadSettings

HEAD = "patient_id,fdg_date,pentixafor_date,quality,MTV[FDG medullary concordant],quality[x],verdict[x],findings"


def test_rows_become_pairs_and_empty_stays_missing(tmp_path: Path) -> None:
    path = csv_file(
        tmp_path,
        f"""{HEAD}
        0012,2024-01-02,2024-01-01,warn,3.5,1,warn,"[{{""name"": ""x"", ""verdict"": ""warn"", ""message"": ""Look.""}}]"
        B,2024-01-02,2024-01-09,ok,,1,ok,[]""",
    )
    first, second = read_pairs(path)
    assert (first.patient_id, first.last, second.last) == ("0012", date(2024, 1, 2), date(2024, 1, 9))
    assert first.features == {"MTV[FDG medullary concordant]": 3.5}
    assert math.isnan(second.features["MTV[FDG medullary concordant]"])
    assert first.warnings == ("x: Look.",)
    assert second.warnings == ()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("patient_id,fdg_date\nA,2024-01-01", "'pentixafor_date' is missing"),
        (f"{HEAD}\nA,2024-01-01,2024-01-01,ok,x,,,", r"row 2, column MTV\[FDG medullary concordant\]: 'x'"),
        (f"{HEAD}\nA,2024-01-01,2024-01-01,ok,inf,,,", "finite"),
        (f"{HEAD}\nA,2024-01-01,soon,ok,1,,,", "column pentixafor_date: 'soon'"),
        (f"{HEAD}\n,2024-01-01,2024-01-01,ok,1,,,", "column patient_id"),
        (f"{HEAD}\nA,2024-01-01,2024-01-01", "3 cells, but 8 columns"),
        (f"{HEAD}\nA,2024-01-01,2024-01-01,ok,1,,,zzz", "column findings"),
        (f"{HEAD}\n" + "A,2024-01-01,2024-01-01,ok,1,,,\n" * 2, "twice"),
        (f"{HEAD},patient_id", "twice"),
    ],
)
def test_a_wrong_file_is_told_with_row_and_column(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(BadSettings, match=why):
        read_pairs(csv_file(tmp_path, text, "features.csv"))


def test_a_folder_without_results_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match=r"no features\.csv"):
        read_pairs(tmp_path)
