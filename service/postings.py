"""What the journal knows of objects on their way to a destination."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom.filereader import read_file_meta_info
from sqlalchemy import Connection, delete, func, select, update

from service.journal import Journal, insert_or_ignore
from service.tables import DeliveryState, deliveries, jobs


@dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    """One object that one destination is to have."""

    destination: str
    sop_instance_uid: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRow:
    """One posting and how it stands. It belongs to a case, or to a version of the cohort's report."""

    id: int
    job_id: int | None
    cohort_id: int | None
    position: int
    destination: str
    sop_instance_uid: str
    path: str
    state: DeliveryState
    failures: int
    next_try_at: float
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryCount:
    """How many objects of a case a destination has, and what its last refusal said."""

    job_id: int
    destination: str
    delivered: int
    total: int
    sentence: str


LOT = 600  # objects that are looked at in one go
_ROW = [c for c in deliveries.c if c.name != "delivered_at"]


def posting_of(path: Path, data: Path, destination: str) -> Posting:
    """An object in a case folder as something to be sent."""
    meta = read_file_meta_info(path)
    return Posting(
        destination=destination,
        sop_instance_uid=str(meta.MediaStorageSOPInstanceUID),
        path=str(path.relative_to(data)),
    )


def post(connection: Connection, job_id: int, postings: Sequence[Posting], now: float) -> None:
    """Enter a case's objects in their order, within the caller's transaction."""
    _enter(connection, {"job_id": job_id}, postings, now)


def post_cohort(connection: Connection, cohort_id: int, postings: Sequence[Posting], now: float) -> None:
    """Enter the objects of a version of the cohort's report; what older versions still owe is owed no more."""
    older = (deliveries.c.cohort_id != cohort_id, deliveries.c.state == DeliveryState.PENDING)
    connection.execute(delete(deliveries).where(*older))
    _enter(connection, {"cohort_id": cohort_id}, postings, now)


def _enter(connection: Connection, owner: Mapping[str, int], postings: Sequence[Posting], now: float) -> None:
    for position, posting in enumerate(postings):
        row = {
            **owner,
            "position": position,
            "destination": posting.destination,
            "sop_instance_uid": posting.sop_instance_uid,
            "path": posting.path,
            "state": DeliveryState.PENDING,
            "failures": 0,
            "next_try_at": now,
            "sentence": "",
        }
        connection.execute(insert_or_ignore(connection, deliveries).values(**row))


def due(journal: Journal, destination: str, now: float) -> list[DeliveryRow]:
    """What a destination should be sent next: what is due, case by case and in each case's order, at most LOT objects."""
    pending = (deliveries.c.state == DeliveryState.PENDING, deliveries.c.destination == destination)
    in_order = (deliveries.c.job_id, deliveries.c.cohort_id, deliveries.c.position)
    query = select(*_ROW).where(*pending, deliveries.c.next_try_at <= now).order_by(*in_order).limit(LOT)
    with journal.reading() as connection:
        return [DeliveryRow(**row._mapping) for row in connection.execute(query)]


def delivered(journal: Journal, delivery_id: int, sentence: str, now: float) -> None:
    with journal.writing() as connection:
        done = {"state": DeliveryState.DELIVERED, "sentence": sentence, "delivered_at": now}
        connection.execute(update(deliveries).where(deliveries.c.id == delivery_id).values(**done))


def postpone(journal: Journal, delivery_ids: Sequence[int], sentence: str, next_try_at: float) -> None:
    with journal.writing() as connection:
        later = {"failures": deliveries.c.failures + 1, "sentence": sentence, "next_try_at": next_try_at}
        connection.execute(update(deliveries).where(deliveries.c.id.in_(delivery_ids)).values(**later))


def counts(journal: Journal, patient_id: str | None = None) -> list[DeliveryCount]:
    """For each case and destination: how many objects have arrived, of how many."""
    arrived = func.count(deliveries.c.delivered_at)  # it is null until the object has arrived
    pending = deliveries.c.state == DeliveryState.PENDING
    query = (
        select(
            deliveries.c.job_id,
            deliveries.c.destination,
            arrived,
            func.count(),
            func.max(deliveries.c.sentence).filter(pending),
        )
        .join(jobs, jobs.c.id == deliveries.c.job_id)
        .group_by(deliveries.c.job_id, deliveries.c.destination)
        .order_by(deliveries.c.job_id, deliveries.c.destination)
    )
    if patient_id is not None:
        query = query.where(jobs.c.patient_id == patient_id)
    with journal.reading() as connection:
        rows = connection.execute(query).all()
    return [
        DeliveryCount(job_id=job, destination=where, delivered=int(done), total=total, sentence=sentence or "")
        for job, where, done, total, sentence in rows
    ]


def cohort_counts(journal: Journal) -> list[DeliveryCount]:
    """The same for each version of the cohort's report; job_id is the row of the version."""
    arrived, pending = func.count(deliveries.c.delivered_at), deliveries.c.state == DeliveryState.PENDING
    columns = (deliveries.c.cohort_id, deliveries.c.destination, arrived, func.count())
    query = (
        select(*columns, func.max(deliveries.c.sentence).filter(pending))
        .where(deliveries.c.cohort_id.is_not(None))
        .group_by(deliveries.c.cohort_id, deliveries.c.destination)
        .order_by(deliveries.c.cohort_id, deliveries.c.destination)
    )
    with journal.reading() as connection:
        rows = connection.execute(query).all()
    return [
        DeliveryCount(job_id=cohort, destination=where, delivered=int(done), total=total, sentence=sentence or "")
        for cohort, where, done, total, sentence in rows
    ]
