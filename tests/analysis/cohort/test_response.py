"""Response: a fall by half of M-protein or light chains (IMWG: Kumar et al., Lancet Oncol 2016), or a category."""

from __future__ import annotations

from pathlib import Path

import pytest
from clinical_tables import clinical

from analysis.cohort.response import judge
from analysis.cohort.settings import RESPONSE_SOURCES

HEAD = "patient_id,therapy_date,m_protein_before_g_l,m_protein_after_g_l,flc_before_mg_l,flc_after_mg_l,response"


@pytest.mark.parametrize(
    ("cells", "responds", "basis"),
    [
        ("30,15,,,", True, "M-protein (-50 %)"),
        ("0.3,0.15,,,", True, "M-protein (-50 %)"),
        ("30,15.01,,,", False, "M-protein (-50 %)"),
        ("30,40,,,", False, "M-protein (+33 %)"),
        ("30,0,,,", True, "M-protein (-100 %)"),
        (",,400,100,", True, "light chains (-75 %)"),
        ("0,0,400,390,", False, "light chains (-2 %)"),
        ("30,,,,MR", False, "MR"),
        (",,,,VGPR", True, "VGPR"),
        (",,,,PD", False, "PD"),
        (",,,,Responder", True, "responder"),
        (",,,,kein Ansprechen", False, "non-responder"),
        ("30,,400,,", None, ""),
        (",,,,", None, ""),
    ],
)
def test_the_first_source_that_tells(tmp_path: Path, cells: str, responds: bool | None, basis: str) -> None:
    judged = judge(clinical(tmp_path, f"{HEAD}\nA,2024-03-01,{cells}").rows[0], RESPONSE_SOURCES)
    assert judged.responds is responds
    assert judged.basis == basis


def test_sources_that_disagree_are_told_and_the_order_decides(tmp_path: Path) -> None:
    row = clinical(tmp_path, f"{HEAD}\nA,2024-03-01,30,10,,,SD").rows[0]
    first, other = judge(row, RESPONSE_SOURCES), judge(row, ("category", "m_protein"))
    assert first.responds is True
    assert other.responds is False
    assert first.notes == ("Row 2: M-protein (-67 %) is taken, against SD.",)
    assert other.notes == ("Row 2: SD is taken, against M-protein (-67 %).",)


def test_a_marker_of_zero_before_therapy_tells_nothing(tmp_path: Path) -> None:
    judged = judge(clinical(tmp_path, f"{HEAD}\nA,2024-03-01,0,0,,,").rows[0], RESPONSE_SOURCES)
    assert judged.responds is None
    assert "cannot be told" in judged.notes[0]
