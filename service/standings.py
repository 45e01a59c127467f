"""What the journal says in numbers: for the metrics, the health page and the alerts.

Each number comes from an index or from the few rows that are owed, held or waiting, never from all rows of a large table:
a case's row holds the list of its files, so what lies behind that in the row is read of few cases only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, case, func, literal_column, select

from service.casebook import HELD_BY_QUALITY
from service.journal import Journal
from service.postings import OWED
from service.tables import (
    DeliveryState,
    Ending,
    InstanceState,
    JobState,
    StudyState,
    associations,
    cohorts,
    deliveries,
    instances,
    jobs,
    outcomes,
    releases,
    studies,
)

ON_HOLD = "on_hold"  # of cases: held by a quality check and not released
RELEASING = "releasing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standings:
    """Counts by state (each state is named, also where it has none), and since when (seconds since 1970) the oldest waits.

    cases: the states of jobs, and of those that are held ON_HOLD and RELEASING apart. held: number of each case that is held
    and not released > since when; parked: numbers; undelivered: destination > since when.
    """

    objects: Mapping[str, int]
    associations: Mapping[str, int]
    studies: Mapping[str, int]
    cases: Mapping[str, int]
    deliveries: Mapping[tuple[str, str], int]
    queued_since: float | None
    held: Mapping[int, float]
    parked: Sequence[int]
    undelivered: Mapping[str, float]


def standings(journal: Journal) -> Standings:
    """One consistent look at the journal."""
    with journal.reading() as connection:
        held = _held(connection)
        return Standings(
            objects=dict.fromkeys(InstanceState, 0) | _counts(connection, instances.c.state),
            associations=dict.fromkeys(Ending, 0) | _counts(connection, associations.c.ending),
            studies=dict.fromkeys(StudyState, 0) | _studies(connection),
            cases=_cases(connection, held),
            deliveries=_deliveries(connection),
            queued_since=_queued_since(connection),
            held={number: since for number, state, since in held if state != RELEASING},
            parked=_numbers(connection, JobState.PARKED),
            undelivered=_undelivered(connection),
        )


def _counts(connection: Connection, by: ColumnElement[str]) -> dict[str, int]:
    return {str(name): int(count) for name, count in connection.execute(select(by, func.count()).group_by(by))}


def _studies(connection: Connection) -> dict[str, int]:
    """Of a study that has received more than its state rests on, that state is out of date."""
    settled = studies.c.instances == studies.c.settled_instances
    receiving: ColumnElement[str] = literal_column(
        f"'{StudyState.RECEIVING}'"
    )  # no parameter: PostgreSQL takes two of them for two things
    return _counts(connection, case((settled, studies.c.state), else_=receiving))


def _cases(connection: Connection, held: list[tuple[int, str, float]]) -> dict[str, int]:
    counts = dict.fromkeys(JobState, 0) | _counts(connection, jobs.c.state)
    names = [state for _, state, _ in held]
    return {**counts, **{name: names.count(name) for name in (JobState.HELD, ON_HOLD, RELEASING)}}


def _numbers(connection: Connection, state: JobState) -> list[int]:
    return list(connection.execute(select(jobs.c.id).where(jobs.c.state == state).order_by(jobs.c.id)).scalars())


def _held(connection: Connection) -> list[tuple[int, str, float]]:
    """(number, state, since when) of each held case."""
    active = select(releases.c.job_id).where(releases.c.withdrawn_at.is_(None))
    last = func.max(outcomes.c.made_at)
    query = (
        select(jobs.c.id, jobs.c.reason, jobs.c.id.in_(active), func.coalesce(last, jobs.c.created_at))
        .outerjoin(outcomes, outcomes.c.job_id == jobs.c.id)
        .where(jobs.c.state == JobState.HELD)
        .group_by(jobs.c.id, jobs.c.reason, jobs.c.created_at)
    )
    found = []
    for number, reason, released, since in connection.execute(query):
        by_quality = RELEASING if released else ON_HOLD
        found.append((number, by_quality if reason == HELD_BY_QUALITY else str(JobState.HELD), float(since)))
    return found


def _queued_since(connection: Connection) -> float | None:
    """When the oldest case was entered that still waits for its first analysis, or for another try."""
    oldest = select(func.min(jobs.c.id)).where(jobs.c.state == JobState.QUEUED).scalar_subquery()
    return connection.execute(select(jobs.c.created_at).where(jobs.c.id == oldest)).scalar()


def _deliveries(connection: Connection) -> dict[tuple[str, str], int]:
    query = select(deliveries.c.destination, deliveries.c.state, func.count())
    rows = connection.execute(query.group_by(deliveries.c.state, deliveries.c.destination)).all()
    names = {destination for destination, _, _ in rows}
    none = {(destination, str(state)): 0 for destination in names for state in DeliveryState}
    return none | {(destination, str(state)): int(count) for destination, state, count in rows}


def _undelivered(connection: Connection) -> dict[str, float]:
    """Destination > when the oldest case, or version of the cohort's report, was made of which it is owed something."""
    owed = deliveries.c.state.in_(OWED)
    oldest = (func.min(deliveries.c.job_id), func.min(deliveries.c.cohort_id))
    rows = connection.execute(select(deliveries.c.destination, *oldest).where(owed).group_by(deliveries.c.destination)).all()
    found = {}
    for destination, job_id, cohort_id in rows:
        finished = func.coalesce(jobs.c.finished_at, jobs.c.created_at)
        made = connection.execute(select(finished).where(jobs.c.id == job_id)).scalar()
        report = connection.execute(select(cohorts.c.made_at).where(cohorts.c.id == cohort_id)).scalar()
        found[destination] = min(float(each) for each in (made, report) if each is not None)
    return found


def done_cases(journal: Journal) -> set[int]:
    """The numbers of all cases that are done, from the index alone."""
    with journal.reading() as connection:
        return set(connection.execute(select(jobs.c.id).where(jobs.c.state == JobState.DONE)).scalars())


def durations(journal: Journal, job_ids: Set[int]) -> list[float]:
    """Seconds from a case's entry to its end, of these cases."""
    query = select(jobs.c.finished_at - jobs.c.created_at).where(jobs.c.id.in_(job_ids), jobs.c.finished_at.is_not(None))
    with journal.reading() as connection:
        return [float(seconds) for seconds in connection.execute(query).scalars()]
