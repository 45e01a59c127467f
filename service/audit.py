"""The audit trail (PS3.15 A.5): who sent, saw, released and changed what, a JSON line each in data/logs/audit.jsonl.

Patients stand in it by their ID, as the standard demands, and never by name. The file is the truth: what goes to a syslog
server is read from it (audit_syslog).
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum, StrEnum
from pathlib import Path
from typing import Any

from service.bounds import check_positive, unset_empty_paths
from service.lines import plain
from service.logs import logger

Message = dict[str, Any]
_SYSLOG = re.compile(r"(?P<way>udp|tcp|tls)://(?P<host>[A-Za-z0-9._-]+|\[[0-9a-fA-F:]+\]):(?P<port>[0-9]{1,5})")
_ROTATED = re.compile(r"audit-([0-9]{6,})\.jsonl")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSettings:
    """[audit]. keep_days: of files that are full; max_mb: a file is full with it. syslog: udp://, tcp:// or tls://host:port,
    where each record also goes (PS3.15 A.6); what could not be sent yet is not deleted. ca_file: who vouches for a tls://
    server; empty: that of [tls]."""

    keep_days: float = 3650.0
    max_mb: float = 20.0
    syslog: str = ""
    ca_file: Path | None = None

    def __post_init__(self) -> None:
        unset_empty_paths(self)
        check_positive(keep_days=self.keep_days, max_mb=self.max_mb)
        if self.syslog and not (match := _SYSLOG.fullmatch(self.syslog)):
            raise ValueError("syslog is written udp://host:514, tcp://host:601 or tls://host:6514")
        if self.syslog and not 1 <= int(match["port"]) <= 65535:  # type: ignore[index]
            raise ValueError("the port in syslog is a TCP or UDP port from 1 to 65535")

    @property
    def server(self) -> tuple[str, str, int] | None:
        """(way, host, port) of the syslog server."""
        match = _SYSLOG.fullmatch(self.syslog)
        return None if match is None else (match["way"], match["host"].strip("[]"), int(match["port"]))


class Event(Enum):
    """EventID, its meaning, EventActionCode, and EventTypeCode with its meaning (PS3.16 CID 400, 401; PS3.15 A.5.3).

    A release updates a case's reports and hands them out: "Instances Accessed" with the action U is the one message that
    names the study and a person who changed something of it; how they went out is told by SENT. SEEN is the same with R.
    """

    STARTED = ("110100", "Application Activity", "E", "110120", "Application Start")
    STOPPED = ("110100", "Application Activity", "E", "110121", "Application Stop")
    SEEN = ("110103", "DICOM Instances Accessed", "R", "", "")
    RELEASED = ("110103", "DICOM Instances Accessed", "U", "", "")
    RECEIVED = ("110104", "DICOM Instances Transferred", "C", "", "")
    SENT = ("110104", "DICOM Instances Transferred", "R", "", "")
    DELETED = ("110105", "DICOM Study Deleted", "D", "", "")
    EXPORTED = ("110106", "Export", "R", "", "")
    IMPORTED = ("110107", "Import", "C", "", "")
    QUERIED = ("110112", "Query", "E", "", "")
    REFUSED = ("110113", "Security Alert", "E", "110126", "Node Authentication")
    CONFIGURED = ("110113", "Security Alert", "E", "110131", "Software Configuration")
    LOGGED_IN = ("110114", "User Authentication", "E", "110122", "Login")
    LOGGED_OUT = ("110114", "User Authentication", "E", "110123", "Logout")


class Outcome(StrEnum):
    """EventOutcomeIndicator."""

    SUCCESS = "0"
    MINOR = "4"
    SERIOUS = "8"
    MAJOR = "12"


class Role(Enum):
    """RoleIDCode of a participant (PS3.16 CID 402)."""

    APPLICATION = ("110150", "Application")
    LAUNCHER = ("110151", "Application Launcher")
    DESTINATION = ("110152", "Destination Role ID")
    SOURCE = ("110153", "Source Role ID")


class Kind(Enum):
    """ParticipantObjectTypeCode, its role, and the ID's type as csd-code, codeSystemName, originalText (PS3.15 A.5.1.2)."""

    PATIENT = ("1", "1", "2", "RFC-3881", "Patient Number")
    STUDY = ("2", "3", "110180", "DCM", "Study Instance UID")
    QUERY = ("2", "24", "110181", "DCM", "SOP Class UID")
    ALERT = ("2", "13", "12", "RFC-3881", "URI")


@dataclass(frozen=True, slots=True, kw_only=True)
class Participant:
    """Who took part: a person or process (UserID), with its AE title and address where it has any."""

    user: str
    ae_title: str = ""
    role: Role | None = None
    requestor: bool = False
    address: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """What it was about. sop_classes: SOP class UID > how many objects of it; query: what was asked, without names."""

    kind: Kind
    id: str
    sop_classes: Mapping[str, int] = field(default_factory=dict)
    query: bytes = b""
    detail: Mapping[str, str] = field(default_factory=dict)


class Trail:
    """The file of one node; other processes (`duet release`) write to it, too."""

    def __init__(self, folder: Path, settings: AuditSettings, source: str) -> None:
        """source: the node's AE title."""
        self.folder, self.settings, self.source = folder, settings, source
        self._turn = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def current(self) -> Path:
        return self.folder / "audit.jsonl"

    def write(self, message: Message) -> None:
        """Append one record; when this returns it is on disk. Raises OSError."""
        line = json.dumps({"AuditMessage": message}, ensure_ascii=False).encode() + b"\n"
        with self.alone():
            if self.current.exists() and self.current.stat().st_size + len(line) > self.settings.max_mb * 1e6:
                self.current.rename(self.numbered(self.newest() + 1))
                self._forget_old()
            handle = self._private(self.current, os.O_WRONLY | os.O_APPEND)
            try:
                before = os.fstat(handle).st_size
                if os.write(handle, line) < len(line):  # all that a disk had room for
                    os.ftruncate(handle, before)
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(handle)
            finally:
                os.close(handle)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While it lasts, no thread and no other process writes or renames a file of the trail."""
        with self._turn, os.fdopen(self._private(self.folder / "audit.lock", os.O_RDWR), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _private(self, path: Path, flags: int) -> int:
        """Opened for the node's user alone, also where root's command is the first to write."""
        handle = os.open(path, flags | os.O_CREAT, 0o600)
        if os.geteuid() == 0:
            owner = self.folder.stat()
            os.fchown(handle, owner.st_uid, owner.st_gid)
        return handle

    def numbered(self, number: int) -> Path:
        """A full file."""
        return self.folder / f"audit-{number:06d}.jsonl"

    def full(self) -> list[int]:
        """The numbers of the full files, oldest first."""
        found = (_ROTATED.fullmatch(path.name) for path in self.folder.iterdir())
        return sorted(int(match[1]) for match in found if match is not None)

    def newest(self) -> int:
        """The number of the newest full file; 0 where there is none. A file that was deleted gives its number to no other."""
        return max([*self.full(), self.position()[0] - 1, 0])

    def position(self) -> tuple[int, int]:
        """What was sent to syslog: all before this file's number and byte; the number after the newest is the current file."""
        try:
            number, byte = json.loads((self.folder / "audit.sent").read_text())
        except (OSError, ValueError):
            return 0, 0
        return int(number), int(byte)

    def _forget_old(self) -> None:
        """Delete full files after keep_days, but none that is still to be sent."""
        sent = self.position()[0]
        for number in self.full():
            path = self.numbered(number)
            old = time.time() - path.stat().st_mtime > self.settings.keep_days * 86400
            if old and (number < sent or not self.settings.syslog):
                path.unlink()


_open: list[Trail] = []  # the one of this process, as there is one log


def set_up(folder: Path, settings: AuditSettings, source: str) -> Trail:
    """From now on record() writes below the folder; until then, and in tests, it does nothing. Raises OSError."""
    _open[:] = [Trail(folder, settings, source)]
    return _open[0]


def close() -> None:
    _open.clear()


def record(
    event: Event,
    people: Sequence[Participant],
    things: Sequence[Thing] = (),
    *,
    outcome: Outcome = Outcome.SUCCESS,
    told: str = "",
) -> None:
    """Enter one event into this process's audit trail. told: what went wrong, in a sentence without a patient's name.

    Never raises and never waits for a network: a full disk is told in the log.
    """
    for trail in _open:
        try:
            trail.write(message(event, people, things, outcome=outcome, told=told, source=trail.source))
        except OSError as error:
            logger().error("audit record not written", event_id=event.name, error=error.strerror)


def seen(user: str, address: str, patient_id: str, study_uids: Sequence[str] = ()) -> None:
    """A person has looked at a case on the web pages."""
    viewer = Participant(user=user, requestor=True, address=address)
    studies = [Thing(kind=Kind.STUDY, id=uid) for uid in study_uids]
    record(Event.SEEN, [viewer], [*studies, Thing(kind=Kind.PATIENT, id=patient_id)])


def message(
    event: Event, people: Sequence[Participant], things: Sequence[Thing], *, outcome: Outcome, told: str, source: str
) -> Message:
    """The AuditMessage as the schema of PS3.15 A.5.1 has it: element and attribute names, elements in their order."""
    code, meaning, action, type_code, type_meaning = event.value
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    identification: Message = {
        "EventActionCode": action,
        "EventDateTime": now,
        "EventOutcomeIndicator": str(outcome),
        "EventID": _coded(code, "DCM", meaning),
        **({"EventTypeCode": _coded(type_code, "DCM", type_meaning)} if type_code else {}),
        **({"EventOutcomeDescription": plain(told)} if told else {}),
    }
    return {
        "EventIdentification": identification,
        "ActiveParticipant": [_participant(each) for each in people],
        "AuditSourceIdentification": {"AuditSourceID": plain(source), "AuditSourceTypeCode": {"csd-code": "4"}},
        **({"ParticipantObjectIdentification": [_thing(each) for each in things]} if things else {}),
    }


def _coded(code: str, system: str, meaning: str) -> Message:
    return {"csd-code": code, "codeSystemName": system, "originalText": meaning}


def _participant(who: Participant) -> Message:
    address = plain(who.address)
    is_ip = bool(re.fullmatch(r"[0-9.]+|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*", address))
    return {
        "UserID": plain(who.user),
        **({"AlternativeUserID": f"AETITLES= {plain(who.ae_title)}"} if who.ae_title else {}),
        "UserIsRequestor": "true" if who.requestor else "false",
        **({"NetworkAccessPointID": address, "NetworkAccessPointTypeCode": "2" if is_ip else "1"} if address else {}),
        **({"RoleIDCode": _coded(who.role.value[0], "DCM", who.role.value[1])} if who.role else {}),
    }


def _thing(thing: Thing) -> Message:
    """The schema demands a ParticipantObjectName or a query; the name is the ID again, so that no patient's name is needed."""
    type_code, role, id_code, system, meaning = thing.kind.value
    identifier = plain(thing.id)
    counted = [{"UID": plain(uid), "NumberOfInstances": str(count)} for uid, count in sorted(thing.sop_classes.items())]
    return {
        "ParticipantObjectID": identifier,
        "ParticipantObjectTypeCode": type_code,
        "ParticipantObjectTypeCodeRole": role,
        "ParticipantObjectIDTypeCode": _coded(id_code, system, meaning),
        **({"ParticipantObjectQuery": _base64(thing.query)} if thing.query else {"ParticipantObjectName": identifier}),
        **({"ParticipantObjectDetail": _details(thing.detail)} if thing.detail else {}),
        **({"ParticipantObjectDescription": {"SOPClass": counted}} if counted else {}),
    }


def _details(detail: Mapping[str, str]) -> list[Message]:
    return [{"type": key, "value": _base64(value.encode())} for key, value in detail.items()]


def _base64(content: bytes) -> str:
    from base64 import b64encode

    return b64encode(content).decode()
