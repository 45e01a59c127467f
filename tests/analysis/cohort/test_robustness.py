"""Leading findings again, with features harmonised; the Welch and rank statistics themselves are tested elsewhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from clinical_tables import clinical, pair
from scipy import stats

from analysis.cohort.combat import brought_together
from analysis.cohort.response_tests import response_rows
from analysis.cohort.robustness import Question, leading_findings, robustness_rows
from analysis.cohort.settings import CohortSettings
from analysis.cohort.table import join, tabulated
from analysis.cohort.values import RobustnessRow, Rule

SHIFTED, TRUE = "SUVmean[FDG medullary concordant]", "SUVmax[FDG medullary concordant]"


def asked(folder: Path, settings: CohortSettings) -> Question:
    """24 cycles, 12 on each scanner; B reads the first feature twice as high, and most of its patients respond."""
    rng = np.random.default_rng(0)
    lines, pairs = ["patient_id,therapy_date,age,response,scanner"], []
    for k in range(24):
        responds = (k % 2 == 1) != (k // 2 in (4, 9))
        first = rng.lognormal(1, 0.2) * (2 if k % 2 else 1)
        pairs.append(pair(f"P{k}", "2024-01-01", **{SHIFTED: first, TRUE: rng.lognormal(1, 0.2)}))
        lines.append(f"P{k},2024-02-01,{40 + k + 10 * responds},{'PR' if responds else 'SD'},{'B' if k % 2 else 'A'}")
    told = clinical(folder, "\n".join(lines))
    joined = join(pairs, told, settings)
    return Question(joined=joined, clinical=told, settings=settings, table=tabulated(joined, told, settings))


def rows_of(question: Question) -> list[RobustnessRow]:
    leading = leading_findings(response_rows(question.table, Rule.COMPLETE), (), Rule.COMPLETE)
    return [row for row in robustness_rows(question, leading) if row.setting == "scanner"]


def test_a_finding_of_the_scanner_does_not_survive_combat(tmp_path: Path) -> None:
    question = asked(tmp_path, CohortSettings(harmonise="scanner"))
    rows = [row for row in rows_of(question) if row.feature == SHIFTED]
    assert [(row.choice, row.chosen, row.survives) for row in rows] == [
        ("as measured", True, True),
        ("harmonised (ComBat)", False, False),
    ]
    for row, table in zip(rows, (question.table, brought_together(question.table, "scanner")), strict=True):
        values = table.column(SHIFTED).values
        yes, no = values[question.table.response == 1], values[question.table.response == 0]
        assert np.isclose(row.p, stats.ttest_ind(yes, no, equal_var=False).pvalue)


def test_clinical_findings_and_cohorts_that_are_not_harmonised_have_no_such_row(tmp_path: Path) -> None:
    question = asked(tmp_path, CohortSettings(harmonise="scanner"))
    assert "age" not in {row.feature for row in rows_of(question)}
    assert rows_of(replace(question, settings=CohortSettings())) == []
