"""The DICOM door: C-ECHO and C-STORE; bytes go to the inbox undecoded, and a named status goes back.

Storage commitment comes in here, too, and is handled by others.
"""

from __future__ import annotations

import errno
import ipaddress
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pynetdicom import AE, _config, evt
from pynetdicom.dsutils import encode_file_meta
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification  # type: ignore[attr-defined]
from sqlalchemy.exc import SQLAlchemyError

from analysis.errors import BadSettings
from service import arrivals
from service.bounds import check_not_negative, check_port, check_positive
from service.inbox import Inbox, Received
from service.journal import Journal
from service.logs import logger
from service.sockets import PROMPT
from service.tables import Ending

SUCCESS = 0x0000
OUT_OF_RESOURCES = 0xA700
PROCESSING_FAILURE = 0x0110
# Every answer to a C-STORE request: what it means, and when it is given.
STATUSES = {
    SUCCESS: ("Success", "the object is on disk"),
    OUT_OF_RESOURCES: ("Refused: out of resources", "less disk is free than `[receiver] free_gb`, or the disk is full"),
    PROCESSING_FAILURE: ("Processing failure", "the object could not be written or recorded"),
}
MAXIMUM_PDU = 131072

_FULL = (errno.ENOSPC, errno.EDQUOT)
_REJECTED_PERMANENT, _SERVICE_USER, _CALLING_AE_UNKNOWN = 0x01, 0x01, 0x03


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
    associations: int = 50
    negotiation_timeout_s: float = 10.0
    silence_timeout_s: float = 60.0

    def __post_init__(self) -> None:
        check_port("port", self.port)
        check_not_negative(free_gb=self.free_gb)
        check_positive(
            associations=self.associations,
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
        self._ae_title, self._settings, self._inbox, self._journal = ae_title, settings, inbox, journal
        self._commitment = commitment
        self._open: dict[Any, int] = {}
        self._guard = threading.Lock()
        self._server: Any = None

    def start(self) -> None:
        """Raises BadSettings where the address is taken."""
        _config.UNRESTRICTED_STORAGE_SERVICE = True
        _config.LOG_HANDLER_LEVEL = "none"
        ae = AE(ae_title=self._ae_title)
        ae.maximum_pdu_size = MAXIMUM_PDU
        ae.maximum_associations = self._settings.associations
        ae.acse_timeout = self._settings.negotiation_timeout_s
        ae.dimse_timeout = ae.network_timeout = self._settings.silence_timeout_s
        ae.add_supported_context(Verification)
        if self._commitment:  # both ways round: a destination that reports calls as the provider
            ae.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
        handlers: list[Any] = [
            *PROMPT,
            *self._commitment,
            (evt.EVT_REQUESTED, self._on_requested),
            (evt.EVT_C_STORE, self._on_store),
            (evt.EVT_RELEASED, self._on_released),
            (evt.EVT_ABORTED, self._on_broken),
            (evt.EVT_CONN_CLOSE, self._on_broken),
        ]
        address = (self._settings.host, self._settings.port)
        try:
            self._server = ae.start_server(address, block=False, evt_handlers=handlers)
        except OSError as error:
            raise BadSettings(f"[receiver] {address[0]}:{address[1]} cannot be opened: {error.strerror}.") from None

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()

    def _on_requested(self, event: Any) -> None:
        calling = str(event.assoc.requestor.primitive.calling_ae_title).strip()
        address = str(event.assoc.requestor.address)
        if not admitted(self._settings.allow, calling, address):
            logger().warning("caller refused", calling_ae=calling, address=address)
            event.assoc.acse.send_reject(_REJECTED_PERMANENT, _SERVICE_USER, _CALLING_AE_UNKNOWN)
            event.assoc.is_rejected = True
            event.assoc.kill()  # returns when the answer has left

    def _on_store(self, event: Any) -> int:
        try:
            if self._inbox.free_bytes() < self._settings.free_gb * 1e9:
                logger().error("disk below its floor, object refused", floor_gb=self._settings.free_gb)
                return OUT_OF_RESOURCES
            self._keep(event)
        except OSError as error:
            logger().error("object not written", error=str(error))
            return OUT_OF_RESOURCES if error.errno in _FULL else PROCESSING_FAILURE
        except SQLAlchemyError as error:
            logger().error("object not recorded", error=type(error).__name__)
            return PROCESSING_FAILURE
        return SUCCESS

    def _keep(self, event: Any) -> None:
        """Disk first, then the journal: a file without a row is found at the next start, a row without its file never is."""
        now = time.time()
        received = _received(event)
        digest = received.digest
        path = arrivals.known_path(self._journal, received.sop_instance_uid, digest)
        if path is None or not (self._inbox.data / path).is_file():
            path = self._inbox.keep(received, digest)
        arrival = arrivals.Arrival(
            sop_class_uid=received.sop_class_uid,
            sop_instance_uid=received.sop_instance_uid,
            digest=digest,
            path=path,
            received_at=now,
            association_id=self._association(event.assoc, now),
        )
        arrivals.record(self._journal, arrival)

    def _association(self, assoc: Any, now: float) -> int:
        """The journal's number of the association, entered with its first object."""
        with self._guard:
            known = self._open.get(assoc)
        if known is None:
            calling, address = str(assoc.requestor.ae_title).strip(), str(assoc.requestor.address)
            known = arrivals.open_association(self._journal, calling, address, now)
            with self._guard:
                self._open[assoc] = known
        return known

    def _on_released(self, event: Any) -> None:
        self._close(event.assoc, Ending.RELEASED)

    def _on_broken(self, event: Any) -> None:
        self._close(event.assoc, Ending.BROKEN)

    def _close(self, assoc: Any, ending: Ending) -> None:
        with self._guard:
            known = self._open.pop(assoc, None)
        if known is not None:
            arrivals.close_association(self._journal, known, ending, time.time())


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


def _received(event: Any) -> Received:
    request = event.request
    meta = event.file_meta
    meta.SourceApplicationEntityTitle = str(event.assoc.requestor.ae_title).strip()[:16]
    return Received(
        sop_class_uid=str(request.AffectedSOPClassUID),
        sop_instance_uid=str(request.AffectedSOPInstanceUID),
        transfer_syntax_uid=str(meta.TransferSyntaxUID),
        meta=b"\0" * 128 + b"DICM" + encode_file_meta(meta),
        dataset=event.encoded_dataset(include_meta=False),
    )
