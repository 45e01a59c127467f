"""A study from an archive into the node: all of it, or said what is missing and why."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from archives import ScriptedArchive
from pydicom import Dataset

from service.keeping import StoreHandler
from service.receiver import Receiver, ReceiverSettings
from service.retrieval import ArchiveError, Outcome, StudyAnswer
from service.retrieval_link import Link
from service.retrieval_study import Fetched, Holdings, fetch


@contextmanager
def door(folder: Any, port: int, ae_title: str = "DUET") -> Iterator[None]:
    opened = Receiver(ae_title, ReceiverSettings(host="127.0.0.1", port=port, free_gb=0), folder.inbox, folder.journal)
    opened.start()
    try:
        yield
    finally:
        opened.stop()


def bring(folder: Any, archive: ScriptedArchive, **settings: Any) -> Fetched | None:
    """The one study of the archive."""
    holdings = Holdings(journal=folder.journal, data=folder.data)
    store_handler = StoreHandler(folder.inbox, folder.journal, 0.0)
    uid = str(archive.datasets[0].StudyInstanceUID)
    with Link(archive.settings(**settings), "DUET", store_handler) as link:
        return fetch(link, StudyAnswer(study_uid=uid), holdings, lambda _here, _all: None)


def numbers(fetched: Fetched | None) -> tuple[int, int, int, int, int]:
    assert fetched is not None
    return fetched.series, fetched.objects, fetched.had, fetched.moved, fetched.missing


def test_a_study_is_moved_and_a_second_time_nothing_is_asked_for(folder: Any, scan: Any, port: int) -> None:
    other = Dataset()
    other.update(scan().datasets()[0])
    other.SeriesInstanceUID, other.SOPInstanceUID, other.Modality = "1.2.3", "1.2.3.4", "SR"
    scripted = ScriptedArchive(datasets=[*scan().datasets(), other], destinations={"DUET": port})
    with scripted.running() as archive, door(folder, port):
        first = bring(folder, archive)
        assert numbers(first) == (2, 10, 0, 10, 0)
        assert first is not None
        assert first.complete
        moves = len(archive.requests("MOVE"))
        assert moves == 2
        assert numbers(bring(folder, archive)) == (2, 10, 10, 0, 0)
        assert len(archive.requests("MOVE")) == moves
    assert len(list(folder.inbox.files())) == 10


def test_by_c_get_the_command_keeps_what_comes_as_the_door_does(folder: Any, scan: Any) -> None:
    with ScriptedArchive(datasets=scan().datasets()).running() as archive:
        assert numbers(bring(folder, archive, method="get")) == (2, 10, 0, 10, 0)
    with folder.journal.reading() as connection:
        rows = connection.exec_driver_sql("SELECT calling_ae, ending FROM associations").all()
    assert [tuple(row) for row in rows] == [("PACS", "released")]


def test_a_partial_move_is_noticed_and_asked_for_again(folder: Any, scan: Any, port: int) -> None:
    """Each series is sent without its first object, with Success, whenever it is asked for as a whole."""
    scripted = ScriptedArchive(datasets=scan().datasets(), destinations={"DUET": port}, leaves_out=1)
    with scripted.running() as archive, door(folder, port):
        assert numbers(bring(folder, archive)) == (2, 10, 0, 10, 0)
        assert len(archive.requests("MOVE", "SERIES")) == 4
        named = archive.requests("MOVE", "IMAGE")
        first = {str(ds.SOPInstanceUID) for ds in archive.datasets if ds.InstanceNumber == 1}
        assert {str(ds.SOPInstanceUID) for ds in named} == first


def test_a_wrong_destination_is_told_and_not_asked_for_twice(folder: Any, scan: Any, port: int) -> None:
    with ScriptedArchive(datasets=scan().datasets(), destinations={"OTHER": port}).running() as archive:
        fetched = bring(folder, archive)
        assert numbers(fetched) == (2, 10, 0, 0, 10)
        assert fetched is not None
        assert (
            "pacs does not know the move destination DUET, or cannot reach it (status 0xA801); enter this AE title"
            in fetched.sentence
        )
        assert len(archive.requests("MOVE")) == 1
        with door(folder, port, "OTHER"):
            assert numbers(bring(folder, archive, move_to="OTHER")) == (2, 10, 0, 10, 0)


def test_what_went_elsewhere_is_told(folder: Any, scan: Any, port: int) -> None:
    """Success, and nothing arrives: the archive has another address for this AE title."""
    with ScriptedArchive(datasets=scan().datasets(), destinations={"DUET": port}, lies=True).running() as archive:
        fetched = bring(folder, archive)
    assert numbers(fetched) == (2, 10, 0, 0, 10)
    assert fetched is not None
    assert "none has arrived here; see which address it has for that AE title" in fetched.sentence
    assert len(archive.requests("MOVE")) == 2


def test_an_archive_that_sends_after_its_last_word_is_waited_for(folder: Any, scan: Any, port: int) -> None:
    scripted = ScriptedArchive(datasets=scan().datasets(), destinations={"DUET": port}, late_s=0.5)
    with scripted.running() as archive, door(folder, port):
        assert numbers(bring(folder, archive, arrival_s=3.0)) == (2, 10, 0, 10, 0)
        assert len(archive.requests("MOVE")) == 2


@pytest.mark.parametrize("method", ["move", "get"])
def test_a_dropped_association_is_opened_anew(folder: Any, scan: Any, port: int, method: str) -> None:
    """The first two requests break it, a query and another; then again one in the midst of the moves."""
    scripted = ScriptedArchive(datasets=scan().datasets(), destinations={"DUET": port}, drops=2)
    with scripted.running() as archive, door(folder, port):
        assert numbers(bring(folder, archive, method=method)) == (2, 10, 0, 10, 0)


def test_a_move_that_breaks_is_asked_for_again(folder: Any, scan: Any, port: int) -> None:
    scripted = ScriptedArchive(datasets=scan().datasets(), destinations={"DUET": port}, drops_moves=1)
    with scripted.running() as archive, door(folder, port):
        assert numbers(bring(folder, archive)) == (2, 10, 0, 10, 0)
        assert len(archive.requests("MOVE", "SERIES")) == 3


def test_a_refusal_is_told_in_the_archives_words(folder: Any, scan: Any, port: int) -> None:
    scripted = ScriptedArchive(datasets=scan().datasets(), destinations={"DUET": port}, move_status=0xC123)
    with scripted.running() as archive, door(folder, port):
        fetched = bring(folder, archive)
    assert numbers(fetched) == (2, 10, 0, 0, 10)
    assert fetched is not None
    assert (
        "pacs could not send 1 object(s) (status 0xC123); see whether it knows DUET, and whether [receiver] allow"
        in fetched.sentence
    )


def test_a_door_that_is_shut_is_told(folder: Any, scan: Any, port: int) -> None:
    """The archive knows the node, and cannot reach it."""
    with ScriptedArchive(datasets=scan().datasets(), destinations={"DUET": port}).running() as archive:
        fetched = bring(folder, archive)
    assert numbers(fetched) == (2, 10, 0, 0, 10)
    assert fetched is not None
    assert "or cannot reach it" in fetched.sentence


def test_a_study_without_a_pet_is_left_where_it_is(folder: Any, scan: Any, port: int) -> None:
    for hides in ((), ("ModalitiesInStudy",)):
        scripted = ScriptedArchive(datasets=scan(modalities=("CT",)).datasets(), destinations={"DUET": port}, hides=hides)
        with scripted.running() as archive, door(folder, port):
            assert bring(folder, archive) is None
            assert archive.requests("MOVE") == []


def test_objects_that_are_counted_and_not_listed_are_missing(folder: Any, scan: Any, port: int) -> None:
    """An archive that stops at three answers and knows no instance numbers: what it does not list cannot be compared."""
    scripted = ScriptedArchive(datasets=scan().datasets(), destinations={"DUET": port}, cap=3, hides=("InstanceNumber",))
    with scripted.running() as archive, door(folder, port):
        fetched = bring(folder, archive)
    assert numbers(fetched) == (2, 10, 0, 6, 4)
    assert fetched is not None
    assert not fetched.complete
    assert "pacs lists 4 object(s) fewer than it counts" in fetched.sentence
    assert len(list(folder.inbox.files())) == 10


def test_an_archive_that_refuses_all_is_not_asked_for_each_object(folder: Any, scan: Any, port: int) -> None:
    """Two series twice, one list of each, three single objects: not all twenty."""
    datasets = scan(slices=10).datasets()
    with ScriptedArchive(datasets=datasets, destinations={"DUET": port}, move_status=0xA702).running() as archive:
        with door(folder, port):
            assert numbers(bring(folder, archive)) == (2, 20, 0, 0, 20)
        assert len(archive.requests("MOVE")) == 2 + 2 + 2 + 3


def test_what_is_known_is_told_also_where_the_archive_ends(folder: Any, scan: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object) -> Outcome:
        raise ArchiveError("pacs cannot be reached.")

    monkeypatch.setattr(Link, "bring", gone)
    folder.receive(scan().datasets()[:3])
    with ScriptedArchive(datasets=scan().datasets()).running() as archive:
        fetched = bring(folder, archive)
    assert numbers(fetched) == (2, 10, 3, 0, 7)
    assert fetched is not None
    assert fetched.sentence == "pacs cannot be reached."


def test_what_has_lost_its_file_is_brought_again(folder: Any, scan: Any, port: int) -> None:
    paths = folder.receive(scan().datasets())
    (folder.data / paths[3]).unlink()
    with ScriptedArchive(datasets=scan().datasets(), destinations={"DUET": port}).running() as archive, door(folder, port):
        assert numbers(bring(folder, archive)) == (2, 10, 9, 1, 0)
        assert numbers(bring(folder, archive)) == (2, 10, 10, 0, 0)
