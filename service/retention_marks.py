"""What the journal knows of received files that [retention] deletes: which may go, which are gone, what is said of them.

A row is marked before its file goes: a file without a mark is one that is kept, whenever the node is killed. Files go
within a transaction that has seen their marks, so that an object which comes again meanwhile is never deleted.
"""

from __future__ import annotations

import json
import math
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TypeVar

from sqlalchemy import ColumnElement, Connection, and_, delete, func, or_, select, update

from service.arrivals import GONE, IMAGES, LOT
from service.journal import Journal
from service.postings import OWED
from service.tables import (
    InstanceState,
    JobState,
    PromiseState,
    StudyState,
    associations,
    commitments,
    deliveries,
    instances,
    jobs,
    promises,
    studies,
)

T = TypeVar("T")

DELETED = "Deleted"  # the reason of a study that found no partner before its images were deleted


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleted:
    """The images of a study that were deleted and did not come again. half: of a series of which others are here."""

    objects: int
    at: float
    half: bool

    @property
    def sentence(self) -> str:
        return f"{self.objects} of its images were deleted by [retention] on {_day(self.at)}; send the whole study again."


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A settled study whose files are here."""

    study_instance_uid: str
    study_date: str
    state: StudyState
    reason: str
    last_received_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Studies that cases hold together; they go together or not at all, or what is left would be paired anew.

    cases: how many there are; delivered_at: when the last object of them was, None where something is unfinished or owed.
    """

    members: tuple[Member, ...]
    cases: int
    delivered_at: float | None


def deleted_of(journal: Journal, study_instance_uid: str) -> Deleted | None:
    """What is missing of a study because it was deleted."""
    mine = instances.c.study_instance_uid == study_instance_uid
    gone = (mine, instances.c.state == InstanceState.DELETED, instances.c.modality.in_(IMAGES))
    here = and_(mine, instances.c.state.in_([InstanceState.FILED, InstanceState.IGNORED]), instances.c.sentence != GONE)
    query = select(
        func.count(),
        func.max(instances.c.deleted_at),
        func.count().filter(instances.c.series_instance_uid.in_(select(instances.c.series_instance_uid).where(here))),
    ).where(*gone, instances.c.sop_instance_uid.not_in(select(instances.c.sop_instance_uid).where(here)))
    with journal.reading() as connection:
        count, at, half = connection.execute(query).one()
    return Deleted(objects=count, at=at, half=half > 0) if count else None


def groups(connection: Connection) -> list[Group]:
    """Every study with files that is settled and whose patient nobody is judging just now, with those that cases tie to it."""
    settled = {row.study_instance_uid: row for row in connection.execute(_MEMBERS)}
    ties = list(connection.execute(_CASES))
    cases = defaultdict(list)
    for row in ties:
        cases[row.fdg_study].append(row)
    found = []
    for uids in _connected([(row.fdg_study, row.pentixafor_study) for row in ties], settled):
        mine = [row for uid in uids for row in cases.get(uid, ())]
        members = [settled[uid] for uid in sorted(uids) if uid in settled]
        whole = all(row.settled for row in members)
        if members and whole:
            over = all(row.state == JobState.DONE and row.objects and not row.owed for row in mine)
            times = [row.delivered_at for row in mine]
            found.append(
                Group(
                    members=tuple(_member(row) for row in members),
                    cases=len(mine),
                    delivered_at=max(times) if mine and over and None not in times else None,
                )
            )
    return found


def mark_studies(connection: Connection, members: Sequence[Member], now: float) -> int:
    """Mark the images of these studies, and say so of the studies; how many objects."""
    marked = 0
    for member in members:
        count = _mark(connection, images_of(member), now)
        mine = studies.c.study_instance_uid == member.study_instance_uid
        told = (
            f"Its images were deleted by [retention] on {_day(now)}; "
            "results and journal are kept. To have it measured anew, send the whole study again."
        )
        values = {"instances": 0, "settled_instances": 0, "sentence": told}
        reason = {"reason": DELETED} if member.state is StudyState.WAITING else {}
        connection.execute(update(studies).where(mine).values(**values, **reason))
        marked += count
    return marked


def images_of(member: Member) -> ColumnElement[bool]:
    """The rows of a study's images, also of versions that were set aside; without those that an operator took away."""
    kept = and_(instances.c.state == InstanceState.IGNORED, instances.c.modality.in_(IMAGES), instances.c.sentence != GONE)
    mine = instances.c.study_instance_uid == member.study_instance_uid
    return and_(mine, or_(instances.c.state == InstanceState.FILED, kept))


def unused(before: float) -> ColumnElement[bool]:
    """The rows of what is neither PET nor CT or cannot be read, received before."""
    of_no_use = or_(
        instances.c.state == InstanceState.REJECTED,
        and_(
            instances.c.state == InstanceState.IGNORED,
            func.coalesce(instances.c.modality, "").not_in(IMAGES),
            instances.c.sentence != GONE,
        ),
    )
    return and_(of_no_use, instances.c.received_at <= before)


def objects(connection: Connection, wanted: ColumnElement[bool]) -> list[tuple[int, str, str]]:
    """(row, SOP instance UID, path) of objects."""
    query = select(instances.c.id, instances.c.sop_instance_uid, instances.c.path).where(wanted).order_by(instances.c.id)
    return [(row.id, row.sop_instance_uid, row.path) for row in connection.execute(query)]


def mark_rows(connection: Connection, ids: Iterable[int], now: float) -> int:
    """Mark single objects; how many."""
    return sum(_mark(connection, instances.c.id.in_(lot), now) for lot in _lots(ids))


def _mark(connection: Connection, wanted: ColumnElement[bool], now: float) -> int:
    gone = {"state": InstanceState.DELETED, "deleted_at": now, "sentence": "Its file was deleted by [retention]."}
    return connection.execute(update(instances).where(wanted).values(**gone)).rowcount


def sweep(journal: Journal, data: Path, paths: Iterable[str]) -> tuple[int, int]:
    """Delete those of these files whose rows are marked; how many, and their bytes. Raises OSError."""
    count = size = 0
    for lot in _lots(paths):
        with journal.writing() as connection:
            marked = (instances.c.path.in_(lot), instances.c.state == InstanceState.DELETED)
            for path in connection.execute(select(instances.c.path).where(*marked).with_for_update()).scalars():
                if (data / path).is_file():
                    size += (data / path).stat().st_size
                    (data / path).unlink()
                    count += 1
    return count, size


@dataclass(slots=True)
class Promised:
    """The objects that senders were told are kept, or wait to be told of, so that they may not go yet."""

    _objects: dict[int, frozenset[str]] = field(default_factory=dict)

    def since(self, connection: Connection, told_after: float) -> set[str]:
        """SOP instance UIDs, of promises given after that time and of those that are open."""
        live = or_(promises.c.state == PromiseState.OPEN, promises.c.answered_at > told_after)
        numbers = list(connection.execute(select(promises.c.id).where(live)).scalars())
        for lot in _lots(number for number in numbers if number not in self._objects):
            for row in connection.execute(select(promises.c.id, promises.c.objects).where(promises.c.id.in_(lot))):
                self._objects[row.id] = frozenset(uid for _, uid in json.loads(row.objects))
        self._objects = {number: self._objects[number] for number in numbers}
        return set().union(*self._objects.values())


def purge_ledger(connection: Connection, before: float, promised_before: float) -> int:
    """Take out requests that were over long ago, of both directions, and associations that nothing names; how many."""
    over = func.coalesce(commitments.c.answered_at, commitments.c.asked_at) < before
    answered = and_(promises.c.state != PromiseState.OPEN, promises.c.answered_at < min(before, promised_before))
    named = or_(
        select(instances.c.id).where(instances.c.association_id == associations.c.id).exists(),
        select(studies.c.study_instance_uid).where(studies.c.last_association_id == associations.c.id).exists(),
    )
    old = and_(associations.c.closed_at < before, ~named)
    wanted = ((commitments, over), (promises, answered), (associations, old))
    return sum(connection.execute(delete(table).where(condition)).rowcount for table, condition in wanted)


_UNDER_JUDGEMENT = select(studies.c.patient_id).where(studies.c.instances != studies.c.settled_instances)
_MEMBERS = select(
    studies.c.study_instance_uid,
    studies.c.study_date,
    studies.c.state,
    studies.c.reason,
    studies.c.last_received_at,
    studies.c.patient_id.not_in(_UNDER_JUDGEMENT).label("settled"),
).where(or_(studies.c.instances > 0, studies.c.instances != studies.c.settled_instances))
_CASES = (
    select(
        jobs.c.fdg_study,
        jobs.c.pentixafor_study,
        jobs.c.state,
        func.count(deliveries.c.id).label("objects"),
        func.count(deliveries.c.id).filter(deliveries.c.state.in_(OWED)).label("owed"),
        func.max(deliveries.c.delivered_at).label("delivered_at"),
    )
    .outerjoin(deliveries, deliveries.c.job_id == jobs.c.id)
    .where(jobs.c.state != JobState.WITHDRAWN)
    .group_by(jobs.c.id, jobs.c.fdg_study, jobs.c.pentixafor_study, jobs.c.state)
)


def _member(row: object) -> Member:
    known = {name: getattr(row, name) for name in Member.__dataclass_fields__}
    return Member(**{**known, "state": StudyState(known["state"])})


def _connected(ties: Sequence[tuple[str, str]], alone: Iterable[str]) -> Iterator[set[str]]:
    """The studies that pairs hold together, and each of the others by itself."""
    neighbours: Mapping[str, set[str]] = defaultdict(set)
    for one, other in ties:
        neighbours[one].add(other)
        neighbours[other].add(one)
    seen: set[str] = set()
    for uid in (*neighbours, *alone):
        if uid not in seen:
            group, edge = {uid}, [uid]
            while edge:
                new = neighbours.get(edge.pop(), set()) - group
                group |= new
                edge += new
            seen |= group
            yield group


def _lots(items: Iterable[T]) -> Iterator[list[T]]:
    """As many as a database is asked for in one go."""
    waiting = iter(items)
    while lot := list(islice(waiting, LOT)):
        yield lot


def days_between(one: str, other: str) -> float:
    """Days between two DICOM dates; infinite where one is none."""
    try:
        return abs((datetime.strptime(one, "%Y%m%d") - datetime.strptime(other, "%Y%m%d")).days)
    except ValueError:
        return math.inf


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))
