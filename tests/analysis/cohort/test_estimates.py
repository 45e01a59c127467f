"""The estimates of the structured report: those of the results, and none that is undefined."""

from __future__ import annotations

import math

import cohorts

from analysis.cohort.estimates import cohort_estimates
from analysis.cohort.values import Rule


def test_every_estimate_is_a_number_of_the_results_with_its_interval() -> None:
    results = cohorts.usual()
    found = {estimate.name: estimate for estimate in cohort_estimates(results)}
    for row in results.response:
        if row.rule is Rule.COMPLETE and not math.isnan(row.hedges_g):
            told = found[f"Hedges g, response: {row.feature}"]
            assert (told.value, told.low, told.high, told.p) == (row.hedges_g, row.g_low, row.g_high, row.p)
            assert told.n == row.n_responder + row.n_nonresponder
    for split in results.splits:
        row = split.row
        if row.landmark_days == 0 and not math.isnan(row.rate_ratio):
            told = found[f"Rate ratio, {row.endpoint}: {row.feature}"]
            assert (told.value, told.low, told.high) == (row.rate_ratio, row.rate_ratio_low, row.rate_ratio_high)
            assert told.p == row.logrank_p
    assert len({name for name in found if name.startswith(("AUC", "C index"))}) == len(results.trees.models)


def test_names_are_distinct_and_nothing_undefined_is_told() -> None:
    for results in (cohorts.usual(), cohorts.small(), cohorts.long_names()):
        estimates = cohort_estimates(results)
        assert len({estimate.name for estimate in estimates}) == len(estimates)
        assert not any(math.isnan(estimate.value) for estimate in estimates)
