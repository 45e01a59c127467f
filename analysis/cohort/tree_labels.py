"""What trees are asked: the rows of a cohort that have an answer, their outcomes, and these exchanged between patients."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from analysis.cohort.tree_arrays import Floats, Followed, Outcome
from analysis.cohort.values import CohortTable, Endpoint, Rule, Target
from analysis.space import BoolArray, FloatArray

SIX_MONTHS_DAYS = 183.0
MOST_TIMES = 64  # event times that are told apart; more of them become so many groups of equally many events
Codes = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Question:
    """A target with its answers. rows: (n,) of the table; patients: (n,) a number each.

    time, event: (n,) follow-up in days. For a yes/no label positives have the event at time 0 and negatives are followed to 1.
    seen: (n,) at how many of the `times` event times the row is at risk. left_out: rows without an answer.
    """

    target: Target
    rows: Codes
    patients: Codes
    time: Floats
    event: BoolArray
    seen: Codes
    times: int
    left_out: int

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def label(self) -> bool:
        return self.target is not Target.OS

    @property
    def outcome(self) -> Outcome:
        return Outcome(self.seen, self.event, self.times, self.label)

    @property
    def followed(self) -> Followed:
        return Followed(self.time, self.event, np.argsort(-self.time, kind="stable"))

    def taking(self, outcomes: Codes) -> Question:
        """The same rows with the outcomes of others: row i gets that of row outcomes[i]."""
        return replace(self, time=self.time[outcomes], event=self.event[outcomes], seen=self.seen[outcomes])

    def without(self, patient: int) -> Question:
        """The question without one patient's rows."""
        kept = self.patients != patient
        names = ("rows", "patients", "time", "event", "seen")
        return replace(self, **{name: getattr(self, name)[kept] for name in names})


def question(table: CohortTable, target: Target, rule: Rule) -> Question:
    """The rows that can be answered. rule: what an unknown response counts as."""
    if target is Target.RESPONSE:
        time, event = _of_labels(table.labels(rule))
    elif target is Target.SIX_MONTHS:
        time, event = _of_labels(six_months(table))
    else:
        time, event = _survival(table)
    rows = np.flatnonzero(~np.isnan(time))
    time, event = time[rows], event[rows]
    seen, times = _grid(time, event)
    return Question(
        target=target,
        rows=rows,
        patients=np.unique(table.patient_codes[rows], return_inverse=True)[1].astype(np.int64),
        time=time,
        event=event,
        seen=seen,
        times=times,
        left_out=len(table) - len(rows),
    )


def six_months(table: CohortTable) -> FloatArray:
    """(n,) 1 for a death on day 183 or before, 0 for whoever was followed to day 183 or beyond, NaN if censored before."""
    days, died = _survival(table)
    early = died & (days <= SIX_MONTHS_DAYS)
    return np.where(early, 1.0, np.where(days >= SIX_MONTHS_DAYS, 0.0, np.nan))


def _survival(table: CohortTable) -> tuple[Floats, BoolArray]:
    follow_up = table.follow_up.get(Endpoint.OS)
    if follow_up is None:
        return np.full(len(table), np.nan), np.zeros(len(table), dtype=np.bool_)
    return follow_up.days.astype(np.float64), follow_up.event & follow_up.known


def _of_labels(labels: FloatArray) -> tuple[Floats, BoolArray]:
    return np.asarray(1.0 - labels, dtype=np.float64), labels == 1


def _grid(time: Floats, event: BoolArray) -> tuple[Codes, int]:
    """For each row at how many event times it is at risk, and how many there are."""
    grid = np.unique(time[event])
    if len(grid) > MOST_TIMES:
        grid = np.unique(np.quantile(time[event], np.linspace(0, 1, MOST_TIMES + 1)[1:], method="higher"))
    at_or_before = np.searchsorted(grid, time, side="right")
    return np.where(event, np.searchsorted(grid, time, side="left") + 1, at_or_before).astype(np.int64), len(grid)


def exchanged(asked: Question, rng: np.random.Generator) -> Codes:
    """(n,) whose outcome each row gets: patients of equally many rows exchange theirs, as a block in its order."""
    outcomes = np.arange(len(asked))
    counts = np.bincount(asked.patients)
    by_patient = np.argsort(asked.patients, kind="stable")
    starts = np.cumsum(counts) - counts
    for size in np.unique(counts[counts > 0]):
        blocks = by_patient[starts[counts == size][:, None] + np.arange(size)]
        outcomes[blocks] = blocks[rng.permutation(len(blocks))]
    return outcomes
