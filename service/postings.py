"""What the journal knows of objects on their way to a destination."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom.filereader import read_file_meta_info
from sqlalchemy import ColumnElement, Connection, and_, delete, func, select, true, update

from service.destinations import Kept
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
    stored_at: float | None
    ask_at: float | None
    asks: int
    refusals: int
    sent_class_uid: str | None
    sent_instance_uid: str | None

    @property
    def sent_as(self) -> Kept | None:
        """What it is sent as where that is another object."""
        if self.sent_class_uid is None or self.sent_instance_uid is None:
            return None
        return Kept(sop_class_uid=self.sent_class_uid, sop_instance_uid=self.sent_instance_uid)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryCount:
    """How many objects of a case a destination has, for how many it answers, and what is wrong with one that is owed."""

    job_id: int
    destination: str
    delivered: int
    total: int
    sentence: str
    stored: int = 0
    committed: int = 0


LOT = 600  # objects that are looked at in one go
OWED = (DeliveryState.PENDING, DeliveryState.STORED, DeliveryState.PARKED)
ROW = [c for c in deliveries.c if c.name != "delivered_at"]


def row_of(row: Mapping[Any, Any]) -> DeliveryRow:
    return DeliveryRow(**{**row, "state": DeliveryState(str(row["state"]))})


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
    unsent = deliveries.c.state.in_([DeliveryState.PENDING, DeliveryState.PARKED])
    older = (deliveries.c.cohort_id != cohort_id, unsent)
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
    query = select(*ROW).where(*pending, deliveries.c.next_try_at <= now).order_by(*in_order).limit(LOT)
    with journal.reading() as connection:
        return [row_of(row._mapping) for row in connection.execute(query)]


def rows_of(journal: Journal, delivery_ids: Sequence[int]) -> list[DeliveryRow]:
    """These deliveries as they stand now, in their case's order."""
    query = select(*ROW).where(deliveries.c.id.in_(delivery_ids)).order_by(deliveries.c.position)
    with journal.reading() as connection:
        return [row_of(row._mapping) for row in connection.execute(query)]


def stored(journal: Journal, delivery_id: int, sentence: str, now: float, *, ask: bool) -> None:
    """A destination has the object; ask: whether it is to be asked for its commitment, else nothing more is owed."""
    state = DeliveryState.STORED if ask else DeliveryState.DELIVERED
    rest = {"ask_at": now if ask else None, "asks": 0, "delivered_at": None if ask else now}
    with journal.writing() as connection:
        done = {"state": state, "sentence": sentence, "stored_at": now, "failures": 0, **rest}
        connection.execute(update(deliveries).where(deliveries.c.id == delivery_id).values(**done))


def send_as(journal: Journal, delivery_id: int, other: Kept | None) -> None:
    """From now on the object goes there as this one; None: as itself."""
    as_what = {
        "sent_class_uid": other and other.sop_class_uid,
        "sent_instance_uid": other and other.sop_instance_uid,
    }
    with journal.writing() as connection:
        connection.execute(update(deliveries).where(deliveries.c.id == delivery_id).values(**as_what))


def postpone(journal: Journal, delivery_ids: Sequence[int], sentence: str, next_try_at: float) -> None:
    with journal.writing() as connection:
        later = {"failures": deliveries.c.failures + 1, "sentence": sentence, "next_try_at": next_try_at}
        connection.execute(update(deliveries).where(deliveries.c.id.in_(delivery_ids)).values(**later))


def counts(journal: Journal, patient_id: str | None = None) -> list[DeliveryCount]:
    """For each case and destination: how many objects have arrived, of how many."""
    wanted: ColumnElement[bool] = deliveries.c.job_id.is_not(None)
    if patient_id is not None:
        wanted = and_(wanted, deliveries.c.job_id.in_(select(jobs.c.id).where(jobs.c.patient_id == patient_id)))
    return _counts(journal, deliveries.c.job_id, wanted)


def counts_of(journal: Journal, job_ids: Sequence[int]) -> list[DeliveryCount]:
    """The same of these cases."""
    return _counts(journal, deliveries.c.job_id, deliveries.c.job_id.in_(job_ids))


def cohort_counts(journal: Journal) -> list[DeliveryCount]:
    """The same for each version of the cohort's report; job_id is the row of the version."""
    return _counts(journal, deliveries.c.cohort_id, deliveries.c.cohort_id.is_not(None))


def _counts(journal: Journal, owner: ColumnElement[Any], wanted: ColumnElement[bool]) -> list[DeliveryCount]:
    state = deliveries.c.state
    query = (
        select(
            owner,
            deliveries.c.destination,
            func.count().filter(state.in_([DeliveryState.DELIVERED, DeliveryState.COMMITTED])),
            func.count(),
            func.max(deliveries.c.sentence).filter(state.in_(OWED)),
            func.count(deliveries.c.stored_at),
            func.count().filter(state == DeliveryState.COMMITTED),
        )
        .where(wanted)
        .group_by(owner, deliveries.c.destination)
        .order_by(owner, deliveries.c.destination)
    )
    names = ("job_id", "destination", "delivered", "total", "sentence", "stored", "committed")
    with journal.reading() as connection:
        rows = connection.execute(query).all()
    found = [dict(zip(names, row, strict=True)) for row in rows]
    return [DeliveryCount(**{**row, "sentence": row["sentence"] or ""}) for row in found]


def owed(journal: Journal, patient_id: str | None = None) -> list[DeliveryRow]:
    """Every object that a destination still is to have or to answer for, destination by destination and case by case."""
    query = select(*ROW).where(deliveries.c.state.in_(OWED))
    if patient_id is not None:
        query = query.where(deliveries.c.job_id.in_(select(jobs.c.id).where(jobs.c.patient_id == patient_id)))
    in_order = (deliveries.c.destination, deliveries.c.job_id, deliveries.c.cohort_id, deliveries.c.position)
    with journal.reading() as connection:
        return [row_of(row._mapping) for row in connection.execute(query.order_by(*in_order))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Which:
    """Which deliveries are meant: all that fit what is named."""

    job_id: int | None = None
    destination: str | None = None

    def condition(self) -> ColumnElement[bool]:
        named = {deliveries.c.job_id: self.job_id, deliveries.c.destination: self.destination}
        return and_(true(), *(column == value for column, value in named.items() if value is not None))


def resend(journal: Journal, which: Which, now: float, *, again: bool) -> tuple[int, int]:
    """What is owed is due now, as if it were new; again: also what was delivered is sent once more.

    Returns how many objects are sent now, and for how many a destination is asked for its commitment.
    """
    sent_anew = list(DeliveryState) if again else [DeliveryState.PENDING, DeliveryState.PARKED]
    asked_anew = [] if again else [DeliveryState.STORED]
    fresh = {"failures": 0, "refusals": 0, "asks": 0}
    due_now = {"state": DeliveryState.PENDING, "next_try_at": now, "ask_at": None, "delivered_at": None, "stored_at": None}
    with journal.writing() as connection:
        change = update(deliveries).where(which.condition())
        sent = connection.execute(change.where(deliveries.c.state.in_(sent_anew)).values(**due_now, **fresh)).rowcount
        asked = connection.execute(change.where(deliveries.c.state.in_(asked_anew)).values(ask_at=now, **fresh)).rowcount
    return sent, asked
