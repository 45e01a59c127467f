"""What the journal knows of who runs a job: an engine says again and again that it lives, or the job is another's."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import update

from service.casebook import LEASE_S
from service.journal import Journal
from service.tables import JobState, jobs

RENEW_S = LEASE_S / 4


def renew(journal: Journal, engine: str, job_ids: Sequence[int], now: float) -> int:
    """An engine still runs these jobs. What nobody has renewed for LEASE_S is queued again, not counted as a failure:
    its engine died, or never learned that it was given the job. Returns how many such there were."""
    mine = (jobs.c.id.in_(job_ids), jobs.c.claimed_by == engine[:64], jobs.c.state == JobState.RUNNING)
    left = (jobs.c.state == JobState.RUNNING, jobs.c.lease_until < now)
    with journal.writing() as connection:
        connection.execute(update(jobs).where(*mine).values(lease_until=now + LEASE_S))
        again = {"state": JobState.QUEUED, "progress": "", "next_try_at": now}
        return int(connection.execute(update(jobs).where(*left).values(**again)).rowcount)


def give_back(journal: Journal, job_id: int, next_try_at: float) -> None:
    """A job that was not run, through nobody's fault: it keeps its rank and its failures."""
    with journal.writing() as connection:
        mine = (jobs.c.id == job_id, jobs.c.state == JobState.RUNNING)
        again = {"state": JobState.QUEUED, "progress": "", "next_try_at": next_try_at}
        connection.execute(update(jobs).where(*mine).values(**again))
