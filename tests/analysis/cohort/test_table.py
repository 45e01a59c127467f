"""One row a treatment cycle: which pair stands for it, and what becomes of the rest; dates chosen by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from clinical_tables import clinical, pair

from analysis.cohort.columns import image_features
from analysis.cohort.settings import CohortSettings
from analysis.cohort.table import cohort_table
from analysis.cohort.values import Kind, Rule
from analysis.errors import BadSettings

NAME = "SUVmean[FDG medullary concordant]"


def test_the_paper_examines_42_features(tmp_path: Path) -> None:
    text = "patient_id,therapy_date,sex,age,weight_kg,height_cm,disease_duration_months,high_risk_cytogenetics,b2m_mg_l"
    table = cohort_table(
        [pair("A", "2024-01-01", **dict.fromkeys((*image_features(), "SUVmean[FDG liver]"), 1.0))],
        clinical(tmp_path, f"{text}\nA,2024-02-01,M,60,80,200,12,1,3"),
        CohortSettings(),
    )
    assert len(table.columns) == 42
    assert table.column("bmi").values.tolist() == [20.0]
    assert table.column("sex").kind is Kind.YES_NO
    assert {table.column(f"{name}[CXCR4 medullary discordant]").unit for name in ("SUVmax", "MTV", "TLC")} == {
        "g/ml{SUVbw}",
        "ml",
        "g",
    }


def test_the_latest_pair_before_therapy_stands_for_a_cycle(tmp_path: Path) -> None:
    pairs = [
        pair("A", "2024-01-01", **{NAME: 1.0}),
        pair("A", "2024-01-20", "2024-01-31", **{NAME: 2.0}),
        pair("A", "2024-01-25", "2024-02-01", **{NAME: 3.0}),  # ends on the day of therapy
        pair("A", "2024-04-01", **{NAME: 4.0}),
        pair("B", "2024-01-01", **{NAME: math.nan}),
        pair("C", "2024-06-01"),
        pair("D", "2024-01-01"),
    ]
    text = "patient_id,therapy_date\nA,2024-05-01\nA,2024-02-01\nB,2024-02-01\nC,2024-02-01\n0A,2024-02-01"
    table = cohort_table(pairs, clinical(tmp_path, text), CohortSettings())
    assert table.cycles == ("A 2024-02-01", "A 2024-05-01", "B 2024-02-01")
    np.testing.assert_array_equal(table.column(NAME).values, [2.0, 4.0, math.nan])
    assert table.patient_codes.tolist() == [0, 0, 1]
    notes = " ".join(table.notes)
    assert "Row 5 of the clinical table is left out: no pair of studies was complete before therapy on 2024-02-01." in notes
    assert "Row 6 of the clinical table is left out: its patient has no features; the features have a patient whose ID" in notes
    assert "4 of 7 pairs of studies belong to no treatment cycle" in notes


def test_a_pair_before_an_earlier_therapy_is_not_used_again(tmp_path: Path) -> None:
    table = clinical(tmp_path, "patient_id,therapy_date\nA,2024-02-01\nA,2024-04-01")
    once = cohort_table([pair("A", "2024-01-01")], table, CohortSettings())
    assert once.cycles == ("A 2024-02-01",)
    assert "older than the therapy of 2024-02-01" in once.notes[0]
    assert len(cohort_table([pair("A", "2024-01-01")], table, CohortSettings(reuse_pairs=True))) == 2


def test_an_old_pair_is_told_and_may_be_left_out(tmp_path: Path) -> None:
    table = clinical(tmp_path, "patient_id,therapy_date\nA,2024-06-01\nB,2024-06-01")
    pairs = [pair("A", "2024-01-01"), pair("B", "2024-05-01")]
    assert "Row 2: the last scan was 152 days before therapy." in cohort_table(pairs, table, CohortSettings()).notes
    assert cohort_table(pairs, table, CohortSettings(most_days=90)).patients == ("B",)


def test_unknown_response_is_left_out_or_no_response(tmp_path: Path) -> None:
    text = "patient_id,therapy_date,response\nA,2024-02-01,PR\nB,2024-02-01,SD\nC,2024-02-01,"
    table = cohort_table([pair(name, "2024-01-01") for name in "ABC"], clinical(tmp_path, text), CohortSettings())
    np.testing.assert_array_equal(table.labels(Rule.COMPLETE), [1, 0, math.nan])
    np.testing.assert_array_equal(table.labels(Rule.PAPER), [1, 0, 0])


def test_a_table_without_any_match_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="no row has a pair"):
        cohort_table([pair("A", "2024-01-01")], clinical(tmp_path, "patient_id,therapy_date\nB,2024-02-01"), CohortSettings())


def test_an_extra_feature_that_no_pair_has_is_refused(tmp_path: Path) -> None:
    table = clinical(tmp_path, "patient_id,therapy_date\nA,2024-02-01")
    pairs = [pair("A", "2024-01-01", **{NAME: 1, "SUVmean[FDG liver]": 2})]
    assert len(cohort_table(pairs, table, CohortSettings()).columns) == 1
    chosen = cohort_table(pairs, table, CohortSettings(features=("SUVmean[FDG liver]",)))
    assert chosen.column("SUVmean[FDG liver]").values == 2
    with pytest.raises(BadSettings, match="'y'"):
        cohort_table([pair("A", "2024-01-01")], table, CohortSettings(features=("y",)))


def test_a_researchers_own_column_is_examined_and_told(tmp_path: Path) -> None:
    table = clinical(tmp_path, "patient_id,therapy_date,age\nA,2024-02-01,60")
    features = {"Count[FDG medullary concordant]": 3.0, "texture": 2.0}
    made = cohort_table([pair("A", "2024-01-01", **features)], table, CohortSettings())
    assert [column.name for column in made.columns] == ["texture", "age"]
    assert "Examined beside the paper's features: texture, which duet does not write." in made.notes
    with pytest.raises(BadSettings, match="'age' is a column of both tables"):
        cohort_table([pair("A", "2024-01-01", age=3.0)], table, CohortSettings())


def test_scanners_are_told_of_each_cycle_and_only_wanted_where_features_are_harmonised(tmp_path: Path) -> None:
    told = clinical(tmp_path, "patient_id,therapy_date,scanner\nA,2024-02-01,Vision\nB,2024-02-01,")
    pairs = [pair("A", "2024-01-01"), pair("B", "2024-01-01")]
    for harmonise in ("", "scanner"):
        assert cohort_table(pairs, told, CohortSettings(harmonise=harmonise)).facts["scanner"] == ("Vision", None)
    none = clinical(tmp_path, "patient_id,therapy_date\nA,2024-02-01")
    assert "scanner" not in cohort_table(pairs, none, CohortSettings()).facts
    with pytest.raises(BadSettings, match="harmonise: the clinical table has no column 'scanner'; add it"):
        cohort_table(pairs, none, CohortSettings(harmonise="scanner"))
    for wrong in ("sex", "Scanner", "radionuclide"):
        with pytest.raises(ValueError, match='harmonise: expected "" or "scanner"'):
            CohortSettings(harmonise=wrong)
