"""Cohorts of chance, with or without one feature that matters."""

from __future__ import annotations

import numpy as np

from analysis.cohort.values import CohortTable, Column, Endpoint, FollowUp


def cohort(values: np.ndarray, response: np.ndarray, days: np.ndarray, died: np.ndarray, patients: np.ndarray) -> CohortTable:
    """values: (n, p); response, days, died, patients: (n,)."""
    return CohortTable(
        cycles=tuple(f"cycle {k}" for k in range(len(values))),
        patients=tuple(f"patient {k}" for k in patients),
        columns=tuple(Column(name=f"f{k}", values=column.copy()) for k, column in enumerate(values.T)),
        response=response.astype(float),
        follow_up={Endpoint.OS: FollowUp(days=days.astype(float), event=died)},
    )


def noise(seed: int, rows: int = 24, features: int = 10, patients: int = 22) -> CohortTable:
    """Nothing depends on anything."""
    rng = np.random.default_rng(seed)
    return cohort(
        rng.normal(size=(rows, features)),
        rng.permutation(np.arange(rows) % 2),
        np.ceil(rng.exponential(250, rows)),
        rng.random(rows) < 0.75,
        np.arange(rows) % patients,
    )


def planted(seed: int, rows: int = 24, features: int = 10, patients: int = 22) -> CohortTable:
    """Whoever is high in f3 responds, and dies late: all deaths of the low ones come before those of the high ones."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(rows, features))
    high = rng.permutation(np.arange(rows) % 2)
    values[:, 3] = 3 * high + rng.random(rows)
    days = np.where(high == 1, 300, 50) + rng.permutation(rows)
    return cohort(values, high, days, np.ones(rows, dtype=bool), np.arange(rows) % patients)
