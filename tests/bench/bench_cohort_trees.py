"""All trees of a cohort with all their nulls: 24 cycles x 42 features, and 10,000 x 60, each in a process of its own."""

from __future__ import annotations

import sys
from pathlib import Path

import cost
import numpy as np
import shap
from results import Figure, keep
from sklearn.tree import DecisionTreeClassifier

from analysis.cohort.tree_fit import Growth, binned, draws, hold_out
from analysis.cohort.tree_labels import question
from analysis.cohort.trees import TreeSettings, tree_results
from analysis.cohort.values import CohortTable, Column, Endpoint, Folds, FollowUp, Rule, Target

SIZES = {(24, 42): (40.0, 1_000.0), (10_000, 60): (150.0, 3_000.0)}  # rows, features > most seconds, most MB


def table(rows: int, features: int) -> CohortTable:
    """Noise with one weak feature; 22 patients to 24 rows, as in the paper; a quarter is censored."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(features, rows))
    patients = np.arange(rows) % max(1, rows * 22 // 24)
    return CohortTable(
        cycles=tuple(f"cycle {k}" for k in range(rows)),
        patients=tuple(f"patient {k}" for k in patients),
        columns=tuple(Column(name=f"feature {k}", values=column.copy()) for k, column in enumerate(values)),
        response=(values[0] + 2 * rng.normal(size=rows) > 0).astype(float),
        follow_up={
            Endpoint.OS: FollowUp(
                days=np.ceil(rng.exponential(250 * np.exp(-values[0] / 2))).clip(1, 2_000), event=rng.random(rows) < 0.75
            )
        },
    )


def one_tree(rows: int, features: int) -> tuple[float, float]:
    """Seconds of one tree of one feature order, unpruned, with its SHAP values: duet's, and scikit-learn's with shap's."""
    cohort = table(rows, features)
    asked = question(cohort, Target.RESPONSE, Rule.COMPLETE)
    x = np.array([column.values for column in cohort.columns])
    growth = Growth(penalty=0.0)
    drawn = draws(asked, Folds.PAPER, growth, features, np.random.default_rng(0), 1)
    binned_x, training = binned(x), drawn[0].outer > 0

    def theirs() -> None:
        tree = DecisionTreeClassifier(max_depth=growth.depth, min_samples_leaf=growth.min_leaf)
        tree.fit(x.T[training], asked.event[training])
        shap.TreeExplainer(tree).shap_values(x.T[~training])

    hold_out(asked, binned_x, drawn, growth)  # compiles
    ours = cost.seconds(lambda: hold_out(asked, binned_x, drawn, growth)) / len(drawn[0].inner)
    return ours, cost.seconds(theirs)


def main() -> int:
    figures = []
    for (rows, features), (most_seconds, most_mb) in SIZES.items():
        cost.python(Path(__file__), "24", "2")  # so that what is compiled lies on disk
        found = cost.python(Path(__file__), str(rows), str(features))
        ours, theirs = one_tree(rows, features)
        size = f"{rows:,} x {features}"
        figures += [
            Figure(
                what=f"{size}: everything",
                ours=found.seconds,
                unit="s",
                target=f"{most_seconds:.0f} s",
                met=found.exit_status == 0 and found.seconds <= most_seconds,
            ),
            Figure(what="... processor time", ours=found.cpu_seconds, unit="s"),
            Figure(
                what="... memory",
                ours=found.memory_mb,
                unit="MB",
                target=f"{most_mb:.0f} MB",
                met=found.memory_mb <= most_mb,
            ),
            Figure(what="... one tree and its SHAP values", ours=ours, unit="s", peer="sklearn and shap", theirs=theirs),
        ]
    note = (
        "Three targets, two ways of folding, 10 repeats of 5 folds, each tree pruned in 3 inner folds, 200 relabellings, "
        "1,000 bootstraps, patients left out in turn. At 10,000 rows a relabelling has one repeat, 20 patients are left out."
    )
    keep("Trees of a cohort", figures, note)
    return 0


if __name__ == "__main__":
    if len(sys.argv) > 2:
        tree_results(table(int(sys.argv[1]), int(sys.argv[2])), TreeSettings(), lambda *_: None)
        sys.exit(0)
    sys.exit(main())
