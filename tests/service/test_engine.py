"""Jobs are run, held, tried again or parked; the runner here is a stand-in that does as it is told."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import FileMetaDataset
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from structlog.testing import capture_logs

from analysis.errors import UnusableImage
from analysis.patient.pipeline import AnalysisSettings
from analysis.values import Tracer
from dicom_io.derived import ObjectSettings
from dicom_io.pairing import PairingSettings
from dicom_io.tracers import TracerRules
from service import casebook, intake, postings
from service.casebook import JobRow
from service.engine import FAILURES, Engine, Plan
from service.intake import Rules
from service.tables import JobState
from service.worker import CaseJob, CaseResult, Refusal, attempt, backoff, case_result


class Told:
    """A finished job that does what the test says."""

    def __init__(self, job: CaseJob, act: Callable[[CaseJob], CaseResult]) -> None:
        self._job, self._act = job, act

    def done(self) -> bool:
        return True

    def lost(self) -> bool:
        return False

    def result(self) -> CaseResult:
        return self._act(self._job)


class StandIn:
    """A runner without processes."""

    slots = 1
    trouble = ""

    def __init__(self, act: Callable[[CaseJob], CaseResult]) -> None:
        self.act = act
        self.ran = 0

    def submit(self, job: CaseJob) -> Told:
        self.ran += 1
        return Told(job, self.act)

    def progress(self, pair_uid: str) -> str:
        return f"{pair_uid}: running"

    def close(self) -> None:
        return


def write_object(path: Path) -> Path:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.66.4"
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[path.name])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(b"\0" * 128 + b"DICM")
        write_file_meta_info(file, meta)
    return path


def good(job: CaseJob) -> CaseResult:
    return CaseResult(objects=tuple(write_object(job.folder / name) for name in ("seg-fdg.dcm", "sr-fdg.dcm")))


def queue(folder: Any, scan: Any) -> None:
    folder.receive([*scan().datasets(), *scan(tracer=Tracer.PENTIXAFOR).datasets()])
    intake.step(folder.journal, folder.data, Rules(), 1000.0)


def engine(folder: Any, runner: StandIn, **plan: Any) -> Engine:
    settings = Plan(
        data=folder.data,
        tracers=TracerRules(),
        pairing=PairingSettings(),
        objects=ObjectSettings(),
        analysis=AnalysisSettings(),
        destinations=["first", "second"],
        first_retry_s=0.0,
        **plan,
    )
    return Engine(folder.journal, settings, runner)


def job(folder: Any) -> JobRow:
    (row,) = casebook.jobs_of(folder.journal)
    return row


def run(running: Engine, steps: int = 2) -> None:
    for _ in range(steps):
        running.step()


def test_a_finished_case_is_posted_to_every_destination_in_order(folder: Any, scan: Any) -> None:
    queue(folder, scan)
    run(engine(folder, StandIn(good)))
    assert job(folder).state is JobState.DONE
    for name in ("first", "second"):
        due = postings.due(folder.journal, name, 1e12)
        assert [Path(row.path).name for row in due] == ["seg-fdg.dcm", "sr-fdg.dcm"]
        assert all((folder.data / row.path).is_file() for row in due)


def test_the_worker_is_told_where_the_files_lie(folder: Any, scan: Any) -> None:
    queue(folder, scan)
    seen: list[CaseJob] = []
    run(engine(folder, StandIn(lambda each: seen.append(each) or good(each))))  # type: ignore[func-returns-value]
    assert len(seen[0].fdg) == len(seen[0].pentixafor) == 10
    assert all(path.is_file() for path in (*seen[0].fdg, *seen[0].pentixafor))
    assert seen[0].folder.parent == folder.data / "cases"


def test_bad_data_are_held_with_their_sentence_and_not_tried_again(folder: Any, scan: Any) -> None:
    def reject(_: CaseJob) -> CaseResult:
        raise UnusableImage("The CT is empty; send it again.")

    queue(folder, scan)
    runner = StandIn(reject)
    run(engine(folder, runner), steps=5)
    assert (job(folder).state, job(folder).reason) == (JobState.HELD, "UnusableImage")
    assert job(folder).sentence == "The CT is empty; send it again."
    assert runner.ran == 1


def test_an_error_of_duet_is_tried_again_and_then_parked_until_the_next_start(folder: Any, scan: Any) -> None:
    queue(folder, scan)
    runner = StandIn(lambda _: 1 / 0)  # type: ignore[arg-type,return-value]
    running = engine(folder, runner)
    run(running, steps=20)
    assert runner.ran == FAILURES
    assert job(folder).state is JobState.PARKED
    assert "ZeroDivisionError" in job(folder).sentence
    casebook.resume(folder.journal, 0.0)
    runner.act = good
    run(running)
    assert job(folder).state is JobState.DONE


def _on_a_full_disk(job: CaseJob) -> CaseResult:
    Path("/dev/full").write_bytes(b"results")
    return good(job)


def test_a_full_disk_is_waited_for_without_a_restart(folder: Any, scan: Any) -> None:
    queue(folder, scan)
    runner = StandIn(_on_a_full_disk)
    running = engine(folder, runner)
    run(running, steps=3 * FAILURES)
    assert runner.ran > FAILURES
    assert job(folder).state in (JobState.QUEUED, JobState.RUNNING)
    assert job(folder).sentence == "The disk of the results is full; once there is room it goes on."
    runner.act = good
    run(running)
    assert job(folder).state is JobState.DONE


def test_a_failure_waits_before_it_is_tried_again(folder: Any, scan: Any) -> None:
    queue(folder, scan)
    running = engine(folder, StandIn(lambda _: 1 / 0))  # type: ignore[arg-type,return-value]
    running._plan = type(running._plan)(**{**_fields(running._plan), "first_retry_s": 1000.0})
    run(running, steps=5)
    assert (job(folder).state, job(folder).failures) == (JobState.QUEUED, 1)


def _fields(plan: Plan) -> dict[str, Any]:
    return {name: getattr(plan, name) for name in plan.__dataclass_fields__}


def test_what_a_quality_check_holds_is_not_delivered_until_the_setting_says_so(folder: Any, scan: Any) -> None:
    def held(each: CaseJob) -> CaseResult:
        return CaseResult(objects=good(each).objects, held=("The tracers seem to be exchanged.",))

    queue(folder, scan)
    run(engine(folder, StandIn(held)))
    assert job(folder).state is JobState.HELD
    assert "exchanged" in job(folder).sentence
    assert postings.due(folder.journal, "first", 1e12) == []
    casebook.resume(folder.journal, 0.0, release_held=True)
    run(engine(folder, StandIn(held), deliver_held=True))
    assert job(folder).state is JobState.DONE
    assert len(postings.due(folder.journal, "first", 1e12)) == 2


def test_what_ran_when_the_node_died_runs_again_and_is_posted_once(folder: Any, scan: Any) -> None:
    queue(folder, scan)
    assert casebook.claim(folder.journal, 1e12) is not None
    assert casebook.claim(folder.journal, 1e12) is None
    casebook.resume(folder.journal, 0.0)
    run(engine(folder, StandIn(good)))
    assert len(postings.due(folder.journal, "first", 1e12)) == 2


def test_delays_grow_up_to_the_longest() -> None:
    assert [backoff(n, 5.0, 600.0) for n in (0, 1, 2, 6, 7, 10_000)] == [5.0, 10.0, 20.0, 320.0, 600.0, 600.0]


def test_a_case_folder_tells_its_objects_in_the_order_of_delivery(tmp_path: Path) -> None:
    names = ["seg-fdg", "seg-fdg-2", "sr-fdg", "sr-pentixafor", "sr-pair", "fusion"]
    for name in names:
        (tmp_path / f"{name}.dcm").touch()
    quality = [_finding("FDG liver SUVmean", 2.1, "ok", "fine"), _finding("FDG uptake time", 159.0, "hold", "look")]
    results = {"quality": quality, "verdict": "hold", "objects": {name: {} for name in names}}
    (tmp_path / "results.json").write_text(json.dumps(results))
    result = case_result(tmp_path)
    assert [path.stem for path in result.objects] == names
    assert result.held == ("look",)
    assert result.outcome.verdict == "hold"
    assert result.outcome.measures == {"FDG liver SUVmean": 2.1}


def _finding(name: str, value: float, verdict: str, message: str) -> dict[str, Any]:
    return {"name": name, "value": value, "limit": "", "verdict": verdict, "message": message}


def test_the_log_of_an_error_does_not_quote_its_message() -> None:
    names = ["Muster^Maria"]

    def fail() -> None:
        raise ValueError(names[0])

    with capture_logs() as lines:
        refusal = attempt(fail)
    assert refusal is not None
    assert refusal.system
    assert "ValueError" in str(lines)
    assert "Muster" not in str(lines)


def test_a_folder_that_could_not_be_copied_is_told_by_its_first_file(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / "from" / name).mkdir(parents=True)
        (tmp_path / "from" / name / "file").symlink_to("nowhere")
    refusal = attempt(lambda: shutil.copytree(tmp_path / "from", tmp_path / "to"))
    assert isinstance(refusal, Refusal)
    assert refusal.sentence.count("No such file") == 1
    assert "[(" not in refusal.sentence


def test_a_result_is_not_forgotten_where_the_journal_cannot_be_written(
    folder: Any, scan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue(folder, scan)
    running = engine(folder, StandIn(good))
    running.step()
    with monkeypatch.context() as broken:
        broken.setattr(casebook, "finish", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            running.step()
    running.step()
    assert job(folder).state is JobState.DONE


def test_a_result_whose_file_is_no_dicom_is_duets_failure(folder: Any, scan: Any) -> None:
    def damaged(each: CaseJob) -> CaseResult:
        result = good(each)
        result.objects[0].write_bytes(b"no DICOM")
        return result

    queue(folder, scan)
    run(engine(folder, StandIn(damaged)), steps=20)
    assert job(folder).state is JobState.PARKED
