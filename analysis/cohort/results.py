"""The whole of a cohort's analysis, step by step; the one file that names the steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from analysis.cohort.clinical import Clinical
from analysis.cohort.pairs import PairFeatures
from analysis.cohort.response_tests import response_rows
from analysis.cohort.robustness import Question, leading_findings, robustness_rows
from analysis.cohort.settings import CohortSettings
from analysis.cohort.survival_tests import SurvivalSettings, splits
from analysis.cohort.table import join, tabulated
from analysis.cohort.tree_fit import Growth
from analysis.cohort.trees import TreeSettings, tree_results
from analysis.cohort.values import Results, Rule

Progress = Callable[[str, float], None]
SOFTWARE = ("duet-node", "numpy", "scipy", "numba")  # what computes the numbers; the tests hold it against others


def cohort_results(
    pairs: Sequence[PairFeatures], clinical: Clinical, settings: CohortSettings, *, progress: Progress
) -> Results:
    """Response, survival, trees and robustness of the cohort. Raises BadSettings where no cycle has both tables."""
    progress("Joining features and clinical table", 0.0)
    joined = join(pairs, clinical, settings)
    table = tabulated(joined, clinical, settings)
    progress("Comparing responders and non-responders", 0.02)
    response = tuple(row for rule in _main_first(settings.rule) for row in response_rows(table, rule))
    progress("Comparing survival", 0.05)
    survival = splits(table, survival_settings(settings))
    progress("Asking which findings survive other settings", 0.25)
    leading = leading_findings(response, [split.row for split in survival], settings.rule)
    robustness = robustness_rows(Question(joined=joined, clinical=clinical, settings=settings, table=table), leading)
    trees = tree_results(
        table, tree_settings(settings), lambda message, part: progress(message.partition(":")[0], 0.3 + 0.6 * part)
    )
    return Results(
        table=table,
        response=response,
        splits=survival,
        trees=trees,
        robustness=robustness,
        settings=kept(settings, pairs),
        software={name: version(name) for name in SOFTWARE},
    )


def _main_first(rule: Rule) -> list[Rule]:
    """Both rules for an unknown response, that of the main reading first, as the tables have them."""
    return sorted(Rule, key=lambda each: each is not rule)


def survival_settings(settings: CohortSettings) -> SurvivalSettings:
    """What the survival tests take of the settings."""
    return SurvivalSettings(
        landmark_days=float(settings.landmark_days),
        permutations=settings.permutations,
        resamples=settings.resamples,
        seed=settings.seed,
    )


def tree_settings(settings: CohortSettings) -> TreeSettings:
    """What the trees take of the settings."""
    return TreeSettings(
        rule=settings.rule,
        repeats=settings.repeats,
        relabelings=settings.relabelings,
        growth=Growth(depth=settings.max_depth),
        seed=settings.seed,
        harmonise=settings.harmonise,
    )


def kept(settings: CohortSettings, pairs: Sequence[PairFeatures]) -> Mapping[str, Any]:
    """The settings that made the results, and those that the pairs were measured with where all share them."""
    measured = [dict(pair.settings) for pair in pairs if pair.settings]
    alike = bool(measured) and all(each == measured[0] for each in measured)
    return {"cohort": asdict(settings), **({"measurement": measured[0]} if alike else {})}
