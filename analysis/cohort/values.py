"""Every value of the cohort, with its unit. Rows are treatment cycles; a patient may have several.

Arrays are read-only. A value that is missing or undefined is NaN, never 0. Times are days from the day of therapy. Nothing
here speaks of a single patient's outlook: these are estimates of a cohort, and they generate hypotheses.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.cohort.tree_values import Calibration as Calibration
from analysis.cohort.tree_values import Folds as Folds
from analysis.cohort.tree_values import InfluenceRow as InfluenceRow
from analysis.cohort.tree_values import ModelRow as ModelRow
from analysis.cohort.tree_values import Swarm as Swarm
from analysis.cohort.tree_values import Target as Target
from analysis.cohort.tree_values import TreeResults as TreeResults
from analysis.cohort.tree_values import TreeRow as TreeRow
from analysis.space import BoolArray, FloatArray, readonly, require

NOTHING: Mapping[Any, Any] = MappingProxyType({})
NAN = math.nan


class Endpoint(StrEnum):
    """A time that is followed: death of any cause; progression or death."""

    OS = "OS"
    PFS = "PFS"


class Rule(StrEnum):
    """What an unknown response counts as: it is left out (COMPLETE), or it is no response, as the paper counted (PAPER)."""

    COMPLETE = "complete cases"
    PAPER = "unknown = non-responder"


class Kind(StrEnum):
    """What a column holds: a measured number, or 1 for yes and 0 for no."""

    NUMBER = "number"
    YES_NO = "yes/no"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Column:
    """One feature of every cycle. values: (n,), NaN where missing. unit: UCUM, "1" for a number without one.

    clinical: from the clinical table, not from images. yes: what 1 stands for in a yes/no column, such as "male".
    """

    name: str
    values: FloatArray
    unit: str = "1"
    kind: Kind = Kind.NUMBER
    clinical: bool = False
    yes: str = "yes"

    def __post_init__(self) -> None:
        values = readonly(np.asarray(self.values, dtype=np.float64))
        require(values.ndim == 1, f"{self.name}: expected one value a cycle")
        require(not np.isinf(values).any(), f"{self.name}: an infinite value")
        known = values[~np.isnan(values)]
        require(self.kind is Kind.NUMBER or bool(np.isin(known, (0.0, 1.0)).all()), f"{self.name}: expected 0 or 1")
        object.__setattr__(self, "values", values)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FollowUp:
    """Days from therapy to the event or to the last sight of the patient, both (n,). days: NaN where unknown, else >= 0."""

    days: FloatArray
    event: BoolArray

    def __post_init__(self) -> None:
        days = readonly(np.asarray(self.days, dtype=np.float64))
        event = readonly(np.asarray(self.event, dtype=np.bool_))
        require(days.shape == event.shape and days.ndim == 1, "follow-up: expected days and event of each cycle")
        require(not bool((days < 0).any()) and not np.isinf(days).any(), "follow-up: expected days of 0 or more")
        object.__setattr__(self, "days", days)
        object.__setattr__(self, "event", event)

    @property
    def known(self) -> BoolArray:
        return ~np.isnan(self.days)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CohortTable:
    """One row a treatment cycle. cycles: names, "P007 2024-03-05"; patients: whom each belongs to.

    columns: the features that are examined. response: 1 responder, 0 not, NaN unknown. facts: what only the description
    of the cohort uses, name > (n,) words or None, for instance "mm_subtype". lesion_counts: "FDG medullary concordant" >
    (n,) number of lesions, NaN where not segmented. notes: what was left out or looks odd, one sentence each.
    """

    cycles: tuple[str, ...]
    patients: tuple[str, ...]
    columns: tuple[Column, ...]
    response: FloatArray
    follow_up: Mapping[Endpoint, FollowUp] = field(default_factory=lambda: NOTHING)
    facts: Mapping[str, tuple[str | None, ...]] = field(default_factory=lambda: NOTHING)
    lesion_counts: Mapping[str, FloatArray] = field(default_factory=lambda: NOTHING)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.cycles)
        names = [column.name for column in self.columns]
        require(len(set(self.cycles)) == n == len(self.patients), "cohort: expected one patient a cycle, and each cycle once")
        require(len(set(names)) == len(names), "cohort: two columns of one name")
        require(all(c.values.shape == (n,) for c in self.columns), "cohort: a column of another length")
        require(all(f.days.shape == (n,) for f in self.follow_up.values()), "cohort: a follow-up of another length")
        response = readonly(np.asarray(self.response, dtype=np.float64))
        require(
            response.shape == (n,) and bool((np.isnan(response) | np.isin(response, (0, 1))).all()), "response: 1, 0 or NaN"
        )
        object.__setattr__(self, "response", response)
        for name in ("follow_up", "facts", "lesion_counts"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def __len__(self) -> int:
        return len(self.cycles)

    @property
    def patient_codes(self) -> npt.NDArray[np.int64]:
        """(n,) a number for each patient, in the order in which they appear."""
        first = {patient: code for code, patient in reversed(list(enumerate(dict.fromkeys(self.patients))))}
        return np.array([first[patient] for patient in self.patients], dtype=np.int64)

    def labels(self, rule: Rule) -> FloatArray:
        """(n,) 1 responder, 0 not, NaN for a row that this rule leaves out."""
        return self.response if rule is Rule.COMPLETE else np.nan_to_num(self.response, nan=0.0)

    def column(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A number of the cohort with its 95 % interval. n: rows it rests on; method: how it was made, in words."""

    name: str
    value: float
    low: float = NAN
    high: float = NAN
    p: float = NAN
    n: int = 0
    unit: str = "1"
    method: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where one cycle's feature lies among the n cycles of a cohort in which it is known; a description and no prediction.

    percentile: 0 to 100, mid-rank; NaN where undefined. above_median: False is at or below it; None where undefined.
    """

    feature: str
    percentile: float = NAN
    above_median: bool | None = None
    n: int = 0

    def __post_init__(self) -> None:
        undefined = math.isnan(self.percentile)
        require(undefined or 0 <= self.percentile <= 100, f"{self.feature}: expected a percentile of 0 to 100")
        require(undefined == (self.above_median is None), f"{self.feature}: half of a position")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseRow:
    """One feature in responders and non-responders; the fields are the columns of response.csv, unit that of the means.

    test: "Welch", "chi-square", "Fisher" or "none". difference: responders minus non-responders, of means, or of
    proportions for a yes/no column. note: why something is missing, one sentence.
    """

    rule: Rule
    feature: str
    unit: str
    test: str
    n_responder: int
    n_nonresponder: int
    mean_responder: float = NAN
    mean_nonresponder: float = NAN
    difference: float = NAN
    difference_low: float = NAN
    difference_high: float = NAN
    p: float = NAN
    q: float = NAN
    hedges_g: float = NAN
    g_low: float = NAN
    g_high: float = NAN
    odds_ratio: float = NAN
    or_low: float = NAN
    or_high: float = NAN
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Curve:
    """A Kaplan-Meier curve: right-continuous steps, all arrays (k,). days[0] is 0 with survival 1.

    low, high: 95 % log-log band, NaN where undefined. at_risk: just before each day. censored: days of the censored (m,).
    """

    name: str
    days: FloatArray
    survival: FloatArray
    low: FloatArray
    high: FloatArray
    at_risk: npt.NDArray[np.int64]
    censored: FloatArray
    n: int
    events: int

    @property
    def median_days(self) -> float:
        """The first day with survival of one half or less; NaN where the curve stays above."""
        below = self.days[self.survival <= 0.5 + 1e-12]
        return float(below[0]) if below.size else NAN


@dataclass(frozen=True, slots=True, kw_only=True)
class SurvivalRow:
    """One feature and one endpoint; the fields are the columns of survival.csv.

    cut: high is above it, low is at or below it (the median); NaN for a yes/no column, where high is yes. landmark_days: 0,
    or rows are those still followed without event on that day, and days count from it. rate_ratio: events per time at risk,
    high over low, exact interval (the paper's HR). logrank_permuted_p: patients exchanged. cox_*, firth_*: hazard ratio of
    high over low, the latter with penalised profile likelihood. cox_unit_*: hazard ratio for one standard deviation of the
    feature itself. ph_p: proportional hazards of high over low. rmst_*: difference of restricted mean survival, high minus
    low, up to rmst_horizon_days. c_index: of the feature itself; c_corrected: less its optimism by bootstrap.
    """

    feature: str
    unit: str
    endpoint: Endpoint
    landmark_days: float = 0.0
    cut: float = NAN
    n_high: int = 0
    n_low: int = 0
    events_high: int = 0
    events_low: int = 0
    rate_ratio: float = NAN
    rate_ratio_low: float = NAN
    rate_ratio_high: float = NAN
    rate_ratio_p: float = NAN
    logrank_chi2: float = NAN
    logrank_p: float = NAN
    logrank_permuted_p: float = NAN
    q: float = NAN
    cox_hr: float = NAN
    cox_low: float = NAN
    cox_high: float = NAN
    cox_p: float = NAN
    firth_hr: float = NAN
    firth_low: float = NAN
    firth_high: float = NAN
    firth_p: float = NAN
    cox_unit_hr: float = NAN
    cox_unit_low: float = NAN
    cox_unit_high: float = NAN
    cox_unit_p: float = NAN
    ph_p: float = NAN
    rmst_horizon_days: float = NAN
    rmst_difference_days: float = NAN
    rmst_low_days: float = NAN
    rmst_high_days: float = NAN
    rmst_p: float = NAN
    c_index: float = NAN
    c_low: float = NAN
    c_high: float = NAN
    c_optimism: float = NAN
    c_corrected: float = NAN
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Split:
    """A row of survival with the two curves behind it; None where a group is empty."""

    row: SurvivalRow
    high: Curve | None = None
    low: Curve | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RobustnessRow:
    """One finding under one choice of one setting; measure: "Hedges g" (response) or "rate ratio" (an endpoint).

    chosen: whether this is the choice of the main analysis. survives: same direction, and the interval still excludes no
    effect where the main one does.
    """

    setting: str
    choice: str
    chosen: bool
    feature: str
    outcome: str
    measure: str
    estimate: float
    low: float
    high: float
    p: float
    n: int
    survives: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Results:
    """The whole of a cohort's analysis. settings and software: what made it, section > key > value, and name > version."""

    table: CohortTable
    response: tuple[ResponseRow, ...]
    splits: tuple[Split, ...]
    trees: TreeResults = field(default_factory=TreeResults)
    robustness: tuple[RobustnessRow, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    software: Mapping[str, str] = field(default_factory=lambda: NOTHING)
