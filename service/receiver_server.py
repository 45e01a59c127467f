"""The listening socket: takes every caller in at once, and lets the silent ones wait without holding a place."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import Any, cast

from pynetdicom import AE
from pynetdicom.transport import AssociationServer, RequestHandler

from service.keeping import StoreHandler
from service.logs import logger
from service.receiver_wire import Bounds, Wire, quicken
from service.tls_door import DoorTls

BACKLOG = 256
MOST_SILENT = 256  # connections that have asked for nothing yet; beyond, the oldest gives way
LOOK_AGAIN_S = 0.02  # for a place
LOOK_UP_S = 0.1  # whether the door is to close
COLLECT_EVERY = 300  # looks: pynetdicom's ended associations are rings, which only the collector takes away


class _Caller(RequestHandler):
    """Makes an association of a connection."""

    server: Door

    def handle(self) -> None:
        self.server.make_room()
        super().handle()

    def _create_association(self) -> Any:
        assoc = super()._create_association()
        quicken(assoc, self.request, self.server.bounds, self.server.stores)
        return assoc


class Door(AssociationServer):
    """pynetdicom's server with associations of our own."""

    request_queue_size = BACKLOG

    def __init__(
        self,
        ae: AE,
        address: tuple[str, int],
        handlers: list[Any],
        bounds: Bounds,
        stores: StoreHandler,
        tls: DoorTls | None = None,
    ) -> None:
        """Raises OSError where the address cannot be had."""
        own: Any = {"ssl_context": tls, "evt_handlers": handlers, "request_handler": _Caller}
        super().__init__(ae, address, ae.ae_title, ae.supported_contexts, **own)
        self.bounds, self.stores = bounds, stores
        self._thread = threading.Thread(target=self.serve_forever, args=(LOOK_UP_S,), name="door", daemon=True)
        self._gc = [0, COLLECT_EVERY]
        cast(list[Any], ae._servers).append(self)  # from which shutdown() takes it

    def open(self) -> None:
        self._thread.start()

    @property
    def is_open(self) -> bool:
        """Whether callers are taken."""
        return self._thread.is_alive() and self.socket is not None and self.socket.fileno() >= 0

    def make_room(self) -> None:
        """Close the oldest connection that has said nothing, where there are too many of them."""
        silent = [assoc for assoc in self.active_associations if _silent(assoc)]
        for assoc in silent[: max(0, len(silent) - MOST_SILENT)]:
            logger().warning("too many silent connections, the oldest was closed", address=assoc.requestor.address)
            hang_up(assoc)

    def close(self) -> None:
        """Close the door, and break what is open: what was not acknowledged comes again."""
        self.shutdown()
        for assoc in self.active_associations:
            hang_up(assoc) if _silent(assoc) else assoc.abort(block=False)


def _silent(assoc: Any) -> bool:
    """Whether the caller has not asked for an association yet."""
    return assoc.requestor.primitive is None


def hang_up(assoc: Any) -> None:
    """End the connection; its threads see that."""
    wire: Wire | None = assoc.dul.socket
    if wire is not None and wire.socket is not None:
        with contextlib.suppress(OSError):
            wire.socket.shutdown(socket.SHUT_RDWR)


class Places:
    """How many associations may be at work; who comes when all are taken waits a while."""

    def __init__(self, most: int, wait_s: float) -> None:
        self._most, self._wait_s = most, wait_s
        self._taken: list[Any] = []
        self._guard = threading.Lock()

    def take(self, assoc: Any) -> bool:
        """Whether there was a place in time; it is held for as long as the association lives."""
        deadline = time.monotonic() + self._wait_s
        while not self._took(assoc):
            if time.monotonic() > deadline:
                return False
            time.sleep(LOOK_AGAIN_S)
        return True

    def _took(self, assoc: Any) -> bool:
        with self._guard:
            self._taken = [each for each in self._taken if each.is_alive()]
            if len(self._taken) >= self._most:
                return False
            self._taken.append(assoc)
            return True
