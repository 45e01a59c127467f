"""What a node enters into its audit trail: who sent whose images, who was refused, what was changed, asked and released."""

from __future__ import annotations

import getpass
import json
import time
import xml.etree.ElementTree as ET
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import audit_schema
import pytest
from associations import close_association, open_association
from pynetdicom import AE
from pynetdicom.sop_class import CTImageStorage, PositronEmissionTomographyImageStorage, Verification

from service import audit, audit_events, intake
from service.audit import AuditSettings
from service.audit_events import Batch, Received, Refusals
from service.audit_syslog import as_xml
from service.config import Settings
from service.node_settings import rules_of
from service.receiver import Receiver, ReceiverSettings
from service.tables import Ending

CT = "1.2.840.10008.5.1.4.1.1.2"
PET = "1.2.840.10008.5.1.4.1.1.128"


@pytest.fixture
def trail(tmp_path: Path) -> Iterator[Path]:
    audit.set_up(tmp_path / "logs", AuditSettings(), "DUET")
    yield tmp_path / "logs" / "audit.jsonl"
    audit.close()


def entered(trail: Path) -> list[dict[str, Any]]:
    """Every message so far, each as the schema has it."""
    lines = trail.read_text().splitlines() if trail.exists() else []
    found = [json.loads(line)["AuditMessage"] for line in lines]
    for message in found:
        audit_schema.check(ET.fromstring(as_xml(message)))  # noqa: S314
    return found


def code_of(message: dict[str, Any]) -> tuple[str, str]:
    identification = message["EventIdentification"]
    return identification["EventID"]["csd-code"], identification.get("EventTypeCode", {}).get("csd-code", "")


def things(message: dict[str, Any]) -> list[str]:
    return [thing["ParticipantObjectID"] for thing in message["ParticipantObjectIdentification"]]


def counts(message: dict[str, Any]) -> dict[str, int]:
    classes = message["ParticipantObjectIdentification"][0]["ParticipantObjectDescription"]["SOPClass"]
    return {each["UID"]: int(each["NumberOfInstances"]) for each in classes}


def send(port: int, datasets: list[Any], *, calling: str = "SCANNER", broken: bool = False) -> bool:
    ae = AE(ae_title=calling)
    for sop_class in (Verification, CTImageStorage, PositronEmissionTomographyImageStorage):
        ae.add_requested_context(sop_class)
    assoc = ae.associate("127.0.0.1", port, ae_title="DUET")
    for ds in datasets if assoc.is_established else []:
        assert assoc.send_c_store(ds).Status == 0
    assoc.abort() if broken else assoc.release()
    return not assoc.is_rejected


def over(folder: Any, count: int) -> None:
    """Wait until so many associations are known to have ended."""
    for _ in range(100):
        with folder.journal.reading() as connection:
            rows = connection.exec_driver_sql("SELECT ending FROM associations WHERE ending <> 'open'").fetchall()
        if len(rows) >= count:
            return
        time.sleep(0.05)
    raise AssertionError("an association did not end")


def test_what_came_is_entered_by_study_when_it_is_over_and_read(folder: Any, scan: Any, port: int, trail: Path) -> None:
    received = Received(folder.journal, "DUET")
    received.begin()
    first = scan(slices=2, words={"PatientID": "P-1"}).datasets()
    other = scan(slices=1, words={"PatientID": "P-2", "StudyID": "2"}).datasets()
    settings = ReceiverSettings(host="127.0.0.1", port=port, free_gb=0)
    door = Receiver("DUET", settings, folder.inbox, folder.journal)
    door.start()
    try:
        assert send(port, [*first, *other])
        assert send(port, first[:1], broken=True)
        over(folder, 2)
    finally:
        door.stop()
    received.step()
    assert entered(trail) == []  # intake has not read them yet
    intake.step(folder.journal, folder.data, rules_of(Settings()), time.time())
    received.step()
    received.step()
    messages = entered(trail)
    assert [code_of(message) for message in messages] == [("110104", "")] * len(messages)
    whole = {
        things(message)[1]: message for message in messages if message["EventIdentification"]["EventOutcomeIndicator"] == "0"
    }
    assert things(whole["P-2"]) == [str(other[0].StudyInstanceUID), "P-2"]
    assert counts(whole["P-2"]) == {CT: 1, PET: 1}
    sender, node = whole["P-1"]["ActiveParticipant"]
    assert (sender["UserID"], sender["NetworkAccessPointID"], sender["UserIsRequestor"]) == ("SCANNER", "127.0.0.1", "true")
    assert node["AlternativeUserID"] == "AETITLES= DUET"
    (broken,) = [message for message in messages if message["EventIdentification"]["EventOutcomeIndicator"] == "4"]
    assert things(broken)[1] == "P-1"


def test_an_association_that_lasts_holds_no_other_up_and_none_is_entered_twice(folder: Any, scan: Any, trail: Path) -> None:
    received = Received(folder.journal, "DUET")
    received.begin()
    numbers = [open_association(folder.journal, f"AE{number}", "10.0.0.1", 1.0) for number in range(3)]
    for number, ds in zip(numbers, scan(slices=3, modalities=("CT",)).datasets(), strict=True):
        folder.receive([ds], association_id=number)
    intake.step(folder.journal, folder.data, rules_of(Settings()), 200.0)
    users = []
    for number in (numbers[1], numbers[0], numbers[2]):
        close_association(folder.journal, number, Ending.RELEASED, 2.0)
        received.step()
        Received(folder.journal, "DUET").step()  # as after a restart
        users = [message["ActiveParticipant"][0]["UserID"] for message in entered(trail)]
    assert users == ["AE1", "AE0", "AE2"]
    assert json.loads(folder.journal.fact(audit_events.AUDITED)) == [numbers[-1], []]


def test_what_came_before_the_trail_is_not_entered(folder: Any, scan: Any, trail: Path) -> None:
    number = open_association(folder.journal, "OLD", "10.0.0.1", 1.0)
    folder.receive(scan().datasets()[:1], association_id=number)
    close_association(folder.journal, number, Ending.RELEASED, 2.0)
    intake.step(folder.journal, folder.data, rules_of(Settings()), 200.0)
    received = Received(folder.journal, "DUET")
    received.begin()
    received.step()
    assert entered(trail) == []


def test_who_is_refused_is_entered_and_a_flood_is_counted(
    folder: Any, port: int, trail: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    door = Receiver("DUET", ReceiverSettings(host="127.0.0.1", port=port, allow=("PACS",)), folder.inbox, folder.journal)
    door.start()
    try:
        assert not any(send(port, [], calling="STRANGER") for _ in range(3))
    finally:
        door.stop()
    (alert,) = entered(trail)
    assert code_of(alert) == ("110113", "110126")
    assert alert["EventIdentification"]["EventOutcomeIndicator"] == "4"
    assert alert["ActiveParticipant"][0]["UserID"] == "STRANGER"
    refusals = Refusals()
    for _ in range(5):
        refusals.enter("DUET", "10.0.0.9", "caller refused")
    monkeypatch.setattr(audit_events, "QUIET_S", 0.0)
    refusals.enter("DUET", "10.0.0.9", "caller refused")
    told = [message["EventIdentification"]["EventOutcomeDescription"] for message in entered(trail)[1:]]
    assert told == ["caller refused", "caller refused (4 times more since the record before)"]


def test_start_stop_and_changed_settings(folder: Any, trail: Path) -> None:
    one, other = Settings(tables={"pairing": {"max_days": 30}}), Settings(tables={"pairing": {"max_days": 31}})
    for settings in (one, one, other):
        audit_events.began(settings, folder.journal)
        audit_events.ended("DUET")
    started, stopped, changed = ("110100", "110120"), ("110100", "110121"), ("110113", "110131")
    expected = [started, changed, stopped, started, stopped, started, changed, stopped]
    assert [code_of(message) for message in entered(trail)] == expected


def test_what_a_person_takes_out_or_brings_in_at_the_command_line(trail: Path, tmp_path: Path) -> None:
    audit_events.resent("DUET", "pacs", "P-1", ["1.2.3", "1.2.4"])
    audit_events.resent("DUET", "")
    audit_events.backed_up("DUET", tmp_path / "b.tar")
    audit_events.restored("DUET", tmp_path / "b.tar")
    codes = [(code_of(message)[0], things(message)) for message in entered(trail)]
    file = f"file:{tmp_path}/b.tar"
    everyone = ["unknown", "unknown"]
    assert codes == [("110106", ["1.2.3", "1.2.4", "P-1"]), ("110106", everyone), ("110106", [file]), ("110107", [file])]
    assert [message["ActiveParticipant"][0]["UserID"] for message in entered(trail)] == [getpass.getuser()] * 4
    assert entered(trail)[0]["ActiveParticipant"][2]["UserID"] == "pacs"


def test_a_query_a_delivery_and_a_release(folder: Any, trail: Path) -> None:
    audit_events.queried("DUET", ("PACS", "10.0.0.2", 104), "1.2.840.10008.5.1.4.1.2.2.1", {"PatientID": "P-1"})
    batch = {"ae_title": "DUET", "destination": "dicom://PACS@10.0.0.2:104", "address": "10.0.0.2", "job_id": None}
    audit_events.sent(folder.journal, Batch(**batch))
    audit_events.sent(folder.journal, Batch(**batch, delivered={"1.2.840.10008.5.1.4.1.1.66.4": 2}))
    audit_events.released("DUET", "Dr. Who", "P-1", ["1.2.3", "1.2.4"])
    query, sent, released = entered(trail)
    asked = b64decode(query["ParticipantObjectIdentification"][0]["ParticipantObjectQuery"])
    assert (code_of(query)[0], json.loads(asked)) == ("110112", {"PatientID": "P-1"})
    assert (code_of(sent)[0], counts(sent)) == ("110104", {"1.2.840.10008.5.1.4.1.1.66.4": 2})
    assert (released["EventIdentification"]["EventActionCode"], things(released)) == ("U", ["1.2.3", "1.2.4", "P-1"])
    assert released["ActiveParticipant"][0]["UserID"] == "Dr. Who"
