"""Invented cohorts with known effects, and without: do the planted features lead, and how often is chance taken for an effect?

python bench_cohort_planted.py [N]: N cohorts of 24 cycles as `duet phantom --cohort` makes them, each with 42 features.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
from results import Figure, keep
from rich.console import Console

from analysis.cohort.clinical import read_clinical
from analysis.cohort.pairs import read_pairs
from analysis.cohort.response_tests import response_rows
from analysis.cohort.settings import CohortSettings
from analysis.cohort.survival_tests import SurvivalSettings, splits
from analysis.cohort.table import cohort_table
from analysis.cohort.values import CohortTable, Endpoint, Rule
from analysis.phantom.cohort import RESPONSE_FEATURES, SURVIVAL_FEATURE, invented_cohort

TODAY = date(2026, 1, 1)
QUICK = SurvivalSettings(landmark_days=0, permutations=99, resamples=1)


def cohorts(count: int, *, null: bool) -> Iterator[CohortTable]:
    with tempfile.TemporaryDirectory() as name:
        features, clinical = Path(name) / "features.csv", Path(name) / "clinical.csv"
        for seed in range(1, count + 1):
            made = invented_cohort(seed, null=null)
            features.write_text(made.features_csv)
            clinical.write_text(made.clinical_csv)
            yield cohort_table(read_pairs(features), read_clinical(clinical, TODAY), CohortSettings())


def ranks_and_p(table: CohortTable) -> tuple[dict[str, tuple[int, float]], dict[str, tuple[int, float]]]:
    """Feature > (rank of its p from 1, p), for response and for OS."""
    response = {row.feature: row.p for row in response_rows(table, Rule.COMPLETE) if not np.isnan(row.p)}
    rows = [split.row for split in splits(table, QUICK) if split.row.endpoint is Endpoint.OS]
    survival = {row.feature: row.logrank_p for row in rows if not np.isnan(row.logrank_p)}
    return _ranked(response), _ranked(survival)


def _ranked(p: dict[str, float]) -> dict[str, tuple[int, float]]:
    return {name: (place, p[name]) for place, name in enumerate(sorted(p, key=lambda name: p[name]), start=1)}


def main(count: int = 200) -> None:
    console = Console(width=150)
    figures: list[Figure] = []
    for null in (False, True):
        found = [ranks_and_p(table) for table in cohorts(count, null=null)]
        for label, place, names in (("response", 0, RESPONSE_FEATURES), ("OS", 1, (SURVIVAL_FEATURE,))):
            of_planted = [one[place][name] for one in found for name in names if name in one[place]]
            of_others = [value for one in found for name, value in one[place].items() if name not in names]
            best = float(np.mean([min(one[place][name][0] for name in names if name in one[place]) == 1 for one in found]))
            title = f"{'without effect' if null else 'planted'}, {label}"
            ranks = [float(np.median([rank for rank, _ in of])) for of in (of_planted, of_others)]
            small = [float(np.mean([p < 0.05 for _, p in of])) for of in (of_planted, of_others)]
            leads = [best, len(names) / 42]
            for what, (ours, others) in {"a planted feature leads": leads, "median rank": ranks, "p < .05": small}.items():
                console.print(f"{title:28s} {what:28s} planted {ours:8.3f}   others or chance {others:8.3f}")
                figures.append(Figure(what=f"{title}: {what}", ours=ours, unit="", peer="others, or by chance", theirs=others))
    keep("Invented cohorts", figures, f"{count} cohorts of 24 cycles, 42 features; planted: g -0.9 twice, rate ratio 3 once.")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
