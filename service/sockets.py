"""Small messages leave at once: with the delay that TCP adds by default each object would cost 40 ms."""

from __future__ import annotations

import socket
from typing import Any

from pynetdicom import evt


def _without_delay(event: Any) -> None:
    event.assoc.dul.socket.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


# Event handlers for every association that duet accepts or requests.
PROMPT: list[Any] = [(evt.EVT_CONN_OPEN, _without_delay)]
