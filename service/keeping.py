"""What becomes of a C-STORE request, whoever opened the association: onto disk, into the journal, and a named status back."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from pynetdicom import PYNETDICOM_IMPLEMENTATION_UID, PYNETDICOM_IMPLEMENTATION_VERSION, evt
from sqlalchemy.exc import SQLAlchemyError

from service import arrivals
from service.counts import BYTES, COUNTS, OBJECTS
from service.door_board import Row
from service.entries import Association, End, Entry
from service.inbox import FULL, Draft, Header, Inbox
from service.journal import Journal
from service.logs import logger
from service.registrar import BehindError, Registrar
from service.tables import Ending

SUCCESS = 0x0000
OUT_OF_RESOURCES = 0xA700
NEVER_TAKEN = 0xC000  # PS3.4 B.2.3: an error, while A7xx is a refusal for now and A9xx a dataset of another class
PROCESSING_FAILURE = 0x0110
# Every answer to a C-STORE request: what it means, and when it is given.
STATUSES = {
    SUCCESS: ("Success", "the object is on disk"),
    OUT_OF_RESOURCES: (
        "Refused: out of resources",
        "less disk is free than `[receiver] free_gb`, or the disk is full; sent again later it may be taken",
    ),
    NEVER_TAKEN: ("Error: cannot understand", "the object is larger than `[receiver] max_object_mb`; it is never taken"),
    PROCESSING_FAILURE: (
        "Processing failure",
        "the object could not be written, or the journal has not been for some seconds; sent again later it may be taken",
    ),
}
_COUNTED = {
    SUCCESS: "stored",
    OUT_OF_RESOURCES: "refused",
    NEVER_TAKEN: "refused",
    PROCESSING_FAILURE: "failed",
}  # as metrics name them
PREAMBLE = b"\0" * 128 + b"DICM"
_VERSION = struct.pack("<HH2sHL", 0x0002, 0x0001, b"OB", 0, 2) + b"\0\1"


class Storing:
    """One object on its way in; the first thing that goes wrong is its status, and nothing of it is left."""

    def __init__(self, handler: StoreHandler, assoc: Any, header: Header) -> None:
        self._handler, self._assoc, self._header = handler, assoc, header
        self._draft: Draft | None = None
        self._size = 0
        self._status = self._tried(self._open)

    def write(self, piece: bytes | memoryview) -> None:
        """The next bytes; after a failure they are let go."""
        if self._draft is not None and self._status == SUCCESS:
            self._status = self._tried(partial(self._add, self._draft, piece))

    def end(self) -> int:
        """All bytes are here: the status that the sender is to get. SUCCESS when file and row are on disk."""
        if self._draft is not None and self._status == SUCCESS:
            self._status = self._tried(partial(self._handler.keep, self._assoc, self._header, self._draft))
            self._draft.close()
        COUNTS.add(OBJECTS, _COUNTED[self._status])
        if self._status == SUCCESS:
            COUNTS.add(BYTES, by=self._size)
        return self._status

    def give_up(self) -> None:
        """The rest will not come."""
        if self._draft is not None:
            self._draft.discard()

    def _add(self, draft: Draft, piece: bytes | memoryview) -> int | None:
        self._size += len(piece)
        if self._size > self._handler.most_bytes:
            logger().error("object larger than max_object_mb, refused", limit=self._handler.most_bytes)
            draft.discard()
            return NEVER_TAKEN
        draft.write(piece)
        return None

    def _open(self) -> int | None:
        self._draft = self._handler.open_draft(self._header)
        return OUT_OF_RESOURCES if self._draft is None else None

    @staticmethod
    def _tried(step: Callable[[], int | None]) -> int:
        try:
            return step() or SUCCESS
        except OSError as error:
            logger().error("object not written", error=error.strerror, number=error.errno)
            return OUT_OF_RESOURCES if error.errno in FULL else PROCESSING_FAILURE
        except SQLAlchemyError as error:
            logger().error("object not recorded", error=type(error).__name__)
            return PROCESSING_FAILURE
        except BehindError:
            logger().error("object refused, for the journal cannot be written")
            return PROCESSING_FAILURE


class StoreHandler:
    """Keeps each object that is stored over associations with these handlers."""

    def __init__(self, inbox: Inbox, journal: Journal, free_gb: float, max_object_mb: int = 4000) -> None:
        self._inbox, self._journal, self._free_gb = inbox, journal, free_gb
        self.most_bytes = max_object_mb * 1_000_000
        self._registrar = Registrar(journal)
        self._door = ""
        self._open: dict[Any, Association] = {}
        self._guard = threading.Lock()

    def in_process(self, door: str, row: Row) -> None:
        """This is a door process of that name, and others see in the row how far its rows are written."""
        self._door, self._registrar.row = door, row

    @property
    def handlers(self) -> list[Any]:
        """Event handlers of pynetdicom, for an association that was accepted or requested."""
        return [
            (evt.EVT_C_STORE, self._on_store),
            *self.ends,
            (evt.EVT_CONN_CLOSE, self._on_broken),
        ]

    @property
    def ends(self) -> list[Any]:
        """Those for the door, which hands objects over by `begin` and says itself when a connection has ended: pynetdicom
        may say so before it says that the association was released."""
        return [(evt.EVT_RELEASED, self._on_released), (evt.EVT_ABORTED, self._on_broken)]

    def begin(self, assoc: Any, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> Storing:
        """An object is announced; what follows of it is written to what this returns."""
        sender = _title(_peer(assoc))
        meta = PREAMBLE + file_meta(sop_class_uid, sop_instance_uid, transfer_syntax_uid, sender)
        header = Header(
            sop_class_uid=sop_class_uid,
            sop_instance_uid=sop_instance_uid,
            transfer_syntax_uid=transfer_syntax_uid,
            meta=meta,
        )
        return Storing(self, assoc, header)

    def open_draft(self, header: Header) -> Draft | None:
        """Where an object is written to; None where less disk is free than the floor. Raises OSError."""
        if self._inbox.free_bytes() < self._free_gb * 1e9:
            logger().error("disk below its floor, object refused", floor_gb=self._free_gb)
            return None
        return self._inbox.draft(header)

    def keep(self, assoc: Any, header: Header, draft: Draft) -> None:
        """Disk first, then the journal: a file without a row is found at the next start, a row without its file never is.

        Only who sends what the journal knows already waits for it: [retention] may be deleting just that file."""
        self._registrar.admit()
        digest, now = draft.digest, time.time()
        known = arrivals.known_path(self._journal, header.sop_instance_uid, digest) is not None
        arrival = arrivals.Arrival(
            sop_class_uid=header.sop_class_uid,
            sop_instance_uid=header.sop_instance_uid,
            digest=digest,
            path=draft.keep(),
            received_at=now,
        )
        entry = Entry(association=self._association(assoc, now), what=arrival)
        if not known:
            self._registrar.add(entry)
        elif not self._registrar.write(entry):
            self._one_file(arrival, draft)

    @property
    def behind(self) -> bool:
        """Whether the journal has not been written for too long, so that objects are refused."""
        return self._registrar.behind

    def settle(self) -> None:
        """Returns when the journal holds all that was acknowledged. Raises BehindError."""
        self._registrar.settle()

    def _one_file(self, arrival: arrivals.Arrival, draft: Draft) -> None:
        """An object that came again may lie in a place of an operator's choice: then that one stays."""
        known = arrivals.known_path(self._journal, arrival.sop_instance_uid, arrival.digest)
        if known not in (None, arrival.path):
            if (self._inbox.data / str(known)).is_file():
                (self._inbox.data / arrival.path).unlink(missing_ok=True)
                return
            arrivals.move(self._journal, arrival.sop_instance_uid, arrival.digest, arrival.path)
        if not (self._inbox.data / arrival.path).is_file():  # let go as an earlier copy just before its row was written anew
            draft.put_back(arrival.path)

    def _on_store(self, event: Any) -> int:
        """pynetdicom's way to hand over an object: as a whole."""
        request, syntax = event.request, str(event.context.transfer_syntax)
        storing = self.begin(event.assoc, str(request.AffectedSOPClassUID), str(request.AffectedSOPInstanceUID), syntax)
        storing.write(event.encoded_dataset(include_meta=False))
        return storing.end()

    def _association(self, assoc: Any, now: float) -> Association:
        """The association as the journal gets to know it, with its first object."""
        with self._guard:
            if assoc not in self._open:
                peer = _peer(assoc)
                self._open[assoc] = Association(
                    calling_ae=_title(peer), address=str(peer.address), opened_at=now, door=self._door
                )
            return self._open[assoc]

    def _on_released(self, event: Any) -> None:
        self.close(event.assoc, Ending.RELEASED)

    def _on_broken(self, event: Any) -> None:
        self.close(event.assoc, Ending.BROKEN)

    def close(self, assoc: Any, ending: Ending) -> None:
        """Note how an association ended; the first word counts."""
        with self._guard:
            known = self._open.pop(assoc, None)
        if known is not None:
            self._registrar.add(Entry(association=known, what=End(ending=ending, at=time.time())))


def _peer(assoc: Any) -> Any:
    """Whoever sends: the caller, or the archive that was asked by C-GET."""
    return assoc.requestor if assoc.is_acceptor else assoc.acceptor


def _title(peer: Any) -> str:
    return str(peer.ae_title).strip()[:16]


def file_meta(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str, sender: str) -> bytes:
    """File meta information (PS3.10 7.1), explicit VR little endian."""
    texts = (
        (0x0002, b"UI", sop_class_uid),
        (0x0003, b"UI", sop_instance_uid),
        (0x0010, b"UI", transfer_syntax_uid),
        (0x0012, b"UI", PYNETDICOM_IMPLEMENTATION_UID),
        (0x0013, b"SH", PYNETDICOM_IMPLEMENTATION_VERSION),
        (0x0016, b"AE", sender),
    )
    content = _VERSION + b"".join(_element(number, vr, text) for number, vr, text in texts)
    return struct.pack("<HH2sHL", 0x0002, 0x0000, b"UL", 4, len(content)) + content


def _element(number: int, vr: bytes, text: str) -> bytes:
    value = text.encode("ascii", "replace")
    value += (b"\0" if vr == b"UI" else b" ") * (len(value) % 2)
    return struct.pack("<HH2sH", 0x0002, number, vr, len(value)) + value
