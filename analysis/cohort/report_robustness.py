"""How far the findings depend on single patients and on settings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial

from analysis.cohort.figures_robustness import MOST_CHOICES, MOST_FINDINGS, robustness_matrix
from analysis.cohort.report_numbers import MISSING, Letters, fixed, interval, number
from analysis.cohort.report_rows import Finding, excludes_no_effect, findings, main_folds, models
from analysis.cohort.report_values import Block, FigureBlock, Section, Sentences, TableBlock
from analysis.cohort.values import InfluenceRow, Results, RobustnessRow, Target


def influence_section(results: Results) -> Section:
    """What leaving one patient out does to the trees; patients are letters."""
    rows = results.trees.influence
    if not rows:
        told = Sentences(lines=("No patient was left out in turn, so the influence of single patients is not known.",))
        return Section(key="influence", title="Influence of single patients", blocks=(told,))
    letters = Letters(results.table.patients)
    words = Sentences(
        lines=(
            "Each patient was left out in turn and the trees were grown anew. The table tells, for each target, how far "
            "the result moved "
            "and which patient moved it most. Patients are letters; tables/cycles.csv tells which patient each stands for.",
        )
    )
    return Section(key="influence", title="Influence of single patients", blocks=(words, _influence_table(results, letters)))


def _influence_table(results: Results, letters: Letters) -> TableBlock:
    rows, trees = [], results.trees
    for target in Target:
        folds = main_folds(results, target)
        own = [row for row in trees.influence if row.target is target and row.folds is folds]
        own = own or [row for row in trees.influence if row.target is target]
        if own:
            whole = next((m.auc for m in models(trees, target) if m.folds is own[0].folds), math.nan)
            rows.append(_influence(target, own, whole, letters))
    return TableBlock(
        label="",
        title="Leaving one patient out",
        head=("Trees for", "All patients", "Lowest", "Highest", "Moved most by", "First feature stays"),
        rows=tuple(rows),
        widths=(0.2, 0.14, 0.13, 0.13, 0.2, 0.2),
        footnotes=("Held-out area under the ROC curve; for OS Harrell's C.",),
    )


def _influence(target: Target, rows: Sequence[InfluenceRow], whole: float, letters: Letters) -> tuple[str, ...]:
    known = [row for row in rows if not math.isnan(row.auc)]
    stays = f"in {sum(row.top_stays for row in rows)} of {len(rows)}"
    if not known:
        return (str(target), fixed(whole), MISSING, MISSING, MISSING, stays)
    low, high = min(row.auc for row in known), max(row.auc for row in known)
    most = MISSING if math.isnan(whole) else _most_moving(known, whole, letters)
    return (str(target), fixed(whole), fixed(low), fixed(high), most, stays)


def _most_moving(known: Sequence[InfluenceRow], whole: float, letters: Letters) -> str:
    first = max(known, key=lambda row: abs(row.auc - whole))
    moved = first.auc - whole
    return f"patient {letters.at(first.patient) or MISSING} ({'+' if moved > 0 else ''}{fixed(moved)})"


def robustness_section(results: Results) -> Section:
    """The matrix of findings and settings, and the range of each finding."""
    title = "Robustness against settings"
    if not results.robustness:
        told = Sentences(lines=("No other setting was tried in this analysis.",))
        return Section(key="robustness", title=title, blocks=(told,))
    found = findings(results.robustness)
    told = Sentences(
        lines=(
            "Each finding was computed anew under other settings, one at a time. It survives where it keeps its direction "
            "and, if its "
            "interval excludes no effect in the main analysis, its interval still does.",
        )
    )
    return Section(key="robustness", title=title, blocks=(told, *_matrices(results.robustness, list(found)), _ranges(found)))


def _matrices(rows: Sequence[RobustnessRow], order: Sequence[Finding]) -> Iterator[Block]:
    """As few matrices as hold all findings and all settings; a setting is never divided."""
    pages = [
        (settings, order[start : start + MOST_FINDINGS])
        for settings in _groups(rows)
        for start in range(0, len(order), MOST_FINDINGS)
    ]
    for place, (settings, own) in enumerate(pages, start=1):
        yield FigureBlock(
            label="",
            name="robustness" + (f"-{place}" if len(pages) > 1 else ""),
            title="Findings under each setting" + (f", part {place} of {len(pages)}" if len(pages) > 1 else ""),
            alt="Matrix of findings and settings; how many settings each finding survives stands in the table below.",
            shows=(
                "A dot: the finding survives that choice; a cross: it does not; grey: the main analysis; "
                "empty: the choice does not touch it."
            ),
            shows_not=(
                "It does not show truth: a finding that survives every setting may still be chance, and settings were changed "
                "one at a time."
            ),
            draw=partial(robustness_matrix, tuple(row for row in rows if row.setting in settings), tuple(own)),
        )


def _groups(rows: Sequence[RobustnessRow]) -> list[list[str]]:
    """Settings in groups that together have no more choices than a figure holds."""
    groups: list[list[str]] = [[]]
    held = 0
    for setting in dict.fromkeys(row.setting for row in rows):
        choices = len({row.choice for row in rows if row.setting == setting})
        if groups[-1] and held + choices > MOST_CHOICES:
            groups.append([])
            held = 0
        groups[-1].append(setting)
        held += choices
    return groups


def _ranges(found: dict[Finding, tuple[RobustnessRow, ...]]) -> TableBlock:
    return TableBlock(
        label="",
        title="Each finding over all settings",
        head=("Feature", "Outcome", "Measure", "Main analysis", "Over all settings", "Survives"),
        rows=tuple(_range(finding, rows) for finding, rows in found.items()),
        widths=(0.34, 0.1, 0.11, 0.2, 0.15, 0.1),
        footnotes=("Findings whose interval excludes no effect in the main analysis stand first and are marked with *.",),
    )


def _range(finding: Finding, rows: Sequence[RobustnessRow]) -> tuple[str, ...]:
    main = next((row for row in rows if row.chosen), None)
    others = [row for row in rows if not row.chosen]
    known = [row.estimate for row in rows if not math.isnan(row.estimate)]
    return (
        finding[0] + (" *" if excludes_no_effect(rows) else ""),
        finding[1],
        rows[0].measure,
        interval(main.estimate, main.low, main.high) if main is not None else MISSING,
        f"{number(min(known))} to {number(max(known))}" if known else MISSING,
        f"{sum(row.survives for row in others)} of {len(others)}",
    )
