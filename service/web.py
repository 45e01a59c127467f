"""The pages' server in a thread of the node: what it serves and within which limits."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from typing import TYPE_CHECKING, Any

from service.logs import logger
from service.watched import Watched
from service.web_guard import Guard
from service.web_pages import Material
from service.web_settings import Keyhole, WebSettings, keyhole, listener

if TYPE_CHECKING:
    from uvicorn import Server

LONGEST_HEAD = 16_384  # bytes of a request's line and headers
HEAD_S = 10.0  # so long a connection may take before its first request is whole


class Web:
    """The pages of one node. open() takes the address, serve() answers until stop()."""

    def __init__(self, settings: WebSettings) -> None:
        self._settings = settings
        self._keyhole: Keyhole | None = None
        self._socket: socket.socket | None = None
        self._server: Server | None = None
        self._stopped = threading.Event()

    def open(self) -> None:
        """Raises BadSettings where the address is taken, or a password or certificate cannot be used."""
        self._keyhole = keyhole(self._settings)
        self._socket = listener(self._settings)
        if self._keyhole is not None and not self._settings.local and not self._settings.encrypted:
            logger().warning("the pages' password travels unencrypted; set [web] certificate_file, or a proxy before it")

    def serve(self, watched: Watched, material: Material) -> None:
        """Answer until stopped."""
        import uvicorn

        from service.web_app import application

        assert self._socket is not None  # noqa: S101  opened before anything is served
        logging.getLogger("uvicorn").setLevel(logging.CRITICAL)  # its lines quote requests and errors, which may name patients
        guarded = Guard(application(watched, material), self._settings, self._keyhole)
        self._server = uvicorn.Server(self._config(guarded))
        if not self._stopped.is_set():
            self._server.run(sockets=[self._socket])

    def _config(self, guarded: Guard) -> Any:
        import uvicorn

        settings = self._settings
        return uvicorn.Config(
            guarded,
            loop="asyncio",
            http=_limited(settings.connections, settings.connection_s),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=settings.connections,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=2,
            h11_max_incomplete_event_size=LONGEST_HEAD,
            ssl_certfile=settings.certificate_file or None,
            ssl_keyfile=settings.key_file or None,
        )

    def stop(self) -> None:
        """End soon; what is being answered has two seconds."""
        self._stopped.set()
        if self._server is not None:
            self._server.should_exit = True
        elif self._socket is not None:
            self._socket.close()


def _limited(connections: int, longest_s: float) -> type[asyncio.Protocol]:
    """uvicorn's HTTP with an end to every connection: whoever sends or reads slowly holds no place for long."""
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Limited(H11Protocol):
        """Closes a connection without a whole request after HEAD_S, and any after longest_s."""

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if len(self.connections) > connections:  # each takes a file descriptor, which the door needs, too
                transport.abort()
            head = self.loop.call_later(HEAD_S, self._close_unless_asked)
            self._ends = (head, self.loop.call_later(longest_s, self._abort))

        def connection_lost(self, exc: Exception | None) -> None:
            for end in self._ends:
                end.cancel()
            super().connection_lost(exc)

        def _close_unless_asked(self) -> None:
            if self.cycle is None:
                self._abort()

        def _abort(self) -> None:
            if self.transport is not None:
                self.transport.abort()

    return Limited
