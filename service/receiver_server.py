"""The listening socket: takes every caller in at once, and lets the silent ones wait without holding a place.

Where the node has door processes, this is what stays with the node: each connection goes on to one of them as it came, and
there a HandedDoor makes an association of it.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from pynetdicom import AE, evt
from pynetdicom.transport import AssociationServer, RequestHandler

from service.door_board import Number, Row
from service.door_channel import Gone, Over, received
from service.keeping import StoreHandler
from service.logs import logger
from service.receiver_socket import Wire
from service.receiver_wire import Bounds, quicken
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
        assoc = self._create_association()
        evt.trigger(assoc, evt.EVT_CONN_OPEN, {"address": self.client_address})
        try:
            assoc.start()
        except RuntimeError:  # no more threads
            assoc.dul.end()
            raise

    def _create_association(self) -> Any:
        assoc = super()._create_association()
        quicken(assoc, self.request, self.server.serving.bounds, self.server.serving.stores)
        return assoc


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """What all associations of a process share. row: what others see of this process."""

    bounds: Bounds
    stores: StoreHandler
    places: Places
    row: Row


def _to_nobody(_: socket.socket) -> bool:
    return False


class Door(AssociationServer):
    """pynetdicom's server with associations of our own."""

    request_queue_size = BACKLOG

    def __init__(
        self, ae: AE, address: tuple[str, int], handlers: list[Any], serving: Serving, tls: DoorTls | None = None
    ) -> None:
        """Raises OSError where the address cannot be had."""
        own: Any = {"ssl_context": tls, "evt_handlers": handlers, "request_handler": _Caller}
        super().__init__(ae, address, ae.ae_title, ae.supported_contexts, **own)
        self.serving = serving
        self.pass_on: Callable[[socket.socket], bool] = _to_nobody  # whether a process has taken a connection
        self._thread = threading.Thread(target=self.serve_forever, args=(LOOK_UP_S,), name="door", daemon=True)
        self._gc = [0, COLLECT_EVERY]
        cast(list[Any], ae._servers).append(self)  # from which shutdown() takes it

    def open(self) -> None:
        self._thread.start()

    @property
    def is_open(self) -> bool:
        """Whether callers are taken."""
        return self._thread.is_alive() and self.socket is not None and self.socket.fileno() >= 0

    def get_request(self) -> tuple[socket.socket, Any]:
        """A connection as it came: who serves it makes it a TLS connection."""
        try:
            return cast(socket.socket, self.socket).accept()
        except OSError:  # as many are open as may be: the caller waits, and this thread must not run in circles
            time.sleep(LOOK_AGAIN_S)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        if self.pass_on(request):
            request.close()  # this process's end of it
            return
        if self.ssl_context is not None:
            request = self.ssl_context.wrap_socket(request, server_side=True)
        super().process_request(request, client_address)

    def make_room(self) -> None:
        """Close the oldest connection that has said nothing, where there are too many of them."""
        silent = [assoc for assoc in self.active_associations if _silent(assoc)]
        for assoc in silent[: max(0, len(silent) - MOST_SILENT)]:
            logger().warning("too many silent connections, the oldest was closed", address=assoc.requestor.address)
            hang_up(assoc)

    def handle_error(self, _: Any, client_address: Any) -> None:
        """No association could be made of a connection, which is closed now. Without its message, which may quote a caller."""
        logger().error("a caller could not be served", error=type(sys.exception()).__name__, address=client_address[0])

    def left(self, assoc: Any) -> None:
        """An association has ended."""
        self.serving.places.leave(assoc)

    def close(self) -> None:
        """Close the door, and break what is open: what was not acknowledged comes again."""
        self.shutdown()
        for assoc in self.active_associations:
            hang_up(assoc) if _silent(assoc) else assoc.abort(block=False)


class HandedDoor(Door):
    """The door of a process that is handed its connections."""

    def __init__(
        self, ae: AE, channel: socket.socket, handlers: list[Any], serving: Serving, tls: DoorTls | None = None
    ) -> None:
        self._channel = channel
        self.over = threading.Event()  # the node has said that it ends
        self.beat = time.monotonic_ns()  # its thread's last sign of life
        super().__init__(ae, ("", 0), handlers, serving, tls)

    def server_bind(self) -> None:
        """What is listened to is the node."""
        cast(socket.socket, self.socket).close()
        self.socket = self._channel

    def server_activate(self) -> None:
        pass

    def get_request(self) -> tuple[socket.socket, Any]:
        """Raises OSError where there is nobody to be served."""
        try:
            connection = received(self._channel)
        except Over:
            self.over.set()
            raise
        except Gone:
            if not self.over.is_set():
                os._exit(1)  # as the node has, whatever was going on: what was acknowledged is on disk
            time.sleep(LOOK_UP_S)
            raise Over from None
        except OSError:
            logger().error("no more connections can be open, a caller was let go")
            self._ended()
            raise
        try:
            return connection, connection.getpeername()
        except OSError:
            self.shutdown_request(connection)
            self._ended()
            raise

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Of this one no association was made, which would tell its end. (shutdown_request does not serve for that: pynetdicom
        calls it for associations, too, before they leave.)"""
        super().handle_error(request, client_address)
        self._ended()

    def left(self, assoc: Any) -> None:
        super().left(assoc)
        self._ended()

    def _ended(self) -> None:
        with self.serving.row.board.alone():
            self.serving.row.put(Number.ENDED, self.serving.row.get(Number.ENDED) + 1)

    def service_actions(self) -> None:
        super().service_actions()
        self.beat = time.monotonic_ns()


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
    """How many associations may be at work, in all processes together; who comes when all are taken waits a while."""

    def __init__(self, most: int, wait_s: float, row: Row) -> None:
        self._most, self._wait_s, self._row = most, wait_s, row
        self._taken: set[Any] = set()

    def take(self, assoc: Any) -> bool:
        """Whether there was a place in time; it is held until the association leaves."""
        deadline = time.monotonic() + self._wait_s
        while not self._took(assoc):
            if time.monotonic() > deadline:
                return False
            time.sleep(LOOK_AGAIN_S)
        return True

    def leave(self, assoc: Any) -> None:
        """Give the place back, where there was one."""
        with self._row.board.alone():
            self._taken.discard(assoc)
            self._row.put(Number.PLACES, len(self._taken))

    def _took(self, assoc: Any) -> bool:
        with self._row.board.alone():
            if sum(self._row.board.all(Number.PLACES)) >= self._most:
                return False
            self._taken.add(assoc)
            self._row.put(Number.PLACES, len(self._taken))
            return True
