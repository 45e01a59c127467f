"""The audit trail: messages in the standard's schema, a file that is private, turns over, and loses nothing."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import audit_schema
import pytest
from structlog.testing import capture_logs

from service import audit
from service.audit import AuditSettings, Event, Kind, Outcome, Participant, Role, Thing
from service.audit_syslog import as_xml


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    audit.close()


def messages(folder: Path, name: str = "audit.jsonl") -> list[Any]:
    return [json.loads(line)["AuditMessage"] for line in (folder / name).read_text().splitlines()]


PEOPLE = [
    Participant(user="SCANNER", ae_title="SCANNER", role=Role.SOURCE, requestor=True, address="10.1.2.3"),
    Participant(user="DUET", ae_title="DUET", role=Role.DESTINATION, address="node.hospital"),
]
THINGS = [
    Thing(kind=Kind.STUDY, id="1.2.3", sop_classes={"1.2.840.10008.5.1.4.1.1.2": 3}),
    Thing(kind=Kind.PATIENT, id='<P&"1">\x01\u00e9'),
]


@pytest.mark.parametrize("event", Event)
def test_every_kind_of_message_is_in_the_schema_of_the_standard(tmp_path: Path, event: Event) -> None:
    audit.set_up(tmp_path, AuditSettings(), "DUET")
    query = Thing(kind=Kind.QUERY, id="1.2.840.10008.5.1.4.1.2.2.1", query=b"{}", detail={"SHA-256": "ab"})
    audit.record(event, PEOPLE, [*THINGS, query], outcome=Outcome.MINOR, told="it was\nrefused")
    audit.record(event, PEOPLE[:1])
    for message in messages(tmp_path):
        audit_schema.check(ET.fromstring(as_xml(message)))  # noqa: S314


def test_the_schema_check_sees_faults(tmp_path: Path) -> None:
    audit.set_up(tmp_path, AuditSettings(), "DUET")
    audit.record(Event.SENT, PEOPLE, THINGS)
    (good,) = messages(tmp_path)
    root = ET.fromstring(as_xml(good))  # noqa: S314
    for spoil in (
        lambda r: r.insert(0, r[1]),  # order
        lambda r: r[0].set("EventOutcomeIndicator", "1"),
        lambda r: r[0].set("EventDateTime", "yesterday"),
        lambda r: r[1].set("code", "1"),
        lambda r: r.remove(r[3]),  # the source
        lambda r: r[4].remove(r[4][1]),  # neither name nor query
    ):
        other = ET.fromstring(ET.tostring(root))  # noqa: S314
        spoil(other)
        with pytest.raises(AssertionError):
            audit_schema.check(other)


def test_a_transfer_says_who_what_and_whose(tmp_path: Path) -> None:
    """PS3.15 A.5.3.7."""
    audit.set_up(tmp_path, AuditSettings(), "DUET")
    audit.record(Event.RECEIVED, PEOPLE, THINGS)
    root = ET.fromstring(as_xml(messages(tmp_path)[0]))  # noqa: S314
    event = root.find("EventIdentification/EventID")
    assert event is not None
    assert event.attrib == {
        "csd-code": "110104", "codeSystemName": "DCM", "originalText": "DICOM Instances Transferred"
    }  # fmt: skip
    assert root[0].attrib["EventActionCode"] == "C"
    roles = [role.attrib["csd-code"] for role in root.iter("RoleIDCode")]
    assert roles == ["110153", "110152"]
    assert [who.attrib.get("AlternativeUserID") for who in root.iter("ActiveParticipant")] == [
        "AETITLES= SCANNER",
        "AETITLES= DUET",
    ]
    assert [who.attrib["NetworkAccessPointTypeCode"] for who in root.iter("ActiveParticipant")] == ["2", "1"]
    study, patient = root.findall("ParticipantObjectIdentification")
    assert (study.attrib["ParticipantObjectID"], study.attrib["ParticipantObjectTypeCodeRole"]) == ("1.2.3", "3")
    counted = study.find("ParticipantObjectDescription/SOPClass")
    assert counted is not None
    assert counted.attrib == {"UID": "1.2.840.10008.5.1.4.1.1.2", "NumberOfInstances": "3"}
    assert patient.attrib["ParticipantObjectID"] == '<P&"1"> \u00e9'
    assert patient.find("ParticipantObjectIDTypeCode").attrib["csd-code"] == "2"  # type: ignore[union-attr]


def test_the_file_is_private_and_turns_over(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    audit.set_up(folder, AuditSettings(max_mb=0.002), "DUET")
    for number in range(10):
        audit.record(Event.SEEN, [Participant(user=f"reader {number}", requestor=True)])
    names = sorted(path.name for path in folder.glob("audit*.jsonl"))
    assert names[:2] == ["audit-000001.jsonl", "audit-000002.jsonl"]
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    in_order = [message for name in names for message in messages(folder, name)]
    assert [each["ActiveParticipant"][0]["UserID"] for each in in_order] == [f"reader {number}" for number in range(10)]


def test_old_files_are_forgotten_but_none_that_is_still_to_be_sent(tmp_path: Path) -> None:
    settings = AuditSettings(max_mb=0.0005, keep_days=1)
    audit.set_up(tmp_path, settings, "DUET")
    person = [Participant(user="reader", requestor=True)]
    audit.record(Event.SEEN, person)
    audit.record(Event.SEEN, person)
    os.utime(tmp_path / "audit-000001.jsonl", (0, 0))
    waiting = AuditSettings(max_mb=0.0005, keep_days=1, syslog="udp://127.0.0.1:514")
    audit.set_up(tmp_path, waiting, "DUET")
    audit.record(Event.SEEN, person)
    assert (tmp_path / "audit-000001.jsonl").exists()
    audit.set_up(tmp_path, settings, "DUET")
    audit.record(Event.SEEN, person)
    assert not (tmp_path / "audit-000001.jsonl").exists()
    assert (tmp_path / "audit-000002.jsonl").exists()


def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from service import audit\n"
        "audit.set_up(Path(sys.argv[1]), audit.AuditSettings(max_mb=0.01), 'DUET')\n"
        "for number in range(40): audit.seen(f'{sys.argv[2]} {number}', '', 'P1', ['1.2'])\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), name]) for name in ("a", "b", "c")]
    assert [process.wait(timeout=60) for process in running] == [0, 0, 0]
    names = sorted(path.name for path in tmp_path.glob("audit*.jsonl"))
    users = [message["ActiveParticipant"][0]["UserID"] for name in names for message in messages(tmp_path, name)]
    assert sorted(users) == sorted(f"{name} {number}" for name in "abc" for number in range(40))


def test_a_disk_that_is_full_is_told_and_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    audit.set_up(tmp_path, AuditSettings(), "DUET")

    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with capture_logs() as lines:
        audit.record(Event.STARTED, PEOPLE)
    assert [(line["event"], line["error"]) for line in lines] == [("audit record not written", "No space left on device")]


def test_a_record_of_which_a_disk_takes_the_half_leaves_nothing(tmp_path: Path) -> None:
    trail = audit.set_up(tmp_path, AuditSettings(), "DUET")
    audit.record(Event.STARTED, PEOPLE)
    limits, size = resource.getrlimit(resource.RLIMIT_FSIZE), trail.current.stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 40, limits[1]))  # some bytes more are taken, as on a disk
    try:
        with capture_logs() as lines:
            audit.record(Event.STOPPED, PEOPLE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [line["event"] for line in lines] == ["audit record not written"]
    audit.record(Event.SEEN, PEOPLE)
    assert [each["EventIdentification"]["EventID"]["originalText"] for each in messages(tmp_path)] == [
        Event.STARTED.value[1],
        Event.SEEN.value[1],
    ]


def test_without_a_trail_nothing_is_entered() -> None:
    audit.record(Event.STARTED, PEOPLE)
