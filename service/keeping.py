"""What becomes of a C-STORE request, whoever opened the association: onto disk, into the journal, and a named status back."""

from __future__ import annotations

import errno
import threading
import time
from typing import Any

from pynetdicom import evt
from pynetdicom.dsutils import encode_file_meta
from sqlalchemy.exc import SQLAlchemyError

from service import arrivals
from service.inbox import Inbox, Received
from service.journal import Journal
from service.logs import logger
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
_FULL = (errno.ENOSPC, errno.EDQUOT)


class StoreHandler:
    """Keeps each object that is stored over associations with these handlers."""

    def __init__(self, inbox: Inbox, journal: Journal, free_gb: float) -> None:
        self._inbox, self._journal, self._free_gb = inbox, journal, free_gb
        self._open: dict[Any, int] = {}
        self._guard = threading.Lock()

    @property
    def handlers(self) -> list[Any]:
        """Event handlers of pynetdicom, for an association that was accepted or requested."""
        return [
            (evt.EVT_C_STORE, self._on_store),
            (evt.EVT_RELEASED, self._on_released),
            (evt.EVT_ABORTED, self._on_broken),
            (evt.EVT_CONN_CLOSE, self._on_broken),
        ]

    def _on_store(self, event: Any) -> int:
        try:
            if self._inbox.free_bytes() < self._free_gb * 1e9:
                logger().error("disk below its floor, object refused", floor_gb=self._free_gb)
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
        if not (self._inbox.data / path).is_file():  # [retention] let the earlier copy go just before its row was written anew
            self._inbox.keep(received, digest)

    def _association(self, assoc: Any, now: float) -> int:
        """The journal's number of the association, entered with its first object."""
        with self._guard:
            known = self._open.get(assoc)
        if known is None:
            peer = _peer(assoc)
            known = arrivals.open_association(self._journal, _title(peer), str(peer.address), now)
            with self._guard:
                self._open[assoc] = known
        return known

    def _on_released(self, event: Any) -> None:
        self.close(event.assoc, Ending.RELEASED)

    def _on_broken(self, event: Any) -> None:
        self.close(event.assoc, Ending.BROKEN)

    def close(self, assoc: Any, ending: Ending) -> None:
        """Note how an association ended; the first word counts."""
        with self._guard:
            known = self._open.pop(assoc, None)
        if known is not None:
            arrivals.close_association(self._journal, known, ending, time.time())


def _peer(assoc: Any) -> Any:
    """Whoever sends: the caller, or the archive that was asked by C-GET."""
    return assoc.requestor if assoc.is_acceptor else assoc.acceptor


def _title(peer: Any) -> str:
    return str(peer.ae_title).strip()[:16]


def _received(event: Any) -> Received:
    request = event.request
    meta = event.file_meta
    meta.SourceApplicationEntityTitle = _title(_peer(event.assoc))
    return Received(
        sop_class_uid=str(request.AffectedSOPClassUID),
        sop_instance_uid=str(request.AffectedSOPInstanceUID),
        transfer_syntax_uid=str(meta.TransferSyntaxUID),
        meta=b"\0" * 128 + b"DICM" + encode_file_meta(meta),
        dataset=event.encoded_dataset(include_meta=False),
    )
