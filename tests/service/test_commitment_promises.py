"""Senders ask this node to answer for what they sent: Orthanc, which is called back, and one that waits on the line."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from nodes import Orthanc, free_port, until
from pydicom import Dataset, dcmwrite
from pynetdicom import AE, evt
from pynetdicom.sop_class import CTImageStorage, StorageCommitmentPushModel, StorageCommitmentPushModelInstance

from service.commitment_promises import MOST_CALLS, Promises
from service.destinations import Sender
from service.receiver import Receiver, ReceiverSettings
from service.tables import promises


@contextmanager
def door(folder: Any, port: int, senders: Sequence[Sender] = ()) -> Iterator[Promises]:
    answering = Promises(folder.journal, folder.inbox, "DUET", senders)
    settings = ReceiverSettings(host="127.0.0.1", port=port, free_gb=0)
    receiver = Receiver("DUET", settings, folder.inbox, folder.journal, [(evt.EVT_N_ACTION, answering.take)])
    receiver.start()
    try:
        yield answering
    finally:
        receiver.stop()


def rows(folder: Any) -> list[tuple[str, str]]:
    with folder.journal.reading() as connection:
        return [(row.state, row.sentence) for row in connection.execute(promises.select().order_by(promises.c.id))]


@pytest.mark.peer("Orthanc")
def test_orthanc_is_told_what_is_kept_and_what_is_not(
    folder: Any, scan: Any, port: int, tmp_path: Path, program: Callable[[str], str]
) -> None:
    datasets = scan(slices=3, modalities=("CT",)).datasets()
    with Orthanc(tmp_path / "orthanc", program).running() as archive:
        sender = Sender(ae_title="ORTHANC", host="127.0.0.1", port=archive.port)
        with door(folder, port, [sender]) as answering:
            archive.know("DUET", port)
            for ds in datasets:
                dcmwrite(tmp_path / "one.dcm", ds, enforce_file_format=True)
                archive.put_file(tmp_path / "one.dcm")
            archive.tell("/modalities/duet/store", [*archive.ask("/instances")])
            wanted = [[str(ds.SOPClassUID), str(ds.SOPInstanceUID)] for ds in datasets]
            asked = archive.tell("/modalities/duet/storage-commitment", {"DicomInstances": [*wanted, [wanted[0][0], "1.2.3"]]})
            answering.step()
            report = archive.ask(asked["Path"])
    assert report["Status"] == "Failure"
    assert {each["SOPInstanceUID"] for each in report["Success"]} == {uid for _, uid in wanted}
    assert [(each["SOPInstanceUID"], each["FailureReason"]) for each in report["Failures"]] == [("1.2.3", 0x0112)], report
    assert rows(folder) == [("told", "")]


class Scanner:
    """Asks for commitment and waits for the report on the same association."""

    def __init__(self, port: int) -> None:
        self.reports: list[tuple[int, Dataset]] = []
        ae = AE(ae_title="SCANNER")
        ae.add_requested_context(StorageCommitmentPushModel)
        ae.add_requested_context(CTImageStorage)
        self.assoc = ae.associate("127.0.0.1", port, ae_title="DUET", evt_handlers=[(evt.EVT_N_EVENT_REPORT, self.hear)])
        assert self.assoc.is_established

    def hear(self, event: Any) -> tuple[int, None]:
        self.reports.append((event.event_type, event.event_information))
        return 0, None

    def ask(self, objects: Sequence[tuple[str, str]], action: int = 1) -> int:
        ds = Dataset()
        ds.TransactionUID = "1.2.3.4"
        ds.ReferencedSOPSequence = []
        for sop_class, uid in objects:
            item = Dataset()
            item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
            ds.ReferencedSOPSequence.append(item)
        model = (StorageCommitmentPushModel, StorageCommitmentPushModelInstance)
        status, _ = self.assoc.send_n_action(ds, action, *model)
        return int(status.Status)


def test_one_who_stays_on_the_line_is_told_there(folder: Any, scan: Any, port: int) -> None:
    ds, other = scan(slices=2, modalities=("CT",)).datasets()
    paths = folder.receive([ds, other])
    with door(folder, port) as answering:
        scanner = Scanner(port)
        assert scanner.ask([(ds.SOPClassUID, ds.SOPInstanceUID)]) == 0
        answering.step()
        assert rows(folder) == [("told", "")]
        (event_type, report) = scanner.reports[0]
        assert (event_type, report.TransactionUID, report.RetrieveAETitle) == (1, "1.2.3.4", "DUET")
        assert "FailedSOPSequence" not in report
        (folder.data / paths[1]).unlink()
        scanner.ask([(ds.SOPClassUID, ds.SOPInstanceUID), (ds.SOPClassUID, other.SOPInstanceUID), ("1.2.9", ds.SOPInstanceUID)])
        answering.step()
        scanner.assoc.release()
    (event_type, report) = scanner.reports[1]
    assert event_type == 2
    assert [item.ReferencedSOPInstanceUID for item in report.ReferencedSOPSequence] == [ds.SOPInstanceUID]
    assert [item.FailureReason for item in report.FailedSOPSequence] == [0x0112, 0x0119]  # PS3.3 C.14.1.1


def test_one_who_has_gone_is_told_nothing_and_that_is_noted(folder: Any, port: int) -> None:
    with door(folder, port) as answering:
        scanner = Scanner(port)
        assert scanner.ask([("1.2.1", "1.2.2")]) == 0
        scanner.assoc.release()
        until(lambda: not scanner.assoc.is_alive(), "released", 10)
        time.sleep(0.2)
        answering.step()
    assert rows(folder) == [("untold", "SCANNER has gone; a [[sender]] section would name its address.")]


def test_a_request_outlives_a_restart_and_a_sender_that_is_away(
    folder: Any, scan: Any, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.commitment_promises.backoff", lambda *_: 0.0)
    (ds,) = scan(slices=1, modalities=("CT",)).datasets()
    folder.receive([ds])
    home = free_port()
    sender = Sender(ae_title="SCANNER", host="127.0.0.1", port=home)
    with door(folder, port, [sender]):
        scanner = Scanner(port)
        assert scanner.ask([(ds.SOPClassUID, ds.SOPInstanceUID)]) == 0
        scanner.assoc.release()
    after = Promises(folder.journal, folder.inbox, "DUET", [sender])
    after.step()
    assert rows(folder) == [("open", f"SCANNER at 127.0.0.1:{home} cannot be reached.")]
    heard: list[Dataset] = []

    def hear(event: Any) -> tuple[int, None]:
        heard.append(event.event_information)
        return 0, None

    ae = AE(ae_title="SCANNER")
    ae.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
    server = ae.start_server(("127.0.0.1", home), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, hear)])
    after.step()
    after.step()
    server.shutdown()
    assert [item.ReferencedSOPInstanceUID for (report,) in [heard] for item in report.ReferencedSOPSequence] == [
        ds.SOPInstanceUID
    ]
    assert rows(folder) == [("told", "")]


def test_what_cannot_be_understood_is_not_taken(folder: Any, port: int) -> None:
    with door(folder, port):
        scanner = Scanner(port)
        assert scanner.ask([], action=1) == 0x0115
        assert scanner.ask([("1.2", "1.3")], action=7) == 0x0123
        model = (StorageCommitmentPushModel, StorageCommitmentPushModelInstance)
        assert scanner.assoc.send_n_action(None, 1, *model)[0].Status == 0x0115  # without a dataset
        scanner.assoc.release()
    assert rows(folder) == []


def test_after_days_a_sender_is_given_up_and_that_is_noted(folder: Any) -> None:
    sender = Sender(ae_title="SCANNER", host="127.0.0.1", port=free_port())
    answering = Promises(folder.journal, folder.inbox, "DUET", [sender])
    row = {"transaction_uid": "1.2", "calling_ae": "SCANNER", "objects": json.dumps([["1.2", "1.3"]]), "state": "open"}
    with folder.journal.writing() as connection:
        rest = {"failures": MOST_CALLS - 1, "next_try_at": 0.0, "sentence": "", "asked_at": 0.0}
        connection.execute(promises.insert().values(**row, **rest))
    answering.step()
    ((state, sentence),) = rows(folder)
    assert state == "untold"
    assert "cannot be reached" in sentence
