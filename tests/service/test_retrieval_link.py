"""An association with an archive: what it refuses is told in a sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from archives import ScriptedArchive
from pydicom import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind as Find  # type: ignore[attr-defined]
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from service import retrieval_link
from service.receiver import Receiver, ReceiverSettings
from service.retrieval import Archive, ArchiveError, Level, Method
from service.retrieval_link import STORED, SYNTAXES, Link


@contextmanager
def offering(*models: Any, status: int = 0, knows: str = "DUET", before: Sequence[tuple[int, Dataset]] = ()) -> Iterator[str]:
    """An archive that offers these alone; every query ends with this status, after these answers."""
    ae = AE(ae_title="PACS")
    for model in models:
        ae.add_supported_context(model)
    ae.require_calling_aet = [knows]

    def find(_event: Any) -> Iterator[tuple[int, Dataset | None]]:
        yield from before
        yield status, None

    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_FIND, find)])
    assert server is not None
    try:
        yield f"dicom://PACS@127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()


def told(url: str, method: Method = Method.MOVE) -> str:
    with Link(Archive(name="pacs", url=url, method=method, again_s=0), "DUET") as link, pytest.raises(ArchiveError) as error:
        link.bring(Level.SERIES, {}, lambda: None) if method is Method.GET else link.find(Level.STUDY, {"PatientID": "P1"})
    return str(error.value)


def test_refusals_are_told() -> None:
    with offering(Find, knows="OTHER") as url:
        assert "refuses DUET; add this AE title there." in told(url)
    with offering(Verification) as url:
        assert "offers neither Study Root C-FIND nor C-MOVE" in told(url)
    with offering(Find) as url:
        assert "pacs offers no C-GET (Study Root); see method in [[archive]]." in told(url, Method.GET)
    with offering(Find, status=0xA900) as url:
        assert "pacs refuses the query (status 0xA900)." in told(url)


def test_an_archive_that_answers_without_end_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieval_link, "MOST_ANSWERS", 50)
    answer = Dataset()
    answer.StudyInstanceUID = "1.2.3"
    with offering(Find, before=[(0xFF00, answer)] * 2000) as url:
        assert "pacs gives more than 50 answers to one query" in told(url)


def test_a_check_asks_for_both_services() -> None:
    with ScriptedArchive(datasets=[]).running() as archive, Link(archive.settings(), "DUET") as link:
        assert link.check() == f"offers C-FIND and C-MOVE at {archive.url}"
        assert archive.asked == []
    with offering(Find) as url, pytest.raises(ArchiveError, match="offers no C-MOVE"):
        Link(Archive(name="pacs", url=url), "DUET").check()


def test_a_patient_id_of_another_alphabet_reaches_the_archive() -> None:
    with ScriptedArchive(datasets=[]).running() as archive, Link(archive.settings(), "DUET") as link:
        link.find(Level.STUDY, {"PatientID": "Ünal-確認"})
        assert archive.requests("FIND")[0].PatientID == "Ünal-確認"


def test_c_get_proposes_no_more_contexts_than_dicom_allows() -> None:
    """PS3.8 9.3.2.2: context IDs are odd numbers of one byte, 128 in all."""
    assert len(STORED) * len(SYNTAXES) + 2 <= 128


STUCK = r"pacs only said that it goes on for \d s \(1 times timeout_s\) and was given up"


def series_of(archive: ScriptedArchive) -> dict[str, str | list[str]]:
    ds = archive.datasets[0]
    return {"StudyInstanceUID": str(ds.StudyInstanceUID), "SeriesInstanceUID": str(ds.SeriesInstanceUID)}


@pytest.mark.parametrize("method", ["move", "get"])
def test_an_archive_that_only_says_that_it_goes_on_is_given_up(scan: Any, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieval_link, "PATIENCE", 1)
    with ScriptedArchive(datasets=scan(slices=1).datasets(), goes_on_s=60).running() as archive:
        with Link(archive.settings(timeout_s=1.5, method=method), "DUET") as link:
            outcome = link.bring(Level.SERIES, series_of(archive), lambda: None)
            assert outcome.code is None
            assert re.match(STUCK, outcome.sentence)
        with Link(archive.settings(timeout_s=1.5, tries=1), "DUET") as link, pytest.raises(ArchiveError, match=STUCK):
            link.find(Level.STUDY, {"PatientID": "P1"})


def test_an_archive_that_reads_a_tape_first_is_waited_for(folder: Any, scan: Any, port: int) -> None:
    scripted = ScriptedArchive(datasets=scan(slices=2, modalities=("CT",)).datasets(), destinations={"DUET": port}, goes_on_s=2)
    receiver = Receiver("DUET", ReceiverSettings(host="127.0.0.1", port=port, free_gb=0), folder.inbox, folder.journal)
    receiver.start()
    try:
        with scripted.running() as archive, Link(archive.settings(timeout_s=1.0), "DUET") as link:
            outcome = link.bring(Level.SERIES, series_of(archive), lambda: None)
    finally:
        receiver.stop()
    assert (outcome.code, outcome.completed, outcome.sentence) == (0, 2, "")
