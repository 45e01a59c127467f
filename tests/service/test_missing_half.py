"""The missing half: a waiting study's partner is asked for, and brought, and nobody is asked for ever."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from archives import ScriptedArchive
from nodes import NodeProcess, push, until
from pydicom import Dataset

from analysis.values import Tracer
from service import casebook, intake
from service.intake import Rules
from service.keeping import StoreHandler
from service.missing_half import Asking, MissingHalf
from service.overview import overview
from service.retrieval import Archive, RetrievalSettings
from service.retrieval_study import Holdings
from service.searches import search_of
from service.tables import StudyState

DAY = 86400.0


@pytest.fixture
def waiting(folder: Any, scan: Any) -> str:
    """The FDG study of 10 March 2026 is here and waits; returns its UID."""
    datasets = scan().datasets()
    folder.receive(datasets)
    intake.step(folder.journal, folder.data, Rules(), 1000.0)
    (row,) = casebook.waiting_for_partner(folder.journal)
    assert row.state is StudyState.WAITING
    return str(datasets[0].StudyInstanceUID)


def half(folder: Any, archives: Sequence[Archive], again_s: float = 3600.0, max_days: int = 30) -> MissingHalf:
    asking = Asking(
        archives=archives,
        settings=RetrievalSettings(missing_half=True, ask_again_s=again_s),
        max_days=max_days,
        ae_title="DUET",
    )
    handler = StoreHandler(folder.inbox, folder.journal, 0.0)
    return MissingHalf(asking, Holdings(journal=folder.journal, data=folder.data), handler)


@contextmanager
def archive_with(datasets: Sequence[Dataset], **faults: Any) -> Iterator[ScriptedArchive]:
    with ScriptedArchive(datasets=datasets, **faults).running() as archive:
        yield archive


def sentence(folder: Any) -> str:
    return overview(folder.journal, "P1").studies[0].sentence


def test_the_partner_is_brought_and_becomes_a_case(folder: Any, scan: Any, waiting: str) -> None:
    partner = scan(tracer=Tracer.PENTIXAFOR).datasets()
    with archive_with([*scan().datasets(), *partner]) as archive:
        half(folder, [archive.settings(method="get")]).step()
        moved = {str(ds.StudyInstanceUID) for ds in archive.requests("GET")}
    assert moved == {str(partner[0].StudyInstanceUID)}
    assert "pacs has 1 other PET study(s); 10 objects moved, 0 missing." in sentence(folder)
    intake.step(folder.journal, folder.data, Rules(), time.time() + 1000)
    assert len(casebook.jobs_of(folder.journal)) == 1
    assert casebook.waiting_for_partner(folder.journal) == []


def test_only_this_patient_within_the_days_of_a_pair_is_asked_for(folder: Any, scan: Any, waiting: str) -> None:
    """The partner lies two days away: within two days it is found, within one it is not."""
    other = scan(tracer=Tracer.PENTIXAFOR, words={"PatientID": "P2"}).datasets()
    partner = scan(tracer=Tracer.PENTIXAFOR).datasets()
    with archive_with([*other, *partner]) as archive:
        half(folder, [archive.settings(method="get")], max_days=1).step()
        assert archive.requests("GET") == []
        assert "pacs has no other PET study within 1 days." in sentence(folder)
        (query,) = archive.requests("FIND", "STUDY")
        assert (query.PatientID, query.StudyDate) == ("P1", "20260309-20260311")
        folder.journal.remember("x", "")
    assert search_of(folder.journal, waiting) is not None


def test_it_is_asked_again_in_time_and_not_before(folder: Any, waiting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock: the day of the scan, an hour, seven hours and forty days later; a restart in between changes nothing."""
    begun = 1773136800.0  # 2026-03-10, 10:00 UTC
    with archive_with([]) as archive:
        asked = []
        for passed in (0.0, 3600.0, 7 * 3600.0, 40 * DAY, 41 * DAY, 80 * DAY):
            monkeypatch.setattr("service.missing_half.time.time", lambda passed=passed: begun + passed)
            half(folder, [archive.settings()], again_s=21600.0).step()
            asked.append(len(archive.requests("FIND")))
    assert asked == [1, 1, 2, 3, 3, 3]


def test_an_archive_that_cannot_be_reached_is_asked_again_for_ever(
    folder: Any, waiting: str, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = Archive(name="away", url=f"dicom://AWAY@127.0.0.1:{port}", tries=1, again_s=0)
    for passed in (100 * DAY, 101 * DAY):
        monkeypatch.setattr("service.missing_half.time.time", lambda passed=passed: 1773136800.0 + passed)
        half(folder, [away]).step()
        search = search_of(folder.journal, waiting)
        assert search is not None
        assert (search.asked_at, search.answered) == (1773136800.0 + passed, False)
    assert "cannot be reached" in sentence(folder)


@pytest.mark.peer("storescu")
@pytest.mark.peer("echoscu")
def test_a_running_node_asks_by_itself(tmp_path: Path, program: Callable[[str], str], scan: Any) -> None:
    """C-MOVE to its own door; without the setting no archive is asked."""
    partner = scan(tracer=Tracer.PENTIXAFOR).datasets()
    scripted = ScriptedArchive(datasets=partner)
    with scripted.running() as archive:
        more = (
            f'[retrieval]\nmissing_half = true\n[[archive]]\nname = "pacs"\nurl = "dicom://PACS@127.0.0.1:{archive.port}"\n'
            "arrival_s = 1\n"
        )
        node = NodeProcess(tmp_path / "node", program, archive.port, more)
        archive.destinations["DUET"] = node.port
        try:
            node.start()
            node.wait_for_door()
            files = [tmp_path / f"{number}.dcm" for number in range(10)]
            for path, ds in zip(files, scan().datasets(), strict=True):
                ds.save_as(path, enforce_file_format=True)
            assert push(program, node.port, files)
            until(lambda: node.ask("SELECT count(*) FROM jobs") == [(1,)], f"a case\n{node.log()[-2000:]}", 60)
            assert "Muster" not in node.log()
        finally:
            node.clean_up()
