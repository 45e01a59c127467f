"""Decision trees of a cohort: what they predict of held-out rows, which features they use, and how much of it is chance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.stats import rankdata

from analysis.cohort.combat import batches_of, harmonised
from analysis.cohort.tree_arrays import Ints
from analysis.cohort.tree_fit import Growth, HeldOut, binned, draws, hold_out
from analysis.cohort.tree_folds import Draw
from analysis.cohort.tree_labels import question
from analysis.cohort.tree_null import (
    Chance,
    Finding,
    Null,
    Trial,
    chance,
    finding,
    gathered,
    in_threads,
    share_at_least,
    under_null,
    without,
)
from analysis.cohort.tree_scores import auc, auc_interval, balanced_accuracy, brier, calibration, recalibration
from analysis.cohort.values import (
    Calibration,
    CohortTable,
    Folds,
    InfluenceRow,
    ModelRow,
    Rule,
    Swarm,
    Target,
    TreeResults,
    TreeRow,
)
from analysis.space import readonly

Progress = Callable[[str, float], None]
EXCHANGED_ROWS = 4_000  # rows times repeats of each relabelling: above it, fewer repeats
MANY_ROWS = 20_000  # rows times repeats: above it, fewer relabellings beside leading features
FEW_RELABELINGS = 20  # their p is 1/21 at least
EXCLUDED_ROWS = 100_000  # rows times patients that are left out in turn: above it, a part of the patients


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeSettings:
    """rule: what an unknown response counts as. repeats: of the folds. relabelings: of patients, for the null.

    tied: while leading features are above chance, at most so many of them stay with the outcomes and the others are tested
    again. bootstraps: of patients, for intervals. workers: threads, which change no number. seed: of every draw.
    harmonise: the fact by which image features are brought together inside each training fold; empty: none.
    """

    rule: Rule = Rule.COMPLETE
    growth: Growth = field(default_factory=Growth)
    repeats: int = 10
    relabelings: int = 200
    tied: int = 2
    bootstraps: int = 1_000
    workers: int = 2
    seed: int = 20_260_101
    harmonise: str = ""


def tree_results(table: CohortTable, settings: TreeSettings, progress: Progress) -> TreeResults:
    """Trees for each target and way of folding. progress: told what is being done and which part of all is done, 0 to 1.

    Where a cohort is too small, or one class is missing, the row of the model says so and there is no other row.
    """
    values = np.array([column.values for column in table.columns], dtype=np.float64).reshape(-1, len(table))
    batches = batches_of(table, settings.harmonise) if settings.harmonise else None
    parts = []
    pairs = [(target, folds) for target in Target for folds in Folds]
    for k, (target, folds) in enumerate(pairs):
        asked = question(table, target, settings.rule)
        trial = Trial(
            asked=asked,
            features=binned(values[:, asked.rows]),
            folds=folds,
            growth=settings.growth,
            repeats=settings.repeats,
            seed=(settings.seed, k),
            batches=None if batches is None else np.ascontiguousarray(batches[:, asked.rows]),
        )

        def told(message: str, part: float, k: int = k, name: str = f"{target}, {folds}") -> None:
            progress(f"Trees, {name}: {message}", (k + part) / len(pairs))

        told("held-out predictions", 0.0)
        parts.append(_examined(table, trial, settings, told))
    progress("Trees: done", 1.0)
    return _joined(parts)


def _joined(parts: Sequence[TreeResults]) -> TreeResults:
    return TreeResults(
        rows=tuple(row for part in parts for row in part.rows),
        models=tuple(row for part in parts for row in part.models),
        swarms=tuple(row for part in parts for row in part.swarms),
        calibrations=tuple(row for part in parts for row in part.calibrations),
        influence=tuple(row for part in parts for row in part.influence),
    )


def _examined(table: CohortTable, trial: Trial, settings: TreeSettings, progress: Progress) -> TreeResults:
    """All that trees gave for one target and way of folding."""
    asked, names = trial.asked, tuple(column.name for column in table.columns)
    model = ModelRow(
        target=asked.target, folds=trial.folds, n=len(asked), positives=int(asked.event.sum()), left_out=asked.left_out
    )
    if why := _why_not(trial):
        return TreeResults(models=(replace(model, note=why),))
    drawn = draws(asked, trial.folds, trial.growth, len(names), trial.rng(0), trial.repeats)
    made = hold_out(asked, trial.features, drawn, trial.growth, trial.batches)
    lighter = replace(trial, repeats=max(1, min(trial.repeats, EXCHANGED_ROWS // len(asked))))
    found = finding(asked, hold_out(asked, trial.features, drawn[: lighter.repeats], trial.growth, trial.batches))
    null = chance(found, settings.tied, lambda tied: _null(replace(lighter, tied=tied), settings, progress))
    influence = _influence(table, lighter, found, settings)
    notes = _notes(lighter, trial, made, len(influence))
    if trial.batches is not None:
        notes.append(_harmony(trial, trial.batches, drawn, settings.harmonise))
    if null.tied:
        beside, count = ", ".join(names[k] for k in null.tied), _relabelings(replace(lighter, tied=null.tied), settings)
        notes.append(
            f"The p values of other features are those beside {beside}, of {count} relabellings, where these are larger."
        )
    return TreeResults(
        rows=_rows(trial, names, made, null),
        models=(_scored(replace(model, note=" ".join(notes)), trial, made, null.null, found, settings),),
        swarms=(_swarm(trial, names, made),),
        calibrations=_calibrations(trial, made),
        influence=influence,
    )


def _why_not(trial: Trial) -> str:
    """Why no tree can be held out, one sentence; empty where it can."""
    asked = trial.asked
    if not len(trial.features.codes):
        return "There is no feature to grow trees on."
    if not len(asked):
        return f"No row has an answer for {asked.target}."
    if not draws(asked, trial.folds, trial.growth, 1, trial.rng(0), 1):
        what = "the event" if not asked.label else "each class"
        return f"Two folds need four rows and patients, and {what} in two of them: no trees."
    return ""


def _null(trial: Trial, settings: TreeSettings, progress: Progress) -> Null:
    """What relabelled patients give; fewer of them beside the leading features of a large cohort."""
    count, step, found = _relabelings(trial, settings), len(trial.tied), []
    beside = f", beside {step} leading" if step else ""
    for k, one in enumerate(in_threads(lambda number: under_null(trial, number), range(count), settings.workers)):
        if one is not None:
            found.append(one)
        progress(f"relabelling {k + 1} of {count}{beside}", 0.9 * (step + (k + 1) / count) / (settings.tied + 1))
    return gathered(found, trial.tied)


def _relabelings(trial: Trial, settings: TreeSettings) -> int:
    few = bool(trial.tied) and len(trial.asked) * settings.repeats > MANY_ROWS
    return min(settings.relabelings, FEW_RELABELINGS) if few else settings.relabelings


def _influence(table: CohortTable, trial: Trial, found: Finding, settings: TreeSettings) -> tuple[InfluenceRow, ...]:
    """The result without each patient, or without some of them where the cohort is large."""
    count = int(trial.asked.patients.max()) + 1
    most = max(20, EXCLUDED_ROWS // (len(trial.asked) * trial.repeats))
    patients = sorted(trial.rng(3).permutation(count)[:most].tolist())
    names = [column.name for column in table.columns]
    top = _top(found, names)
    rows = []
    for patient, one in zip(patients, in_threads(lambda k: without(trial, k), patients, settings.workers), strict=True):
        if one is None:
            continue
        place = int(trial.asked.rows[trial.asked.patients == patient][0])
        rows.append(
            InfluenceRow(
                target=trial.asked.target,
                folds=trial.folds,
                patient=table.patients[place],
                auc=one.auc,
                top_feature=_top(one, names),
                top_stays=_top(one, names) == top,
            )
        )
    return tuple(rows)


def _top(found: Finding, names: Sequence[str]) -> str:
    """The feature of the largest mean absolute SHAP value; none where no tree has a split."""
    return names[int(found.size.argmax())] if found.size.max() > 0 else ""


def _rows(trial: Trial, names: Sequence[str], made: HeldOut, null: Chance) -> tuple[TreeRow, ...]:
    """One row a feature, the largest mean absolute SHAP value first."""
    ranks = rankdata(-made.size, method="min")
    return tuple(
        TreeRow(
            target=trial.asked.target,
            folds=trial.folds,
            feature=names[k],
            mean_abs_shap=float(made.size[k]),
            rank=int(ranks[k]),
            sign=int(np.sign(made.up[k] - made.down[k])),
            sign_agreement=float(made.agreement[k]),
            folds_used=int(made.up[k] + made.down[k]),
            folds_all=made.folds_all,
            null_p=float(null.agreement_p[k]),
            shap_null_p=float(null.size_p[k]),
        )
        for k in np.argsort(-made.size, kind="stable")
    )


def _scored(model: ModelRow, trial: Trial, made: HeldOut, null: Null, found: Finding, settings: TreeSettings) -> ModelRow:
    """The row of the model with its numbers; calibration is that of yes/no targets."""
    low, high = auc_interval(trial.asked, made, settings.bootstraps, trial.rng(4), settings.workers)
    null_auc = null.auc[~np.isnan(null.auc)]
    null_low, null_high = np.quantile(null_auc, (0.025, 0.975)) if len(null_auc) else (np.nan, np.nan)
    scored = replace(
        model,
        auc=auc(trial.asked, made),
        auc_low=low,
        auc_high=high,
        null_p=share_at_least(null.auc, found.auc),
        null_low=float(null_low),
        null_high=float(null_high),
        relabelings=len(null.auc),
    )
    if not trial.asked.label:
        return scored
    intercept, slope = recalibration(trial.asked, made)
    return replace(
        scored,
        balanced_accuracy=balanced_accuracy(trial.asked, made),
        calibration_intercept=intercept,
        calibration_slope=slope,
        brier=brier(trial.asked, made),
    )


def _swarm(trial: Trial, names: tuple[str, ...], made: HeldOut) -> Swarm:
    values = trial.features.values.T.copy()
    return Swarm(
        target=trial.asked.target, folds=trial.folds, features=names, shap=readonly(made.shap), values=readonly(values)
    )


def _calibrations(trial: Trial, made: HeldOut) -> tuple[Calibration, ...]:
    return (calibration(trial.asked, trial.folds, made),) if trial.asked.label else ()


def _notes(lighter: Trial, trial: Trial, made: HeldOut, excluded: int) -> list[str]:
    """What was done otherwise than asked, and what a reader must know, one sentence each."""
    notes = []
    folds = made.folds_all // trial.repeats
    if folds < trial.growth.folds:
        notes.append(f"{folds} folds instead of {trial.growth.folds}, since a class has so few rows or patients.")
    if lighter.repeats < trial.repeats:
        notes.append(
            f"Null p values and influence rest on {lighter.repeats} of {trial.repeats} repeats, of the observed data as well."
        )
    if excluded < int(trial.asked.patients.max()) + 1:
        notes.append(f"{excluded} patients were left out in turn, not all.")
    if not made.size.any():
        notes.append("Pruning left no split in any tree: nothing was learned.")
    return notes


def _harmony(trial: Trial, batches: Ints, drawn: Sequence[Draw], name: str) -> str:
    """That image features were harmonised, and how many held-out rows and values that did not reach, one sentence."""
    values = trial.features.values
    rows = left = known = alone = 0
    for one in drawn:
        out = one.inner < 0
        moved = harmonised(values, batches, ~out).moved
        reached = out & moved.any(axis=1)
        told = reached[:, None, :] & (values != 0) & ~np.isnan(values) & (batches >= 0)
        rows, left = rows + int(out.sum()), left + int((out & ~reached).sum())
        known, alone = known + int(told.sum()), alone + int((told & ~moved).sum())
    return (
        f"Image features were harmonised by {name} inside each training fold; of {rows} held-out rows in all repeats {left} "
        f"stayed as measured ({name} not told, or too few training rows), and of {known} values of the others {alone}."
    )
