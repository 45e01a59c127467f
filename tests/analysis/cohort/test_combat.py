"""ComBat against neuroCombat (Fortin), exact recovery of what was planted, and that nothing of a held-out row is learned."""

from __future__ import annotations

import importlib
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from chance_cohorts import cohort, noise

from analysis.cohort.combat import batches_of, brought_together, combat, harmonised
from analysis.cohort.values import CohortTable, Column, Kind

neuro = importlib.import_module("neuroCombat.neuroCombat")  # the package hides its module behind a function of the same name


def everyone(n: int) -> np.ndarray:
    return np.ones((1, n), dtype=bool)


def spread_out(seed: int, p: int, n: int, batches: int) -> tuple[np.ndarray, np.ndarray]:
    """Features of different means and widths, and of batches that shift and stretch each of them; (p, n) both."""
    rng = np.random.default_rng(seed)
    batch = rng.permutation(np.arange(n) % batches)
    x = rng.normal(size=(p, n)) * rng.uniform(0.5, 5, (p, 1)) + rng.normal(0, 10, (p, 1))
    x = x * rng.uniform(0.5, 2, (p, batches))[:, batch] + rng.normal(0, 2, (p, batches))[:, batch]
    return x, np.tile(batch, (p, 1))


@pytest.mark.parametrize(("p", "n", "batches"), [(35, 24, 2), (35, 24, 3), (3, 10, 2), (80, 60, 5)])
def test_it_equals_neurocombat(monkeypatch: pytest.MonkeyPatch, p: int, n: int, batches: int) -> None:
    """neuroCombat ends its iteration at a relative change of 1e-4; here it is told to go on."""
    x, batch = spread_out(p + n, p, n, batches)
    monkeypatch.setattr(neuro.it_sol, "__defaults__", (1e-13,))
    theirs = neuro.neuroCombat(x.copy(), pd.DataFrame({"scanner": batch[0]}), "scanner")["data"]
    ours = combat(x, batch, everyone(n))
    np.testing.assert_allclose(ours.values[0], theirs, rtol=0, atol=1e-9)
    assert ours.moved.all()


def test_it_equals_neurocombat_of_the_training_rows_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several training sets at once are each what they are alone, also where rows lack a batch."""
    x, batch = spread_out(1, 20, 30, 2)
    batch[:, 4] = -1
    training = np.array([np.arange(30) % 5 != k for k in range(5)])
    monkeypatch.setattr(neuro.it_sol, "__defaults__", (1e-13,))
    for made, rows in zip(combat(x, batch, training).values, training & (batch[0] >= 0), strict=True):
        theirs = neuro.neuroCombat(x[:, rows], pd.DataFrame({"scanner": batch[0, rows]}), "scanner")["data"]
        np.testing.assert_allclose(made[:, rows], theirs, rtol=0, atol=1e-9)
        np.testing.assert_array_equal(made[:, 4], x[:, 4])


def test_what_was_planted_is_taken_out() -> None:
    """The same 50,000 people on two scanners; the second adds and stretches. With so many rows hardly anything is shrunk."""
    rng = np.random.default_rng(2)
    people = rng.normal(5, 2, (6, 50_000))
    shift, stretch = rng.normal(0, 5, (6, 1)), rng.uniform(0.3, 3, (6, 1))
    both = np.hstack([people, people * stretch + shift])
    batch = np.tile(np.arange(100_000) // 50_000, (6, 1))
    made = combat(both, batch, everyone(100_000)).values[0]
    width = np.sqrt((1 + stretch**2) / 2)  # of the two pooled
    deviation = people.std(axis=1, keepdims=True) * width
    np.testing.assert_allclose(made[:, :50_000] / deviation, made[:, 50_000:] / deviation, atol=0.005)
    np.testing.assert_allclose(made.std(axis=1), deviation[:, 0], rtol=1e-3)
    np.testing.assert_allclose(made.mean(axis=1), both.mean(axis=1), rtol=1e-3)


def test_a_single_feature_keeps_its_own_estimates() -> None:
    """Nothing to draw towards: both batches get the grand mean and the pooled deviation (n), exactly."""
    x, batch = spread_out(3, 1, 12, 2)
    made = combat(x, batch, everyone(12)).values[0, 0]
    pooled = np.mean([x[0, batch[0] == b].var() for b in (0, 1)])
    for b in (0, 1):
        assert made[batch[0] == b].mean() == pytest.approx(x.mean(), abs=1e-12)
        assert made[batch[0] == b].var(ddof=1) == pytest.approx(pooled, rel=1e-9)


def test_nothing_of_a_held_out_row_is_learned() -> None:
    x, batch = spread_out(4, 15, 24, 2)
    training = np.array([np.arange(24) % 4 != 0])
    other = x.copy()
    other[:, ~training[0]] = 1e6
    before, after = (combat(values, batch, training).values[0, :, training[0]] for values in (x, other))
    np.testing.assert_array_equal(before, after)
    moved = batch.copy()
    moved[:, ~training[0]] = 2  # a scanner that no training row has
    made = combat(x, moved, training)
    np.testing.assert_array_equal(made.values[0, :, training[0]], before)
    np.testing.assert_array_equal(made.values[0][:, ~training[0]], x[:, ~training[0]])
    assert not made.moved[0][:, ~training[0]].any()


def test_held_out_rows_go_the_way_of_training_rows() -> None:
    """A held-out row with the values of a training row of its scanner comes out like it."""
    x, batch = spread_out(5, 15, 25, 2)
    x[:, 24], batch[:, 24] = x[:, 0], batch[:, 0]
    made = combat(x, batch, np.array([np.arange(25) < 24])).values[0]
    np.testing.assert_array_equal(made[:, 24], made[:, 0])


def test_missing_values_are_as_if_the_rows_were_not_there() -> None:
    x, batch = spread_out(6, 10, 24, 2)
    gaps = x.copy()
    gaps[:, [3, 17]] = np.nan
    made = combat(gaps, batch, everyone(24)).values[0]
    kept = ~np.isin(np.arange(24), [3, 17])
    np.testing.assert_allclose(made[:, kept], combat(x[:, kept], batch[:, kept], everyone(22)).values[0], atol=1e-12)
    assert np.isnan(made[:, ~kept]).all()


def test_what_cannot_be_told_stays() -> None:
    """A feature constant in a scanner, one known in two rows of a scanner, one of a single scanner, a scanner of two rows."""
    x, batch = spread_out(7, 8, 24, 2)
    x[0, batch[0] == 1] = 7.3
    x[1, np.flatnonzero(batch[1] == 1)[2:]] = np.nan
    batch[2] = 0
    batch[3:, :2] = 2
    made = combat(x, batch, everyone(24))
    np.testing.assert_array_equal(made.values[0, :3], x[:3])
    np.testing.assert_array_equal(made.values[0, :, :2][3:], x[3:, :2])
    assert not made.moved[0, :3].any()
    assert made.moved[0, 3:, 2:].all()
    nobody = combat(x, np.full_like(batch, -1), everyone(24))
    np.testing.assert_array_equal(nobody.values[0], x)


def test_a_factor_of_a_scanner_is_taken_out_and_no_lesion_stays_none() -> None:
    """Uptake that one scanner reads 1.4 times as high in everybody: afterwards the same people have the same values."""
    logarithms = np.random.default_rng(8).normal(size=(5, 40))
    logarithms[0, :9] = np.nan
    logarithms -= np.nanmean(logarithms, axis=1, keepdims=True)
    logarithms /= np.nanstd(logarithms, axis=1, keepdims=True)  # equally wide, so that all features are shifted alike
    people = np.nan_to_num(np.exp(1 + 0.5 * logarithms), nan=0.0)
    both = np.hstack([people, 1.4 * people])
    made = harmonised(both, np.tile(np.arange(80) // 40, (5, 1)), everyone(80))
    np.testing.assert_allclose(made.values[0, :, :40], made.values[0, :, 40:], rtol=1e-9)
    assert (made.values[0, 0, :9] == 0).all()
    assert (made.values[0][both > 0] > 0).all()
    np.testing.assert_array_equal(made.moved[0], both > 0)


def test_a_feature_that_may_be_negative_is_taken_as_it_is() -> None:
    x, batch = spread_out(9, 6, 24, 2)
    x -= x.mean(axis=1, keepdims=True)
    np.testing.assert_array_equal(harmonised(x, batch, everyone(24)).values, combat(x, batch, everyone(24)).values)


def scanned(table: CohortTable, words: tuple[str | None, ...]) -> CohortTable:
    return replace(table, facts={"scanner": words})


def test_only_features_of_images_of_known_scanners_are_touched() -> None:
    table = noise(0, rows=12, features=3)
    columns = (
        *(replace(column, values=np.exp(column.values)) for column in table.columns[:2]),
        replace(table.columns[2], clinical=True),
        Column(name="yes", values=np.arange(12) % 2, kind=Kind.YES_NO),
    )
    table = scanned(replace(table, columns=columns), ("B", "A", None) * 4)
    np.testing.assert_array_equal(batches_of(table, "scanner"), [[0, 1, -1] * 4] * 2 + [[-1] * 12] * 2)
    made = brought_together(table, "scanner")
    told = np.array([True, True, False] * 4)
    for before, after in zip(table.columns, made.columns, strict=True):
        touched = before.values != after.values
        np.testing.assert_array_equal(touched, told & (not before.clinical) & (before.kind is Kind.NUMBER))


def test_the_outcome_is_not_looked_at() -> None:
    rng = np.random.default_rng(1)
    x, response, days, died = rng.lognormal(size=(20, 4)), rng.integers(0, 2, 20), np.ones(20), np.ones(20, dtype=bool)
    one, other = (
        scanned(cohort(x, label, days * (1 + label), died, np.arange(20)), ("A", "B") * 10)
        for label in (response, 1 - response)
    )
    for first, second in zip(brought_together(one, "scanner").columns, brought_together(other, "scanner").columns, strict=True):
        np.testing.assert_array_equal(first.values, second.values)


def test_a_cohort_without_that_fact_is_refused() -> None:
    with pytest.raises(ValueError, match="no fact 'scanner'"):
        batches_of(noise(0), "scanner")
