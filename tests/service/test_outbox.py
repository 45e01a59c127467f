"""Results arrive once, in order, however often an archive fails. The archive is a pynetdicom server that does as it is told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmwrite
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import Verification

from service import postings
from service.outbox import DeliverySettings, Destination, Outbox, UndeliveredError, echo
from service.tables import jobs


class Archive:
    """Answers with the statuses it was given, then with Success."""

    def __init__(self, statuses: Sequence[int] = ()) -> None:
        self.statuses = list(statuses)
        self.accepted: list[str] = []
        self.asked: list[str] = []

    def store(self, event: Any) -> int:
        uid = str(event.request.AffectedSOPInstanceUID)
        self.asked.append(uid)
        status = self.statuses.pop(0) if self.statuses else 0
        if status in (0, 0xB000):
            self.accepted.append(uid)
        return status

    @contextmanager
    def open(self, port: int, title: str = "ARCHIVE") -> Iterator[None]:
        ae = AE(ae_title=title)
        ae.require_called_aet = True
        ae.supported_contexts = AllStoragePresentationContexts
        ae.add_supported_context(Verification)
        server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, self.store)])
        try:
            yield
        finally:
            server.shutdown()


@pytest.fixture
def to(port: int) -> Destination:
    return Destination(name="pacs", url=f"dicom://ARCHIVE@127.0.0.1:{port}")


def outbox(folder: Any, to: Destination, retry_s: float = 0.0) -> Outbox:
    settings = DeliverySettings(first_retry_s=retry_s, longest_retry_s=retry_s)
    return Outbox(to, settings, folder.journal, folder.data, "DUET")


def post(folder: Any, scan: Any, cases: int = 1) -> list[list[str]]:
    """Cases of three objects each; returns their UIDs."""
    posted = []
    for case in range(cases):
        words = {"StudyInstanceUID": f"1.2.{case + 1}"}
        datasets = scan(slices=3, modalities=("CT",), words={**words, "SeriesInstanceUID": f"1.2.{case + 1}.9"}).datasets()
        for number, ds in enumerate(datasets):
            ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"1.2.{case + 1}.9.{number + 1}"
            dcmwrite(folder.data / f"{ds.SOPInstanceUID}.dcm", ds, enforce_file_format=True)
        uids = [str(ds.SOPInstanceUID) for ds in datasets]
        with folder.journal.writing() as connection:
            job_id = connection.execute(jobs.insert().values(**_job(case))).inserted_primary_key[0]
            rows = [postings.Posting(destination="pacs", sop_instance_uid=uid, path=f"{uid}.dcm") for uid in uids]
            postings.post(connection, job_id, rows, 0.0)
        posted.append(uids)
    return posted


def _job(number: int) -> dict[str, Any]:
    words = dict.fromkeys(("issuer", "fdg_study", "pentixafor_study", "inputs", "reason", "sentence", "progress"), "")
    numbers = {"version": 1, "failures": 0, "next_try_at": 0.0, "created_at": 0.0}
    return {**words, **numbers, "pair_uid": str(number), "patient_id": "P1", "state": "done"}


def test_a_case_arrives_once_and_in_order(folder: Any, scan: Any, port: int, to: Destination) -> None:
    (uids,) = post(folder, scan)
    archive = Archive()
    with archive.open(port):
        outbox(folder, to).step()
        outbox(folder, to).step()
    assert archive.asked == uids
    (count,) = postings.counts(folder.journal)
    assert (count.delivered, count.total, count.sentence) == (3, 3, "")


def test_a_refusal_stops_its_case_and_is_tried_again_from_there(folder: Any, scan: Any, port: int, to: Destination) -> None:
    (uids,) = post(folder, scan)
    archive = Archive(statuses=[0, 0xA700, 0xA700])
    with archive.open(port):
        box = outbox(folder, to)
        box.step()
        assert archive.accepted == uids[:1]
        assert "0xA700" in postings.counts(folder.journal)[0].sentence
        box.step()
        box.step()
    assert archive.asked == [uids[0], uids[1], uids[1], uids[1], uids[2]]
    assert archive.accepted == uids


def test_a_refused_case_does_not_stop_the_next(folder: Any, scan: Any, port: int, to: Destination) -> None:
    first, second = post(folder, scan, cases=2)
    archive = Archive(statuses=[0, 0xC000])
    with archive.open(port):
        outbox(folder, to, retry_s=1000.0).step()
    assert archive.accepted == [first[0], *second]


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


@pytest.mark.parametrize("url", ["http://host", "dicom://host:104", "dicom://AE@host", "dicom://A_TITLE_FAR_TOO_LONG@host:104"])
def test_an_address_that_cannot_be_meant_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="dicom://AE_TITLE@host:port"):
        Destination(name="pacs", url=url)


def test_an_address_is_read(tmp_path: Path) -> None:
    assert Destination(name="pacs", url="dicom://PACS_1@[::1]:104").address == ("PACS_1", "::1", 104)
