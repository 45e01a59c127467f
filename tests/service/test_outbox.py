"""Results arrive once, in order, however often an archive fails. The archive is a pynetdicom server that does as it is told."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cases import Made
from deliveries import post as post_case
from deliveries import posted
from pydicom import dcmread, dcmwrite
from pynetdicom import AE, AllStoragePresentationContexts, _config, evt
from pynetdicom.sop_class import Comprehensive3DSRStorage, EnhancedSRStorage, SegmentationStorage, Verification

from dicom_io.sr_enhanced import enhanced_uid
from service import arrivals, postings, storage
from service.destinations import DeliverySettings, Destination, Kept, UndeliveredError
from service.outbox import Desk, Outbox
from service.storage import echo


class Archive:
    """Answers with the statuses it was given, then with Success."""

    def __init__(self, statuses: Sequence[int] = ()) -> None:
        self.statuses = list(statuses)
        self.accepted: list[str] = []
        self.classes: dict[str, Any] = {}
        self.asked: list[str] = []
        self.aborts_at = ""
        self.contexts = AllStoragePresentationContexts

    def store(self, event: Any) -> int:
        uid = str(event.request.AffectedSOPInstanceUID)
        self.asked.append(uid)
        self.classes[uid] = event.request.AffectedSOPClassUID
        if uid == self.aborts_at:
            event.assoc.abort()
        status = self.statuses.pop(0) if self.statuses else 0
        if status in (0, 0xB000) and uid != self.aborts_at:
            self.accepted.append(uid)
        return status

    @contextmanager
    def open(self, port: int, title: str = "ARCHIVE") -> Iterator[None]:
        ae = AE(ae_title=title)
        ae.require_called_aet = True
        ae.supported_contexts = self.contexts
        ae.add_supported_context(Verification)
        server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, self.store)])
        try:
            yield
        finally:
            server.shutdown()


@pytest.fixture
def to(port: int) -> Destination:
    return Destination(name="pacs", url=f"dicom://ARCHIVE@127.0.0.1:{port}")


def outbox(folder: Any, to: Destination, retry_s: float = 1e-6) -> Outbox:
    settings = DeliverySettings(first_retry_s=retry_s, longest_retry_s=retry_s)
    return Outbox(to, Desk(journal=folder.journal, data=folder.data, ae_title="DUET", settings=settings))


def post(folder: Any, scan: Any, cases: int = 1) -> list[list[str]]:
    return posted(folder, scan, cases)


def test_a_case_arrives_once_and_in_order(folder: Any, scan: Any, port: int, to: Destination) -> None:
    (uids,) = post(folder, scan)
    archive = Archive()
    with archive.open(port):
        outbox(folder, to).step()
        outbox(folder, to).step()
    assert archive.asked == uids
    (count,) = postings.counts(folder.journal)
    assert (count.delivered, count.total, count.sentence) == (3, 3, "")


def test_a_refused_object_is_tried_again_and_the_others_go_on(folder: Any, scan: Any, port: int, to: Destination) -> None:
    (uids,) = post(folder, scan)
    archive = Archive(statuses=[0, 0x0122, 0, 0xA700])
    with archive.open(port):
        box = outbox(folder, to)
        box.step()
        assert archive.accepted == [uids[0], uids[2]]
        assert "0x0122" in postings.counts(folder.journal)[0].sentence
        box.step()
        assert "0xA700" in postings.counts(folder.journal)[0].sentence
        box.step()
    assert archive.asked == [*uids, uids[1], uids[1]]
    assert sorted(archive.accepted) == uids


def test_a_refused_object_waits_alone(folder: Any, scan: Any, port: int, to: Destination) -> None:
    first, second = post(folder, scan, cases=2)
    archive = Archive(statuses=[0, 0xC000])
    with archive.open(port):
        outbox(folder, to, retry_s=1000.0).step()
        outbox(folder, to, retry_s=1000.0).step()
    assert archive.accepted == [first[0], first[2], *second]
    (row,) = postings.due(folder.journal, "pacs", 1e12)
    assert (row.sop_instance_uid, row.failures) == (first[1], 1)


def test_a_kind_of_object_that_is_not_accepted_waits_alone(
    folder: Any, scan: Any, port: int, to: Destination, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A node's door that was opened earlier in this process lets every server here accept all kinds.
    monkeypatch.setattr(_config, "UNRESTRICTED_STORAGE_SERVICE", False)
    (uids,) = post(folder, scan)
    as_segmentation(folder, uids[0])
    archive = Archive()
    archive.contexts = [cx for cx in AllStoragePresentationContexts if cx.abstract_syntax != SegmentationStorage]
    with archive.open(port):
        box = outbox(folder, to)
        box.step()
        assert archive.accepted == uids[1:]
        box.step()  # now with nothing but what is not accepted
    (row,) = postings.due(folder.journal, "pacs", 1e12)
    assert (row.sop_instance_uid, row.failures) == (uids[0], 2)
    assert "accepts no objects of this kind (Segmentation Storage)" in row.sentence


def as_segmentation(folder: Any, uid: str) -> None:
    ds = dcmread(folder.data / f"{uid}.dcm")
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = SegmentationStorage
    dcmwrite(folder.data / f"{uid}.dcm", ds, enforce_file_format=True)


def test_an_object_that_breaks_the_association_does_not_keep_the_others(
    folder: Any, scan: Any, port: int, to: Destination
) -> None:
    (uids,) = post(folder, scan)
    archive = Archive()
    archive.aborts_at = uids[0]
    with archive.open(port):
        box = outbox(folder, to, retry_s=1000.0)
        box.step()
        box.step()
    assert archive.asked == uids
    assert archive.accepted == uids[1:]
    (row,) = postings.due(folder.journal, "pacs", 1e12)
    assert "connection broke" in row.sentence


def test_a_file_that_is_gone_or_no_dicom_waits_alone(folder: Any, scan: Any, port: int, to: Destination) -> None:
    (uids,) = post(folder, scan)
    (folder.data / f"{uids[0]}.dcm").unlink()
    (folder.data / f"{uids[1]}.dcm").write_text("no DICOM")
    archive = Archive()
    with archive.open(port):
        outbox(folder, to).step()
        outbox(folder, to).step()
    assert archive.accepted == uids[2:]
    gone, other = postings.due(folder.journal, "pacs", 1e12)
    assert gone.sentence.endswith("cannot be read: No such file or directory.")
    assert other.sentence.endswith("cannot be read: no DICOM file.")


def test_what_waits_does_not_hide_what_is_due(folder: Any, scan: Any) -> None:
    first, second = post(folder, scan, cases=2)
    waiting = [row.id for row in postings.due(folder.journal, "pacs", 0.0) if row.sop_instance_uid in first]
    postings.postpone(folder.journal, waiting, "Refused.", 1000.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(postings, "LOT", 3)
        assert [row.sop_instance_uid for row in postings.due(folder.journal, "pacs", 1.0)] == second


def test_a_warning_counts_as_arrived(folder: Any, scan: Any, port: int, to: Destination) -> None:
    (uids,) = post(folder, scan)
    archive = Archive(statuses=[0xB000])
    with archive.open(port):
        outbox(folder, to).step()
    assert archive.accepted == uids


def test_an_archive_that_is_away_is_waited_for(folder: Any, scan: Any, port: int, to: Destination) -> None:
    (uids,) = post(folder, scan)
    box = outbox(folder, to)
    box.step()
    assert "cannot be reached" in postings.counts(folder.journal)[0].sentence
    archive = Archive()
    with archive.open(port):
        box.step()
    assert archive.accepted == uids


def test_waiting_grows_with_each_failure(folder: Any, scan: Any, to: Destination) -> None:
    post(folder, scan)
    outbox(folder, to, retry_s=1000.0).step()
    assert postings.due(folder.journal, "pacs", 0.0) == []
    assert {row.failures for row in postings.due(folder.journal, "pacs", 1e12)} == {1}


def test_an_archive_that_does_not_know_the_node_is_named(port: int, to: Destination) -> None:
    with Archive().open(port, title="OTHER"), pytest.raises(UndeliveredError, match="refuses this node"):
        echo(to, "DUET")


def test_echo_passes(port: int, to: Destination) -> None:
    with Archive().open(port):
        echo(to, "DUET")


@pytest.mark.parametrize("url", ["ftp://host", "dicom://host:104", "dicom://AE@host", "dicom://A_TITLE_FAR_TOO_LONG@host:104"])
def test_an_address_that_cannot_be_meant_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="dicom://AE_TITLE@host:port"):
        Destination(name="pacs", url=url)


def test_an_address_is_read(tmp_path: Path) -> None:
    assert Destination(name="pacs", url="dicom://PACS_1@[::1]:104").address == ("PACS_1", "::1", 104)


def reports(folder: Any, case: Made) -> list[str]:
    """A case's SEG and report as its node would send them; returns their UIDs."""
    uids = []
    for name in ("seg-fdg", "sr-fdg"):
        ds = dcmread(case.folder / f"{name}.dcm")
        dcmwrite(folder.data / f"{ds.SOPInstanceUID}.dcm", ds, enforce_file_format=True)
        uids.append(str(ds.SOPInstanceUID))
    post_case(folder, 1, uids)
    return uids


def without(*kinds: str) -> list[Any]:
    return [cx for cx in AllStoragePresentationContexts if cx.abstract_syntax not in kinds]


@pytest.mark.parametrize("how", ["context", "status"])
def test_a_report_whose_kind_is_refused_goes_as_enhanced_sr_and_stays_so(
    folder: Any, case: Made, port: int, to: Destination, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(_config, "UNRESTRICTED_STORAGE_SERVICE", False)
    seg, report = reports(folder, case)
    other = enhanced_uid(report)
    archive = Archive(statuses=[] if how == "context" else [0, 0x0122])
    if how == "context":
        archive.contexts = without(Comprehensive3DSRStorage)
    with archive.open(port):
        outbox(folder, to).step()
        assert archive.accepted == [seg, other]
        assert archive.classes[other] == EnhancedSRStorage
        assert archive.asked == ([seg, report, other] if how == "status" else [seg, other])
        assert postings.owed(folder.journal) == []
        postings.resend(folder.journal, postings.Which(), 1.0, again=True)
        outbox(folder, to).step()
    assert archive.accepted == [seg, other] * 2
    assert arrivals.own_results(folder.journal, [other, report, "1.2"]) == {other, report}


def test_a_report_that_is_taken_in_no_form_waits_and_begins_anew(
    folder: Any, case: Made, port: int, to: Destination, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_config, "UNRESTRICTED_STORAGE_SERVICE", False)
    seg, report = reports(folder, case)
    archive = Archive()
    archive.contexts = without(Comprehensive3DSRStorage, EnhancedSRStorage)
    with archive.open(port):
        outbox(folder, to).step()
    assert archive.accepted == [seg]
    (row,) = postings.owed(folder.journal)
    assert (row.failures, row.sent_as) == (1, None)
    assert "(Enhanced SR Storage). Nor does it take the report as Comprehensive 3D SR." in row.sentence
    archive.contexts = AllStoragePresentationContexts
    with archive.open(port):
        outbox(folder, to).step()
    assert archive.accepted == [seg, report]


def test_a_report_that_was_sent_otherwise_and_has_changed_since_is_not_sent(
    folder: Any, case: Made, port: int, to: Destination
) -> None:
    _, report = reports(folder, case)
    row = next(row for row in postings.due(folder.journal, "pacs", 1.0) if row.sop_instance_uid == report)
    postings.send_as(folder.journal, row.id, Kept(sop_class_uid=EnhancedSRStorage, sop_instance_uid="1.2.3"))
    with Archive().open(port):
        outbox(folder, to).step()
    (row,) = postings.owed(folder.journal)
    assert row.sentence.endswith("its file has changed since it was sent as another object.")


def test_delays_double_up_to_an_hour_and_go_on_for_days(folder: Any, scan: Any, to: Destination) -> None:
    """Of the settings' own: 5, 10, 20 ... 2560, then 3600 s. The archive is away all the time."""
    post(folder, scan)
    box = Outbox(to, Desk(journal=folder.journal, data=folder.data, ae_title="DUET", settings=DeliverySettings()))
    delays = [box._delay(failures) for failures in range(100)]
    assert delays[:11] == [5.0 * 2**n for n in range(10)] + [3600.0]
    assert set(delays[10:]) == {3600.0}
    assert sum(delays) > 3 * 86400
    box.step()
    assert {row.failures for row in postings.owed(folder.journal)} == {1}


def test_one_destination_that_never_answers_keeps_nothing_from_another(
    folder: Any, scan: Any, port: int, to: Destination
) -> None:
    """It accepts TCP and says nothing; each destination has a thread of its own, as in the node."""
    cases = posted(folder, scan, cases=3, destinations=("silent", "pacs"))
    archive = Archive()
    with socket.socket() as silent, archive.open(port), pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage, "CONNECT_S", 100)
        silent.bind(("127.0.0.1", 0))
        silent.listen(50)
        hung = Destination(name="silent", url=f"dicom://SILENT@127.0.0.1:{silent.getsockname()[1]}")
        waits = threading.Thread(target=outbox(folder, hung, retry_s=1000.0).step, daemon=True)
        waits.start()
        line, _ = silent.accept()
        outbox(folder, to).step()
        assert archive.accepted == [uid for case in cases for uid in case]
        assert waits.is_alive()
        assert {row.destination for row in postings.owed(folder.journal)} == {"silent"}
        line.close()
        waits.join(timeout=30)
    owed = postings.owed(folder.journal)
    assert [row.failures for row in owed] == [1] * 3 + [0] * 6  # its first case; the next step tries the second
    assert "cannot be reached" in owed[0].sentence
