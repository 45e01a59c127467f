"""Workers and schedulers that die, leave, come back or are of another version: real processes, real Dask."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from nodes import until
from workforce import SlowCase, Workforce, engine_of, job_of, step_until, workforce

from service import casebook, engine
from service.case_lock import only_worker
from service.dask_runner import DaskRunner, resources
from service.node import _clear_drafts
from service.tables import JobState

ABLE = resources(gpu=True)


@pytest.fixture(scope="module")
def crew(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workforce]:
    """A scheduler and one worker, for tests that end neither."""
    with workforce(tmp_path_factory.mktemp("crew")) as begun:
        begun.scheduler()
        begun.worker("--no-gpu").says("Works for")
        yield begun


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workforce]:
    """None yet."""
    with workforce(tmp_path) as begun:
        yield begun


@contextmanager
def runner(workers: Workforce, *, gpu: bool = False) -> Iterator[DaskRunner]:
    opened = DaskRunner(workers.address, gpu=gpu)
    try:
        yield opened
    finally:
        opened.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "GIVEN_BACK_S", 0.2)
    monkeypatch.setattr("service.dask_runner.LOOK_AGAIN_S", 0.2)


def test_a_case_that_another_process_computes_is_given_back_and_nobody_has_failed(folder: Any, crew: Workforce) -> None:
    case = SlowCase(folder.journal, folder.data)
    with runner(crew) as dask:
        running = engine_of(folder.journal, folder.data, dask)
        with only_worker(folder.data / "cases" / "2.25.7") as mine:
            assert mine
            step_until(running, folder.journal, case.id, JobState.RUNNING)
            step_until(running, folder.journal, case.id, JobState.QUEUED)
        case.wait_until_computed(running.step)
        case.let_go()
        assert step_until(running, folder.journal, case.id, JobState.HELD).failures == 0


def test_a_node_that_died_does_not_have_a_case_computed_a_second_time_beside_the_first(folder: Any, crew: Workforce) -> None:
    case = SlowCase(folder.journal, folder.data)
    with runner(crew) as dask:
        step_until(engine_of(folder.journal, folder.data, dask), folder.journal, case.id, JobState.RUNNING)
        case.wait_until_computed()
    owner = case.lock.stat().st_ino  # the node is gone; its worker computes on
    casebook.resume(folder.journal, 0.0)
    _clear_drafts(folder.data / "cases")
    with runner(crew) as dask:
        restarted = engine_of(folder.journal, folder.data, dask)
        step_until(restarted, folder.journal, case.id, JobState.RUNNING)
        for _ in range(20):
            restarted.step()
            time.sleep(0.05)
        assert case.computed
        assert case.lock.stat().st_ino == owner, "the first run alone"
        case.let_go()
        assert step_until(restarted, folder.journal, case.id, JobState.HELD).failures == 0


def test_a_worker_of_another_version_gets_no_case_and_one_without_a_gpu_none_that_asks_for_it(crew: Workforce) -> None:
    with runner(crew) as plain, runner(crew, gpu=True) as with_gpu:
        stranger = crew.stranger("duet-0.0.0=1 GPU=1")
        until(lambda: with_gpu.slots == 0 and "the 2 there are of another version" in with_gpu.trouble, "it is seen", 30)
        assert plain.slots == 1
        stranger.kill()
        equipped = crew.stranger(" ".join(f"{name}={number:g}" for name, number in ABLE.items()))
        until(lambda: (with_gpu.slots, plain.slots) == (1, 2), "one of two has a GPU", 30)
        equipped.kill()
        until(lambda: (with_gpu.slots, plain.slots) == (0, 1), "workers are counted anew as they go", 30)


def test_a_worker_that_dies_is_one_failure_and_one_that_is_told_to_end_gives_its_case_back(
    folder: Any, workers: Workforce
) -> None:
    workers.scheduler()
    dies, told = workers.worker("--no-gpu"), workers.worker("--no-gpu")
    case = SlowCase(folder.journal, folder.data)
    dies.says("Works for")
    told.says("Works for")
    with runner(workers) as dask:
        running = engine_of(folder.journal, folder.data, dask)
        step_until(running, folder.journal, case.id, JobState.RUNNING)
        case.wait_until_computed()
        dies, told = (dies, told) if dies.computes(case) else (told, dies)
        dies.kill()
        until(lambda: running.step() or job_of(folder.journal, case.id).failures == 1, "the death is counted", 30)
        assert "KilledWorker" in job_of(folder.journal, case.id).sentence
        case.wait_until_computed(running.step)
        assert told.stop() == 0
        workers.worker("--no-gpu")
        case.wait_until_computed(running.step)
        case.let_go()
        assert step_until(running, folder.journal, case.id, JobState.HELD).failures == 1


def test_a_scheduler_that_is_not_there_yet_and_one_that_restarts_are_waited_for(folder: Any, workers: Workforce) -> None:
    case = SlowCase(folder.journal, folder.data)
    with runner(workers) as dask:
        running = engine_of(folder.journal, folder.data, dask)
        running.step()
        assert job_of(folder.journal, case.id).state is JobState.QUEUED
        assert folder.journal.fact("workers") == (
            f"No scheduler answers at {workers.address}; cases wait for it. Start it with: duet scheduler."
        )
        first = workers.scheduler()
        worker = workers.worker("--no-gpu")
        step_until(running, folder.journal, case.id, JobState.RUNNING)
        case.wait_until_computed()
        running.step()
        assert folder.journal.fact("workers") == ""
        first.kill()
        step_until(running, folder.journal, case.id, JobState.QUEUED)
        assert "No scheduler answers" in (folder.journal.fact("workers") or "")
        workers.scheduler()
        case.let_go()  # what was begun under the first scheduler
        assert step_until(running, folder.journal, case.id, JobState.HELD, 90).failures == 0
        assert worker.log.count("Works for") == 2
