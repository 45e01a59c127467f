"""Associations in a journal, as the door enters them, for tests that have no door."""

from __future__ import annotations

from service.arrivals import Ended, closed, opened
from service.journal import Journal
from service.tables import Ending


def open_association(journal: Journal, calling_ae: str, address: str, now: float) -> int:
    """Its number."""
    with journal.adding() as connection:
        return opened(connection, calling_ae, address, now)


def close_association(journal: Journal, association_id: int, ending: Ending, now: float) -> None:
    with journal.adding() as connection:
        closed(connection, [Ended(association_id=association_id, ending=ending, at=now)])
