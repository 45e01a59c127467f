"""A sender written out by hand (PS3.7 9.3.1, PS3.8 9.3), which can stop at any byte, and what it and the door agree upon."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import sqlite3
import struct
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import ExplicitVRLittleEndian, PositronEmissionTomographyImageStorage, generate_uid

PET, VERIFICATION = str(PositronEmissionTomographyImageStorage), "1.2.840.10008.1.1"
SYNTAX = str(ExplicitVRLittleEndian)
PIECE = 16000
ACCEPTED, REJECTED, DATA, RELEASED, ABORTED = 0x02, 0x03, 0x04, 0x06, 0x07


@dataclass(frozen=True, kw_only=True)
class Sent:
    """One object as bytes."""

    uid: str
    content: bytes

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


def some_object(pixels: int = 20_000, uid: str = "", **words: Any) -> Sent:
    """A PET object of about that many bytes; its content follows from uid and words alone."""
    uid = uid or str(generate_uid())
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID, ds.Modality, ds.PatientID = PET, uid, "PT", "P1"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = "1.2.3", "1.2.3.4"
    for keyword, value in words.items():
        setattr(ds, keyword, value)
    ds.add_new("PixelData", "OW", (hashlib.sha256(uid.encode()).digest() * (pixels // 32 + 1))[: pixels // 2 * 2])
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, False
    write_dataset(stream, ds)
    return Sent(uid=uid, content=stream.getvalue())


class BrokenError(Exception):
    """The door has closed the connection, or says nothing any more."""


class Peer:
    """A connection to the door."""

    def __init__(self, port: int, timeout: float = 30.0) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._number = 0

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def say(self, content: bytes) -> None:
        try:
            self.socket.sendall(content)
        except OSError as error:
            raise BrokenError(str(error)) from None

    def hear(self) -> tuple[int, bytes]:
        """The next PDU: type and what follows its header."""
        kind, length = struct.unpack(">BxL", self._exactly(6))
        return kind, self._exactly(length)

    def _exactly(self, count: int) -> bytes:
        found = b""
        while len(found) < count:
            try:
                piece = self.socket.recv(count - len(found))
            except OSError as error:
                raise BrokenError(str(error)) from None
            if not piece:
                raise BrokenError("closed")
            found += piece
        return found

    def closed(self) -> bool:
        """Whether the door ends the connection within the timeout (what it says before that is let go)."""
        try:
            while self.socket.recv(4096):
                pass
        except ConnectionError:
            return True
        except TimeoutError:
            return False
        return True

    def associate(self) -> Peer:
        self.say(association_request())
        kind, _ = self.hear()
        if kind != ACCEPTED:
            raise BrokenError(f"PDU {kind} for an association")
        return self

    def store(self, sent: Sent) -> int:
        """The status that the door answers with."""
        self.say(self.whole(sent))
        return self.status()

    def whole(self, sent: Sent) -> bytes:
        self._number += 1
        return b"".join(store_pdus(sent, self._number))

    def status(self) -> int:
        kind, content = self.hear()
        if kind != DATA:
            raise BrokenError(f"PDU {kind} for an answer")
        return status_of(content)

    def echo(self) -> int:
        self.say(pdv(3, 3, command(CommandField=0x0030, MessageID=1, AffectedSOPClassUID=VERIFICATION)))
        return self.status()

    def release(self) -> None:
        self.say(struct.pack(">BxLL", 0x05, 4, 0))
        assert self.hear()[0] == RELEASED
        self.socket.close()

    def abort(self) -> None:
        self.say(struct.pack(">BxLL", ABORTED, 4, 0))
        self.socket.close()

    def reset(self) -> None:
        """The cable is pulled: the other side gets a TCP reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


def send(port: int, objects: list[Sent]) -> dict[str, str]:
    """What was acknowledged, of objects sent over one association."""
    with Peer(port) as peer:
        peer.associate()
        told = {sent.uid: sent.digest for sent in objects if peer.store(sent) == 0}
        peer.release()
    return told


def association_request() -> bytes:
    """A-ASSOCIATE-RQ for PET storage in context 1 and verification in context 3."""
    contexts = b"".join(
        _item(0x20, bytes([number, 0, 0, 0]) + _item(0x30, uid.encode()) + _item(0x40, SYNTAX.encode()))
        for number, uid in ((1, PET), (3, VERIFICATION))
    )
    user = _item(0x50, _item(0x51, struct.pack(">L", 16384)) + _item(0x52, b"1.2.3.4.5"))
    body = struct.pack(">HH16s16s32x", 1, 0, b"DUET".ljust(16), b"SENDER".ljust(16))
    body += _item(0x10, b"1.2.840.10008.3.1.1.1") + contexts + user
    return struct.pack(">BxL", 0x01, len(body)) + body


def _item(kind: int, content: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(content)) + content


NUMBERS = {
    "AffectedSOPClassUID": 0x0002,
    "CommandField": 0x0100,
    "MessageID": 0x0110,
    "Priority": 0x0700,
    "CommandDataSetType": 0x0800,
    "AffectedSOPInstanceUID": 0x1000,
}


def command(**words: int | str) -> bytes:
    """A command set; without CommandDataSetType it says that none follows."""
    content = b""
    for keyword, value in sorted({"CommandDataSetType": 0x0101, **words}.items(), key=lambda each: NUMBERS[each[0]]):
        raw = struct.pack("<H", value) if isinstance(value, int) else value.encode() + b"\0" * (len(value) % 2)
        content += struct.pack("<HHL", 0, NUMBERS[keyword], len(raw)) + raw
    return struct.pack("<HHLL", 0, 0, 4, len(content)) + content


def pdv(context: int, control: int, content: bytes) -> bytes:
    return struct.pack(">BxLLBB", DATA, len(content) + 6, len(content) + 2, context, control) + content


def store_pdus(sent: Sent, number: int = 1) -> Iterator[bytes]:
    """C-STORE-RQ and its dataset, PDU by PDU."""
    words: dict[str, int | str] = {"AffectedSOPClassUID": PET, "AffectedSOPInstanceUID": sent.uid}
    yield pdv(1, 3, command(CommandField=0x0001, MessageID=number, Priority=0, CommandDataSetType=1, **words))
    for start in range(0, len(sent.content), PIECE):
        yield pdv(1, 2 if start + PIECE >= len(sent.content) else 0, sent.content[start : start + PIECE])


def status_of(content: bytes) -> int:
    """(0000,0900) of a response in one PDV."""
    at = 6
    while at < len(content):
        group, element, length = struct.unpack_from("<HHL", content, at)
        if (group, element) == (0, 0x0900):
            return int(struct.unpack_from("<H", content, at + 8)[0])
        at += 8 + length
    raise BrokenError("an answer without a status")


# What is there


def on_disk(data: Path) -> Counter[tuple[str, str]]:
    """(SOP instance UID, digest of the dataset) of every finished file of the inbox."""
    return Counter(_read(path) for path in (data / "inbox").glob("*/*") if path.suffix != ".part")


def _read(path: Path) -> tuple[str, str]:
    """From the file meta information (PS3.10 7.1) and what follows it."""
    content = path.read_bytes()
    start = 144 + int(struct.unpack_from("<L", content, 140)[0])
    at = content.index(b"\x02\x00\x03\x00UI", 0, start) + 6
    uid = content[at + 2 : at + 2 + int(struct.unpack_from("<H", content, at)[0])]
    return uid.rstrip(b"\0").decode(), hashlib.sha256(content[start:]).hexdigest()


def in_journal(journal: Path, data: Path) -> Counter[tuple[str, str]]:
    """The same of every row, read from the file that it names."""
    with contextlib.closing(sqlite3.connect(journal, timeout=20)) as opened:
        rows = opened.execute("SELECT sop_instance_uid, path FROM instances").fetchall()
    found = Counter(_read(data / path) for _, path in rows)
    assert sorted(uid for uid, _ in found.elements()) == sorted(uid for uid, _ in rows)
    return found


def half_written(data: Path) -> list[Path]:
    return list((data / "inbox").glob("*/*.part"))


def nothing_lost(data: Path, acknowledged: Mapping[str, str], journal: Path | None = None) -> None:
    """Every acknowledged object (UID > digest) is there byte for byte, once on disk and once in the journal."""
    disk, rows = on_disk(data), in_journal(journal or data / "journal.sqlite", data)
    wanted = set(acknowledged.items())
    assert wanted <= set(disk), f"{len(wanted - set(disk))} of {len(wanted)} acknowledged are not on disk"
    assert wanted <= set(rows), f"{len(wanted - set(rows))} of {len(wanted)} acknowledged are not in the journal"
    assert max(disk.values(), default=1) == 1
    assert max(rows.values(), default=1) == 1
