"""What is told of trees, for one target: SHAP and ranks with their null, and how well held-out trees do."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial

from analysis.cohort.figures import dots_sentence
from analysis.cohort.figures_trees import SHOWN, performance, shap_ranks
from analysis.cohort.report_numbers import counted, interval, joined, p_value
from analysis.cohort.report_rows import main_folds, models, tree_rows
from analysis.cohort.report_values import Block, FigureBlock, Section, Sentences
from analysis.cohort.values import Calibration, Folds, ModelRow, Results, Target

_POSITIVE = {Target.RESPONSE: "responders", Target.SIX_MONTHS: "deaths within six months", Target.OS: "deaths"}
_KEYS = {Target.RESPONSE: "response", Target.SIX_MONTHS: "six-months", Target.OS: "os"}


def six_month_section(results: Results) -> Section:
    """Figure 3 of the paper, for this cohort."""
    title = "Survival at six months (Figure 3 of the paper, for this cohort)"
    return Section(key="six-months", title=title, blocks=tuple(tree_blocks(results, Target.SIX_MONTHS)))


def tree_blocks(results: Results, target: Target) -> tuple[Block, ...]:
    """Sentences on the rows that were used, SHAP with ranks, performance; one sentence where there are no trees."""
    rows = models(results.trees, target)
    if not rows and not any(row.target is target for row in results.trees.rows):
        return (Sentences(lines=(f"No trees were grown for {target} in this cohort.",)),)
    return (Sentences(lines=tuple(_rows_used(row) for row in rows)), *_ranks(results, target), *_performance(results, target))


def _rows_used(row: ModelRow) -> str:
    words = (
        f"Trees for {row.target}, {_folds(row.folds)}: {counted(row.n, 'cycle')}, of them {row.positives} "
        f"{_POSITIVE[row.target]}; "
        f"{row.left_out} left out without a label."
    )
    return f"{words} {row.note}".strip()


def _folds(folds: Folds) -> str:
    return "rows held out one by one as in the paper" if folds is Folds.PAPER else "patients held out whole"


def _ranks(results: Results, target: Target) -> Iterator[FigureBlock]:
    folds = main_folds(results, target)
    swarm = next((s for s in results.trees.swarms if s.target is target and s.folds is folds), None)
    used = tuple(row for row in tree_rows(results.trees, target, folds) if row.mean_abs_shap > 0)
    if swarm is None or not used:
        return
    other = Folds.PAPER if folds is Folds.GROUPED else Folds.GROUPED
    others = tree_rows(results.trees, target, other)
    diamond = f" Diamonds: {_folds(other)}." if others else ""
    leading = used[:SHOWN]
    raises = "the chance of response" if target is Target.RESPONSE else "the risk"
    yield FigureBlock(
        label="",
        name=f"{_KEYS[target]}-trees",
        title=f"Trees for {target}: SHAP, ranks and agreement of signs",
        alt=(
            f"SHAP values of held-out cycles for {counted(len(leading), 'feature')}; mean |SHAP| is largest for "
            f"{joined([row.feature for row in leading[:3]])}. The numbers stand in the full table of trees."
        ),
        shows=(
            f"{_leading(len(leading), len(used))} ({_folds(folds)}): SHAP of each held-out cycle, mean |SHAP|, the sign "
            f"(+: higher values raise {raises}), how far folds agree on it, and how often relabelled patients reach that "
            f"agreement (null p) or that |SHAP|.{diamond}{dots_sentence(len(swarm.shap))}"
        ),
        shows_not=(
            "It does not show causes or a prediction for a patient: SHAP tells what these trees used, and under pure noise "
            "high agreement of signs is common, so it counts only beside its null."
        ),
        draw=partial(shap_ranks, swarm, leading, others),
    )


def _leading(shown: int, used: int) -> str:
    """ "The 12 of 21 used features with the largest mean |SHAP|"."""
    if shown < used:
        return f"The {shown} of {used} used features with the largest mean |SHAP|"
    return f"The {counted(used, 'feature')} that trees used"


def _groups(calibrations: Sequence[Calibration]) -> str:
    """How large the groups are: "groups of 8, 8 and 7 cycles"."""
    sizes = dict.fromkeys(joined([str(n) for n in c.rows]) for c in calibrations)
    return f"groups of {' or of '.join(sizes)} cycles"


def _performance(results: Results, target: Target) -> Iterator[FigureBlock]:
    rows = models(results.trees, target)
    calibrations = tuple(c for c in results.trees.calibrations if c.target is target)
    if all(math.isnan(row.auc) for row in rows):
        return
    measure = "C index" if target is Target.OS else "area under the ROC curve"
    beside = (
        f" Right: observed part against mean prediction of {_groups(calibrations)}, exact intervals." if calibrations else ""
    )
    yield FigureBlock(
        label="",
        name=f"{_KEYS[target]}-performance",
        title=f"Trees for {target}: how well they do on held-out cycles",
        alt="; ".join(
            f"{_folds(row.folds)}: {measure} {interval(row.auc, row.auc_low, row.auc_high)}, null p {p_value(row.null_p)}"
            for row in rows
        )
        + ".",
        shows=(
            f"Held-out {measure} with its 95 % interval (bootstrap of patients) before the middle 95 % of relabelled "
            f"patients in grey.{beside}"
        ),
        shows_not=(
            "It does not show how the trees would do elsewhere: there is no outside cohort, and an interval inside the "
            "grey band is what chance gives."
        ),
        draw=partial(performance, rows, calibrations),
    )
