"""The archives' word on whether a study is whole: a scripted archive with faults, and Orthanc."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from archives import ScriptedArchive
from associations import close_association, open_association
from nodes import Orthanc, push
from pydicom import Dataset

from analysis.values import Tracer
from service import casebook, intake
from service.casebook import StudyRow
from service.intake import Rules
from service.readiness import IntakeSettings
from service.retrieval import Archive
from service.tables import Ending, StudyState
from service.tallies import tally_of
from service.tally_keeper import TallyKeeper

BEGUN = 1773136800.0
RULES = Rules(intake=IntakeSettings(settle_s=10, silence_s=30, patience_s=300), counted=True)


class Arriving:
    """A study of which some objects are here, and a keeper that asks; the clock is set by hand."""

    def __init__(self, folder: Any, archives: Sequence[Archive], monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self._patch = folder, monkeypatch
        self.keeper = TallyKeeper(folder.journal, archives, "DUET", 10.0)

    def receive(self, datasets: Sequence[Dataset], at: float) -> None:
        number = open_association(self.folder.journal, "PET1", "127.0.0.1", BEGUN + at)
        self.folder.receive(datasets, now=BEGUN + at, association_id=number)
        close_association(self.folder.journal, number, Ending.RELEASED, BEGUN + at)
        self.judge(at)

    def ask(self, at: float) -> None:
        self._patch.setattr("service.tally_keeper.time.time", lambda: BEGUN + at)
        self.keeper.step()

    def judge(self, at: float) -> None:
        intake.step(self.folder.journal, self.folder.data, RULES, BEGUN + at)

    @property
    def study(self) -> StudyRow:
        (row,) = casebook.studies_of(self.folder.journal)
        return row


@pytest.fixture
def arriving(folder: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    @contextmanager
    def of(datasets: Sequence[Dataset], **faults: Any) -> Iterator[tuple[Arriving, ScriptedArchive]]:
        with ScriptedArchive(datasets=list(datasets), **faults).running() as archive:
            yield Arriving(folder, [archive.settings()], monkeypatch), archive

    return of


def ct_longer_than_the_pet(scan: Any) -> list[Dataset]:
    """Six CT slices over a PET of five: without the last one all headers look whole."""
    return [*scan(modalities=("PT",)).datasets(), *scan(slices=6, modalities=("CT",)).datasets()]


def test_a_slice_that_only_the_archive_knows_of_is_waited_for(arriving: Any, scan: Any) -> None:
    datasets = ct_longer_than_the_pet(scan)
    with arriving(datasets) as (study, archive):
        study.receive(datasets[:10], at=0)
        study.judge(11)
        assert study.study.state is StudyState.RECEIVING, "before silence the archive has the first word"
        study.ask(11)
        study.judge(12)
        assert (study.study.state, study.study.reason) == (StudyState.WAITING, "IncompleteSeries")
        assert "5 of the 6 objects of the CT series" in study.study.sentence
        study.receive(datasets[10:], at=20)
        study.ask(31)
        study.judge(32)
        assert (study.study.state, study.study.reason) == (StudyState.WAITING, "")
        assert study.study.evidence == "pacs has no more PET and CT of it"
        assert "IMAGE" not in {level for _, level, _ in archive.asked}, "objects are counted, not listed"


@pytest.mark.parametrize("hides", [("NumberOfSeriesRelatedInstances",)])
def test_an_archive_that_counts_studies_alone_is_heard_too(arriving: Any, scan: Any, hides: tuple[str, ...]) -> None:
    datasets = ct_longer_than_the_pet(scan)
    with arriving(datasets, hides=hides) as (study, _):
        study.receive(datasets[:10], at=0)
        study.ask(11)
        study.judge(12)
        assert "10 of the 11 objects of the study" in study.study.sentence


@pytest.mark.parametrize(
    "faults",
    [
        {"drops": 9},
        {"hides": ("NumberOfSeriesRelatedInstances", "NumberOfStudyRelatedInstances")},
        {"ignores": ("StudyInstanceUID",)},
    ],
)
def test_an_archive_that_does_not_know_holds_nothing_up(arriving: Any, scan: Any, faults: dict[str, Any]) -> None:
    """It breaks off, it does not count, or it answers of everything; the study's headers decide."""
    other = scan(words={"PatientID": "P2"}).datasets()
    datasets = ct_longer_than_the_pet(scan)
    with arriving([*datasets, *other] if "ignores" in faults else datasets, **faults) as (study, _):
        study.receive(datasets, at=0)
        study.ask(11)
        study.judge(12)
        assert (study.study.state, study.study.reason) == (StudyState.WAITING, "")


def test_without_an_answer_silence_decides(folder: Any, scan: Any, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    away = Archive(name="away", url=f"dicom://AWAY@127.0.0.1:{port}")
    study = Arriving(folder, [away], monkeypatch)
    study.receive(scan().datasets(), at=0)
    study.judge(29)
    assert study.study.state is StudyState.RECEIVING
    study.judge(31)
    assert study.study.state is StudyState.WAITING


def test_an_archive_that_is_away_is_asked_again_ever_more_seldom_and_then_given_up(
    folder: Any, scan: Any, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = Arriving(folder, [Archive(name="away", url=f"dicom://AWAY@127.0.0.1:{port}")], monkeypatch)
    study.receive(scan().datasets(), at=0)
    at, waits = 11.0, []
    for _ in range(40):
        study.ask(at)
        tally = tally_of(folder.journal, study.study.study_instance_uid)
        assert tally is not None
        if tally.next_ask_at is None:
            break
        waits.append(round(tally.next_ask_at - BEGUN - at))
        at = tally.next_ask_at - BEGUN
    assert waits[:7] == [60, 120, 240, 480, 960, 1920, 3600]
    assert 86400 < sum(waits) < 2 * 86400
    assert "cannot be reached" in tally.sentence


def test_what_the_archive_gives_up_is_no_longer_waited_for(arriving: Any, scan: Any) -> None:
    """The archive has deleted the damaged slice that it could never send."""
    datasets = ct_longer_than_the_pet(scan)
    with arriving(datasets) as (study, archive):
        study.receive(datasets[:10], at=0)
        study.ask(11)
        study.judge(12)
        assert study.study.reason == "IncompleteSeries"
        archive.datasets = datasets[:10]
        study.ask(30)
        assert study.study.reason == "IncompleteSeries", "it is asked again after a minute, not before"
        study.ask(72)
        study.judge(73)
        assert (study.study.state, study.study.reason) == (StudyState.WAITING, "")


def test_a_late_count_takes_back_a_case_that_has_not_begun(arriving: Any, scan: Any) -> None:
    fdg, partner = ct_longer_than_the_pet(scan), scan(tracer=Tracer.PENTIXAFOR).datasets()
    with arriving([*fdg, *partner]) as (study, _):
        study.receive([*fdg[:10], *partner], at=0)
        study.judge(31)
        assert [job.state for job in casebook.jobs_of(study.folder.journal)] == ["queued"]
        study.ask(32)
        study.ask(33)
        study.judge(34)
        assert [job.state for job in casebook.jobs_of(study.folder.journal)] == ["withdrawn"]


@pytest.mark.peer("Orthanc")
@pytest.mark.peer("storescu")
def test_orthanc_counts(
    tmp_path: Path, program: Callable[[str], str], folder: Any, scan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = ct_longer_than_the_pet(scan)
    files = [tmp_path / f"{number:02d}.dcm" for number, _ in enumerate(datasets)]
    for path, ds in zip(files, datasets, strict=True):
        ds.save_as(path, enforce_file_format=True)
    archive = Orthanc(tmp_path / "orthanc", program)
    archive.more = {"DicomAlwaysAllowFind": True}
    with archive.running() as orthanc:
        assert push(program, orthanc.port, files)
        orthanc_archive = Archive(name="pacs", url=f"dicom://ORTHANC@127.0.0.1:{orthanc.port}")
        study = Arriving(folder, [orthanc_archive], monkeypatch)
        study.receive(datasets[:10], at=0)
        study.ask(11)
        study.judge(12)
        assert "5 of the 6 objects of the CT series" in study.study.sentence
