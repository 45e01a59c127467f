"""The values of a cohort's trees. Floor of `values`, which hands these names on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from analysis.space import FloatArray

NAN = math.nan


class Target(StrEnum):
    """What trees are grown for."""

    RESPONSE = "response"
    SIX_MONTHS = "6-month survival"
    OS = "OS"


class Folds(StrEnum):
    """How rows are held out: single rows, as in the paper, or whole patients, which is duet's default."""

    PAPER = "paper"
    GROUPED = "grouped by patient"


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeRow:
    """What held-out trees made of one feature; the fields are the columns of trees.csv.

    mean_abs_shap: over all held-out rows and folds; sign: +1 where a higher value raises the predicted risk or chance of
    response, -1 where it lowers it, 0 unused; sign_agreement: part of the folds that use it and agree with that sign;
    folds_used of folds_all; null_p: how often relabelled patients reach that agreement by chance, at least;
    shap_null_p: the same for mean_abs_shap.
    """

    target: Target
    folds: Folds
    feature: str
    mean_abs_shap: float
    rank: int
    sign: int
    sign_agreement: float
    folds_used: int
    folds_all: int
    null_p: float
    shap_null_p: float = NAN


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRow:
    """How well held-out trees do; the fields are the columns of models.csv.

    auc: area under the ROC curve of held-out rows (for OS Harrell's C), mean over repeats; low, high: bootstrap over
    patients; null_p: relabelled patients; null_low, null_high: 2.5 and 97.5 % of that null. calibration_*: logistic
    recalibration of held-out predictions. left_out: rows without a label. note: why something is missing.
    """

    target: Target
    folds: Folds
    n: int
    positives: int
    left_out: int
    auc: float = NAN
    auc_low: float = NAN
    auc_high: float = NAN
    null_p: float = NAN
    null_low: float = NAN
    null_high: float = NAN
    balanced_accuracy: float = NAN
    calibration_intercept: float = NAN
    calibration_slope: float = NAN
    brier: float = NAN
    relabelings: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Swarm:
    """SHAP values of held-out rows, for one target and way of folding, mean over repeats. shap, values: (n, features)."""

    target: Target
    folds: Folds
    features: tuple[str, ...]
    shap: FloatArray
    values: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Calibration:
    """Held-out predictions in groups: mean prediction, observed part with exact interval, rows; all (k,)."""

    target: Target
    folds: Folds
    predicted: FloatArray
    observed: FloatArray
    low: FloatArray
    high: FloatArray
    rows: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class InfluenceRow:
    """What leaving one patient out does to a result. patient: as in the table; the report has letters in its place."""

    target: Target
    folds: Folds
    patient: str
    auc: float
    top_feature: str
    top_stays: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeResults:
    """Everything that trees gave."""

    rows: tuple[TreeRow, ...] = ()
    models: tuple[ModelRow, ...] = ()
    swarms: tuple[Swarm, ...] = ()
    calibrations: tuple[Calibration, ...] = ()
    influence: tuple[InfluenceRow, ...] = ()
