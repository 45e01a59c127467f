"""A TCP proxy before the door that makes the network bad: slow, in crumbs, cut off, or silent from some byte on."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Toxics:
    """What is done to each connection. crumb: bytes at a time, each after delay_s; counts are of bytes of the sender.

    cut_at: both sides are reset there; silent_at: nothing passes from there on, either way; deaf: no answer comes back
    after the first (that of the association).
    """

    crumb: int = 65536
    delay_s: float = 0.0
    cut_at: int | None = None
    silent_at: int | None = None
    deaf: bool = False


class Proxy:
    """Listens on a port of its own until it is closed."""

    def __init__(self, port: int, toxics: Toxics) -> None:
        self._target, self._toxics = port, toxics
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                caller, _ = self._listener.accept()
                door = socket.create_connection(("127.0.0.1", self._target))
                self._sockets += [caller, door]
                for pump in (self._forth, self._back):
                    threading.Thread(target=pump, args=(caller, door), daemon=True).start()

    def _forth(self, caller: socket.socket, door: socket.socket) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while piece := caller.recv(self._toxics.crumb):
                time.sleep(self._toxics.delay_s)
                for limit in (self._toxics.cut_at, self._toxics.silent_at):
                    piece = piece if limit is None else piece[: max(limit - passed, 0)]
                door.sendall(piece)
                passed += len(piece)
                if self._toxics.cut_at is not None and passed >= self._toxics.cut_at:
                    return self._end(caller, door)
            self._end(caller, door)
        return None

    def _back(self, caller: socket.socket, door: socket.socket) -> None:
        answers = 0
        with contextlib.suppress(OSError):
            while piece := door.recv(65536):
                answers += 1
                if not (self._toxics.deaf and answers > 1):
                    caller.sendall(piece)
            self._end(caller, door)

    @staticmethod
    def _end(*sockets: socket.socket) -> None:
        for each in sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()
        self._end(*self._sockets)
        for each in self._sockets:
            each.close()


@contextlib.contextmanager
def through(port: int, **toxics: float | bool | None) -> Iterator[int]:
    """The port of a bad network before the door."""
    proxy = Proxy(port, Toxics(**toxics))  # type: ignore[arg-type]
    try:
        yield proxy.port
    finally:
        proxy.close()
