"""Workers and schedulers that die, leave, come back or are of another version: real processes, real Dask."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nodes import until
from workforce import SlowCase, Workforce, engine_of, job_of, step_until, workforce

from service import casebook, engine
from service.dask_runner import DaskRunner
from service.tables import JobState


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workforce]:
    with workforce(tmp_path) as begun:
        yield begun


@pytest.fixture
def runner(workers: Workforce) -> Iterator[DaskRunner]:
    opened = DaskRunner(workers.address)
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "GIVEN_BACK_S", 0.2)
    monkeypatch.setattr("service.dask_runner.LOOK_AGAIN_S", 0.2)


def test_a_worker_that_dies_is_one_failure_and_the_case_goes_to_another(
    folder: Any, workers: Workforce, runner: DaskRunner
) -> None:
    workers.scheduler()
    first = workers.worker("--no-gpu")
    case = SlowCase(folder.journal, folder.data)
    running = engine_of(folder.journal, folder.data, runner)
    step_until(running, folder.journal, case.id, JobState.RUNNING)
    case.wait_until_computed()
    first.kill()
    until(lambda: running.step() or job_of(folder.journal, case.id).failures == 1, "the death is counted", 60)
    assert "KilledWorker" in job_of(folder.journal, case.id).sentence
    workers.worker("--no-gpu")
    until(lambda: running.step() or runner.slots == 1, "another worker is there", 60)
    case.wait_until_computed()
    case.let_go()
    assert step_until(running, folder.journal, case.id, JobState.HELD).failures == 1


def test_a_worker_that_is_told_to_end_gives_its_case_back_and_nobody_has_failed(
    folder: Any, workers: Workforce, runner: DaskRunner
) -> None:
    workers.scheduler()
    first = workers.worker("--no-gpu")
    case = SlowCase(folder.journal, folder.data)
    running = engine_of(folder.journal, folder.data, runner)
    step_until(running, folder.journal, case.id, JobState.RUNNING)
    case.wait_until_computed()
    second = workers.worker("--no-gpu")
    second.says("Works for")
    assert first.stop() == 0
    case.wait_until_computed()
    case.let_go()
    assert step_until(running, folder.journal, case.id, JobState.HELD).failures == 0


def test_a_node_that_died_does_not_have_a_case_computed_a_second_time_beside_the_first(
    folder: Any, workers: Workforce, runner: DaskRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers.scheduler()
    workers.worker("--no-gpu").says("Works for")
    case = SlowCase(folder.journal, folder.data)
    step_until(engine_of(folder.journal, folder.data, runner), folder.journal, case.id, JobState.RUNNING)
    case.wait_until_computed()
    owner = case.lock.stat().st_ino
    runner.close()  # the node is gone; its worker computes on
    workers.worker("--no-gpu").says("Works for")
    casebook.resume(folder.journal, 0.0)
    monkeypatch.setattr(engine, "GIVEN_BACK_S", 1e6)
    again = DaskRunner(workers.address)
    restarted = engine_of(folder.journal, folder.data, again)
    step_until(restarted, folder.journal, case.id, JobState.RUNNING)
    given_back = step_until(restarted, folder.journal, case.id, JobState.QUEUED)
    assert given_back.failures == 0
    assert case.lock.stat().st_ino == owner, "the first one still computes, alone"
    case.let_go()
    until(lambda: not case.lock.exists(), "the first one has ended")
    casebook.resume(folder.journal, 0.0)
    with folder.journal.writing() as connection:
        connection.exec_driver_sql("UPDATE jobs SET next_try_at = 0")
    step_until(restarted, folder.journal, case.id, JobState.HELD)
    again.close()


def test_a_scheduler_that_restarts_is_waited_for_and_nobody_has_failed(
    folder: Any, workers: Workforce, runner: DaskRunner
) -> None:
    running = engine_of(folder.journal, folder.data, runner)
    case = SlowCase(folder.journal, folder.data)
    running.step()
    assert job_of(folder.journal, case.id).state is JobState.QUEUED
    assert folder.journal.fact("workers") == (
        f"No scheduler answers at {workers.address}; cases wait for it. Start it with: duet scheduler."
    )
    first = workers.scheduler()
    worker = workers.worker("--no-gpu")
    step_until(running, folder.journal, case.id, JobState.RUNNING)
    case.wait_until_computed()
    assert folder.journal.fact("workers") == ""
    first.kill()
    step_until(running, folder.journal, case.id, JobState.QUEUED)
    running.step()
    assert "No scheduler answers" in (folder.journal.fact("workers") or "")
    workers.scheduler()
    case.let_go()  # what was begun under the first scheduler
    assert step_until(running, folder.journal, case.id, JobState.HELD, 90).failures == 0
    assert worker.log.count("Works for") == 2


def test_a_worker_of_another_version_gets_no_case_and_one_without_a_gpu_none_that_asks_for_it(
    workers: Workforce, runner: DaskRunner
) -> None:
    workers.scheduler()
    workers.stranger("duet 0.0.0=1")
    until(lambda: runner.slots == 0 and "another version" in runner.trouble, "the stranger is seen", 30)
    plain = workers.worker("--no-gpu")
    with_gpu = DaskRunner(workers.address, gpu=True)
    until(lambda: runner.slots == 1, "one worker for cases of this version", 30)
    assert with_gpu.slots == 0
    assert "with a GPU" in with_gpu.trouble
    workers.worker("--gpu")
    until(lambda: (with_gpu.slots, runner.slots) == (1, 2), "one of two has a GPU", 30)
    assert plain.stop() == 0
    until(lambda: (with_gpu.slots, runner.slots) == (1, 1), "workers are counted anew as they go", 30)
    with_gpu.close()
