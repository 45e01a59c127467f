"""Where one cycle's features lie within the cohort: a description in percentiles, and no prediction."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from analysis.cohort.values import CohortTable, Column, Position

FEWEST_CYCLES = 10  # known values below which a percentile says nothing


def positions(table: CohortTable, features: Mapping[str, float]) -> tuple[Position, ...]:
    """One position for each feature that is a column of the table from images, in the order of the table.

    Percentile by mid-rank: 100 (below + equal / 2) / n over the n known values, among them the cycle's own where it is part
    of the cohort. Median: above it, or at or below it, as the survival split has it. Both undefined where the value is NaN or
    fewer than 10 cycles are known.
    """
    columns = [column for column in table.columns if not column.clinical and column.name in features]
    return tuple(_position(column, features[column.name]) for column in columns)


def _position(column: Column, value: float) -> Position:
    known = column.values[~np.isnan(column.values)]
    n = int(known.size)
    if n < FEWEST_CYCLES or not math.isfinite(value):
        return Position(feature=column.name, n=n)
    rank = np.count_nonzero(known < value) + np.count_nonzero(known == value) / 2
    above = bool(value > np.median(known))
    return Position(feature=column.name, percentile=float(100 * rank / n), above_median=above, n=n)
