"""Destinations are asked to answer for what they stored: Orthanc, and a server that lies, dawdles or keeps silent."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from deliveries import posted
from nodes import Orthanc, free_port
from pydicom import Dataset
from pynetdicom import AE, AllStoragePresentationContexts, build_role, evt
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance

from service import commitments, postings
from service.commitment import Reports
from service.commitments import MOST_REFUSALS
from service.destinations import Commitment, DeliverySettings, Destination, Kept
from service.outbox import MOST_ASKS, Desk, Outbox
from service.receiver import Receiver, ReceiverSettings
from service.tables import DeliveryState

SETTINGS = DeliverySettings(first_retry_s=1e-6, longest_retry_s=1e-6, commitment_patience_s=0.2)


@contextmanager
def door(folder: Any, port: int) -> Iterator[None]:
    """The node's own, which hears reports."""
    reports = Reports(folder.journal, SETTINGS)
    settings = ReceiverSettings(host="127.0.0.1", port=port, free_gb=0)
    receiver = Receiver("DUET", settings, folder.inbox, folder.journal, [(evt.EVT_N_EVENT_REPORT, reports.hear)])
    receiver.start()
    try:
        yield
    finally:
        receiver.stop()


def outbox(folder: Any, to: Destination, settings: DeliverySettings = SETTINGS) -> Outbox:
    return Outbox(to, Desk(journal=folder.journal, data=folder.data, ae_title="DUET", settings=settings))


def states(folder: Any) -> list[str]:
    with folder.journal.reading() as connection:
        query = postings.select(postings.deliveries.c.state).order_by(postings.deliveries.c.id)
        return [str(state) for state in connection.execute(query).scalars()]


@pytest.mark.peer("Orthanc")
def test_orthanc_commits_itself_on_a_new_association(
    folder: Any, scan: Any, port: int, tmp_path: Path, program: Callable[[str], str]
) -> None:
    posted(folder, scan)
    with Orthanc(tmp_path / "orthanc", program).running() as archive, door(folder, port):
        to = Destination(name="pacs", url=f"dicom://ORTHANC@127.0.0.1:{archive.port}", commitment=Commitment.REQUIRE)
        outbox(folder, to).step()
        assert states(folder) == ["stored"] * 3  # it does not know whom to tell
        assert "did not take the request" in postings.owed(folder.journal)[0].sentence
        archive.know("DUET", port)
        outbox(folder, to).step()
        assert states(folder) == ["committed"] * 3
        (count,) = postings.counts(folder.journal)
        assert (count.delivered, count.stored, count.committed, count.sentence) == (3, 3, 3, "")


class Archive:
    """Stores everything. reports: what it says to each request for commitment, in order: SOP instance UIDs that it claims not
    to have; "silent": nothing; an integer: the status with which it refuses the request. Then it commits itself to all."""

    def __init__(self, reports: Sequence[Any] = (), door_port: int | None = None) -> None:
        self.reports, self.door_port = list(reports), door_port
        self.requests: list[list[str]] = []
        self.stored: list[str] = []
        self.statuses: list[int] = []
        self.calls: list[Callable[[], None]] = []

    def store(self, event: Any) -> int:
        self.stored.append(str(event.request.AffectedSOPInstanceUID))
        return 0

    def action(self, event: Any) -> tuple[int, None]:
        ds = event.action_information
        self.requests.append([str(item.ReferencedSOPInstanceUID) for item in ds.ReferencedSOPSequence])
        lost = self.reports.pop(0) if self.reports else []
        if isinstance(lost, int):
            return lost, None
        if lost != "silent":
            report = report_of(ds, lost)
            self.calls.append(lambda: self._tell(event.assoc, report, 2 if lost else 1))
            if self.door_port is None:
                threading.Timer(0.1, self.call_back).start()
        return 0, None

    def call_back(self) -> None:
        """What it has to say, on an association of its own and in its own time."""
        while self.calls:
            self.calls.pop(0)()

    def _tell(self, assoc: Any, report: Dataset, event_type: int) -> None:
        if self.door_port is not None:
            ae = AE(ae_title="ARCHIVE")
            ae.add_requested_context(StorageCommitmentPushModel)
            roles = [build_role(StorageCommitmentPushModel, scp_role=True)]
            assoc = ae.associate("127.0.0.1", self.door_port, ae_title="DUET", ext_neg=roles)
        arguments = (report, event_type, StorageCommitmentPushModel, StorageCommitmentPushModelInstance)
        status, _ = assoc.send_n_event_report(*arguments)
        self.statuses.append(status.Status)
        if self.door_port is not None:
            assoc.release()

    @contextmanager
    def open(self, port: int, *, commits: bool = True) -> Iterator[None]:
        ae = AE(ae_title="ARCHIVE")
        ae.supported_contexts = AllStoragePresentationContexts
        if commits:
            ae.add_supported_context(StorageCommitmentPushModel)
        handlers = [(evt.EVT_C_STORE, self.store), (evt.EVT_N_ACTION, self.action)]
        server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)
        try:
            yield
        finally:
            server.shutdown()


def report_of(request: Dataset, lost: Sequence[str]) -> Dataset:
    ds = Dataset()
    ds.TransactionUID = request.TransactionUID
    ds.ReferencedSOPSequence = [i for i in request.ReferencedSOPSequence if i.ReferencedSOPInstanceUID not in lost]
    failed = [i for i in request.ReferencedSOPSequence if i.ReferencedSOPInstanceUID in lost]
    for item in failed:
        item.FailureReason = 0x0112
    if failed:
        ds.FailedSOPSequence = failed
    return ds


def to(port: int, commitment: str = "auto") -> Destination:
    return Destination(name="pacs", url=f"dicom://ARCHIVE@127.0.0.1:{port}", commitment=Commitment(commitment))


def test_a_report_on_the_same_association_counts(folder: Any, scan: Any, port: int) -> None:
    (uids,) = posted(folder, scan)
    archive = Archive()
    with archive.open(port):
        outbox(folder, to(port)).step()
    assert archive.requests == [uids]
    assert states(folder) == ["committed"] * 3
    assert archive.statuses == [0]


def test_what_is_not_answered_for_is_sent_again(folder: Any, scan: Any, port: int) -> None:
    (uids,) = posted(folder, scan)
    archive = Archive(reports=[uids[1:2]])
    with archive.open(port):
        box = outbox(folder, to(port))
        box.step()
        assert states(folder) == ["committed", "pending", "committed"]
        (row,) = postings.owed(folder.journal)
        assert (
            row.sentence == "It was stored, but the archive does not answer for it (it has no such object); it is sent again."
        )
        box.step()
    assert archive.stored == [*uids, uids[1]]
    assert archive.requests == [uids, [uids[1]]]
    assert states(folder) == ["committed"] * 3


def test_an_object_that_is_never_answered_for_is_parked_and_told(folder: Any, scan: Any, port: int) -> None:
    (uids,) = posted(folder, scan)
    archive = Archive(reports=[uids[:1]] * MOST_REFUSALS)
    with archive.open(port):
        box = outbox(folder, to(port))
        for _ in range(MOST_REFUSALS + 2):
            box.step()
        assert states(folder) == ["parked", "committed", "committed"]
        assert archive.stored.count(uids[0]) == MOST_REFUSALS
        (row,) = postings.owed(folder.journal)
        assert f"stored {MOST_REFUSALS} times and never answered for (it has no such object)" in row.sentence
        assert postings.resend(folder.journal, postings.Which(job_id=row.job_id), time.time(), again=False) == (1, 0)
        box.step()
    assert states(folder) == ["committed"] * 3


def test_a_late_report_counts_and_a_foreign_one_does_not(
    folder: Any, scan: Any, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.commitment.WAIT_S", 0.05)
    posted(folder, scan)
    own = free_port()
    archive = Archive(door_port=own)
    with archive.open(port), door(folder, own):
        box = outbox(folder, to(port))
        box.step()
        assert states(folder) == ["stored"] * 3
        time.sleep(0.3)
        box.step()  # its patience is over: asked again, under another number
        assert len(archive.requests) == 2
        archive.calls.pop()  # that one is never answered
        archive.call_back()
        assert states(folder) == ["committed"] * 3
        unknown = Dataset()
        unknown.TransactionUID, unknown.ReferencedSOPSequence = "1.2.3", []
        archive._tell(None, unknown, 1)
    assert archive.statuses == [0, 0x0115]


def test_a_report_of_before_an_object_was_sent_again_says_nothing_of_it(
    folder: Any, scan: Any, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.commitment.WAIT_S", 0.05)
    posted(folder, scan)
    own = free_port()
    archive = Archive(door_port=own)
    with archive.open(port), door(folder, own):
        box = outbox(folder, to(port))
        box.step()
        postings.resend(folder.journal, postings.Which(), time.time(), again=True)
        box.step()
        assert len(archive.calls) == 2
        archive.calls.pop(0)()
        assert states(folder) == ["stored"] * 3
        archive.call_back()
        assert states(folder) == ["committed"] * 3


@pytest.mark.parametrize("answer", ["silent", 0x0110])
def test_where_it_is_not_required_a_request_in_vain_ends_and_is_told(
    folder: Any, scan: Any, port: int, answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.commitment.WAIT_S", 0.01)
    posted(folder, scan)
    archive = Archive(reports=[answer] * 100)
    settings = DeliverySettings(first_retry_s=1e-6, longest_retry_s=1e-6, commitment_patience_s=1e-6)
    with archive.open(port):
        box = outbox(folder, to(port), settings)
        for _ in range(MOST_ASKS + 2):
            box.step()
    assert len(archive.requests) == MOST_ASKS
    assert states(folder) == ["delivered"] * 3
    with folder.journal.reading() as connection:
        words = connection.execute(postings.select(postings.deliveries.c.sentence)).scalars().all()
    assert all(f"asked {MOST_ASKS} times for its commitment, in vain" in each for each in words)


def test_where_it_is_required_it_is_asked_for_ever(folder: Any, scan: Any, port: int) -> None:
    posted(folder, scan)
    archive = Archive(reports=[0x0110] * 100)
    with archive.open(port):
        box = outbox(folder, to(port, "require"))
        for _ in range(MOST_ASKS + 2):
            box.step()
    assert len(archive.requests) == MOST_ASKS + 2
    (count,) = postings.counts(folder.journal)
    assert (count.delivered, count.stored) == (0, 3)
    assert "did not take the request for storage commitment (status 0x0110)" in count.sentence


def test_a_destination_that_offers_none_is_done_unless_it_is_required(folder: Any, scan: Any, port: int) -> None:
    posted(folder, scan)
    archive = Archive()
    with archive.open(port, commits=False):
        outbox(folder, to(port, "require")).step()
        assert states(folder) == ["stored"] * 3
        assert (
            'offers no storage commitment. [[destination]] commitment is "require".'
            in postings.owed(folder.journal)[0].sentence
        )
        outbox(folder, to(port)).step()
    assert states(folder) == ["delivered"] * 3


def test_one_that_is_never_asked_is_not(folder: Any, scan: Any, port: int) -> None:
    posted(folder, scan)
    archive = Archive()
    with archive.open(port):
        outbox(folder, to(port, "never")).step()
    assert archive.requests == []
    assert states(folder) == ["delivered"] * 3


def test_after_a_restart_what_waits_is_asked_again(folder: Any, scan: Any, port: int) -> None:
    posted(folder, scan)
    archive = Archive(reports=["silent"])
    patient = DeliverySettings(commitment_patience_s=1000.0)
    with archive.open(port), pytest.MonkeyPatch.context() as patch:
        patch.setattr("service.commitment.WAIT_S", 0.01)
        outbox(folder, to(port), patient).step()
        outbox(folder, to(port), patient).step()
        assert len(archive.requests) == 1
        patch.undo()
        commitments.ask_anew(folder.journal, time.time())
        outbox(folder, to(port), patient).step()
    assert states(folder) == [DeliveryState.COMMITTED] * 3


def test_nonsense_as_a_report_is_turned_away(folder: Any) -> None:
    class Event:
        event_information = Dataset()

    assert Reports(folder.journal, SETTINGS).hear(Event()) == (0x0115, None)


@pytest.mark.parametrize(("commitment", "state"), [("auto", "delivered"), ("require", "stored")])
def test_of_a_file_that_has_gone_no_commitment_is_asked_for(
    folder: Any, scan: Any, port: int, commitment: str, state: str
) -> None:
    (uids,) = posted(folder, scan)
    for row in postings.owed(folder.journal):
        postings.stored(folder.journal, row.id, "", 1.0, ask=True)
    (folder.data / f"{uids[0]}.dcm").unlink()
    archive = Archive()
    with archive.open(port):
        outbox(folder, to(port, commitment)).step()
    assert archive.requests == [uids[1:]]
    assert states(folder) == [state, "committed", "committed"]
    with folder.journal.reading() as connection:
        words = connection.execute(postings.select(postings.deliveries.c.sentence)).scalars().first()
    assert words == "Stored; its file has gone from here, so that its commitment cannot be asked for."


def test_a_report_that_was_sent_as_enhanced_sr_is_asked_for_as_such(folder: Any, scan: Any, port: int) -> None:
    (uids,) = posted(folder, scan)
    (row, *_) = postings.owed(folder.journal)
    postings.send_as(folder.journal, row.id, Kept(sop_class_uid="1.2.840.10008.5.1.4.1.1.88.22", sop_instance_uid="1.2.99"))
    for each in postings.owed(folder.journal):
        postings.stored(folder.journal, each.id, "stored with the remark 0xB000", 1.0, ask=True)
    archive = Archive()
    with archive.open(port):
        outbox(folder, to(port)).step()
    assert archive.requests == [["1.2.99", *uids[1:]]]
    assert states(folder) == ["committed"] * 3
    with folder.journal.reading() as connection:
        words = connection.execute(postings.select(postings.deliveries.c.sentence)).scalars().all()
    assert words == ["stored with the remark 0xB000"] * 3
