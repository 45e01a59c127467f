"""Every number in the tables equals the results."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import fields
from enum import Enum

import cohorts
import pytest

from analysis.cohort.report_csv import csv_tables
from analysis.cohort.values import Endpoint, Results

# The columns that the design names, in its order.
DESIGN = {
    "response.csv": "feature, test, n_responder, n_nonresponder, mean_responder, mean_nonresponder, difference, "
    "difference_low, difference_high, p, q, hedges_g, g_low, g_high, odds_ratio, or_low, or_high",
    "survival.csv": "feature, endpoint, cut, n_high, n_low, events_high, events_low, rate_ratio, rate_ratio_low, "
    "rate_ratio_high, logrank_chi2, logrank_p, q, cox_hr, cox_low, cox_high, cox_p, firth_hr, firth_low, firth_high",
    "trees.csv": "endpoint, folds, feature, mean_abs_shap, rank, sign, sign_agreement, folds_used, null_p",
    "models.csv": "endpoint, folds, auc, auc_low, auc_high, null_p, balanced_accuracy",
}
EVERY = pytest.mark.parametrize(
    "results", [cohorts.usual(), cohorts.tiny(), cohorts.long_names()], ids=["usual", "tiny", "long"]
)


def read(results: Results, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(csv_tables(results)[name])))


def agrees(cell: str, value: object) -> bool:
    """Whether the cell holds exactly this value; empty for what is undefined."""
    if isinstance(value, Enum):
        return cell == value.value
    if isinstance(value, bool):
        return cell == ("true" if value else "false")
    if isinstance(value, int | float):
        return cell == "" if math.isnan(value) else float(cell) == value
    return cell == str(value)


@EVERY
@pytest.mark.parametrize("name", ["response.csv", "survival.csv", "trees.csv", "models.csv", "robustness.csv"])
def test_every_field_of_every_row_is_there_unrounded(results: Results, name: str) -> None:
    rows: Sequence[object] = {
        "response.csv": results.response,
        "survival.csv": [split.row for split in results.splits],
        "trees.csv": results.trees.rows,
        "models.csv": results.trees.models,
        "robustness.csv": results.robustness,
    }[name]
    lines = read(results, name)
    assert len(lines) == len(rows)
    for line, row in zip(lines, rows, strict=True):
        for field in fields(row):  # type: ignore[arg-type]
            column = "endpoint" if field.name == "target" else field.name
            assert agrees(line[column], getattr(row, field.name)), (name, field.name)


@pytest.mark.parametrize("name", DESIGN)
def test_the_columns_of_the_design_come_first(name: str) -> None:
    head = csv_tables(cohorts.tiny())[name].splitlines()[0].split(",")
    named = DESIGN[name].split(", ")
    assert head[: len(named)] == named
    assert len(set(head)) == len(head)


@EVERY
def test_cycles_hold_every_value_and_the_letters(results: Results) -> None:
    table, lines = results.table, read(results, "cycles.csv")
    assert [line["cycle"] for line in lines] == list(table.cycles)
    assert [line["patient_id"] for line in lines] == list(table.patients)
    for column in table.columns:
        assert all(agrees(line[column.name], value) for line, value in zip(lines, column.values.tolist(), strict=True))
    for name, counts in table.lesion_counts.items():
        assert all(agrees(line[f"lesions[{name}]"], n) for line, n in zip(lines, counts.tolist(), strict=True))
    for name, words in table.facts.items():
        assert [line[name] for line in lines] == [word or "" for word in words]
    assert all(agrees(line["response"], value) for line, value in zip(lines, table.response.tolist(), strict=True))
    pairs = {(line["patient_id"], line["report_letter"]) for line in lines}
    assert len(pairs) == len({letter for _, letter in pairs}) == len(set(table.patients))


def test_an_event_is_empty_where_the_follow_up_is_not_known() -> None:
    lines = read(cohorts.tiny(), "cycles.csv")
    follow = cohorts.tiny().table.follow_up[Endpoint.OS]
    assert [line["os_days"] for line in lines] == ["40.0", "90.0", "130.0", "", "200.0"]
    assert [line["os_event"] for line in lines] == ["0", "0", "0", "", "0"]
    assert int(follow.known.sum()) == 4


def test_each_feature_is_described_with_its_unit() -> None:
    lines = read(cohorts.usual(), "columns.csv")
    known = {line["name"]: line for line in lines}
    assert len(lines) == 42
    assert known["TLG[FDG medullary concordant]"]["unit"] == "g"
    assert (known["sex"]["kind"], known["sex"]["yes"], known["sex"]["clinical"]) == ("yes/no", "male", "true")


def test_influence_and_calibration_equal_the_results_without_names() -> None:
    results = cohorts.usual()
    lines = read(results, "influence.csv")
    assert [float(line["auc"]) for line in lines] == [row.auc for row in results.trees.influence]
    letters = {line["patient_id"]: line["report_letter"] for line in read(results, "cycles.csv")}
    assert [line["left_out"] for line in lines] == [letters[row.patient] for row in results.trees.influence]
    assert not any(patient in csv_tables(results)["influence.csv"] for patient in results.table.patients)
    observed = [value for c in results.trees.calibrations for value in c.observed.tolist()]
    assert [float(line["observed"]) for line in read(results, "calibration.csv")] == observed


def test_names_with_quotes_and_commas_come_back() -> None:
    results = cohorts.long_names()
    assert {line["feature"] for line in read(results, "response.csv")} == {column.name for column in results.table.columns}
