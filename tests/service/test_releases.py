"""Releases in the journal: who may be released, what voids it, and what each case is compared with."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from cases import HOLD, Made, enter, enter_study, put_on_hold
from disks import fill, small_disk
from pydicom import dcmread
from sqlalchemy import select

from analysis.errors import BadSettings
from analysis.patient.pipeline import AnalysisSettings
from dicom_io.derived import ObjectSettings
from dicom_io.pairing import PairingSettings
from dicom_io.tracers import TracerRules
from service import casebook, outcomes, postings, releases
from service.batches import BATCH, batch_of
from service.casebook import Case, JobRow, Ruling
from service.engine import FAILURES, Engine, Plan
from service.handover import hand_over
from service.outcomes import Outcome
from service.tables import JobState, StudyState
from service.worker import CaseJob, CaseResult, run_case


class AtOnce:
    """A runner without processes: a job is done where it is submitted. seen: every job."""

    slots = 1
    trouble = ""

    def __init__(self) -> None:
        self.seen: list[CaseJob] = []

    def submit(self, job: CaseJob) -> Any:
        self.seen.append(job)
        result = run_case(job, lambda *_: None)

        class Done:
            def done(self) -> bool:
                return True

            def lost(self) -> bool:
                return False

            def result(self) -> CaseResult:
                return result

        return Done()

    def progress(self, pair_uid: str) -> str:
        return pair_uid

    def close(self) -> None:
        return


@pytest.fixture
def held(folder: Any, case: Made) -> int:
    """The number of a case on hold."""
    return put_on_hold(folder.journal, folder.data, case)


def engine(folder: Any, runner: AtOnce | None = None, **plan: Any) -> Engine:
    settings: dict[str, Any] = {
        "data": folder.data,
        "tracers": TracerRules(),
        "pairing": PairingSettings(),
        "objects": ObjectSettings(),
        "analysis": AnalysisSettings(),
        "destinations": ["pacs"],
        "first_retry_s": 0.0,
        **plan,
    }
    return Engine(folder.journal, Plan(**settings), runner or AtOnce())


def job(folder: Any, number: int) -> JobRow:
    return next(row for row in casebook.jobs_of(folder.journal) if row.id == number)


def let_go(folder: Any, name: object, **words: Any) -> JobRow:
    return releases.release(folder.journal, str(name), **{"by": "A. Operator", "why": "Looked at.", "now": 2.0, **words})


def test_a_held_case_is_posted_only_after_its_release_and_its_reports_say_so(folder: Any, held: int) -> None:
    running = engine(folder)
    running.step()
    assert postings.due(folder.journal, "pacs", 1e12) == []
    assert let_go(folder, held).id == held
    running.step()
    assert job(folder, held).state is JobState.DONE
    rows = postings.due(folder.journal, "pacs", 1e12)
    assert [Path(row.path).stem for row in rows] == [
        "seg-fdg",
        "seg-pentixafor",
        "sr-fdg",
        "sr-pentixafor",
        "sr-pair",
        "fusion",
    ]
    for row in rows:
        ds = dcmread(folder.data / row.path, stop_before_pixels=True)
        assert ds.SOPInstanceUID == row.sop_instance_uid
        assert ("Looked at." in str(ds)) == (ds.Modality == "SR")


def test_a_case_is_named_by_number_by_uid_or_by_a_beginning_that_fits_one(folder: Any, case: Made) -> None:
    uids = [f"{case.pair.uid}{name}" for name in ("", ".1", ".2")]
    numbers = [put_on_hold(folder.journal, folder.data, case, name) for name in ("", ".1", ".2")]
    assert let_go(folder, numbers[0]).pair_uid == uids[0]
    assert let_go(folder, uids[1]).id == numbers[1]
    with pytest.raises(BadSettings, match="3 cases have UIDs that begin with"):
        let_go(folder, uids[0])
    assert let_go(folder, uids[2]).id == numbers[2]


@pytest.mark.parametrize("name", ["99", "0", "-1", "nobody", "2", "2.99", "", "%", "9" * 40, "١"])
def test_an_unknown_case_is_refused(folder: Any, held: int, name: str) -> None:
    with pytest.raises(BadSettings, match=r"^(No case is called|Case 1 )"):
        let_go(folder, name if name != str(held) else "98")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"why": " \t\n"}, "--why is empty"),
        ({"why": "x" * 501}, "--why has 501 characters"),
        ({"by": ""}, "--by is empty"),
        ({"by": "y" * 65}, "--by has 65 characters"),
    ],
)
def test_a_release_without_its_words_is_refused(folder: Any, held: int, words: dict[str, str], told: str) -> None:
    with pytest.raises(BadSettings, match=told):
        let_go(folder, held, **words)
    assert releases.due(folder.journal, 1e12) == []


def test_words_are_one_line_without_control_characters(folder: Any, held: int) -> None:
    let_go(folder, held, why=" 確認\n済み\x1b[2J  gut\udc9f ")
    assert releases.due(folder.journal, 1e12)[0].given.why == "確認 済み [2J gut"


def test_a_second_release_is_harmless_and_told(folder: Any, held: int) -> None:
    let_go(folder, held)
    for _ in range(2):
        with pytest.raises(BadSettings, match=r"released already, by A\. Operator: Looked at\."):
            let_go(folder, held, by="Another")
        engine(folder).step()
    assert len(postings.due(folder.journal, "pacs", 1e12)) == 6


@pytest.mark.parametrize(
    ("state", "reason", "told"),
    [
        (JobState.QUEUED, "", "waits for its analysis"),
        (JobState.RUNNING, "", "is being analysed"),
        (JobState.DONE, "", "is not on hold"),
        (JobState.HELD, "UnusableImage", "its data were turned away: The CT is empty"),
        (JobState.PARKED, "OSError", "duet itself failed"),
        (JobState.WITHDRAWN, "Withdrawn", "is withdrawn"),
    ],
)
def test_only_what_quality_holds_can_be_released(folder: Any, held: int, state: JobState, reason: str, told: str) -> None:
    with folder.journal.writing() as connection:
        words = {"state": state, "reason": reason, "sentence": "The CT is empty."}
        connection.execute(casebook.jobs.update().values(**words))
    with pytest.raises(BadSettings, match=told):
        let_go(folder, held)


def settle(folder: Any, case: Made, cases: list[Case]) -> None:
    """As intake does when it has judged the patient anew."""
    uid = case.pair.fdg.study.study_instance_uid
    ruling = Ruling(study_instance_uid=uid, instances=1, state=StudyState.PAIRED)
    casebook.settle(folder.journal, [ruling], cases, 3.0)


def test_a_case_that_changes_before_it_has_left_does_not_keep_its_release(folder: Any, case: Made, held: int) -> None:
    fdg, pentixafor = (study.study.study_instance_uid for study in (case.pair.fdg, case.pair.pentixafor))
    enter_study(folder.journal, fdg, "TEST01", "FDG")
    let_go(folder, held)
    inputs: dict[str, list[str]] = {"fdg": [], "pentixafor": []}
    newer = Case(pair_uid="2.25.9", fdg_study=fdg, pentixafor_study=pentixafor, inputs=inputs)
    settle(folder, case, [newer])
    assert [row.state for row in casebook.jobs_of(folder.journal)] == [JobState.WITHDRAWN, JobState.QUEUED]
    assert releases.due(folder.journal, 1e12) == []
    settle(folder, case, [Case(pair_uid=case.pair.uid, fdg_study=fdg, pentixafor_study=pentixafor, inputs=inputs)])
    running = engine(folder)
    for _ in range(3):
        running.step()
    assert (job(folder, held).state, job(folder, held).reason) == (JobState.HELD, "Quality")
    assert postings.due(folder.journal, "pacs", 1e12) == []
    let_go(folder, held, why="Again.")
    running.step()
    assert job(folder, held).state is JobState.DONE
    with folder.journal.reading() as connection:
        rows = connection.execute(select(releases.releases.c.why, releases.releases.c.withdrawn_at)).all()
    assert [tuple(row) for row in rows] == [("Looked at.", 3.0), ("Again.", None)]


def test_a_node_that_delivers_everything_keeps_a_release_that_was_given(folder: Any, held: int) -> None:
    let_go(folder, held)
    casebook.resume(folder.journal, 4.0, release_held=True)
    engine(folder, deliver_held=True).step()
    sent = [folder.data / row.path for row in postings.due(folder.journal, "pacs", 1e12)]
    assert "Looked at." in str(dcmread(next(path for path in sent if path.stem == "sr-pair")))


@pytest.mark.parametrize("deliver_held", [False, True])
def test_a_release_that_came_too_late_is_taken_back_from_the_reports(folder: Any, held: int, deliver_held: bool) -> None:
    let_go(folder, held)
    (due,) = releases.due(folder.journal, 1e12)
    cases = folder.data / "cases" / due.pair_uid
    before = {path.name: path.read_bytes() for path in cases.iterdir()}
    assert hand_over(cases, due.given) is not None  # and at this moment the case changes, and changes back
    releases.void(folder.journal, due.given, 3.0)
    running = engine(folder, deliver_held=deliver_held)
    for _ in range(3):
        running.step()
    assert job(folder, held).state is (JobState.DONE if deliver_held else JobState.HELD)
    assert {path.name: path.read_bytes() for path in cases.iterdir()} == before


def test_a_parked_release_is_named_also_by_a_node_that_delivers_everything(folder: Any, held: int) -> None:
    let_go(folder, held)
    (due,) = releases.due(folder.journal, 1e12)
    releases.park(folder.journal, due.given, "OSError", "The disk was away.")
    casebook.resume(folder.journal, 5.0, release_held=True)
    running = engine(folder, deliver_held=True)
    for _ in range(3):
        running.step()
    sent = [folder.data / row.path for row in postings.due(folder.journal, "pacs", 1e12)]
    assert "Looked at." in str(dcmread(next(path for path in sent if path.stem == "sr-pair")))


def test_results_that_are_gone_are_made_anew_and_held_again(folder: Any, held: int) -> None:
    let_go(folder, held)
    cases = folder.data / "cases"
    (cases / job(folder, held).pair_uid).rename(cases / "elsewhere")
    engine(folder, slots_of_none()).step()
    assert job(folder, held).state is JobState.QUEUED
    assert releases.active_releases(folder.journal) == {}


def slots_of_none() -> AtOnce:
    runner = AtOnce()
    runner.slots = 0  # type: ignore[misc]
    return runner


def test_a_release_that_fails_is_tried_again_then_parked_and_done_after_the_next_start(folder: Any, held: int) -> None:
    let_go(folder, held)
    results = folder.data / "cases" / job(folder, held).pair_uid / "results.json"
    content = results.read_text()
    results.write_text("{")
    running = engine(folder)
    for _ in range(FAILURES + 2):
        running.step()
    assert job(folder, held).state is JobState.PARKED
    assert "restart the node" in job(folder, held).sentence
    results.write_text(content)
    casebook.resume(folder.journal, 5.0)
    for _ in range(3):
        running.step()
    assert job(folder, held).state is JobState.DONE
    assert len(postings.due(folder.journal, "pacs", 1e12)) == 6


def test_a_release_for_which_there_is_no_room_waits_for_it(folder: Any, held: int, tmp_path: Path) -> None:
    cases = folder.data / "cases"
    cases.rename(tmp_path / "aside")
    with small_disk(cases, 256):
        shutil.copytree(tmp_path / "aside", cases, dirs_exist_ok=True)
        ballast = fill(cases)
        let_go(folder, held)
        running = engine(folder)
        for _ in range(2 * FAILURES):
            running.step()
        assert (job(folder, held).state, job(folder, held).sentence) == (
            JobState.HELD,
            "The disk of the results is full; once there is room it goes on.",
        )
        assert [path.name for path in cases.iterdir() if path.name.startswith(".")] == []
        ballast.unlink()
        for _ in range(2):
            running.step()
        assert job(folder, held).state is JobState.DONE


# What a case is compared with


def outcome(number: int) -> Outcome:
    return Outcome(verdict="ok", findings=(), measures={"FDG liver SUVmean": float(number)})


def finish(folder: Any, number: int) -> None:
    with folder.journal.writing() as connection:
        outcomes.record(connection, number, outcome(number), 1.0)


def liver(rows: tuple[dict[str, Any], ...]) -> list[float]:
    return [row["FDG liver SUVmean"] for row in rows]


def test_a_case_is_compared_with_those_before_its_first_claim_however_often_it_runs(folder: Any, case: Made) -> None:
    for number in (1, 2, 3):
        assert put_on_hold(folder.journal, folder.data, case, f".{number}") == number
    waiting = enter(folder.journal, folder.data, case, ".4")
    first = casebook.claim(folder.journal, 1.0)
    assert first is not None
    assert first.id == waiting
    assert liver(batch_of(folder.journal, first)) == [2.1] * 3
    finish(folder, 3)
    casebook.resume(folder.journal, 0.0)
    again = casebook.claim(folder.journal, 1.0)
    assert again is not None
    assert batch_of(folder.journal, again) == batch_of(folder.journal, first)
    assert liver(batch_of(folder.journal, again)) == [2.1] * 3


def test_the_worker_is_handed_the_batch(folder: Any, case: Made, held: int) -> None:
    enter(folder.journal, folder.data, case, ".2")
    runner = AtOnce()
    engine(folder, runner).step()
    assert liver(tuple(dict(row) for row in runner.seen[0].batch)) == [2.1]


def test_the_batch_is_of_the_newest_cases_and_leaves_out_the_pair_itself(folder: Any, case: Made) -> None:
    for number in range(1, BATCH + 4):
        name = ".9" if number == BATCH + 3 else f".{number}"  # the last one is another version of the ninth's studies
        row = {**_row(case, name), "pair_uid": f"2.25.{number}"}
        with folder.journal.writing() as connection:
            connection.execute(casebook.jobs.insert().values(**row))
        finish(folder, number)
    with folder.journal.writing() as connection:
        connection.execute(casebook.jobs.insert().values(**{**_row(case, ".9"), "pair_uid": "2.25.999", "state": "queued"}))
    last = casebook.claim(folder.journal, 1.0)
    assert last is not None
    expected = [float(n) for n in range(BATCH + 2, 0, -1) if n != 9][:BATCH]
    assert liver(batch_of(folder.journal, last)) == expected


def _row(case: Made, name: str) -> dict[str, Any]:
    words = dict.fromkeys(("reason", "sentence", "progress", "issuer", "patient_id"), "")
    numbers = dict.fromkeys(("failures", "next_try_at", "created_at", "version"), 0)
    return {**words, **numbers, "fdg_study": f"1.2{name}", "pentixafor_study": f"1.3{name}", "inputs": "{}", "state": "done"}


def test_findings_are_journalled_once_and_again_where_they_change(folder: Any, held: int) -> None:
    known = outcomes.outcomes_of(folder.journal)[held]
    assert known.verdict == "hold"
    assert [finding["message"] for finding in known.findings if finding["verdict"] == "hold"] == [HOLD]
    assert known.measures == {"FDG liver SUVmean": 2.1}
    for _ in range(2):
        with folder.journal.writing() as connection:
            outcomes.record(connection, held, known, 9.0)
    finish(folder, held)
    with folder.journal.reading() as connection:
        rows = connection.execute(select(outcomes.outcomes.c.measures)).scalars().all()
    assert [json.loads(row) for row in rows] == [{"FDG liver SUVmean": 2.1}, {"FDG liver SUVmean": 1.0}]
