"""Rows of received objects, written together: what waits while one transaction is on its way to disk shares the next."""

from __future__ import annotations

import threading

from sqlalchemy.exc import SQLAlchemyError

from service import arrivals
from service.arrivals import Arrival
from service.journal import Journal


class _Entry:
    """A row that waits to be written, and what came of it."""

    def __init__(self, arrival: Arrival) -> None:
        self.arrival = arrival
        self.done = self.new = False
        self.error: SQLAlchemyError | None = None


class Registrar:
    """Writes for many associations at once; each gets its own word."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._guard, self._turn = threading.Lock(), threading.Lock()
        self._waiting: list[_Entry] = []

    def record(self, arrival: Arrival) -> bool:
        """Returns when the row is on disk: whether it is new. Raises SQLAlchemyError."""
        entry = _Entry(arrival)
        with self._guard:
            self._waiting.append(entry)
        with self._turn:
            if not entry.done:  # else whoever had the turn before has written it, too
                self._write()
        if entry.error is not None:
            raise entry.error
        return entry.new

    def _write(self) -> None:
        with self._guard:
            entries, self._waiting = self._waiting, []
        try:
            _record(self._journal, entries)
        except SQLAlchemyError as error:
            self._one_by_one(entries, error)
        for entry in entries:
            entry.done = True

    def _one_by_one(self, entries: list[_Entry], error: SQLAlchemyError) -> None:
        """A row that cannot be written must not take others with it."""
        if len(entries) == 1:
            entries[0].error = error
            return
        for entry in entries:
            try:
                _record(self._journal, [entry])
            except SQLAlchemyError as own:
                entry.error = own


def _record(journal: Journal, entries: list[_Entry]) -> None:
    new = arrivals.record(journal, *(entry.arrival for entry in entries))
    for entry, is_new in zip(entries, new, strict=True):
        entry.new = is_new
