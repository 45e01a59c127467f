"""Survival split by each feature: for OS and PFS, from the day of therapy and from a landmark.

Rows are treatment cycles. The permuted log-rank p and the bootstrap of C treat the patient as the unit; every other interval
and p takes rows as independent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.cohort.concordance import Concordance, Resamples, concordance, draw
from analysis.cohort.cox import cox, firth, proportional_hazards_p
from analysis.cohort.kaplan_meier import kaplan_meier, rmst_difference
from analysis.cohort.logrank import log_rank, permuted_p, scores
from analysis.cohort.partial_likelihood import RiskSets
from analysis.cohort.rates import rate_ratio
from analysis.cohort.two_groups import q_values
from analysis.cohort.values import NAN, CohortTable, Column, Curve, Endpoint, Estimate, FollowUp, Kind, Split, SurvivalRow
from analysis.space import BoolArray, FloatArray, require

FEW_EVENTS = 5  # in either group: below it, Wald's interval and the log-rank p are rough (tests/bench/bench_cohort_null.py)
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class SurvivalSettings:
    """landmark_days: OS is told a second time of those who lived longer, about six months (0: not). permutations of patients
    for the log-rank p, the smallest possible of which is 1 / (1 + permutations). resamples of patients for C. seed of both."""

    landmark_days: float = 183.0
    permutations: int = 1999
    resamples: int = 200
    seed: int = 20260101

    def __post_init__(self) -> None:
        require(self.landmark_days >= 0 and self.permutations >= 1 and self.resamples >= 1, "survival settings: out of range")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Question:
    """One endpoint from one day on: follow-up counted from that day, which rows are in it, and the patients' resamples."""

    endpoint: Endpoint
    landmark_days: float
    known: BoolArray
    included: BoolArray
    follow_up: FollowUp
    patients: Indices
    drawn: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Sample:
    """The rows that have one feature and one follow-up. high: (m,) of these rows; cut as in SurvivalRow."""

    column: Column
    rows: Indices
    values: FloatArray
    high: BoolArray
    cut: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Shared:
    """What features with the same rows have in common: follow-up, risk sets, resamples, and each one's permuted p."""

    follow_up: FollowUp
    sets: RiskSets
    resamples: Resamples
    permuted: dict[str, float] = field(default_factory=dict)


def splits(table: CohortTable, settings: SurvivalSettings | None = None) -> tuple[Split, ...]:
    """Every column for OS, OS from the landmark, and PFS, as far as the table has them; in that order, then the table's.

    A number is split at its median among the rows whose follow-up for that endpoint is known: high is above it, ties are low.
    The landmark keeps these groups. A yes/no column is split into yes (high) and no. q: within an endpoint and landmark. A
    field that is undefined is NaN, and note says why.
    """
    settings = settings or SurvivalSettings()
    drawn = draw(len(set(table.patients)), count=settings.resamples, seed=settings.seed)
    questions = _questions(table, settings, drawn)
    return tuple(split for question in questions for split in _answers(table, question, settings))


def _questions(table: CohortTable, settings: SurvivalSettings, drawn: FloatArray) -> Iterator[_Question]:
    for endpoint in Endpoint:
        if endpoint in table.follow_up:
            yield _question(table, endpoint, 0.0, drawn)
            if endpoint is Endpoint.OS and settings.landmark_days > 0:
                yield _question(table, endpoint, settings.landmark_days, drawn)


def _question(table: CohortTable, endpoint: Endpoint, landmark: float, drawn: FloatArray) -> _Question:
    """From a landmark: those followed to that day or longer, and without the event on it."""
    whole = table.follow_up[endpoint]
    still = (whole.days > landmark) | ((whole.days == landmark) & ~whole.event) if landmark else whole.known
    return _Question(
        endpoint=endpoint,
        landmark_days=landmark,
        known=whole.known,
        included=still & whole.known,
        follow_up=FollowUp(days=np.maximum(whole.days - landmark, 0.0), event=whole.event),
        patients=table.patient_codes,
        drawn=drawn,
    )


def _answers(table: CohortTable, question: _Question, settings: SurvivalSettings) -> list[Split]:
    samples = [_sample(column, question) for column in table.columns]
    by_rows: dict[bytes, list[_Sample]] = {}
    for sample in samples:
        by_rows.setdefault(sample.rows.tobytes(), []).append(sample)
    told: dict[str, Split] = {}
    for alike in by_rows.values():
        shared = _share(alike, question, settings)
        told |= {sample.column.name: _split(sample, shared, question) for sample in alike}
    q = q_values(np.array([told[column.name].row.logrank_p for column in table.columns], dtype=np.float64))
    in_order = zip(table.columns, q.tolist(), strict=True)
    return [replace(told[column.name], row=replace(told[column.name].row, q=value)) for column, value in in_order]


def _sample(column: Column, question: _Question) -> _Sample:
    known = ~np.isnan(column.values)
    rows = np.flatnonzero(known & question.included)
    before = column.values[known & question.known]
    cut = float(np.median(before)) if column.kind is Kind.NUMBER and before.size else NAN
    values = column.values[rows].astype(np.float64)
    high = values == 1 if column.kind is Kind.YES_NO else values > cut
    return _Sample(column=column, rows=rows, values=values, high=high, cut=cut)


def _share(alike: Sequence[_Sample], question: _Question, settings: SurvivalSettings) -> _Shared:
    rows = alike[0].rows
    follow_up = FollowUp(days=question.follow_up.days[rows], event=question.follow_up.event[rows])
    patients = question.patients[rows]
    groups = np.column_stack([sample.high.astype(np.float64) for sample in alike])
    p = permuted_p(scores(follow_up), patients, groups, count=settings.permutations, seed=settings.seed)
    return _Shared(
        follow_up=follow_up,
        sets=RiskSets.of(follow_up),
        resamples=Resamples.of(follow_up, question.drawn[patients]),
        permuted=dict(zip([sample.column.name for sample in alike], p.tolist(), strict=True)),
    )


def _split(sample: _Sample, shared: _Shared, question: _Question) -> Split:
    low, high = (_curve(shared.follow_up, sample.high == side, name) for side, name in ((False, "low"), (True, "high")))
    row = SurvivalRow(
        feature=sample.column.name,
        unit=sample.column.unit,
        endpoint=question.endpoint,
        landmark_days=question.landmark_days,
        cut=sample.cut,
        n_high=int(sample.high.sum()),
        n_low=int((~sample.high).sum()),
        events_high=int(shared.follow_up.event[sample.high].sum()),
        events_low=int(shared.follow_up.event[~sample.high].sum()),
        **_of_unit(sample, shared),
    )
    if high is None or low is None:
        return Split(row=replace(row, note=_note(row)), high=high, low=low)
    row = replace(row, **_of_groups(sample, shared), **_of_means(high, low))
    return Split(row=replace(row, note=_note(row)), high=high, low=low)


def _curve(follow_up: FollowUp, group: BoolArray, name: str) -> Curve | None:
    if not group.any():
        return None
    return kaplan_meier(FollowUp(days=follow_up.days[group], event=follow_up.event[group]), name)


def _of_groups(sample: _Sample, shared: _Shared) -> dict[str, Any]:
    """Rates, log-rank, Cox, Firth and proportional hazards of high over low."""
    high = sample.high.astype(np.float64)
    chi2, p = log_rank(shared.follow_up, sample.high)
    hazard, rate = cox(shared.sets, high), rate_ratio(shared.follow_up, sample.high)
    told = _fields("cox", "hr", hazard) | _fields("firth", "hr", firth(shared.sets, high))
    told |= {"rate_ratio": rate.value} | {f"rate_ratio_{end}": getattr(rate, end) for end in ("low", "high", "p")}
    told |= {"logrank_chi2": chi2, "logrank_p": p, "logrank_permuted_p": shared.permuted[sample.column.name]}
    return told | {"ph_p": proportional_hazards_p(shared.follow_up, shared.sets, high, hazard.value)}


def _of_unit(sample: _Sample, shared: _Shared) -> dict[str, Any]:
    """Cox for one standard deviation (n - 1) of the feature itself, and its C."""
    values = sample.values
    varies = values.size > 1 and np.ptp(values) > 0
    told = _fields("cox_unit", "hr", cox(shared.sets, values / values.std(ddof=1))) if varies else {}
    c = concordance(shared.resamples, values) if varies else Concordance()
    told |= {"c_index": c.value, "c_low": c.low, "c_high": c.high}
    return told | {"c_optimism": c.optimism, "c_corrected": c.value - c.optimism}


def _of_means(high: Curve, low: Curve) -> dict[str, Any]:
    horizon, mean = rmst_difference(high, low)
    told = {"rmst_horizon_days": horizon, "rmst_difference_days": mean.value}
    return told | {"rmst_low_days": mean.low, "rmst_high_days": mean.high, "rmst_p": mean.p}


def _fields(name: str, value: str, estimate: Estimate) -> dict[str, Any]:
    told = {f"{name}_{value}": estimate.value, f"{name}_low": estimate.low}
    return told | {f"{name}_high": estimate.high, f"{name}_p": estimate.p}


def _note(row: SurvivalRow) -> str:
    """Why something is missing or rough, one sentence; empty where nothing is."""
    n, events = row.n_high + row.n_low, row.events_high + row.events_low
    if n == 0:
        return "No row has both the feature and the follow-up."
    if min(row.n_high, row.n_low) == 0:
        return "All rows are in one group, so there is no comparison of groups."
    if events == 0:
        return "No event, so nothing but the curves can be told."
    rough = f"fewer than {FEW_EVENTS} events in a group, so that only the exact ratio and the permuted p can be relied on"
    reasons = (
        (np.isnan(row.logrank_p), "nobody is compared with anybody on a day of an event"),
        (np.isnan(row.cox_hr), "Cox has no finite estimate (separated: every event in the same group of those at risk)"),
        (np.isnan(row.logrank_permuted_p), "no exchange of patients changes the groups"),
        (np.isnan(row.rate_ratio), "a group has no time at risk"),
        (np.isnan(row.ph_p) and not np.isnan(row.cox_hr), "proportional hazards cannot be tested"),
        (np.isnan(row.rmst_p), "restricted mean survival has no error"),
        (np.isnan(row.cox_unit_hr), "the feature itself has no finite hazard ratio"),
        (np.isnan(row.c_corrected), "C is undefined"),
        (min(row.events_high, row.events_low) < FEW_EVENTS, rough),
    )
    told = "; ".join(words for holds, words in reasons if holds)
    return f"{told[0].upper()}{told[1:]}." if told else ""
