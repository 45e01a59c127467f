"""The cohort's results as a list of estimates, each with its interval: what goes into the structured report."""

from __future__ import annotations

import math

from analysis.cohort.values import Estimate, ModelRow, ResponseRow, Results, Rule, SurvivalRow, Target


def cohort_estimates(results: Results) -> tuple[Estimate, ...]:
    """Effect of each feature on response (complete cases), event-rate ratio for each endpoint, and how the trees do.

    Estimates that are undefined are left out.
    """
    found = [_of_response(row) for row in results.response if row.rule is Rule.COMPLETE]
    found += [_of_survival(split.row) for split in results.splits if split.row.landmark_days == 0]
    found += [_of_model(row) for row in results.trees.models]
    return tuple(estimate for estimate in found if not math.isnan(estimate.value))


def _of_response(row: ResponseRow) -> Estimate:
    n = row.n_responder + row.n_nonresponder
    if not math.isnan(row.odds_ratio):
        name, value, low, high = "odds ratio", row.odds_ratio, row.or_low, row.or_high
    else:
        name, value, low, high = "Hedges g", row.hedges_g, row.g_low, row.g_high
    method = f"responders against non-responders, complete cases; p by {row.test}"
    return Estimate(name=f"{name}, response: {row.feature}", value=value, low=low, high=high, p=row.p, n=n, method=method)


def _of_survival(row: SurvivalRow) -> Estimate:
    cut = "yes against no" if math.isnan(row.cut) else f"above {row.cut:.4g} {row.unit} (median) against the rest"
    return Estimate(
        name=f"Rate ratio, {row.endpoint}: {row.feature}",
        value=row.rate_ratio,
        low=row.rate_ratio_low,
        high=row.rate_ratio_high,
        p=row.logrank_p,
        n=row.n_high + row.n_low,
        method=f"events per time, {cut}; exact interval, p by log-rank",
    )


def _of_model(row: ModelRow) -> Estimate:
    name = "C index" if row.target is Target.OS else "AUC"
    return Estimate(
        name=f"{name}, {row.target}, {row.folds}",
        value=row.auc,
        low=row.auc_low,
        high=row.auc_high,
        p=row.null_p,
        n=row.n,
        method="held-out trees; interval by bootstrap of patients, p by relabelling patients",
    )
