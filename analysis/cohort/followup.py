"""From dates or durations of the clinical table to overall and progression-free survival, in days from therapy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

import numpy as np

from analysis.cohort.clinical import ClinicalRow
from analysis.cohort.values import NAN, Endpoint, FollowUp

Followed = tuple[float, bool]
"""Days and whether the event came; days are NaN where nothing is known."""

UNKNOWN: Followed = (NAN, False)
OF_OS = ("os_days", "death_date", "last_contact_date")
OF_PFS = ("pfs_days", "progression_date")


def follow_ups(rows: Sequence[ClinicalRow], there: Sequence[str]) -> Mapping[Endpoint, FollowUp]:
    """The endpoints that the table tells of. Without a column of progression there is no PFS: death alone does not make one."""
    found = {}
    if any(name in there for name in OF_OS):
        found[Endpoint.OS] = _as_value([overall_survival(row) for row in rows])
    if any(name in there for name in OF_PFS):
        dated = "progression_date" in there
        found[Endpoint.PFS] = _as_value([progression_free(row, dated=dated) for row in rows])
    return found


def _as_value(followed: Sequence[Followed]) -> FollowUp:
    return FollowUp(days=np.array([days for days, _ in followed]), event=np.array([event for _, event in followed], dtype=bool))


def overall_survival(row: ClinicalRow) -> Followed:
    """Days to death, or to the last sight of the patient alive."""
    days, event = row.number_of("os_days"), row.number_of("os_event")
    if days is not None and event is not None:
        return days, bool(event)
    death, last = row.date_of("death_date"), row.date_of("last_contact_date")
    if death is not None:
        return _days(row, death), True
    return UNKNOWN if last is None else (_days(row, last), False)


def progression_free(row: ClinicalRow, *, dated: bool) -> Followed:
    """Days to progression or death, whichever is first, or to the last sight of the patient without either.

    dated: the table has dates of progression, so an empty one means none; else a row without pfs_days is unknown.
    """
    days, event = row.number_of("pfs_days"), row.number_of("pfs_event")
    if days is not None and event is not None:
        return days, bool(event)
    if not dated:
        return UNKNOWN
    progression = row.date_of("progression_date")
    if progression is not None:
        return _days(row, progression), True
    return overall_survival(row)


def _days(row: ClinicalRow, day: date) -> float:
    return float((day - row.therapy).days)
