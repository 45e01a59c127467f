"""What the journal knows of the cohort's report: its versions, each made of the cases and the clinical table of its time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select

from service.journal import Journal
from service.postings import Posting, post_cohort
from service.tables import JobState, cohorts, jobs


@dataclass(frozen=True, slots=True, kw_only=True)
class CohortRow:
    """One version, or an attempt that the tables did not allow (version 0, sentence: why). folder: relative to the data."""

    id: int
    version: int
    fingerprint: str
    folder: str
    cycles: int
    sentence: str
    made_at: float

    @property
    def refused(self) -> bool:
        return self.version == 0


def newest(journal: Journal) -> CohortRow | None:
    """The newest version, without those that were refused."""
    return _last(journal, cohorts.c.version > 0)


def refusal(journal: Journal) -> CohortRow | None:
    """Why the tables as they were last looked at allow no report; None where they do."""
    return _last(journal, cohorts.c.version == 0)


def _last(journal: Journal, wanted: object) -> CohortRow | None:
    query = select(cohorts).where(wanted).order_by(cohorts.c.id.desc()).limit(1)  # type: ignore[arg-type]
    with journal.reading() as connection:
        row = connection.execute(query).first()
    return None if row is None else CohortRow(**row._mapping)


def finished_cases(journal: Journal) -> list[str]:
    """The pair UIDs whose results hold and have left, or may: neither held back by a quality check nor withdrawn."""
    query = select(jobs.c.pair_uid).where(jobs.c.state == JobState.DONE).order_by(jobs.c.pair_uid)
    with journal.reading() as connection:
        return [str(uid) for (uid,) in connection.execute(query)]


def cases_on_their_way(journal: Journal) -> int:
    """How many cases wait for their analysis or are in it."""
    query = select(func.count()).select_from(jobs).where(jobs.c.state.in_([JobState.QUEUED, JobState.RUNNING]))
    with journal.reading() as connection:
        return int(connection.execute(query).scalar() or 0)


def enter(journal: Journal, row: CohortRow, postings: Sequence[Posting], now: float) -> bool:
    """A version that lies on disk, with its objects on their way; False where another process was quicker. Its id is new."""
    with journal.writing() as connection:
        latest = connection.execute(select(func.max(cohorts.c.version))).scalar() or 0
        if row.version <= latest:
            return False
        values = {name: getattr(row, name) for name in ("version", "fingerprint", "folder", "cycles", "sentence", "made_at")}
        connection.execute(cohorts.delete().where(cohorts.c.version == 0))
        made = connection.execute(cohorts.insert().values(**values).returning(cohorts.c.id)).scalar_one()
        post_cohort(connection, int(made), postings, now)
    return True


def refuse(journal: Journal, fingerprint: str, sentence: str, now: float) -> None:
    """The tables did not allow a report; it is tried again when one of them has changed."""
    values = {"version": 0, "fingerprint": fingerprint, "folder": "", "cycles": 0, "sentence": sentence, "made_at": now}
    with journal.writing() as connection:
        connection.execute(cohorts.delete().where(cohorts.c.version == 0))
        connection.execute(cohorts.insert().values(**values))


def allow(journal: Journal) -> None:
    """The tables are right again."""
    with journal.writing() as connection:
        connection.execute(cohorts.delete().where(cohorts.c.version == 0))
