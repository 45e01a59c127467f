"""The worklist's entries, page by page: every study and every case, the newest first, of one state or of all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Integer, Select, String, and_, case, cast, exists, func, null, select, true, union_all

from service.casebook import HELD_BY_QUALITY
from service.journal import Journal
from service.postings import OWED
from service.tables import JobState, StudyState, deliveries, jobs, releases, studies

PAGE = 50  # entries


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line: a study by its UID, or a case by its number."""

    uid: str | None = None
    number: int | None = None


_SETTLED = studies.c.instances == studies.c.settled_instances
_RELEASED = exists().where(releases.c.job_id == jobs.c.id, releases.c.withdrawn_at.is_(None))
_BY_QUALITY = and_(jobs.c.state == JobState.HELD, jobs.c.reason == HELD_BY_QUALITY)
_OF_CASES = select(deliveries.c.job_id).where(deliveries.c.job_id.is_not(None))
_SENT = jobs.c.id.in_(_OF_CASES)
_OWED = jobs.c.id.in_(_OF_CASES.where(deliveries.c.state.in_(OWED)))
_DONE = jobs.c.state == JobState.DONE

_STUDIES: dict[str, ColumnElement[bool]] = {
    "receiving": ~_SETTLED,
    **{str(state): and_(_SETTLED, studies.c.state == state) for state in StudyState if state is not StudyState.RECEIVING},
}
_CASES: dict[str, ColumnElement[bool]] = {
    "queued": jobs.c.state == JobState.QUEUED,
    "running": jobs.c.state == JobState.RUNNING,
    "on hold": and_(_BY_QUALITY, ~_RELEASED),
    "releasing": and_(_BY_QUALITY, _RELEASED),
    "held": and_(jobs.c.state == JobState.HELD, jobs.c.reason != HELD_BY_QUALITY),
    "parked": jobs.c.state == JobState.PARKED,
    "returned": and_(_DONE, ~and_(_SENT, ~_OWED)),
    "delivered": and_(_DONE, _SENT, ~_OWED),
    "withdrawn": jobs.c.state == JobState.WITHDRAWN,
}
STATES = tuple(dict.fromkeys((*_STUDIES, *_CASES)))  # the words of `duet status`


def entries(journal: Journal, state: str, page: int) -> list[Entry]:
    """One page of those of a state, or of all where it is empty; pages begin at 1."""
    listed = union_all(*_parts(state)).subquery()
    query = select(listed.c.uid, listed.c.number).order_by(listed.c.at.desc(), listed.c.uid, listed.c.number)
    with journal.reading() as connection:
        rows = connection.execute(query.limit(PAGE).offset((page - 1) * PAGE)).all()
    return [Entry(uid=row.uid, number=row.number) for row in rows]


def count_entries(journal: Journal, state: str) -> int:
    """How many there are on all pages."""
    with journal.reading() as connection:
        counts = [select(func.count()).select_from(part.subquery()) for part in _parts(state)]
        return sum(int(connection.execute(each).scalar_one()) for each in counts)


def _parts(state: str) -> list[Select[Any]]:
    uid, number = cast(null(), String).label("uid"), cast(null(), Integer).label("number")
    of_studies = select(studies.c.study_instance_uid.label("uid"), number, studies.c.last_received_at.label("at"))
    fdg, pentixafor = studies.alias("fdg"), studies.alias("pentixafor")
    # By when its studies came: a case's own times lie behind the long list of its files, which would have to be read.
    first, second = fdg.c.last_received_at, pentixafor.c.last_received_at
    newer = case((first > second, first), else_=second)
    of_cases = (
        select(uid, jobs.c.id.label("number"), func.coalesce(newer, 0.0).label("at"))
        .outerjoin(fdg, fdg.c.study_instance_uid == jobs.c.fdg_study)
        .outerjoin(pentixafor, pentixafor.c.study_instance_uid == jobs.c.pentixafor_study)
    )
    found: list[Select[Any]] = []
    if not state or state in _STUDIES:
        found.append(of_studies.where(_STUDIES[state] if state else true()))
    if not state or state in _CASES:
        found.append(of_cases.where(_CASES[state] if state else true()))
    return found
