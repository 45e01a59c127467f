"""Rows of survival: the split, the landmark, what is undefined, and tables of every odd shape."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter
from lifelines.statistics import logrank_test
from lifelines.utils import concordance_index
from scipy import stats

from analysis.cohort.survival_tests import SurvivalSettings, splits
from analysis.cohort.values import CohortTable, Column, Endpoint, FollowUp, Kind, SurvivalRow

QUICK = SurvivalSettings(permutations=99, resamples=20)
NO_LANDMARK = SurvivalSettings(permutations=99, resamples=20, landmark_days=0)
ALWAYS = {"feature", "unit", "endpoint", "landmark_days", "cut", "n_high", "n_low", "events_high", "events_low", "note"}
NUMBERS = [field.name for field in fields(SurvivalRow) if field.name not in ALWAYS]


def cohort(n: int = 24, *, seed: int = 0, days=None, event=None, columns=(), pfs: bool = False) -> CohortTable:
    """Two patients have two cycles. A number, a skewed number and a yes/no column, unless others are given."""
    generator = np.random.default_rng(seed)
    suv, volume, male = generator.normal(5, 2, n), generator.lognormal(3, 1, n), (generator.random(n) < 0.4).astype(float)
    days = generator.exponential(400, n).round() + 1 if days is None else np.asarray(days, dtype=float)
    event = generator.random(n) < 0.8 if event is None else np.asarray(event, dtype=bool)
    usual = (
        Column(name="SUV", values=suv, unit="g/ml{SUVbw}"),
        Column(name="MTV", values=volume, unit="mL"),
        Column(name="sex", values=male, kind=Kind.YES_NO, yes="male"),
    )
    follow = {Endpoint.OS: FollowUp(days=days, event=event)}
    if pfs:
        follow[Endpoint.PFS] = FollowUp(days=np.ceil(days / 2), event=np.ones(n, dtype=bool))
    return CohortTable(
        cycles=tuple(f"c{i}" for i in range(n)),
        patients=tuple(f"p{i % max(n - 2, 1)}" for i in range(n)),
        columns=columns or usual,
        response=np.full(n, np.nan),
        follow_up=follow,
    )


def row_of(table: CohortTable, settings: SurvivalSettings = QUICK, place: int = 0) -> SurvivalRow:
    return splits(table, settings)[place].row


def test_order_is_os_then_its_landmark_then_pfs() -> None:
    rows = [split.row for split in splits(cohort(pfs=True), QUICK)]
    assert [(row.endpoint, row.landmark_days) for row in rows[::3]] == [("OS", 0), ("OS", 183), ("PFS", 0)]
    assert [row.feature for row in rows[:3]] == ["SUV", "MTV", "sex"]
    assert len(splits(cohort(), NO_LANDMARK)) == 3


@pytest.mark.parametrize("place", range(3))
def test_numbers_are_those_of_lifelines(place: int) -> None:
    """24 rows without tied days, so that lifelines' Efron is R's too."""
    table = cohort(days=np.random.default_rng(4).permutation(np.arange(20, 500, 20.0)))
    row, column, follow = row_of(table, place=place), table.columns[place], table.follow_up[Endpoint.OS]
    high = column.values > np.median(column.values) if column.kind is Kind.NUMBER else column.values == 1
    theirs = logrank_test(follow.days[high], follow.days[~high], follow.event[high], follow.event[~high])
    assert (row.n_high, row.events_high) == (high.sum(), follow.event[high].sum())
    assert (row.logrank_chi2, row.logrank_p) == pytest.approx((theirs.test_statistic, theirs.p_value), rel=1e-6)
    frame = pd.DataFrame(
        {"d": follow.days, "e": follow.event, "x": high.astype(float), "u": stats.zscore(column.values, ddof=1)}
    )
    for name, ours in (
        ("x", (row.cox_hr, row.cox_low, row.cox_high)),
        ("u", (row.cox_unit_hr, row.cox_unit_low, row.cox_unit_high)),
    ):
        fit = CoxPHFitter().fit(frame[["d", "e", name]], "d", "e").summary.loc[name]
        columns = ["exp(coef)", "exp(coef) lower 95%", "exp(coef) upper 95%"]
        np.testing.assert_allclose(ours, fit[columns].to_numpy(dtype=float), rtol=1e-4)
    c = concordance_index(follow.days, -column.values, follow.event)
    assert row.c_index == pytest.approx(c if row.cox_unit_hr > 1 else 1 - c, rel=1e-6)
    assert row.c_corrected == pytest.approx(row.c_index - row.c_optimism)


def test_high_is_above_the_median_and_ties_are_low() -> None:
    values = np.array([1.0, 2, 2, 2, 3, 4, np.nan])
    row = row_of(cohort(7, columns=(Column(name="x", values=values),)), NO_LANDMARK)
    assert (row.cut, row.n_high, row.n_low) == (2, 2, 4)


def test_landmark_keeps_the_groups_and_counts_from_its_day() -> None:
    """Days 183 (event), 183 (censored), 184, 300 ...: the event on the day itself is out, the one censored then is in."""
    days = np.array([10, 183, 183, 184, 300, 400.0])
    column = Column(name="x", values=np.array([9, 8, 1, 2, 7, 3.0]))
    table = cohort(6, days=days, event=[1, 1, 0, 1, 1, 0], columns=(column,))
    landmark = splits(table, QUICK)[1]
    assert (landmark.row.cut, landmark.row.n_high, landmark.row.n_low) == (5, 1, 3)
    assert landmark.high is not None
    np.testing.assert_array_equal(landmark.high.days, [0, 117])
    assert landmark.row.rate_ratio == pytest.approx((1 / 117) / (1 / (0 + 1 + 217)))


def test_q_is_within_an_endpoint_and_landmark() -> None:
    rows = [split.row for split in splits(cohort(60, pfs=True), QUICK)]
    for start in (0, 3, 6):
        p = [row.logrank_p for row in rows[start : start + 3]]
        np.testing.assert_allclose([row.q for row in rows[start : start + 3]], stats.false_discovery_control(p))


def test_another_column_or_its_absence_changes_no_number_but_q() -> None:
    whole, alone = cohort(30), cohort(30)
    first = CohortTable(
        cycles=alone.cycles,
        patients=alone.patients,
        columns=alone.columns[:1],
        response=alone.response,
        follow_up=alone.follow_up,
    )
    ours, theirs = row_of(whole), row_of(first)
    assert all(getattr(ours, name) == getattr(theirs, name) for name in NUMBERS if name != "q")


ODD = {
    "no event": cohort(event=np.zeros(24)),
    "one event": cohort(event=np.arange(24) == 5),
    "all on day 0": cohort(days=np.zeros(24)),
    "some on day 0": cohort(days=np.arange(24) // 6 * 100),
    "all on one day": cohort(days=np.full(24, 50)),
    "unknown follow-up": cohort(days=np.full(24, np.nan), event=np.zeros(24)),
    "five patients": cohort(5),
    "one row": cohort(1),
    "no row": cohort(0),
    "constant": cohort(columns=(Column(name="x", values=np.full(24, 3.3)),)),
    "all no": cohort(columns=(Column(name="x", values=np.zeros(24), kind=Kind.YES_NO),)),
    "none known": cohort(columns=(Column(name="x", values=np.full(24, np.nan)),)),
    "nearly all tied at the top": cohort(columns=(Column(name="x", values=np.minimum(np.arange(24), 3.0)),)),
    "one known": cohort(columns=(Column(name="x", values=np.where(np.arange(24) == 3, 1.0, np.nan)),)),
    "of every size": cohort(columns=(Column(name="x", values=np.geomspace(1e-40, 1e40, 24)),)),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("shape", ODD)
def test_odd_tables_give_a_row_for_every_question_and_say_what_is_missing(shape: str) -> None:
    table = ODD[shape]
    found = splits(table, QUICK)
    assert len(found) == 2 * len(table.columns)
    for split in found:
        row = split.row
        assert (split.high is None) == (row.n_high == 0)
        assert row.note or not np.isnan([getattr(row, name) for name in NUMBERS]).any()
        assert row.note == "" or row.note.endswith(".")
        for p in (row.logrank_p, row.logrank_permuted_p, row.cox_p, row.firth_p, row.rate_ratio_p, row.rmst_p, row.ph_p):
            assert np.isnan(p) or 0 <= p <= 1


def test_separated_groups_have_firth_and_say_why_cox_is_missing() -> None:
    apart = np.repeat([1.0, 0.0], 12)
    table = cohort(days=np.arange(1, 25), event=np.arange(24) < 12, columns=(Column(name="x", values=apart, kind=Kind.YES_NO),))
    row = row_of(table, NO_LANDMARK)
    assert "separated" in row.note
    assert np.isnan([row.cox_hr, row.ph_p]).all()
    assert 1 < row.firth_low < row.firth_hr < row.firth_high < np.inf
    assert row.rate_ratio == row.rate_ratio_high == np.inf


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="survival settings"):
        SurvivalSettings(permutations=0)
