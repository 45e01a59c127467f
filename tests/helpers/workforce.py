"""Schedulers and workers as processes of their own, and cases that last until the test lets them end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from nodes import free_port, until

from analysis.patient.pipeline import AnalysisSettings
from analysis.patient.registration import RegistrationSettings
from analysis.segmenters.model_settings import ModelSettings
from dicom_io.derived import ObjectSettings
from dicom_io.pairing import PairingSettings
from dicom_io.tracers import TracerRules
from service import casebook
from service.casebook import JobRow
from service.dask_runner import DaskRunner
from service.engine import Engine, Plan
from service.journal import Journal
from service.tables import JobState, jobs


class Process:
    """A command of duet in a process group of its own."""

    def __init__(self, log: Path, *words: str, module: str = "service.cli") -> None:
        self._log = log
        with log.open("ab") as file:
            command = [sys.executable, "-m", module, *words]
            self._process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, start_new_session=True)

    def says(self, words: str, seconds: float = 60) -> None:
        until(lambda: words in self.log, f"{words!r} in the log\n{self.log[-2000:]}", seconds)

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def computes(self, case: SlowCase) -> bool:
        """Whether it holds the case's lock."""
        return case.owner == self._process.pid

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(timeout=10)

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        self._process.terminate()
        return self._process.wait(timeout=20)


class Workforce:
    """One address for schedulers, and workers there."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.port = folder, free_port()
        self.address = f"tcp://127.0.0.1:{self.port}"
        self._begun: list[Process] = []

    def scheduler(self) -> Process:
        begun = self._begin("scheduler", "--port", str(self.port))
        begun.says("listens on")
        return begun

    def worker(self, *words: str) -> Process:
        return self._begin("worker", "--scheduler", self.address, *words)

    def stranger(self, resources: str) -> Process:
        """A plain worker of Dask's that declares these resources."""
        words = ("worker", self.address, "--resources", resources, "--nthreads", "1", "--no-nanny", "--no-dashboard")
        return self._begin(*words, module="dask")

    def _begin(self, *words: str, module: str = "service.cli") -> Process:
        begun = Process(self._folder / f"log-{len(self._begun)}", *words, module=module)
        self._begun.append(begun)
        return begun

    def clean_up(self) -> None:
        for process in self._begun:
            process.kill()


@contextlib.contextmanager
def workforce(folder: Path) -> Iterator[Workforce]:
    """Its processes end with the block."""
    begun = Workforce(folder)
    try:
        yield begun
    finally:
        begun.clean_up()


class SlowCase:
    """A case of which one file is a pipe: whoever computes it waits there, in the real code, until the test lets go."""

    def __init__(self, journal: Journal, data: Path, uid: str = "2.25.7") -> None:
        self.pipe, self.lock = data / f"pipe-{uid}", data / "locks" / uid
        os.mkfifo(self.pipe)
        self.id = queue_job(journal, uid, [self.pipe.name])

    @property
    def owner(self) -> int | None:
        """The process that holds the lock of the case; the kernel says so, without being asked for the lock."""
        try:
            inode = self.lock.stat().st_ino
        except FileNotFoundError:
            return None
        lines = (line.split() for line in Path("/proc/locks").read_text().splitlines())
        return next((int(words[4]) for words in lines if words[5].endswith(f":{inode}")), None)

    @property
    def computed(self) -> bool:
        return self.owner is not None

    def wait_until_computed(self, step: Callable[[], None] = lambda: None) -> None:
        until(lambda: step() or self.computed, "the case is being computed", 60)

    def let_go(self) -> None:
        """Whoever waits reads that this is no DICOM; who comes later reads the same from a plain file."""
        until(self._open, "somebody reads the pipe", 30)
        plain = self.pipe.with_suffix(".plain")
        plain.write_bytes(b"no DICOM")
        plain.rename(self.pipe)
        os.write(self._held, b"no DICOM")
        os.close(self._held)

    def _open(self) -> bool:
        try:
            self._held = os.open(self.pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # nobody reads yet
            return False
        return True


def queue_job(journal: Journal, uid: str, fdg: list[str], ranks_at: float = 0.0) -> int:
    """A job as intake enters it, of these files; returns its number."""
    words = dict.fromkeys(("issuer", "reason", "sentence", "progress"), "")
    numbers = dict.fromkeys(("failures", "next_try_at", "created_at"), 0)
    row = {"pair_uid": uid, "patient_id": "P1", "fdg_study": f"{uid}.1", "pentixafor_study": f"{uid}.2", "version": 1}
    inputs = json.dumps({"fdg": fdg, "pentixafor": []})
    with journal.writing() as connection:
        values = {**words, **numbers, **row, "inputs": inputs, "state": JobState.QUEUED, "ranks_at": ranks_at}
        return int(connection.execute(jobs.insert().values(**values).returning(jobs.c.id)).scalar_one())


def engine_of(journal: Journal, data: Path, runner: DaskRunner) -> Engine:
    """A node's engine on these workers."""
    plan = Plan(
        data=data,
        tracers=TracerRules(),
        pairing=PairingSettings(),
        objects=ObjectSettings(),
        analysis=AnalysisSettings(
            models=ModelSettings(folder=data / "models"), registration=RegistrationSettings(step_mm=8, deformable=False)
        ),
        destinations=[],
        first_retry_s=0.0,
    )
    return Engine(journal, plan, runner)


def job_of(journal: Journal, number: int) -> JobRow:
    return next(job for job in casebook.jobs_of(journal) if job.id == number)


def step_until(engine: Engine, journal: Journal, number: int, state: JobState, seconds: float = 60) -> JobRow:
    """The engine goes on until the job has a state."""

    def there() -> bool:
        engine.step()
        return job_of(journal, number).state is state

    until(there, f"the case is {state}: {job_of(journal, number)}", seconds)
    return job_of(journal, number)
