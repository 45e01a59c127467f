"""The full tables at the end of the report: every test, compactly, with the reason where a number is missing."""

from __future__ import annotations

import math
from collections.abc import Sequence

from analysis.cohort.report_numbers import (
    MISSING,
    Footnotes,
    counted,
    fixed,
    interval,
    joined,
    number,
    p_value,
    spread,
    unit_of,
    with_unit,
)
from analysis.cohort.report_rows import endpoints, landmarks, models, response_rows, rules, splits, tree_rows
from analysis.cohort.report_values import Block, Sentences, TableBlock
from analysis.cohort.values import Folds, ModelRow, ResponseRow, Results, Rule, SurvivalRow, Target, TreeRow

_TOLD = "A dash: undefined or not computed."


def full_tables(results: Results) -> tuple[Block, ...]:
    """Response by each rule, survival by each endpoint, trees by target and folds, models."""
    tables: list[Block] = [_response(response_rows(results, r), r) for r in rules(results.table) if response_rows(results, r)]
    odds = [row for rule in rules(results.table) for row in response_rows(results, rule) if not math.isnan(row.odds_ratio)]
    tables += [_odds(odds)] if odds else []
    for endpoint in endpoints(results):
        rows = [split.row for split in splits(results, endpoint)]
        if all(math.isnan(row.logrank_p) and math.isnan(row.rate_ratio) for row in rows):
            tables += [_none(f"{endpoint}, high against low", [row.note for row in rows])] if rows else []
            continue
        tables += [_survival(rows, f"{endpoint}, high against low"), _survival_more(rows, f"{endpoint}, further estimates")]
    late = landmarks(results)
    tables += [_landmark(late)] if late else []
    for target in Target:
        known = [(folds, tree_rows(results.trees, target, folds)) for folds in (Folds.GROUPED, Folds.PAPER)]
        tables += [_trees(rows, f"Trees for {target}, folds: {folds}") for folds, rows in known if rows]
    performed = [row for target in Target for row in models(results.trees, target)]
    return (*tables, *([_models(performed)] if performed else []))


def _table(
    title: str, columns: Sequence[tuple[str, float]], rows: Sequence[tuple[str, ...]], notes: Sequence[str]
) -> TableBlock:
    total = sum(width for _, width in columns)
    return TableBlock(
        label="",
        title=title,
        head=tuple(name for name, _ in columns),
        rows=tuple(rows),
        widths=tuple(width / total for _, width in columns),
        footnotes=tuple(notes),
    )


def _none(title: str, notes: Sequence[str]) -> Sentences:
    """One sentence in the place of a table that would hold nothing but dashes."""
    why = joined([note.rstrip(".") for note in dict.fromkeys(notes) if note])
    return Sentences(
        lines=(f"{title}: none of {counted(len(notes), 'feature')} could be examined{f' ({why})' if why else ''}.",)
    )


def _response(rows: Sequence[ResponseRow], rule: Rule) -> Block:
    if all(math.isnan(row.p) for row in rows):
        return _none(f"Response, {rule}", [row.note for row in rows])
    notes = Footnotes()
    columns = (
        ("Feature", 52.0),
        ("Unit", 12.0),
        ("Test", 13.0),
        ("n/n", 11.0),
        ("Mean R", 12.0),
        ("Mean N", 12.0),
        ("Difference (95 % interval)", 31.0),
        ("p", 11.0),
        ("q", 11.0),
        ("Hedges g (95 % interval)", 28.0),
    )
    told = (
        "R: responders, N: non-responders, in the unit of the row; for yes/no columns the parts that are yes. n/n: R/N "
        "with a value. "
        f"Difference: R minus N. q: Benjamini-Hochberg over this table. {_TOLD}"
    )
    cells = [_response_cells(row, notes) for row in rows]
    return _table(f"Response, {rule}", columns, cells, (told, *notes.sentences))


def _response_cells(row: ResponseRow, notes: Footnotes) -> tuple[str, ...]:
    return (
        row.feature,
        unit_of(row.unit),
        row.test,
        f"{row.n_responder}/{row.n_nonresponder}",
        notes.cell(number(row.mean_responder, 3), row.note),
        notes.cell(number(row.mean_nonresponder, 3), row.note),
        notes.cell(spread(row.difference, row.difference_low, row.difference_high), row.note),
        notes.cell(p_value(row.p), row.note),
        notes.cell(p_value(row.q), row.note),
        notes.cell(spread(row.hedges_g, row.g_low, row.g_high), row.note),
    )


def _odds(rows: Sequence[ResponseRow]) -> TableBlock:
    columns = (("Feature", 50.0), ("Rule", 40.0), ("Test", 20.0), ("Odds ratio (95 % interval)", 40.0), ("p", 12.0))
    cells = [(r.feature, str(r.rule), r.test, interval(r.odds_ratio, r.or_low, r.or_high), p_value(r.p)) for r in rows]
    told = "Odds of response, yes over no; Woolf's interval, a half added to each cell where one is empty."
    return _table("Response, odds ratios of yes/no columns", columns, cells, (told,))


def _survival(rows: Sequence[SurvivalRow], title: str) -> TableBlock:
    notes = Footnotes()
    columns = (
        ("Feature", 52.0),
        ("High: above", 18.0),
        ("n/n", 11.0),
        ("Events", 12.0),
        ("Rate ratio (95 % interval)", 28.0),
        ("Log-rank p", 14.0),
        ("Permuted p", 15.0),
        ("q", 11.0),
        ("Firth's hazard ratio (95 % interval)", 30.0),
    )
    told = (
        "n/n and events: high/low. Rate ratio: events per time at risk, high over low, the exact interval. Permuted p: of "
        "the log-rank "
        f"test, patients exchanged. q: Benjamini-Hochberg over this table. {_TOLD}"
    )
    return _table(title, columns, [_survival_cells(row, notes) for row in rows], (told, *notes.sentences))


def _cut(row: SurvivalRow) -> str:
    return "yes" if math.isnan(row.cut) and row.n_high + row.n_low else with_unit(number(row.cut, 3), row.unit)


def _survival_cells(row: SurvivalRow, notes: Footnotes) -> tuple[str, ...]:
    return (
        row.feature,
        _cut(row),
        f"{row.n_high}/{row.n_low}",
        f"{row.events_high}/{row.events_low}",
        notes.cell(interval(row.rate_ratio, row.rate_ratio_low, row.rate_ratio_high), row.note),
        notes.cell(p_value(row.logrank_p), row.note),
        notes.cell(p_value(row.logrank_permuted_p), row.note),
        notes.cell(p_value(row.q), row.note),
        notes.cell(interval(row.firth_hr, row.firth_low, row.firth_high), row.note),
    )


def _survival_more(rows: Sequence[SurvivalRow], title: str) -> TableBlock:
    notes = Footnotes()
    columns = (
        ("Feature", 52.0),
        ("Cox, high over low (95 % interval)", 28.0),
        ("p", 10.0),
        ("Cox, one SD more (95 % interval)", 27.0),
        ("p", 10.0),
        ("PH p", 10.0),
        ("RMST, high minus low [days]", 30.0),
        ("C index (95 % interval)", 30.0),
        ("Corrected C", 16.0),
    )
    horizons = sorted({row.rmst_horizon_days for row in rows if not math.isnan(row.rmst_horizon_days)})
    up_to = (
        f" up to {number(horizons[0], 3)}" + (f" to {number(horizons[-1], 3)}" if len(horizons) > 1 else "") + " days"
        if horizons
        else ""
    )
    told = (
        "Cox: hazard ratios. SD: standard deviation of the feature itself. PH p: test of proportional hazards of high over "
        "low. RMST: "
        f"restricted mean survival time{up_to}. C index: Harrell's, of the feature itself; corrected: less its optimism by "
        f"bootstrap. {_TOLD}"
    )
    return _table(title, columns, [_more_cells(row, notes) for row in rows], (told, *notes.sentences))


def _more_cells(row: SurvivalRow, notes: Footnotes) -> tuple[str, ...]:
    return (
        row.feature,
        notes.cell(interval(row.cox_hr, row.cox_low, row.cox_high), row.note),
        notes.cell(p_value(row.cox_p), row.note),
        notes.cell(interval(row.cox_unit_hr, row.cox_unit_low, row.cox_unit_high), row.note),
        notes.cell(p_value(row.cox_unit_p), row.note),
        notes.cell(p_value(row.ph_p), row.note),
        notes.cell(spread(row.rmst_difference_days, row.rmst_low_days, row.rmst_high_days), row.note),
        notes.cell(spread(row.c_index, row.c_low, row.c_high), row.note),
        notes.cell(fixed(row.c_corrected), row.note),
    )


def _landmark(rows: Sequence[SurvivalRow]) -> TableBlock:
    notes = Footnotes()
    columns = (
        ("Feature", 52.0),
        ("Endpoint", 15.0),
        ("From day", 15.0),
        ("High: above", 20.0),
        ("n/n", 12.0),
        ("Events", 13.0),
        ("Rate ratio (95 % interval)", 32.0),
        ("Log-rank p", 15.0),
        ("q", 12.0),
    )
    cells = []
    for row in rows:
        feature, cut, sizes, events, ratio, p, _, q, _ = _survival_cells(row, notes)
        cells.append((feature, str(row.endpoint), number(row.landmark_days), cut, sizes, events, ratio, p, q))
    told = f"Landmark analyses: only cycles still followed without event on that day, days counted from it. {_TOLD}"
    return _table("Survival from a landmark on", columns, cells, (told, *notes.sentences))


def _trees(rows: Sequence[TreeRow], title: str) -> Block:
    columns = (
        ("Rank", 10.0),
        ("Feature", 60.0),
        ("Mean |SHAP|", 20.0),
        ("Sign", 10.0),
        ("Agreement", 18.0),
        ("Folds", 16.0),
        ("Null p, agreement", 22.0),
        ("Null p, |SHAP|", 20.0),
    )
    used = [row for row in rows if row.folds_used or row.mean_abs_shap > 0]
    if not used:
        return Sentences(lines=(f"{title}: no tree used any of {counted(len(rows), 'feature')}.",))
    told = "Null p: how often relabelled patients reach at least that. Folds: those that use the feature, of all."
    notes = (told, f"{len(rows) - len(used)} of {counted(len(rows), 'feature')} were never used by a tree.")
    return _table(title, columns, [_tree_cells(row) for row in used], notes)


def _tree_cells(row: TreeRow) -> tuple[str, ...]:
    return (
        str(row.rank),
        row.feature,
        number(row.mean_abs_shap),
        {1: "+", -1: "−"}.get(row.sign, MISSING),
        MISSING if math.isnan(row.sign_agreement) else f"{100 * row.sign_agreement:.0f} %",
        f"{row.folds_used}/{row.folds_all}",
        p_value(row.null_p),
        p_value(row.shap_null_p),
    )


def _models(rows: Sequence[ModelRow]) -> TableBlock:
    notes = Footnotes()
    columns = (
        ("Trees for", 26.0),
        ("Folds", 26.0),
        ("n", 8.0),
        ("Positive", 14.0),
        ("Left out", 13.0),
        ("AUC or C (95 % interval)", 30.0),
        ("Null p", 12.0),
        ("Null, middle 95 %", 24.0),
        ("Balanced accuracy", 18.0),
        ("Calibration intercept, slope", 24.0),
        ("Brier", 12.0),
    )
    cells = [_model_cells(row, notes) for row in rows]
    relabelled = sorted({row.relabelings for row in rows})
    told = f"Null: {' or '.join(map(str, relabelled))} relabellings of patients. Positive: responders, or deaths. {_TOLD}"
    return _table("Trees on held-out cycles", columns, cells, (told, *notes.sentences))


def _model_cells(row: ModelRow, notes: Footnotes) -> tuple[str, ...]:
    recalibrated = (
        MISSING if math.isnan(row.calibration_slope) else f"{fixed(row.calibration_intercept)}, {fixed(row.calibration_slope)}"
    )
    band = MISSING if math.isnan(row.null_low) else f"{fixed(row.null_low)} to {fixed(row.null_high)}"
    return (
        str(row.target),
        str(row.folds),
        str(row.n),
        str(row.positives),
        str(row.left_out),
        notes.cell(spread(row.auc, row.auc_low, row.auc_high), row.note),
        notes.cell(p_value(row.null_p), row.note),
        notes.cell(band, row.note),
        notes.cell(fixed(row.balanced_accuracy), row.note),
        notes.cell(recalibrated, row.note),
        notes.cell(fixed(row.brier), row.note),
    )
