"""The summary: its counts are counted here a second time, its verdicts follow from the rows."""

from __future__ import annotations

import math
from dataclasses import replace

import cohorts

from analysis.cohort.report_summary import summary
from analysis.cohort.values import Endpoint, Folds, Results, Rule, Target


def line(results: Results, beginning: str) -> str:
    return next(sentence for sentence in summary(results) if sentence.startswith(beginning))


def test_tests_small_p_chance_and_q_of_each_family() -> None:
    results = cohorts.usual()
    for rule in Rule:
        p = [row.p for row in results.response if row.rule is rule]
        q = [row.q for row in results.response if row.rule is rule]
        small, discovered = sum(value < 0.05 for value in p), sum(value < 0.1 for value in q)
        told = line(results, f"Response, {rule}")
        assert f"of {len(p)} tests {small} ha" in told
        assert "about 2.1 would by chance alone" in told  # 42 x .05
        assert told.endswith(f"q < .1 in {discovered}.")
    for endpoint in Endpoint:
        p = [s.row.logrank_p for s in results.splits if s.row.endpoint is endpoint and s.row.landmark_days == 0]
        assert f"of {len(p)} tests {sum(value < 0.05 for value in p)} ha" in line(results, f"{endpoint}, high against low")


def test_one_rule_is_told_where_every_response_is_known() -> None:
    results = cohorts.usual()
    known = replace(results, table=replace(results.table, response=(results.table.response == 1) * 1.0))
    told = [sentence for sentence in summary(known) if sentence.startswith("Response")]
    assert len(told) == 1
    assert told[0].startswith("Response: of 42 tests")


def test_a_test_that_could_not_be_made_is_none() -> None:
    results = cohorts.usual()
    first, *rest = results.response
    fewer = replace(results, response=(replace(first, p=math.nan, q=math.nan), *rest))
    assert "of 41 tests" in line(fewer, "Response, complete cases")


def verdict(null_p: float) -> str:
    results = cohorts.small()
    models = tuple(
        replace(row, null_p=null_p) if row.target is Target.OS and row.folds is Folds.GROUPED else row
        for row in results.trees.models
    )
    return line(replace(results, trees=replace(results.trees, models=models)), "Trees for OS")


def test_trees_are_held_against_their_null() -> None:
    assert "not told apart from relabelled patients" in verdict(0.05)
    assert "more than relabelled patients give, in this cohort alone" in verdict(0.049)
    assert "without a null to hold it against" in verdict(math.nan)


def settings(low: float, high: float, survives: bool) -> str:
    """One finding whose main interval is given; under another choice it survives or not."""
    results = cohorts.small()
    main = replace(results.robustness[0], chosen=True, measure="rate ratio", low=low, high=high, survives=True)
    other = replace(main, chosen=False, choice="another", low=0.5, high=9.0, survives=survives)
    return line(replace(results, robustness=(main, other)), "Settings")


def test_findings_that_survive_are_named_and_others_counted() -> None:
    feature = cohorts.small().robustness[0].feature
    told = settings(1.1, 4.0, True)
    assert told.startswith("Settings: 1 other choice was tried; of 1 finding that they touch")
    assert told.endswith(f"1 does so in the same direction under all of them: {feature} (response).")
    assert settings(1.1, 4.0, False).endswith("0 do so in the same direction under all of them.")
    assert "none of them on a finding whose interval excludes no effect" in settings(0.9, 4.0, True)
    assert "none of them on a finding whose interval excludes no effect" in settings(math.nan, math.nan, True)


def test_the_main_analysis_alone_is_no_robustness() -> None:
    results = cohorts.small()
    alone = replace(results, robustness=tuple(row for row in results.robustness if row.chosen))
    assert "no other setting was tried" in line(alone, "Settings")


def test_it_says_where_nothing_was_done() -> None:
    told = summary(cohorts.tiny())
    assert "Response, complete cases: no test was possible (1 responder, 2 non-responders, 2 unknown)." in told
    assert "OS: no test was possible (0 events)." in told
    assert "Trees: none were grown." in told
    assert not any("chosen because" in sentence for sentence in told)
