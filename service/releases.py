"""What the journal knows of releases: who let a case go that a quality check held, when, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, and_, select, update

from analysis.errors import BadSettings
from service.casebook import HELD_BY_QUALITY, JobRow, jobs_named
from service.journal import Journal
from service.lines import plain
from service.postings import Posting, post
from service.tables import JobState, jobs, releases

LONGEST_WHY = 500
LONGEST_BY = 64
_LOOK = "duet status shows every case with its number"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseRow:
    """One release. released_at: seconds since 1970; withdrawn_at: the case changed before its reports left."""

    id: int
    job_id: int
    released_by: str
    why: str
    released_at: float
    withdrawn_at: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A release that the node has not carried out yet. failures: how often duet itself failed to."""

    given: ReleaseRow
    pair_uid: str
    failures: int


_HELD = and_(jobs.c.state == JobState.HELD, jobs.c.reason == HELD_BY_QUALITY)


def release(journal: Journal, case: str, *, by: str, why: str, now: float) -> JobRow:
    """Journal the release of a held case, by its number, its UID or the UID's beginning; the node then delivers it.

    Raises BadSettings where the case is unknown or not held by a quality check alone, or a word is missing or too long.
    """
    by, why = _words("--by", by, LONGEST_BY), _words("--why", why, LONGEST_WHY)
    with journal.writing() as connection:
        job = _one(jobs_named(connection, case), case)
        _require_held(job, _active(connection, job.id))
        connection.execute(releases.insert().values(job_id=job.id, released_by=by, why=why, released_at=now))
    return job


def one_case(journal: Journal, case: str) -> JobRow:
    """The case of this number, UID or beginning of a UID. Raises BadSettings where it is none, or several."""
    with journal.reading() as connection:
        return _one(jobs_named(connection, case), case)


def _words(option: str, text: str, longest: int) -> str:
    """One line without control characters. Raises BadSettings where nothing remains, or too much."""
    line = " ".join(plain(text).split())
    if not line:
        raise BadSettings(f"{option} is empty; a release names who decided it and why.")
    if len(line) > longest:
        raise BadSettings(f"{option} has {len(line)} characters; {longest} are the most, as every report repeats it.")
    return line


def _one(found: Sequence[JobRow], case: str) -> JobRow:
    if not found:
        raise BadSettings(f"No case is called {case!r}; {_LOOK}.")
    if len(found) > 1:
        numbers = ", ".join(str(job.id) for job in found[:5]) + (", ..." if len(found) > 5 else "")
        raise BadSettings(f"{len(found)} cases have UIDs that begin with {case} (cases {numbers}); name one by its number.")
    return found[0]


def _require_held(job: JobRow, known: ReleaseRow | None) -> None:
    """Raises BadSettings with what the case is instead."""
    if known is not None:
        raise BadSettings(f"Case {job.id} was released already, by {known.released_by}: {known.why}")
    if job.state is JobState.HELD and job.reason == HELD_BY_QUALITY:
        return
    states = {
        JobState.QUEUED: "waits for its analysis and is not on hold.",
        JobState.RUNNING: "is being analysed and is not on hold.",
        JobState.DONE: "is not on hold: its results were returned.",
        JobState.HELD: f"has no results that could be released; its data were turned away: {job.sentence}",
        JobState.PARKED: f"has no results that could be released; duet itself failed on it: {job.sentence}",
        JobState.WITHDRAWN: "is withdrawn, since its studies have changed; release the newer version if that is on hold.",
    }
    raise BadSettings(f"Case {job.id} {states[job.state]}")


def _active(connection: Connection, job_id: int) -> ReleaseRow | None:
    query = select(releases).where(releases.c.job_id == job_id, releases.c.withdrawn_at.is_(None))
    row = connection.execute(query).first()
    return None if row is None else ReleaseRow(**row._mapping)


def due(journal: Journal, now: float) -> list[Due]:
    """Released cases whose reports are still to be rewritten and posted, in the order of their release."""
    query = (
        select(releases, jobs.c.pair_uid, jobs.c.failures)
        .join(jobs, jobs.c.id == releases.c.job_id)
        .where(_HELD, releases.c.withdrawn_at.is_(None), jobs.c.next_try_at <= now)
        .order_by(releases.c.id)
    )
    with journal.reading() as connection:
        rows = [dict(row._mapping) for row in connection.execute(query)]
    return [Due(pair_uid=row.pop("pair_uid"), failures=row.pop("failures"), given=ReleaseRow(**row)) for row in rows]


def is_active(journal: Journal, job_id: int) -> bool:
    """Whether a release holds for the job."""
    with journal.reading() as connection:
        return _active(connection, job_id) is not None


def active_releases(journal: Journal, patient_id: str | None = None) -> dict[int, ReleaseRow]:
    """Job > the release that holds for it, of one patient or of all."""
    query = select(releases).where(releases.c.withdrawn_at.is_(None)).order_by(releases.c.id)
    if patient_id is not None:
        query = query.join(jobs, jobs.c.id == releases.c.job_id).where(jobs.c.patient_id == patient_id)
    with journal.reading() as connection:
        return {row.job_id: ReleaseRow(**row._mapping) for row in connection.execute(query)}


def active_of(journal: Journal, job_ids: Sequence[int]) -> dict[int, ReleaseRow]:
    """The same of these jobs."""
    query = select(releases).where(releases.c.withdrawn_at.is_(None), releases.c.job_id.in_(job_ids)).order_by(releases.c.id)
    with journal.reading() as connection:
        return {row.job_id: ReleaseRow(**row._mapping) for row in connection.execute(query)}


def complete(journal: Journal, given: ReleaseRow, postings: Sequence[Posting], now: float) -> bool:
    """The released reports are on disk: the case is done and posted, together; False where it was withdrawn meanwhile."""
    with journal.writing() as connection:
        active = select(releases.c.id).where(releases.c.id == given.id, releases.c.withdrawn_at.is_(None))
        done = {"state": JobState.DONE, "reason": "", "sentence": "", "progress": "", "failures": 0, "finished_at": now}
        mine = (jobs.c.id == given.job_id, _HELD, active.exists())
        if connection.execute(update(jobs).where(*mine).values(**done)).rowcount == 0:
            return False
        post(connection, given.job_id, postings, now)
        return True


def postpone(journal: Journal, given: ReleaseRow, sentence: str, next_try_at: float) -> None:
    """duet failed to carry the release out; it is tried again."""
    with journal.writing() as connection:
        later = {"failures": jobs.c.failures + 1, "next_try_at": next_try_at, "sentence": sentence}
        connection.execute(update(jobs).where(jobs.c.id == given.job_id, _HELD).values(**later))


def park(journal: Journal, given: ReleaseRow, reason: str, sentence: str) -> None:
    """duet failed too often; the release is carried out after the next start."""
    with journal.writing() as connection:
        parked = {"state": JobState.PARKED, "reason": reason, "sentence": sentence}
        connection.execute(update(jobs).where(jobs.c.id == given.job_id, _HELD).values(**parked))


def void(journal: Journal, given: ReleaseRow, now: float) -> None:
    """What was released is gone: the case is analysed anew, and on hold again."""
    with journal.writing() as connection:
        connection.execute(update(releases).where(releases.c.id == given.id).values(withdrawn_at=now))
        anew = {"state": JobState.QUEUED, "reason": "", "sentence": "", "failures": 0, "next_try_at": now}
        connection.execute(update(jobs).where(jobs.c.id == given.job_id, _HELD).values(**anew))
