"""The part on survival."""

from __future__ import annotations

from dataclasses import replace

import cohorts

from analysis.cohort.report_survival import survival_section
from analysis.cohort.report_values import FigureBlock, Sentences
from analysis.cohort.values import Endpoint


def test_curves_of_both_endpoints_then_all_ratios_then_trees() -> None:
    names = [block.name for block in survival_section(cohorts.usual()).blocks if isinstance(block, FigureBlock)]
    assert names == ["os-curves", "pfs-curves", "rate-ratios", "os-trees", "os-performance"]


def test_the_choice_of_the_leading_splits_is_called_selection() -> None:
    curves = next(block for block in survival_section(cohorts.usual()).blocks if isinstance(block, FigureBlock))
    assert "taking the smallest of 42 p values is selection" in curves.shows_not


def test_a_cohort_without_progressions_has_the_other_endpoint() -> None:
    results = cohorts.small()
    table = replace(results.table, follow_up={Endpoint.OS: results.table.follow_up[Endpoint.OS]})
    alone = replace(results, table=table, splits=tuple(s for s in results.splits if s.row.endpoint is Endpoint.OS))
    blocks = survival_section(alone).blocks
    sentences = [line for block in blocks if isinstance(block, Sentences) for line in block.lines]
    assert "Progression-free survival (progression or death): this cohort has no such follow-up." in sentences
    forest = next(block for block in blocks if isinstance(block, FigureBlock) and block.name == "rate-ratios")
    assert len(forest.draw().axes) == 1
