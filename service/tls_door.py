"""The TLS of the door: handshakes outside the accept loop, renewed certificates without a restart, a word on each failure."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from service.logs import logger
from service.tls import ClientCertificates, TlsError, TlsSettings, load_own, names_in, restrict, trust_those_in, why

Failed = Callable[[str, str], None]  # told of each handshake that failed: the caller's address, and why


class DoorTls:
    """What pynetdicom takes for an SSLContext: it wraps what was accepted, and the handshake waits for the first read.

    pynetdicom wraps in its accept loop, where one silent caller would shut everybody out. The first read happens in the
    association's own thread.
    """

    def __init__(self, settings: TlsSettings, handshake_s: float, silence_s: float, failed: Failed) -> None:
        """handshake_s: for all of a handshake; silence_s: for a read or write after it. Raises TlsError."""
        self._settings, self._limits, self._failed = settings, (handshake_s, silence_s), failed
        self._seen = self._stamps()
        self._context = self._load()

    def wrap_socket(self, accepted: socket.socket, server_side: bool = True) -> ssl.SSLSocket:
        """Without a handshake; called in the accept loop."""
        self._renew()
        accepted.settimeout(self._limits[0])
        return self._context.wrap_socket(
            accepted, server_side=server_side, do_handshake_on_connect=False, suppress_ragged_eofs=True
        )

    def _renew(self) -> None:
        """Take up files that were exchanged; where they cannot be used the old ones stay."""
        stamps = self._stamps()
        if stamps == self._seen:
            return
        self._seen = stamps
        try:
            self._context = self._load()
        except TlsError as error:
            logger().error("renewed certificate refused; the door keeps the one before", error=str(error))
        else:
            logger().info("renewed certificate taken up")

    def _load(self) -> ssl.SSLContext:
        context = _DoorContext(ssl.PROTOCOL_TLS_SERVER)
        context.limits, context.failed = self._limits, self._failed
        restrict(context)
        context.num_tickets = 0  # no resumption: each association has keys of its own
        load_own(context, self._settings)
        if self._settings.client_certificates is ClientCertificates.REQUIRE and self._settings.ca_file is not None:
            trust_those_in(context, self._settings.ca_file)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _stamps(self) -> Mapping[Path, tuple[int, int]]:
        """Each file's inode and time of change; a file that is not there has none."""
        found = {}
        for path in self._settings.files:
            try:
                stat = path.stat()
            except OSError:
                continue
            found[path] = (stat.st_ino, stat.st_mtime_ns)
        return found


class _DoorContext(ssl.SSLContext):
    limits: tuple[float, float]
    failed: Failed

    def __new__(cls, *args: Any, **options: Any) -> _DoorContext:
        context = super().__new__(cls, *args, **options)
        context.sslsocket_class = _DoorSocket
        return context


class _DoorSocket(ssl.SSLSocket):
    """Its first read is the handshake. Whatever ends it before that was done is told, once."""

    _caller = ""
    _greeted = _told = False

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        self._greet()
        return super().recv(buflen, flags)

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        self._greet()
        return super().recv_into(buffer, nbytes, flags)

    def shutdown(self, how: int) -> None:
        self._tell("it did not finish the TLS handshake in time")
        super().shutdown(how)

    def _greet(self) -> None:
        if self._greeted:
            return
        if self._told:  # nothing is read of a caller whose handshake has failed
            raise ConnectionAbortedError
        self._caller = _address(self)
        try:
            self.do_handshake()
        except OSError as error:
            self._tell(why(error))
            raise
        self._greeted = True
        if isinstance(self.context, _DoorContext):  # which made this socket
            self.settimeout(self.context.limits[1])

    def _tell(self, reason: str) -> None:
        if self._greeted or self._told or not isinstance(self.context, _DoorContext):
            return
        self._told = True
        self.context.failed(self._caller or _address(self), reason)


def _address(connection: socket.socket) -> str:
    try:
        return str(connection.getpeername()[0])
    except OSError:
        return "unknown"


def names_of_caller(assoc: Any) -> tuple[str, ...]:
    """The names in the certificate that a caller has shown; empty without TLS or certificate."""
    connection = assoc.dul.socket.socket
    return tuple(names_in(connection.getpeercert())) if isinstance(connection, ssl.SSLSocket) else ()
