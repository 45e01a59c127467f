"""What the journal knows of storage commitment: what was asked of destinations, and what senders asked of this node."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, case, func, select, update

from service.destinations import REMARK, Kept
from service.journal import Journal
from service.postings import LOT, ROW, DeliveryRow, row_of
from service.tables import DeliveryState, PromiseState, commitments, deliveries, promises

MOST_REFUSALS = 5  # so often a destination may say that it does not keep an object before an operator must look


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request for storage commitment, entered before it is made."""

    transaction_uid: str
    destination: str
    asked_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a destination says to a request: whom it answers for, and SOP instance UID > why it does not."""

    transaction_uid: str
    committed: Sequence[str]
    failed: Mapping[str, str]


def to_ask(journal: Journal, destination: str, now: float) -> list[DeliveryRow]:
    """What a destination is to be asked for its commitment on now, case by case, at most LOT objects."""
    mine = (deliveries.c.state == DeliveryState.STORED, deliveries.c.destination == destination, deliveries.c.ask_at <= now)
    in_order = (deliveries.c.job_id, deliveries.c.cohort_id, deliveries.c.position)
    with journal.reading() as connection:
        found = connection.execute(select(*ROW).where(*mine).order_by(*in_order).limit(LOT))
        return [row_of(row._mapping) for row in found]


def enter(journal: Journal, request: Request, delivery_ids: Sequence[int], ask_again_at: float) -> None:
    """Remember a request that is about to be made."""
    asked = {"asks": deliveries.c.asks + 1, "ask_at": ask_again_at}
    with journal.writing() as connection:
        row = {"transaction_uid": request.transaction_uid, "destination": request.destination, "asked_at": request.asked_at}
        connection.execute(commitments.insert().values(**row))
        connection.execute(update(deliveries).where(*_stored(delivery_ids)).values(**asked))


def ask_later(journal: Journal, delivery_ids: Sequence[int], sentence: str, ask_again_at: float) -> None:
    """A request was not made, or not taken."""
    later = {"ask_at": ask_again_at, "sentence": sentence, "failures": deliveries.c.failures + 1}
    with journal.writing() as connection:
        connection.execute(update(deliveries).where(*_stored(delivery_ids)).values(**later))


def without(journal: Journal, delivery_ids: Sequence[int], sentence: str, now: float) -> None:
    """No commitment is to be had: what was stored counts as delivered. sentence: what is to be said of that, or None."""
    done = {"state": DeliveryState.DELIVERED, "ask_at": None, "delivered_at": now}
    words = {"sentence": sentence} if sentence else {}
    with journal.writing() as connection:
        connection.execute(update(deliveries).where(*_stored(delivery_ids)).values(**done, **words))


def ask_anew(journal: Journal, now: float) -> None:
    """At start: a report may have come while nobody was here to take it."""
    with journal.writing() as connection:
        waiting = update(deliveries).where(deliveries.c.state == DeliveryState.STORED)
        connection.execute(waiting.values(ask_at=now, asks=0))


def answered(journal: Journal, transaction_uid: str) -> bool:
    with journal.reading() as connection:
        query = select(commitments.c.answered_at).where(commitments.c.transaction_uid == transaction_uid)
        return connection.execute(query).scalar() is not None


def settle(journal: Journal, report: Report, now: float, delay_s: Callable[[int], float]) -> int | None:
    """Write down a report; how many objects are to be sent again, or None where nobody asked for it.

    What it says counts for objects that had been stored when it was asked for, however late it comes. One that is not kept
    is sent again, after delay_s(earlier such reports) seconds, and is parked after MOST_REFUSALS.
    """
    with journal.writing() as connection:
        mine = commitments.c.transaction_uid == report.transaction_uid
        request = connection.execute(select(commitments).where(mine)).first()
        if request is None:
            return None
        connection.execute(update(commitments).where(mine).values(answered_at=now))
        of_request = (
            deliveries.c.destination == request.destination,
            deliveries.c.stored_at <= request.asked_at,
            deliveries.c.state.in_([DeliveryState.STORED, DeliveryState.DELIVERED]),
        )
        _commit(connection, report.committed, of_request, now)
        committed = set(report.committed)
        refused = {uid: reason for uid, reason in report.failed.items() if uid not in committed}
        again = 0
        for uid, reason in refused.items():
            rows = connection.execute(select(*ROW).where(_SENT_UID.in_([uid]), *of_request)).all()
            for row in rows:
                _refuse(connection, row_of(row._mapping), reason, now + delay_s(row.refusals))
            again += len(rows)
        return again


_SENT_UID = func.coalesce(deliveries.c.sent_instance_uid, deliveries.c.sop_instance_uid)


def _commit(connection: Connection, uids: Sequence[str], of_request: Sequence[ColumnElement[bool]], now: float) -> None:
    remark = case((deliveries.c.sentence.startswith(REMARK), deliveries.c.sentence), else_="")
    done = {"state": DeliveryState.COMMITTED, "ask_at": None, "delivered_at": now, "sentence": remark, "refusals": 0}
    for start in range(0, len(uids), LOT):
        named = _SENT_UID.in_(uids[start : start + LOT])
        connection.execute(update(deliveries).where(named, *of_request).values(**done))


def _refuse(connection: Connection, row: DeliveryRow, reason: str, resend_at: float) -> None:
    """One object that its destination does not keep."""
    last = row.refusals + 1 >= MOST_REFUSALS
    sentence = (
        f"It was stored {MOST_REFUSALS} times and never answered for ({reason}); look at the archive, then: duet resend."
        if last
        else f"It was stored, but the archive does not answer for it ({reason}); it is sent again."
    )
    values = {
        "state": DeliveryState.PARKED if last else DeliveryState.PENDING,
        "sentence": sentence,
        "refusals": row.refusals + 1,
        "next_try_at": resend_at,
        **dict.fromkeys(("ask_at", "stored_at", "delivered_at")),
    }
    connection.execute(update(deliveries).where(deliveries.c.id == row.id).values(**values))


def _stored(delivery_ids: Sequence[int]) -> tuple[ColumnElement[bool], ...]:
    return deliveries.c.id.in_(delivery_ids), deliveries.c.state == DeliveryState.STORED


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """A sender's request for our commitment. failures: how often it could not be answered."""

    id: int
    transaction_uid: str
    calling_ae: str
    objects: tuple[Kept, ...]
    failures: int


def take_request(
    journal: Journal, transaction_uid: str, calling_ae: str, objects: Sequence[Kept], now: float, due: float
) -> None:
    """Keep a sender's request; the same one is kept once while it is open. due: when it is to be answered at the latest."""
    listed = json.dumps([[each.sop_class_uid, each.sop_instance_uid] for each in objects])
    row = {"transaction_uid": transaction_uid, "calling_ae": calling_ae, "objects": listed}
    fresh = {"state": PromiseState.OPEN, "failures": 0, "next_try_at": due, "sentence": "", "asked_at": now}
    with journal.writing() as connection:
        same = (*(promises.c[name] == value for name, value in row.items()), promises.c.state == PromiseState.OPEN)
        if connection.execute(select(promises.c.id).where(*same)).first() is None:
            connection.execute(promises.insert().values(**row, **fresh))


def open_promises(journal: Journal, now: float) -> list[Promise]:
    """Requests that are to be answered now, oldest first."""
    return _open_promises(journal, promises.c.next_try_at <= now)


def promises_of(journal: Journal, transaction_uids: Sequence[str]) -> list[Promise]:
    """Those requests among these, at most LOT, that are not answered yet."""
    return _open_promises(journal, promises.c.transaction_uid.in_(transaction_uids)) if transaction_uids else []


def _open_promises(journal: Journal, wanted: ColumnElement[bool]) -> list[Promise]:
    query = select(promises).where(promises.c.state == PromiseState.OPEN, wanted)
    with journal.reading() as connection:
        rows = connection.execute(query.order_by(promises.c.id).limit(LOT)).all()
    return [
        Promise(
            id=row.id,
            transaction_uid=row.transaction_uid,
            calling_ae=row.calling_ae,
            objects=tuple(Kept(sop_class_uid=c, sop_instance_uid=i) for c, i in json.loads(row.objects)),
            failures=row.failures,
        )
        for row in rows
    ]


def end_promise(journal: Journal, promise_id: int, state: PromiseState, sentence: str, now: float) -> None:
    with journal.writing() as connection:
        ended = {"state": state, "sentence": sentence, "answered_at": now}
        connection.execute(update(promises).where(promises.c.id == promise_id).values(**ended))


def postpone_promise(journal: Journal, promise_id: int, sentence: str, next_try_at: float) -> None:
    with journal.writing() as connection:
        later = {"failures": promises.c.failures + 1, "sentence": sentence, "next_try_at": next_try_at}
        connection.execute(update(promises).where(promises.c.id == promise_id).values(**later))
