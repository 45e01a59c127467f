"""A syslog receiver: UDP (RFC 5426), TCP (RFC 6587) or TLS (RFC 5425), and a reader of RFC 5424 by its grammar."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
import xml.etree.ElementTree as ET
from dataclasses import dataclass

# RFC 5424 6: HEADER SP STRUCTURED-DATA [SP MSG]; each field printable ASCII of limited length, or "-".
_RFC_5424 = re.compile(
    rb"<(?P<pri>0|[1-9][0-9]{0,2})>(?P<version>[1-9][0-9]{0,2}) "
    rb"(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)) "
    rb"(?P<host>[\x21-\x7e]{1,255}) (?P<app>[\x21-\x7e]{1,48}) (?P<proc>[\x21-\x7e]{1,128}) (?P<msgid>[\x21-\x7e]{1,32}) "
    rb"(?P<data>-|(?:\[[^\]]+\])+) \xef\xbb\xbf(?P<msg>.*)",
    re.DOTALL,
)


@dataclass(frozen=True, kw_only=True)
class Heard:
    """One message."""

    facility: int
    severity: int
    time: str
    app: str
    msgid: str
    xml: ET.Element


def read(packet: bytes) -> Heard:
    """Fails where it is no RFC 5424 message with XML in UTF-8."""
    match = _RFC_5424.fullmatch(packet)
    assert match is not None, packet[:200]
    assert match["version"] == b"1"
    facility, severity = divmod(int(match["pri"]), 8)
    assert 0 <= facility <= 23
    words = {name: match[name].decode("ascii") for name in ("time", "app", "msgid")}
    return Heard(facility=facility, severity=severity, xml=ET.fromstring(match["msg"].decode("utf-8")), **words)  # noqa: S314


def frames(stream: bytes) -> list[bytes]:
    """RFC 5425 4.3: MSG-LEN SP SYSLOG-MSG, whole ones."""
    found = []
    while match := re.match(rb"([1-9][0-9]*) ", stream):
        end = match.end() + int(match[1])
        if len(stream) < end:
            break
        found.append(stream[match.end() : end])
        stream = stream[end:]
    return found


class SyslogServer:
    """Listens until it is stopped; can be started anew on its port."""

    def __init__(self, way: str, context: ssl.SSLContext | None = None, port: int = 0) -> None:
        self._packets: list[bytes] = []
        self._streams: dict[int, bytes] = {}
        self._open: list[socket.socket] = []
        self._context = context
        kind = socket.SOCK_DGRAM if way == "udp" else socket.SOCK_STREAM
        self._socket = socket.socket(socket.AF_INET, kind)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", port))
        if kind == socket.SOCK_STREAM:
            self._socket.listen()
        self.port = int(self._socket.getsockname()[1])
        threading.Thread(target=self._datagrams if way == "udp" else self._calls, daemon=True).start()

    def heard(self) -> list[Heard]:
        streams = [frame for _, stream in sorted(self._streams.items()) for frame in frames(stream)]
        return [read(packet) for packet in (*self._packets, *streams)]

    def stop(self) -> None:
        for each in (self._socket, *self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _datagrams(self) -> None:
        try:
            while packet := self._socket.recv(65535):
                self._packets.append(packet)
        except OSError:
            return

    def _calls(self) -> None:
        try:
            for number in range(100):
                connection, _ = self._socket.accept()
                self._open.append(connection)
                threading.Thread(target=self._listen, args=(connection, number), daemon=True).start()
        except OSError:
            return

    def _listen(self, connection: socket.socket, number: int) -> None:
        try:
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
                self._open.append(connection)
            while content := connection.recv(65535):
                self._streams[number] = self._streams.get(number, b"") + content
        except OSError:
            return
