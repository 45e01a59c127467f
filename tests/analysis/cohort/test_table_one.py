"""Table 1, against a cohort that is counted by hand."""

from __future__ import annotations

import math

import numpy as np

from analysis.cohort.table_one import table_one
from analysis.cohort.values import CohortTable, Column, Endpoint, FollowUp, Kind

NAN = math.nan
TABLE = CohortTable(
    cycles=("P1 a", "P2 a", "P1 b", "P3 a"),
    patients=("P1", "P2", "P1", "P3"),
    columns=(
        Column(name="MTV[FDG]", values=np.array([1.0, 2.0, 3.0, 4.0]), unit="ml"),
        Column(name="sex", values=np.array([1.0, 0.0, 1.0, NAN]), kind=Kind.YES_NO, clinical=True, yes="male"),
        Column(name="age", values=np.array([60.0, 70.0, 61.0, 50.0]), unit="a", clinical=True),
        Column(name="b2m_mg_l", values=np.array([NAN, 3.5, 4.5, NAN]), unit="mg/l", clinical=True),
        Column(name="high_risk_cytogenetics", values=np.array([1.0, 0.0, 1.0, 1.0]), kind=Kind.YES_NO, clinical=True),
    ),
    response=np.array([1.0, 0.0, NAN, 0.0]),
    follow_up={Endpoint.OS: FollowUp(days=np.array([56.0, 665.0, NAN, 198.0]), event=np.array([True, False, True, True]))},
    facts={
        "mm_subtype": ("IgG", "IgA", "IgG", None),
        "activity_gbq": ("7.4", "6.5", None, "8.0"),
        "radionuclide": ("Lu-177", "Y-90", "Lu-177", "Lu-177"),
        "hsct": (None, None, None, None),
        "scanner": ("B", "A", "B", "B"),
    },
    lesion_counts={"FDG medullary concordant": np.array([0.0, 12.0, NAN, 3.0])},
)
ROWS = {row[0]: row[1:] for row in table_one(TABLE).rows if len(row) > 1}


def test_patients_and_cycles() -> None:
    assert (ROWS["Patients"], ROWS["Treatment cycles"], ROWS["Patients with more than one cycle"]) == (
        ("3", ""),
        ("4", ""),
        ("1", ""),
    )


def test_sex_and_age_are_counted_once_a_patient() -> None:
    assert ROWS["Sex: male"] == ("1 (50 %)", "1 of 3")
    assert ROWS["Age"] == ("60.0 (50.0 to 70.0) years", "0")


def test_other_clinical_columns_are_counted_once_a_cycle() -> None:
    assert ROWS["Beta-2 microglobulin"] == ("4.00 (3.50 to 4.50) mg/l", "2 of 4")
    assert ROWS["High-risk cytogenetics"] == ("3 (75 %)", "0")
    assert "MTV[FDG]" not in ROWS


def test_facts_are_numbers_where_they_all_are_and_else_words() -> None:
    assert ROWS["Activity [GBq]"] == ("7.40 (6.50 to 8.00)", "1 of 4")
    assert ROWS["Radionuclide"] == ("Lu-177 3 (75 %); Y-90 1 (25 %)", "0")
    assert ROWS["Scanner"] == ("B 3 (75 %); A 1 (25 %)", "0")
    assert ROWS["Subtype of myeloma"] == ("IgG 1 (50 %); IgA 1 (50 %)", "1 of 3")
    assert ROWS["Stem cell transplant with the therapy"] == ("–", "4 of 4")


def test_response_and_follow_up() -> None:
    assert (ROWS["Responders"], ROWS["Non-responders"]) == (("1 (33 %)", "1 of 4"), ("2 (67 %)", "1 of 4"))
    assert ROWS["OS: deaths"] == ("2 (67 %)", "1 of 4")  # the event of the row without days is not counted
    assert ROWS["OS: days to the event or the last contact"] == ("198 (56.0 to 665)", "1 of 4")
    assert ROWS["Progression-free survival (PFS)"] == ("–", "4 of 4")


def test_lesions_and_a_cycle_that_was_not_segmented() -> None:
    assert ROWS["FDG medullary concordant"] == ("15; 3.00 (0 to 12.0)", "1 of 4")
