"""The receiver's connection: what has come is taken from it in large pieces and within bounded time."""

from __future__ import annotations

import socket
import ssl
import struct
import time
from typing import Any, cast

from pynetdicom.transport import AssociationSocket

FIRST_ROOM, ROOM = 1 << 14, 1 << 18  # bytes that are taken at once: of who asks for an association, and of who sends objects
_TIMEVAL = struct.Struct("ll")


class Wire(AssociationSocket):
    """Takes what has come, however little of it is wanted: each call to the system lets another thread run, and has to wait
    for its turn."""

    def __init__(self, assoc: Any, connection: Any) -> None:
        super().__init__(assoc, client_socket=connection)
        self._limit_s = 0.0
        self._room = memoryview(bytearray(FIRST_ROOM))
        self._start = self._end = 0

    @property
    def holds(self) -> int:
        """Bytes that were taken and are not read yet."""
        return self._end - self._start

    def limit(self, seconds: float) -> None:
        """How long one call may wait for the peer."""
        if seconds == self._limit_s:
            return
        self._limit_s = seconds
        connection = cast(socket.socket, self.socket)
        if isinstance(connection, ssl.SSLSocket):
            connection.settimeout(seconds)
            return
        connection.settimeout(None)  # Python's own timeout costs a look before each call; the system's costs nothing
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            connection.setsockopt(socket.SOL_SOCKET, option, _TIMEVAL.pack(*divmod(round(1e6 * seconds), 1_000_000)))

    def read(self, count: int, deadline: float) -> memoryview | None:
        """So many bytes, which stay as they are until the next call; None where the connection was closed before. Raises
        OSError where they do not come in time."""
        while self.holds < count:
            self._make_room(count)
            got = cast(socket.socket, self.socket).recv_into(self._room[self._end :])
            if not got:
                return None
            self._end += got
            if self.holds < count and time.monotonic() > deadline:
                raise TimeoutError
        self._start += count
        return self._room[self._start - count : self._start]

    def _make_room(self, count: int) -> None:
        """Room for so many bytes in one piece; what is held goes to its beginning."""
        if not self.holds or len(self._room) - self._start < count:
            held = bytes(self._room[self._start : self._end])
            if len(self._room) < count:
                self._room = memoryview(bytearray(max(count, ROOM)))
            self._room[: len(held)] = held
            self._start, self._end = 0, len(held)
