"""The methods paragraph: from what was done and with what, and from nothing else."""

from __future__ import annotations

import re
from dataclasses import replace

import cohorts
import pytest

from analysis.cohort.report_methods import flat, methods_paragraph, methods_section
from analysis.cohort.report_values import TableBlock


def test_it_tells_the_settings_that_were_used() -> None:
    told = methods_paragraph(cohorts.usual())
    for words in (
        "24 treatment cycles of 22 patients",
        "42 features, 7 of them",
        "exchanging patients 1999 times",
        "by 200 bootstrap samples",
    ):
        assert words in told
    for words in (
        "after 60 days",
        "at most 3 levels",
        "10 repeats of stratified folds",
        "a null of 200 cohorts",
        "17 choices of 6 settings",
    ):
        assert words in told
    assert told.endswith("lifelines 0.30.3, scikit-learn 1.9.1 and shap 0.51.0.")


@pytest.mark.parametrize(("before", "after"), [("1999 times", "777 times"), ("10 repeats", "4 repeats")])
def test_other_settings_give_other_words(before: str, after: str) -> None:
    results = cohorts.usual()
    changed = {**results.settings["cohort"], "permutations": 777, "repeats": 4}
    told = methods_paragraph(replace(results, settings={"cohort": changed}))
    assert after in told
    assert before not in told


def test_a_setting_that_is_not_known_is_not_guessed() -> None:
    told = methods_paragraph(replace(cohorts.usual(), settings={}))
    assert "computed a second time by exchanging patients." in told
    assert "Decision trees, limited in depth" in told
    assert "{" not in told


def test_nothing_is_told_that_was_not_done() -> None:
    told = methods_paragraph(cohorts.tiny())
    assert re.search("Welch|log-rank|Kaplan|tree|SHAP|second reading|bootstrap", told) is None
    assert "5 treatment cycles of 5 patients" in told


def test_settings_are_listed_however_deep_they_lie() -> None:
    settings = {"a": {"b": {"c": 0.1}, "on": True}, "list": [1, "two", 3.0], "none": [], "whole": 183.0, "text": ""}
    assert flat(settings) == {
        "a.b.c": "0.1",
        "a.on": "yes",
        "list": "1, two and 3",
        "none": "none",
        "whole": "183",
        "text": "none",
    }
    table = methods_section(cohorts.usual(), "words").blocks[-1]
    assert isinstance(table, TableBlock)
    assert ("cohort.max_depth", "3") in table.rows


@pytest.mark.parametrize(
    ("harmonise", "words"), [("scanner", "by scanner, with parametric"), ("", "No feature was harmonised")]
)
def test_it_tells_whether_features_were_harmonised(harmonise: str, words: str) -> None:
    results = cohorts.usual()
    told = methods_paragraph(replace(results, settings={"cohort": {**results.settings["cohort"], "harmonise": harmonise}}))
    assert words in told
    assert told.count("harmonised") == 1
    assert "harmonised" not in methods_paragraph(results)  # not known
