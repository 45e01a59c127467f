"""What pynetdicom's associations need to be quick and to lose no answer."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pynetdicom import evt


def _without_delay(event: Any) -> None:
    event.assoc.dul.socket.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


# Event handlers for every association that duet accepts or requests. Small messages leave at once: with the delay that
# TCP adds by default each object would cost 40 ms.
PROMPT: list[Any] = [(evt.EVT_CONN_OPEN, _without_delay)]


class _Gate(threading.Event):
    """Holds pynetdicom's loop until it is opened; `reached` tells that the loop stands before it."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Event()

    def wait(self, timeout: float | None = None) -> bool:
        self.reached.set()
        return super().wait(timeout)

    def set(self) -> None:
        """The send methods open the loop's gate after each answer; this one stays closed between two objects."""

    def open(self) -> None:
        super().set()


@contextmanager
def undisturbed(assoc: Any) -> Iterator[None]:
    """While it lasts, no answer to a request of ours can be lost to pynetdicom's own loop.

    Its send methods pause the loop, but they trust a flag that still says "paused" for a moment after the loop was woken.
    On a busy machine one answer in about two thousand was taken by the loop, and the sender waited for its timeout.
    """
    gate, usual = _Gate(), assoc._reactor_checkpoint
    assoc._reactor_checkpoint = gate
    while not gate.reached.wait(0.01) and assoc.is_alive():
        pass
    try:
        yield
    finally:
        assoc._reactor_checkpoint = usual
        gate.open()
