"""The DICOM door: C-ECHO and C-STORE; bytes go to the inbox undecoded, and a named status goes back.

Storage commitment comes in here, too, and is handled by others.
"""

from __future__ import annotations

import ipaddress
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pynetdicom import AE, _config, evt
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification  # type: ignore[attr-defined]

from analysis.errors import BadSettings
from service.audit_events import Refusals
from service.bounds import check_ae_title, check_not_negative, check_port, check_positive
from service.counts import BYTES, COUNTS, OBJECTS
from service.door_board import Board, Number, Row
from service.inbox import Inbox
from service.journal import Journal
from service.keeping import PROCESSING_FAILURE, StoreHandler
from service.logs import logger
from service.receiver_server import LOOK_UP_S, Door, HandedDoor, Places, Serving
from service.receiver_wire import Bounds
from service.registrar import BehindError
from service.sockets import PROMPT
from service.tls import TlsError, TlsSettings
from service.tls_door import DoorTls, names_of_caller

MAXIMUM_PDU = 131072
COUNTED = {Number.STORED: "stored", Number.REFUSED: "refused", Number.FAILED: "failed"}  # as metrics name them

# PS3.8 9.3.4: result, source, reason
_REJECTED_PERMANENT, _SERVICE_USER, _CALLING_AE_UNKNOWN, _CALLED_AE_UNKNOWN = 0x01, 0x01, 0x03, 0x07
_REJECTED_TRANSIENT, _SERVICE_PROVIDER, _LOCAL_LIMIT_EXCEEDED = 0x02, 0x03, 0x02


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverSettings:
    """[receiver]. port: of the door without TLS; 0: there is none. allow: who may call, each as "AET", "10.1.0.0/16" or
    "AET@10.1.0.0/16"; empty: this machine only. require_called_ae: callers must name this node's AE title, or one of
    also_called (a node adds what its archives are told to move to).

    processes: that serve what is received; the node itself has only the port then. 0: the node serves everybody itself.
    free_gb: below this much free disk, objects are refused with 0xA700. Timeouts in s: an association that is not asked
    for, or falls silent, is closed after that time, so that idle sockets do not hold places.
    """

    host: str = "0.0.0.0"  # noqa: S104  a node is there to be called; `allow` says by whom
    port: int = 11112
    allow: tuple[str, ...] = ()
    require_called_ae: bool = True
    also_called: tuple[str, ...] = ()
    processes: int = 2
    free_gb: float = 2.0
    associations: int = 100
    max_object_mb: int = 4000
    negotiation_timeout_s: float = 10.0
    silence_timeout_s: float = 60.0

    def __post_init__(self) -> None:
        if self.port:
            check_port("port", self.port)
        check_not_negative(free_gb=self.free_gb, processes=self.processes)
        check_positive(
            associations=self.associations,
            max_object_mb=self.max_object_mb,
            negotiation_timeout_s=self.negotiation_timeout_s,
            silence_timeout_s=self.silence_timeout_s,
        )
        for entry in self.allow:
            _network(entry)
        for title in self.also_called:
            check_ae_title("also_called", title)


@dataclass(frozen=True, slots=True, kw_only=True)
class Station:
    """Where a receiver stands: by itself at the port, at the port before door processes, or in one of these.

    pass_on: whether a process has taken a connection of the door of this name. name: of the door process; channels: door's
    name > where its connections come from. row: what others see of this process.
    """

    row: Row
    pass_on: Callable[[str, socket.socket], bool] | None = None
    name: str = ""
    channels: Mapping[str, socket.socket] = field(default_factory=dict)


class Receiver:
    """The node's server; start() returns when the door is open."""

    def __init__(
        self,
        ae_title: str,
        settings: ReceiverSettings,
        inbox: Inbox,
        journal: Journal,
        commitment: Sequence[tuple[Any, Callable[[Any], Any]]] = (),
        tls: TlsSettings | None = None,
    ) -> None:
        """commitment: what handles the events of storage commitment; without it none is offered. tls: for the TLS door."""
        self._ae_title, self._settings = ae_title, settings
        self._store_handler = StoreHandler(inbox, journal, settings.free_gb, settings.max_object_mb)
        self._commitment = commitment
        self._tls = tls or TlsSettings()
        self._servers: list[Door] = []
        self._refusals = Refusals()
        self._titles = {title.strip() for title in (ae_title, *settings.also_called)}
        self._station = Station(row=Board(1).row(0))

    def start(self, station: Station | None = None) -> None:
        """station: empty: by itself. Raises BadSettings where an address is taken or a certificate cannot be used."""
        self._station = station or self._station
        row = self._station.row
        self._store_handler.in_process(self._station.name, row)
        bounds = Bounds(
            pdu=MAXIMUM_PDU,
            negotiation_s=self._settings.negotiation_timeout_s,
            silence_s=self._settings.silence_timeout_s,
        )
        places = Places(self._settings.associations, self._settings.negotiation_timeout_s, row)
        serving = Serving(bounds=bounds, stores=self._store_handler, places=places, row=row)
        _config.UNRESTRICTED_STORAGE_SERVICE = True
        _config.LOG_HANDLER_LEVEL = "none"
        ae = AE(ae_title=self._ae_title)
        ae.maximum_pdu_size = MAXIMUM_PDU
        ae.maximum_associations = sys.maxsize  # pynetdicom would count the silent ones, too; see Places
        ae.acse_timeout = self._settings.negotiation_timeout_s
        ae.dimse_timeout = ae.network_timeout = self._settings.silence_timeout_s
        ae.add_supported_context(Verification)
        if self._commitment:  # both ways round: a destination that reports calls as the provider
            ae.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
        handlers: list[Any] = [
            *PROMPT,
            *((event, partial(self._settled, handle)) for event, handle in self._commitment),
            (evt.EVT_REQUESTED, self._on_requested),
            *self._store_handler.ends,
        ]
        if not (self._settings.port or self._tls.port):
            raise BadSettings("[receiver] port and [tls] port are both 0, so that nobody could call.")
        try:
            if self._tls.port:
                self._open("tls", ae, handlers, serving, self._door_tls())
            if self._settings.port:
                self._open("receiver", ae, handlers, serving)
        except BadSettings:
            self.stop()
            raise

    def stop(self) -> None:
        """Returns when the doors are closed and, where the journal can be written, it holds all that was acknowledged."""
        while self._servers:
            self._servers.pop().close()
        with suppress(BehindError):  # then the next start finds the files
            self._store_handler.settle()
        self._publish()

    def wait_until_over(self) -> None:
        """In a door process: returns when the node asks it to end."""
        handed = [door for door in self._servers if isinstance(door, HandedDoor)]
        while not any(door.over.wait(LOOK_UP_S) for door in handed):
            self._publish()
            self._station.row.put(Number.BEAT, min(door.beat for door in handed))

    def _publish(self) -> None:
        """What the node tells of this process."""
        row = self._station.row
        row.put(Number.BEHIND, int(self._store_handler.behind))
        counted = COUNTS.of(OBJECTS)
        for number, label in COUNTED.items():
            row.put(number, int(counted.get(label, 0)))
        row.put(Number.RECEIVED, int(sum(COUNTS.of(BYTES).values())))

    def _settled(self, handle: Callable[[Any], Any], event: Any) -> Any:
        """Storage commitment is answered from the journal: it must hold what was acknowledged before."""
        now = time.monotonic_ns()
        try:
            self._store_handler.settle()
            self._station.row.board.wait_until_written(now)
        except (BehindError, TimeoutError):
            return PROCESSING_FAILURE, None
        return handle(event)

    def _open(self, section: str, ae: AE, handlers: list[Any], serving: Serving, tls: DoorTls | None = None) -> None:
        settings = self._settings if tls is None else self._tls
        address = (settings.host, settings.port)
        if section in self._station.channels:
            door: Door = HandedDoor(ae, self._station.channels[section], handlers, serving, tls)
        else:
            try:
                door = Door(ae, address, handlers, serving, tls)
            except OSError as error:
                raise BadSettings(f"[{section}] {address[0]}:{address[1]} cannot be opened: {error.strerror}.") from None
        if self._station.pass_on is not None:
            door.pass_on = partial(self._station.pass_on, section)
        self._servers.append(door)
        door.open()

    def _door_tls(self) -> DoorTls:
        limits = (self._settings.negotiation_timeout_s, self._settings.silence_timeout_s)
        try:
            return DoorTls(self._tls, *limits, failed=self._handshake_failed)
        except TlsError as error:
            raise BadSettings(str(error)) from None

    @property
    def is_open(self) -> bool:
        """Whether callers are taken."""
        return bool(self._servers) and all(door.is_open for door in self._servers)

    @property
    def is_behind(self) -> bool:
        """Whether objects are refused because the journal cannot be written."""
        return self._store_handler.behind

    def _on_requested(self, event: Any) -> None:
        calling = str(event.assoc.requestor.primitive.calling_ae_title).strip()
        address = str(event.assoc.requestor.address)
        called = str(event.assoc.requestor.primitive.called_ae_title).strip()
        if not admitted(self._settings.allow, calling, address):
            self._refuse(event.assoc, _CALLING_AE_UNKNOWN, "caller refused")
        elif self._tls.match_ae_title and not self._named(event.assoc, calling):
            self._refuse(event.assoc, _CALLING_AE_UNKNOWN, "caller refused: its certificate bears another name")
        elif self._settings.require_called_ae and called not in self._titles:
            self._refuse(event.assoc, _CALLED_AE_UNKNOWN, "caller refused: it called another AE title")
        elif not event.assoc._server.serving.places.take(event.assoc):
            logger().warning("all associations are taken, caller put off", calling_ae=calling, address=address)
            _reject(event.assoc, _REJECTED_TRANSIENT, _SERVICE_PROVIDER, _LOCAL_LIMIT_EXCEEDED)

    def _refuse(self, assoc: Any, reason: int, event: str) -> None:
        request, address = assoc.requestor.primitive, str(assoc.requestor.address)
        calling, called = str(request.calling_ae_title).strip(), str(request.called_ae_title).strip()
        logger().warning(event, calling_ae=calling, called_ae=called, address=address)
        self._refusals.enter(self._ae_title, address, event, calling)
        _reject(assoc, _REJECTED_PERMANENT, _SERVICE_USER, reason)

    def _handshake_failed(self, address: str, reason: str) -> None:
        logger().warning("TLS handshake failed", address=address, reason=reason)
        self._refusals.enter(self._ae_title, address, f"TLS handshake failed: {reason}")

    def _named(self, assoc: Any, calling: str) -> bool:
        """Whether a caller's certificate bears its AE title; the door without TLS asks for none."""
        return assoc._server.ssl_context is None or calling in names_of_caller(assoc)


def _reject(assoc: Any, result: int, source: int, reason: int) -> None:
    assoc.acse.send_reject(result, source, reason)
    assoc.is_rejected = True
    assoc.kill()  # returns when the answer has left


def admitted(allow: Sequence[str], calling_ae: str, address: str) -> bool:
    """Whether a caller is on the list; with an empty list only this machine is."""
    ip = ipaddress.ip_address(address)
    ip = getattr(ip, "ipv4_mapped", None) or ip
    if not allow:
        return ip.is_loopback
    for entry in allow:
        title, network = _network(entry)
        if title in ("", calling_ae) and (network is None or ip in network):
            return True
    return False


def _network(entry: str) -> tuple[str, ipaddress.IPv4Network | ipaddress.IPv6Network | None]:
    """An entry of `allow` as (AE title or "", network or None)."""
    title, at, address = entry.partition("@")
    if not at:
        title, address = ("", entry) if any(c in entry for c in "./:") else (entry, "")
    try:
        return title, ipaddress.ip_network(address, strict=False) if address else None
    except ValueError:
        raise ValueError(f"{entry!r} is no AE title, network or AET@network") from None
