"""Runs jobs on Dask: a local cluster of one process, or the scheduler that is set. The journal is the truth, Dask only runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from structlog.contextvars import bound_contextvars

from service import casebook, releases
from service.casebook import JobRow
from service.counts import CASE_FAILURES, COUNTS
from service.handover import hand_over, take_back
from service.journal import Journal
from service.logs import logger, to_standard_error
from service.outcomes import batch_of
from service.postings import Posting, posting_of
from service.releases import Due
from service.tables import JobState
from service.traces import case_ids, pair_ids
from service.worker import CaseJob, CaseResult, Refusal, attempt, backoff, run_case

if TYPE_CHECKING:
    from distributed.security import Security

    from analysis.patient.pipeline import AnalysisSettings
    from dicom_io.derived import ObjectSettings
    from dicom_io.pairing import PairingSettings
    from dicom_io.tracers import TracerRules

FAILURES = 5  # so often duet itself may fail on a job before an operator must look
_PARKED = f"This was tried {FAILURES} times; mend the cause and restart the node to try it again."
TOPIC = "duet-progress"


class Pending(Protocol):
    """A job that was handed to a runner."""

    def done(self) -> bool: ...
    def result(self) -> CaseResult | Refusal: ...


class Runner(Protocol):
    """Where jobs run."""

    @property
    def slots(self) -> int: ...
    def submit(self, job: CaseJob) -> Pending: ...
    def progress(self, pair_uid: str) -> str: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the engine needs to turn a row into work and results into postings. destinations: their names."""

    data: Path
    tracers: TracerRules
    pairing: PairingSettings
    objects: ObjectSettings
    analysis: AnalysisSettings
    destinations: Sequence[str]
    deliver_held: bool = False
    first_retry_s: float = 5.0


class Engine:
    """Claims jobs, watches them, and writes down how they ended."""

    def __init__(self, journal: Journal, plan: Plan, runner: Runner) -> None:
        self._journal, self._plan, self._runner = journal, plan, runner
        self._running: list[tuple[JobRow, Pending]] = []
        self._told: dict[int, str] = {}

    def step(self) -> None:
        """Reap what has ended, hand over what was released, start what is due."""
        for job, pending in list(self._running):
            if pending.done():
                self._settle(job, attempt(pending.result))
                self._running.remove((job, pending))  # last: where the journal cannot be written, it is settled later
            else:
                self._tell(job)
        for release in releases.due(self._journal, time.time()):
            self._hand_over(release)
        while len(self._running) < self._runner.slots and (row := casebook.claim(self._journal, time.time())):
            logger().info("case started", **self._ids(row), version=row.version)
            submitted = attempt(partial(self._runner.submit, self._job(row)))
            if isinstance(submitted, Refusal):
                self._settle(row, submitted)
            else:
                self._running.append((row, submitted))

    def _ids(self, row: JobRow) -> dict[str, Any]:
        """By what the log's lines on a case are found."""
        studies = pair_ids(self._journal, row.fdg_study, row.pentixafor_study)
        return {"case": row.pair_uid, "number": row.id, "study": studies}

    def _job(self, row: JobRow) -> CaseJob:
        data = self._plan.data
        return CaseJob(
            pair_uid=row.pair_uid,
            fdg=tuple(data / path for path in row.paths("fdg")),
            pentixafor=tuple(data / path for path in row.paths("pentixafor")),
            folder=data / "cases" / row.pair_uid,
            settings=self._plan.analysis,
            tracers=self._plan.tracers,
            pairing=self._plan.pairing,
            objects=self._plan.objects,
            batch=batch_of(self._journal, row),
            ids=self._ids(row),
        )

    def _tell(self, job: JobRow) -> None:
        progress = self._runner.progress(job.pair_uid)
        if self._told.get(job.id, "") != progress:
            casebook.report_progress(self._journal, job.id, progress)
            self._told[job.id] = progress

    def _settle(self, job: JobRow, outcome: CaseResult | Refusal) -> None:
        released = releases.is_active(self._journal, job.id)
        if isinstance(outcome, CaseResult) and outcome.released and not released:
            outcome = attempt(lambda: take_back(self._plan.data / "cases" / job.pair_uid))
        if isinstance(outcome, Refusal):
            logger().warning("case not done", **self._ids(job), reason=outcome.reason)
            self._refused(job, outcome)
        elif outcome.held and (released or not self._plan.deliver_held):
            sentence = f"Not delivered; look at cases/{job.pair_uid} first: {' '.join(outcome.held)}"
            casebook.hold(self._journal, job.id, sentence, outcome.outcome, time.time())
            logger().warning("case on hold", **self._ids(job))
        else:
            self._done(job, outcome)

    def _done(self, job: JobRow, result: CaseResult) -> None:
        post = attempt(partial(self._postings, result))
        if isinstance(post, Refusal):
            self._refused(job, post)
            return
        casebook.finish(self._journal, job.id, post, time.time(), result.outcome)
        logger().info("case done", **self._ids(job), objects=len(result.objects))

    def _hand_over(self, release: Due) -> None:
        """Carry a release out: its statement goes into the reports, and they go to every destination."""
        folder, given = self._plan.data / "cases" / release.pair_uid, release.given
        result = attempt(lambda: hand_over(folder, given))
        if result is None:
            logger().warning("released results are gone; the case is analysed anew", **case_ids(self._journal, given.job_id))
            releases.void(self._journal, given, time.time())
            return
        post = result if isinstance(result, Refusal) else attempt(partial(self._postings, result))
        if not isinstance(post, Refusal):
            releases.complete(self._journal, given, post, time.time())
            logger().info("case released", **case_ids(self._journal, given.job_id))
        elif release.failures + 1 >= FAILURES:
            releases.park(self._journal, given, post.reason, f"{post.sentence} {_PARKED}")
        else:
            again = time.time() + backoff(release.failures, self._plan.first_retry_s, 600.0)
            releases.postpone(self._journal, given, post.sentence, again)

    def _postings(self, result: CaseResult) -> list[Posting]:
        names, data = self._plan.destinations, self._plan.data
        return [posting_of(path, data, name) for name in names for path in result.objects]

    def _refused(self, job: JobRow, why: Refusal) -> None:
        if why.system:
            COUNTS.add(CASE_FAILURES)
        if not why.system:
            casebook.set_aside(self._journal, job.id, JobState.HELD, why.reason, why.sentence)
        elif job.failures + 1 >= FAILURES:
            casebook.set_aside(self._journal, job.id, JobState.PARKED, why.reason, f"{why.sentence} {_PARKED}")
        else:
            again = time.time() + backoff(job.failures, self._plan.first_retry_s, 600.0)
            casebook.try_again(self._journal, job.id, why.sentence, again)


class DaskRunner:
    """A Dask client; with no address it brings a cluster of one worker process on this machine."""

    def __init__(self, address: str = "", security: Security | None = None) -> None:
        import dask

        # A job that kills its worker is to be counted by the journal, not tried three times more by Dask. Nothing is
        # served over HTTP. The worker may use every core.
        quiet = {"logging": {"distributed": "warning"}, "distributed.scheduler.http.routes": []}
        dask.config.set({**quiet, "distributed.scheduler.allowed-failures": 0, "distributed.nanny.pre-spawn-environ": {}})
        from distributed import Client, LocalCluster

        local = {"n_workers": 1, "threads_per_worker": 1, "host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
        self._cluster = None if address else LocalCluster(**local, memory_limit=0)  # type: ignore[no-untyped-call]
        self._client = Client(address or self._cluster, security=security)  # type: ignore[no-untyped-call]
        self._messages: dict[str, str] = {}
        self._guard = threading.Lock()
        self._warming = self._client.submit(warm_up, pure=False)
        self._client.subscribe_topic(TOPIC, self._hear)  # type: ignore[no-untyped-call]

    @property
    def slots(self) -> int:
        """How many jobs may run at once: one on a local cluster, one for each worker of a remote one."""
        return 1 if self._cluster else max(1, len(self._client.scheduler_info()["workers"]))

    def submit(self, job: CaseJob) -> Any:
        return self._client.submit(run_on_worker, job, key=f"{job.pair_uid}-{time.time()}", pure=False)

    def progress(self, pair_uid: str) -> str:
        with self._guard:
            return self._messages.get(pair_uid, "")

    def close(self) -> None:
        """What still runs is given up; it begins anew at the next start."""
        with suppress(TimeoutError):
            self._client.close(timeout=2)  # type: ignore[no-untyped-call]
            if self._cluster is not None:
                self._cluster.close(timeout=5)

    def _hear(self, event: Any) -> None:
        _, message = event
        with self._guard:
            self._messages[message["case"]] = message["text"]


def warm_up() -> None:
    """Import the analysis before the first case asks for it."""
    for name in ("analysis.patient.pipeline", "dicom_io.results", "dicom_io.volumes"):
        import_module(name)


def run_on_worker(job: CaseJob) -> CaseResult | Refusal:
    """run_case inside a Dask worker, telling the node how far it is. Errors are values here: Dask would log their text."""
    from distributed import get_worker

    def tell(message: str, fraction: float) -> None:
        get_worker().log_event(TOPIC, {"case": job.pair_uid, "text": f"{message} ({fraction:.0%})"})

    to_standard_error()
    with bound_contextvars(**job.ids):  # also in the lines of whatever is called
        return attempt(partial(run_case, job, tell))
