"""Influence and robustness: the extremes are found here a second time."""

from __future__ import annotations

from dataclasses import replace

import cohorts

from analysis.cohort.figures_robustness import MOST_CHOICES
from analysis.cohort.report_numbers import Letters, fixed
from analysis.cohort.report_robustness import influence_section, robustness_section
from analysis.cohort.report_values import FigureBlock, TableBlock
from analysis.cohort.values import Folds, Target


def test_the_patient_that_moves_most_is_told_by_letter() -> None:
    results = cohorts.usual()
    table = influence_section(results).blocks[1]
    assert isinstance(table, TableBlock)
    whole = next(m.auc for m in results.trees.models if m.target is Target.OS and m.folds is Folds.GROUPED)
    rows = [row for row in results.trees.influence if row.target is Target.OS and row.folds is Folds.GROUPED]
    most = max(rows, key=lambda row: abs(row.auc - whole))
    told = next(row for row in table.rows if row[0] == "OS")
    assert told[1:4] == (fixed(whole), fixed(min(r.auc for r in rows)), fixed(max(r.auc for r in rows)))
    assert told[4].startswith(f"patient {Letters(results.table.patients).at(most.patient)} ")
    assert told[5] == f"in {sum(row.top_stays for row in rows)} of {len(rows)}"


def test_each_finding_is_counted_over_the_other_settings() -> None:
    results = cohorts.usual()
    table = robustness_section(results).blocks[-1]
    assert isinstance(table, TableBlock)
    for told in table.rows:
        rows = [r for r in results.robustness if r.feature == told[0].removesuffix(" *") and r.outcome == told[1]]
        others = [row for row in rows if not row.chosen]
        assert told[-1] == f"{sum(row.survives for row in others)} of {len(others)}"


def test_more_choices_than_a_figure_holds_make_two_and_no_setting_is_divided() -> None:
    row = cohorts.small().robustness[0]
    rows = tuple(
        replace(row, setting=f"setting {place // 8}", choice=f"choice {place}", chosen=place % 8 == 0)
        for place in range(MOST_CHOICES + 10)
    )
    section = robustness_section(replace(cohorts.small(), robustness=rows))
    drawn = [block.draw() for block in section.blocks if isinstance(block, FigureBlock)]
    assert [round(figure.axes[0].get_xlim()[1] + 0.5) for figure in drawn] == [24, 16]
