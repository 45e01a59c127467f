"""The DICOM door: C-ECHO and C-STORE; bytes go to the inbox undecoded, and a named status goes back.

Storage commitment comes in here, too, and is handled by others.
"""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pynetdicom import AE, _config, evt
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification  # type: ignore[attr-defined]

from analysis.errors import BadSettings
from service.bounds import check_not_negative, check_port, check_positive
from service.inbox import Inbox
from service.journal import Journal
from service.keeping import StoreHandler
from service.logs import logger
from service.receiver_server import Door, Places
from service.receiver_wire import Bounds
from service.sockets import PROMPT

MAXIMUM_PDU = 131072

# PS3.8 9.3.4: result, source, reason
_REJECTED_PERMANENT, _SERVICE_USER, _CALLING_AE_UNKNOWN = 0x01, 0x01, 0x03
_REJECTED_TRANSIENT, _SERVICE_PROVIDER, _LOCAL_LIMIT_EXCEEDED = 0x02, 0x03, 0x02


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverSettings:
    """[receiver]. allow: who may call, each as "AET", "10.1.0.0/16" or "AET@10.1.0.0/16"; empty: this machine only.

    free_gb: below this much free disk, objects are refused with 0xA700. Timeouts in s: an association that is not asked
    for, or falls silent, is closed after that time, so that idle sockets do not hold places.
    """

    host: str = "0.0.0.0"  # noqa: S104  a node is there to be called; `allow` says by whom
    port: int = 11112
    allow: tuple[str, ...] = ()
    free_gb: float = 2.0
    associations: int = 100
    max_object_mb: int = 4000
    negotiation_timeout_s: float = 10.0
    silence_timeout_s: float = 60.0

    def __post_init__(self) -> None:
        check_port("port", self.port)
        check_not_negative(free_gb=self.free_gb)
        check_positive(
            associations=self.associations,
            max_object_mb=self.max_object_mb,
            negotiation_timeout_s=self.negotiation_timeout_s,
            silence_timeout_s=self.silence_timeout_s,
        )
        for entry in self.allow:
            _network(entry)


class Receiver:
    """The node's server; start() returns when the door is open."""

    def __init__(
        self,
        ae_title: str,
        settings: ReceiverSettings,
        inbox: Inbox,
        journal: Journal,
        commitment: Sequence[tuple[Any, Callable[[Any], Any]]] = (),
    ) -> None:
        """commitment: what handles the events of storage commitment; without it none is offered."""
        self._ae_title, self._settings = ae_title, settings
        self._store_handler = StoreHandler(inbox, journal, settings.free_gb, settings.max_object_mb)
        self._commitment = commitment
        self._places = Places(settings.associations, settings.negotiation_timeout_s)
        self._server: Door | None = None

    def start(self) -> None:
        """Raises BadSettings where the address is taken."""
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
            *self._commitment,
            (evt.EVT_REQUESTED, self._on_requested),
            *self._store_handler.ends,
        ]
        address = (self._settings.host, self._settings.port)
        bounds = Bounds(
            pdu=MAXIMUM_PDU,
            negotiation_s=self._settings.negotiation_timeout_s,
            silence_s=self._settings.silence_timeout_s,
        )
        try:
            self._server = Door(ae, address, handlers, bounds, self._store_handler)
        except OSError as error:
            raise BadSettings(f"[receiver] {address[0]}:{address[1]} cannot be opened: {error.strerror}.") from None
        self._server.open()

    def stop(self) -> None:
        if self._server is not None:
            self._server.close()

    def _on_requested(self, event: Any) -> None:
        calling = str(event.assoc.requestor.primitive.calling_ae_title).strip()
        address = str(event.assoc.requestor.address)
        if not admitted(self._settings.allow, calling, address):
            logger().warning("caller refused", calling_ae=calling, address=address)
            _reject(event.assoc, _REJECTED_PERMANENT, _SERVICE_USER, _CALLING_AE_UNKNOWN)
        elif not self._places.take(event.assoc):
            logger().warning("all associations are taken, caller put off", calling_ae=calling, address=address)
            _reject(event.assoc, _REJECTED_TRANSIENT, _SERVICE_PROVIDER, _LOCAL_LIMIT_EXCEEDED)


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
