"""Numbers that the node and its door processes share: memory of which each writes its own row, and everybody reads all."""

from __future__ import annotations

import fcntl
import mmap
import os
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

LONGEST_S = 10.0  # so long rows are waited for; senders give up after half a minute
LOOK_AGAIN_S = 0.005
_BYTES = 8  # of a number; written in one piece, so that nobody reads half of it


class Number(IntEnum):
    """One of a row. Times are those of time.monotonic_ns(), which is the same in all processes of a machine."""

    BEAT = 0  # its last sign of life; 0: none yet
    ENDED = 1  # connections that it was handed and that have ended
    PLACES = 2  # associations that are at work
    UNWRITTEN = 3  # since when the oldest row waits for the journal; 0: none waits
    BEHIND = 4  # 1: they wait for so long that objects are refused
    STORED = 5
    REFUSED = 6
    FAILED = 7
    RECEIVED = 8  # bytes


class Board:
    """A row of numbers for each process."""

    def __init__(self, rows: int, descriptor: int | None = None) -> None:
        """rows: one where nothing is shared. descriptor: of the memory that another process has made."""
        self.rows = rows
        self.descriptor = descriptor
        size = rows * len(Number) * _BYTES
        if rows > 1 and descriptor is None:
            self.descriptor = os.memfd_create("duet door")
            weakref.finalize(self, os.close, self.descriptor)
            os.ftruncate(self.descriptor, size)
        memory = bytearray(size) if self.descriptor is None else mmap.mmap(self.descriptor, size)
        self._numbers = memoryview(memory).cast("q")
        self._guard = threading.Lock()

    def row(self, index: int) -> Row:
        """What the process of this number writes; 0 is the node."""
        return Row(self, index)

    def get(self, row: int, number: Number) -> int:
        return self._numbers[row * len(Number) + number]

    def put(self, row: int, number: Number, value: int) -> None:
        self._numbers[row * len(Number) + number] = value

    def all(self, number: Number) -> list[int]:
        """This number of every process."""
        return [self.get(row, number) for row in range(self.rows)]

    def clear(self, row: int) -> None:
        """A process has ended, and another is to write this row."""
        for number in Number:
            self.put(row, number, 0)

    def wait_until_written(self, moment: int) -> None:
        """Returns when no row waits any more that waited at the moment, in whatever process. Raises TimeoutError."""
        deadline = time.monotonic() + LONGEST_S
        while any(0 < since <= moment for since in self.all(Number.UNWRITTEN)):
            if time.monotonic() > deadline:
                raise TimeoutError
            time.sleep(LOOK_AGAIN_S)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """No other thread of any process is in here meanwhile; the lock of a process that is killed ends with it."""
        with self._guard:
            if self.descriptor is None:
                yield
                return
            fcntl.lockf(self.descriptor, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.lockf(self.descriptor, fcntl.LOCK_UN)


class Row:
    """The numbers of one process."""

    def __init__(self, board: Board, index: int) -> None:
        self.board, self._index = board, index

    def get(self, number: Number) -> int:
        return self.board.get(self._index, number)

    def put(self, number: Number, value: int) -> None:
        self.board.put(self._index, number, value)
