"""The tables as CSV: every number of the results as it was computed, the columns of DESIGN.md 4 first, nothing rounded."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import fields
from enum import Enum

from analysis.cohort.report_numbers import Letters
from analysis.cohort.values import (
    Calibration,
    CohortTable,
    InfluenceRow,
    ModelRow,
    ResponseRow,
    Results,
    RobustnessRow,
    SurvivalRow,
    TreeRow,
)

Row = ResponseRow | SurvivalRow | TreeRow | ModelRow | InfluenceRow | RobustnessRow
# fmt: off
RESPONSE = [
    "feature", "test", "n_responder", "n_nonresponder", "mean_responder", "mean_nonresponder", "difference",
    "difference_low", "difference_high", "p", "q", "hedges_g", "g_low", "g_high", "odds_ratio", "or_low", "or_high",
]
SURVIVAL = [
    "feature", "endpoint", "cut", "n_high", "n_low", "events_high", "events_low", "rate_ratio", "rate_ratio_low",
    "rate_ratio_high", "logrank_chi2", "logrank_p", "q", "cox_hr", "cox_low", "cox_high", "cox_p", "firth_hr", "firth_low",
    "firth_high",
]
# fmt: on
TREES = ["endpoint", "folds", "feature", "mean_abs_shap", "rank", "sign", "sign_agreement", "folds_used", "null_p"]
MODELS = ["endpoint", "folds", "auc", "auc_low", "auc_high", "null_p", "balanced_accuracy"]


def csv_tables(results: Results) -> dict[str, str]:
    """File name > content."""
    trees = results.trees
    return {
        "cycles.csv": _cycles(results.table),
        "columns.csv": _columns(results.table),
        "response.csv": _rows(ResponseRow, results.response, RESPONSE),
        "survival.csv": _rows(SurvivalRow, [split.row for split in results.splits], SURVIVAL),
        "trees.csv": _rows(TreeRow, trees.rows, TREES),
        "models.csv": _rows(ModelRow, trees.models, MODELS),
        "calibration.csv": _calibration(trees.calibrations),
        "influence.csv": _influence(trees.influence, Letters(results.table.patients)),
        "robustness.csv": _rows(RobustnessRow, results.robustness, []),
    }


def _text(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(head)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return out.getvalue()


def _cell(value: object) -> str:
    """Empty where undefined; a float with all its digits; an enumeration by its word."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(float(value)) if isinstance(value, float) else str(value)


def _rows(kind: type[Row], rows: Sequence[Row], first: Sequence[str]) -> str:
    """One line a row: the columns that are named first, then all other fields. A target is called endpoint, as in DESIGN.md."""
    field_of = {"endpoint" if field.name == "target" else field.name: field.name for field in fields(kind)}
    head = [*first, *(name for name in field_of if name not in first)]
    return _text(head, ([getattr(row, field_of[name]) for name in head] for row in rows))


def _cycles(table: CohortTable) -> str:
    """One line a cycle: who, clinical columns, features, labels, lesion counts, and the letter that the report uses."""
    letters = Letters(table.patients)
    columns = sorted(table.columns, key=lambda column: not column.clinical)
    head = ["cycle", "patient_id", "report_letter", *table.facts, *(column.name for column in columns), "response"]
    values: list[Sequence[object]] = [table.cycles, table.patients, [letters.of[patient] for patient in table.patients]]
    values += [*table.facts.values(), *(column.values.tolist() for column in columns), table.response.tolist()]
    for endpoint, follow in table.follow_up.items():
        head += [f"{endpoint.lower()}_days", f"{endpoint.lower()}_event"]
        values += [
            follow.days.tolist(),
            [int(e) if k else None for e, k in zip(follow.event.tolist(), follow.known.tolist(), strict=True)],
        ]
    head += [f"lesions[{name}]" for name in table.lesion_counts]
    values += [counts.tolist() for counts in table.lesion_counts.values()]
    return _text(head, zip(*values, strict=True))


def _columns(table: CohortTable) -> str:
    """What each feature of cycles.csv is: unit, kind, what 1 stands for, how many cycles lack it."""
    head = ["name", "unit", "kind", "yes", "clinical", "missing"]
    return _text(
        head, ([c.name, c.unit, c.kind, c.yes, c.clinical, sum(map(math.isnan, c.values.tolist()))] for c in table.columns)
    )


def _calibration(calibrations: Sequence[Calibration]) -> str:
    head = ["endpoint", "folds", "group", "predicted", "observed", "low", "high", "rows"]
    lines = (
        [c.target, c.folds, place + 1, *numbers]
        for c in calibrations
        for place, numbers in enumerate(
            zip(c.predicted.tolist(), c.observed.tolist(), c.low.tolist(), c.high.tolist(), c.rows.tolist(), strict=True)
        )
    )
    return _text(head, lines)


def _influence(rows: Sequence[InfluenceRow], letters: Letters) -> str:
    """Patients by the letter of the report; cycles.csv tells whose it is."""
    head = ["endpoint", "folds", "left_out", "auc", "top_feature", "top_stays"]
    return _text(head, ([r.target, r.folds, letters.at(r.patient), r.auc, r.top_feature, r.top_stays] for r in rows))
