"""The audit trail on its way to a syslog server: RFC 5424 with the message as XML (PS3.15 A.6), read from the file.

How far it has got is remembered beside the file, so a server that is away delays records and loses none (but by UDP, which
tells nobody what it has lost).
"""

from __future__ import annotations

import errno
import json
import os
import socket
import ssl
import time
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

from service.audit import Message, Outcome, Trail
from service.logs import logger
from service.tls import TlsError, TlsSettings, Trust, why

FACILITY = 10  # security/authorization, RFC 5424 6.2.1
SEVERITY = {Outcome.SUCCESS: 5, Outcome.MINOR: 4, Outcome.SERIOUS: 3, Outcome.MAJOR: 2}
BOM = b"\xef\xbb\xbf"
CONNECT_S = 10.0
FIRST_RETRY_S, LONGEST_RETRY_S = 5.0, 300.0
AT_ONCE = 200  # records of a step
_TEXTS = ("EventOutcomeDescription", "ParticipantObjectName", "ParticipantObjectQuery")


def as_xml(message: Message) -> bytes:
    """An audit message in the schema of PS3.15 A.5.1, UTF-8."""
    written: bytes = ET.tostring(_element("AuditMessage", message), encoding="utf-8", xml_declaration=True)
    return written


def _element(name: str, content: Message) -> ET.Element:
    """Words are attributes, but for the few elements that hold text; tables and lists are elements, in their order."""
    element = ET.Element(name)
    for key, value in content.items():
        if key in _TEXTS:
            ET.SubElement(element, key).text = value
        elif isinstance(value, str):
            element.set(key, value)
        else:
            element.extend(_element(key, each) for each in (value if isinstance(value, list) else [value]))
    return element


def as_syslog(message: Message) -> bytes:
    """One RFC 5424 message, without framing."""
    identification = message["EventIdentification"]
    priority = FACILITY * 8 + SEVERITY[Outcome(identification["EventOutcomeIndicator"])]
    host = socket.gethostname() or "-"
    header = f"<{priority}>1 {identification['EventDateTime']} {host} duet {os.getpid()} DICOM+RFC3881 - "
    return header.encode("ascii", errors="replace") + BOM + as_xml(message)


class SyslogSender:
    """Sends what is in the trail and was not sent yet; for a thread of its own."""

    def __init__(self, trail: Trail, tls: TlsSettings) -> None:
        self._trail, self._tls = trail, tls
        self._connection: socket.socket | None = None
        self._failures, self._next_at = 0, 0.0

    def step(self) -> None:
        """Send some records; where the server cannot be had, try again later."""
        if self._trail.settings.server is None or time.monotonic() < self._next_at:
            return
        try:
            while self._send_some():
                pass
        except (OSError, TlsError) as error:
            self._disconnect()
            delay = min(FIRST_RETRY_S * 2**self._failures, LONGEST_RETRY_S)
            self._failures, self._next_at = self._failures + 1, time.monotonic() + delay
            said = str(error) if isinstance(error, TlsError) else error.strerror or why(error)
            logger().warning("audit trail not sent", server=self._trail.settings.syslog, error=said, again_in_s=delay)
        else:
            self._failures = 0

    def close(self) -> None:
        self._disconnect()

    def _send_some(self) -> bool:
        """Whether there was anything to send. Raises OSError, TlsError."""
        number, byte, lines = self._unsent()
        try:
            for line in lines:
                self._send(line)
                byte += len(line)
        finally:
            if lines:
                self._remember(number, byte)
        return bool(lines)

    def _unsent(self) -> tuple[int, int, Sequence[bytes]]:
        """The file's number, the byte in it, and whole lines from there on."""
        trail = self._trail
        with trail.alone():
            number, byte = trail.position()
            full = trail.full()
            if number not in full and number <= trail.newest():  # at the beginning, or its file was deleted
                number, byte = next((each for each in full if each > number), trail.newest() + 1), 0
            while number in full and trail.numbered(number).stat().st_size <= byte:
                number, byte = number + 1, 0
            path = trail.numbered(number) if number in full else trail.current
            return number, byte, _lines(path, byte)

    def _remember(self, number: int, byte: int) -> None:
        path = self._trail.folder / "audit.sent"
        with self._trail.alone():
            path.with_suffix(".new").write_text(json.dumps([number, byte]))
            path.with_suffix(".new").replace(path)

    def _send(self, line: bytes) -> None:
        way, host, port = self._trail.settings.server or ("", "", 0)
        try:
            packet = as_syslog(json.loads(line)["AuditMessage"])
        except (ValueError, KeyError):  # half a line of a machine that lost its power
            return
        if way == "udp":
            _send_datagram(packet, host, port)
            return
        if self._connection is not None and _ended(self._connection):
            self._disconnect()
        if self._connection is None:
            self._connection = self._connect(way, host, port)
        self._connection.sendall(b"%d " % len(packet) + packet)  # RFC 5425 4.3, RFC 6587 3.4.1: octet counting

    def _connect(self, way: str, host: str, port: int) -> socket.socket:
        plain = socket.create_connection((host, port), timeout=CONNECT_S)
        if way == "tcp":
            return plain
        try:
            context = Trust(tls=self._tls, ca_file=self._trail.settings.ca_file).context()
            return context.wrap_socket(plain, server_hostname=host)
        except (OSError, TlsError):
            plain.close()
            raise

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _lines(path: Path, byte: int) -> list[bytes]:
    if not path.exists():
        return []
    with path.open("rb") as file:
        file.seek(byte)
        found: list[bytes] = []
        while len(found) < AT_ONCE and (line := file.readline()).endswith(b"\n"):
            found.append(line)
        return found


def _send_datagram(packet: bytes, host: str, port: int) -> None:
    """RFC 5426. Raises OSError, but not for a record that no datagram holds."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind, protocol) as sender:
        try:
            sender.sendto(packet, address)
        except OSError as error:
            if error.errno != errno.EMSGSIZE:
                raise
            logger().error("audit record too long for UDP; it stands in the file alone", bytes=len(packet))


def _ended(connection: socket.socket) -> bool:
    """Whether the server has closed the connection; what it says is not heeded, syslog has no answers."""
    connection.settimeout(0)
    try:
        while connection.recv(4096):
            pass
    except (BlockingIOError, ssl.SSLWantReadError):
        return False
    except OSError:
        return True
    finally:
        connection.settimeout(CONNECT_S)
    return True
