"""Rows of received objects, written behind the senders' backs: in order, together, and at the latest some milliseconds later.

An object counts as received when its file is on disk for good. Its row follows, in a transaction that it shares with those
that came meanwhile, and its sender does not wait for that, because nothing rests on the row that would be lost with it:

- A node that is killed before the row was written finds the file at its next start and enters it (recovery.py). What is lost
  is by whom the object was sent; such a study is judged after silence.
- A journal that cannot be written leaves the rows waiting here, in order, until it can. That is said in the log and on the
  health page, and after PATIENCE_S, or with MOST_WAITING rows, objects are refused with a failure: the queue is bounded.
- What ends an association is written after its objects, so that nobody takes a study for whole whose rows still wait.
- Who must find every row in the journal (storage commitment, a retrieval that counts what came) waits for `settle`.
- An object that the journal knows already is another matter: [retention] may just be deleting its file. Its sender waits.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from itertools import islice

from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from service import entries
from service.door_board import Board, Number
from service.entries import Entry
from service.journal import Journal
from service.logs import logger

GATHER_S = 0.05  # so long what comes is gathered for one transaction
PATIENCE_S = 5.0  # so long rows may wait before objects are refused; senders give up after half a minute
MOST_WAITING = 2000
MOST_AT_ONCE = 500
AGAIN_S = 0.5  # between two attempts on a journal that cannot be written
IDLE_S = 1.0  # after so long without work the thread ends


class BehindError(Exception):
    """The journal cannot be written, or not fast enough."""


class Registrar:
    """Writes for many associations; its thread lives while there is something to write."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.row = Board(1).row(0)  # where others see whether rows wait
        self._waiting: deque[tuple[Entry, float]] = deque()  # with those that are just being written; since when
        guard = threading.Lock()
        self._come, self._written = threading.Condition(guard), threading.Condition(guard)
        self._hurry = threading.Event()
        self._thread: threading.Thread | None = None
        self._in_trouble = False

    @property
    def behind(self) -> bool:
        """Whether rows wait for too long, or too many of them."""
        with self._come:
            since = self._waiting[0][1] if self._waiting else None
            late = since is not None and time.monotonic() - since > PATIENCE_S
            return late or len(self._waiting) >= MOST_WAITING

    def admit(self) -> None:
        """Called before an object is kept. Raises BehindError where no more may wait."""
        if self.behind:
            raise BehindError

    def add(self, entry: Entry) -> None:
        """Returns at once; the entry is written after those before it."""
        with self._come:
            self._waiting.append((entry, time.monotonic()))
            if len(self._waiting) == 1:
                self._tell()
                self._come.notify()
            self._see_to_it()

    def _tell(self) -> None:
        """Since when the oldest row waits; called with the lock held."""
        self.row.put(Number.UNWRITTEN, int(1e9 * self._waiting[0][1]) if self._waiting else 0)

    def _see_to_it(self) -> None:
        """That the thread lives; called with the lock held."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._work, name="registrar", daemon=True)
            self._thread.start()

    def settle(self) -> None:
        """Returns when all that was added before is on disk. Raises BehindError."""
        with self._come:
            last = self._waiting[-1][0] if self._waiting else None
            if last is not None:
                self._see_to_it()
        if last is not None:
            self._wait_for(last)

    def write(self, entry: Entry) -> bool:
        """Add an entry and wait until it is on disk; whether it is new. Raises BehindError and SQLAlchemyError."""
        self.add(entry)
        self._wait_for(entry)
        if entry.error is not None:
            raise entry.error
        return entry.new

    def _wait_for(self, entry: Entry) -> None:
        self._hurry.set()
        with self._written:
            if not self._written.wait_for(lambda: entry.done, 2 * PATIENCE_S):
                raise BehindError

    def _work(self) -> None:
        while lot := self._lot():
            self._write(lot)

    def _lot(self) -> list[Entry]:
        """What is to be written next, gathered for a moment; empty after a while without anything."""
        with self._come:
            if not self._come.wait_for(lambda: self._waiting, IDLE_S):
                self._thread = None  # here, so that nobody adds in between and counts on a thread that goes
                return []
        self._hurry.wait(GATHER_S)
        self._hurry.clear()
        with self._come:
            return [entry for entry, _ in islice(self._waiting, MOST_AT_ONCE)]

    def _write(self, lot: list[Entry]) -> None:
        try:
            entries.write(self._journal, lot)
        except (IntegrityError, DataError) as error:
            self._singly(lot, error)
        except SQLAlchemyError as error:
            self._pause(error)
        else:
            self._over(lot)

    def _singly(self, lot: list[Entry], error: SQLAlchemyError) -> None:
        """A row that cannot be written must not hold up others; its file stays, and is looked at again at the next start."""
        if len(lot) > 1:
            for entry in lot:
                self._write([entry])
                if not entry.done:
                    return
        else:
            logger().error("row refused by the journal", error=type(error).__name__)
            lot[0].error = error
            self._over(lot)

    def _over(self, lot: list[Entry]) -> None:
        if self._in_trouble:
            self._in_trouble = False
            logger().info("the journal is written again")
        with self._written:
            for entry in lot:
                self._waiting.popleft()
                entry.done = True
            self._tell()
            self._written.notify_all()

    def _pause(self, error: SQLAlchemyError) -> None:
        if not self._in_trouble:
            self._in_trouble = True
            logger().error("the journal cannot be written, rows wait", error=type(error).__name__)
        time.sleep(AGAIN_S)
