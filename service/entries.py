"""What the door has to tell the journal: who sends, what has come, how it ended; written together and in this order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from service import arrivals
from service.arrivals import Arrival
from service.journal import Journal
from service.tables import Ending


@dataclass(slots=True, eq=False, kw_only=True)
class Association:
    """Somebody who sends; it is entered, and gets its number, with its first object."""

    calling_ae: str
    address: str
    opened_at: float
    door: str = ""  # the door process that serves it; empty: the node itself
    number: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How and when an association ended."""

    ending: Ending
    at: float


@dataclass(slots=True, eq=False, kw_only=True)
class Entry:
    """One thing that the journal is to be told. done: it is on disk, or the journal refuses it (error); new: an object that
    the journal did not know."""

    association: Association
    what: Arrival | End
    done: bool = False
    new: bool = False
    error: SQLAlchemyError | None = None


def write(journal: Journal, entries: Sequence[Entry]) -> None:
    """All of it; may be repeated after any interruption. Raises SQLAlchemyError."""
    coming = [(entry, entry.what) for entry in entries if isinstance(entry.what, Arrival)]
    with journal.adding() as connection:
        numbers = _numbers(connection, entries)
        arrived = [replace(what, association_id=numbers[entry.association]) for entry, what in coming]
        new = arrivals.entered(connection, arrived)
        again = [arrival for arrival, is_new in zip(arrived, new, strict=True) if not is_new]
        if not again:
            arrivals.closed(connection, _ended(entries, numbers))
    for association, number in numbers.items():
        association.number = number
    if again:  # alone: what [retention] decides in its turn must not change under it
        with journal.writing() as connection:
            for arrival in again:
                arrivals.seen_again(connection, arrival)
            arrivals.closed(connection, _ended(entries, numbers))
    for (entry, _), is_new in zip(coming, new, strict=True):
        entry.new = is_new


def _numbers(connection: Connection, entries: Sequence[Entry]) -> dict[Association, int]:
    found: dict[Association, int] = {}
    for each in (entry.association for entry in entries):
        if each not in found:
            found[each] = _opened(connection, each) if each.number is None else each.number
    return found


def _opened(connection: Connection, new: Association) -> int:
    return arrivals.opened(connection, new.calling_ae, new.address, new.opened_at, new.door)


def _ended(entries: Sequence[Entry], numbers: dict[Association, int]) -> list[arrivals.Ended]:
    ends = [(numbers[entry.association], entry.what) for entry in entries if isinstance(entry.what, End)]
    return [arrivals.Ended(association_id=number, ending=end.ending, at=end.at) for number, end in ends]
