"""All that trees give of a cohort, and that a cohort which is too small for them gets a sentence instead."""

from __future__ import annotations

from dataclasses import astuple, replace

import numpy as np
import pytest
from chance_cohorts import cohort, noise, planted

from analysis.cohort import trees
from analysis.cohort.trees import TreeSettings, tree_results
from analysis.cohort.values import CohortTable, Folds, Target, TreeResults

QUICK = TreeSettings(repeats=3, relabelings=19, bootstraps=50)


def results(table: CohortTable, settings: TreeSettings = QUICK) -> TreeResults:
    return tree_results(table, settings, lambda *_: None)


@pytest.fixture(scope="module")
def found() -> TreeResults:
    return results(planted(0))


def test_there_is_a_row_for_each_target_folding_and_feature(found: TreeResults) -> None:
    pairs = {(target, folds) for target in Target for folds in Folds}
    assert {(row.target, row.folds) for row in found.models} == pairs
    assert {(row.target, row.folds, row.feature) for row in found.rows} == {
        (*pair, f"f{k}") for pair in pairs for k in range(10)
    }
    assert {(one.target, one.folds) for one in found.swarms} == pairs
    assert {(one.target, one.folds) for one in found.calibrations} == {pair for pair in pairs if pair[0] is not Target.OS}
    assert len(found.influence) == 6 * 22


def test_the_planted_feature_leads_everywhere_and_stays_without_any_patient(found: TreeResults) -> None:
    for row in found.rows:
        if row.rank == 1:
            assert (row.feature, row.sign_agreement, row.shap_null_p) == ("f3", 1.0, 0.05)
            assert row.sign == (1 if row.target is Target.RESPONSE else -1)
    for model in found.models:
        assert model.null_p == 0.05
        assert model.auc == 1.0 if model.target is not Target.OS else model.auc > 0.7
        assert model.null_low <= 0.5 <= model.null_high
        assert (model.n, model.left_out, model.relabelings) == (24, 0, 19)
    assert all(row.top_stays and row.top_feature == "f3" for row in found.influence)
    assert {row.patient for row in found.influence} == set(planted(0).patients)


def test_a_swarm_shows_the_values_beside_their_shap(found: TreeResults) -> None:
    table = planted(0)
    for swarm in found.swarms:
        np.testing.assert_array_equal(swarm.values, np.array([column.values for column in table.columns]).T)
        assert swarm.shap.shape == swarm.values.shape


def test_the_same_seed_gives_the_same_numbers_with_any_number_of_threads() -> None:
    first, second = (results(noise(1), replace(QUICK, workers=workers)) for workers in (1, 2))
    np.testing.assert_equal([astuple(row) for row in first.rows], [astuple(row) for row in second.rows])
    np.testing.assert_equal([astuple(row) for row in first.models], [astuple(row) for row in second.models])
    assert first.influence == second.influence


def test_progress_rises_to_one() -> None:
    told: list[float] = []
    tree_results(noise(0), QUICK, lambda _, part: told.append(part))
    assert told == sorted(told)
    assert told[-1] == 1.0


def plain(n: int, response, days=None, died=None, features: int = 3) -> CohortTable:
    x = np.random.default_rng(0).normal(size=(n, features))
    days = np.arange(n) * 400.0 / n if days is None else np.array(days, float)
    return cohort(x, np.array(response, float), days, np.ones(n, bool) if died is None else np.array(died), np.arange(n))


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (plain(5, [1, 1, 0, 0, 0]), {}),
        (plain(20, [1] * 20), {Target.RESPONSE: "each class"}),
        (plain(20, [np.nan] * 20), {Target.RESPONSE: "No row has an answer"}),
        (plain(20, [1, 0] * 10, died=[False] * 20), {Target.OS: "the event", Target.SIX_MONTHS: "each class"}),
        (plain(20, [1, 0] * 10, days=[np.nan] * 20), {Target.OS: "No row", Target.SIX_MONTHS: "No row"}),
        (plain(20, [1, 0] * 10, features=0), dict.fromkeys(Target, "no feature")),
        (plain(2, [1, 0]), dict.fromkeys(Target, "no trees")),
        (plain(20, [1, 1, 1] + [0] * 17), {}),
        (replace(plain(20, [1, 0] * 10), follow_up={}), {Target.OS: "No row", Target.SIX_MONTHS: "No row"}),
    ],
)
def test_a_cohort_that_is_too_small_gets_a_sentence(table: CohortTable, words: dict[Target, str]) -> None:
    found = results(table)
    assert len(found.models) == 6
    for model in found.models:
        if model.target in words:
            assert words[model.target] in model.note
            assert np.isnan(model.auc)
            assert not [row for row in found.rows if row.target is model.target]
        else:
            assert model.relabelings == 19
            assert 0 <= model.auc <= 1


def test_fewer_folds_are_told() -> None:
    found = results(plain(20, [1, 1, 1] + [0] * 17))
    assert all("3 folds instead of 5" in row.note for row in found.models if row.target is Target.RESPONSE)
    assert {row.folds_all for row in found.rows if row.target is Target.RESPONSE} == {9}


def test_empty_and_constant_columns_are_rows_without_use() -> None:
    table = planted(0)
    columns = (
        *table.columns,
        *(replace(table.columns[0], name=name, values=np.full(24, v)) for name, v in (("e", np.nan), ("c", 1))),
    )
    for row in results(replace(table, columns=columns)).rows:
        if row.feature in ("e", "c"):
            assert (row.mean_abs_shap, row.sign, row.folds_used) == (0, 0, 0)
            assert np.isnan(row.sign_agreement)
            assert np.isnan(row.null_p)
            assert row.shap_null_p == 1.0


def test_a_large_cohort_has_fewer_repeats_in_its_null_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trees, "EXCHANGED_ROWS", 48)
    monkeypatch.setattr(trees, "EXCLUDED_ROWS", 48)
    for model in results(planted(0)).models:
        assert "rest on 2 of 3 repeats" in model.note
        assert "20 patients were left out in turn, not all" in model.note
        assert model.relabelings == 19


def two_scanners(seed: int) -> CohortTable:
    """Scanner B reads f3 three times as high, and 10 of its 12 patients respond, 2 of the 12 of A: only the scanner matters."""
    rng = np.random.default_rng(seed)
    x = rng.lognormal(1, 0.3, (24, 8))
    at_b = np.arange(24) % 2 == 1
    x[at_b, 3] *= 3
    response = np.isin(np.arange(24) // 2, [4, 9]) != at_b
    table = cohort(x, response.astype(float), np.where(response, 300, 50) + np.arange(24), np.ones(24, bool), np.arange(24))
    return replace(table, facts={"scanner": tuple(np.where(at_b, "B", "A").tolist())})


def test_a_feature_that_only_tells_the_scanner_leads_no_more_when_harmonised() -> None:
    table = two_scanners(0)
    response = {
        name: [row for row in results(table, replace(QUICK, harmonise=name)).rows if row.target is Target.RESPONSE]
        for name in ("", "scanner")
    }
    for folds in Folds:
        before, after = (
            {row.feature: row for row in rows if row.folds is folds} for rows in (response[""], response["scanner"])
        )
        assert (before["f3"].rank, before["f3"].shap_null_p) == (1, 0.05)
        assert after["f3"].mean_abs_shap < before["f3"].mean_abs_shap / 4
        assert after["f3"].shap_null_p > 0.05


def test_what_harmonising_did_not_reach_is_told() -> None:
    """Two cycles without a scanner and one whose scanner has no other are held out once in each of three repeats."""
    table = two_scanners(1)
    words = (None, None, "C", *table.facts["scanner"][3:])
    for model in results(replace(table, facts={"scanner": words}), replace(QUICK, harmonise="scanner", relabelings=1)).models:
        assert (
            "harmonised by scanner inside each training fold; of 72 held-out rows in all repeats 9 stayed as me" in model.note
        )
        assert "of 504 values of the others 0." in model.note


def test_a_single_scanner_changes_nothing() -> None:
    table = replace(two_scanners(2), facts={"scanner": ("A",) * 24})
    quick = replace(QUICK, relabelings=3)
    first, second = (results(table, replace(quick, harmonise=name)) for name in ("", "scanner"))
    np.testing.assert_equal([astuple(row) for row in first.rows], [astuple(row) for row in second.rows])
    assert first.influence == second.influence
    assert all("72 held-out rows in all repeats 72 stayed as measured" in model.note for model in second.models)
