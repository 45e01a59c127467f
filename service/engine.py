"""Claims jobs, has them run and writes down how they ended. The journal is the truth; whatever runs them only runs."""

from __future__ import annotations

import socket
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from service import casebook, leases, releases
from service.batches import batch_of
from service.casebook import JobRow
from service.counts import CASE_FAILURES, COUNTS
from service.handover import hand_over, take_back
from service.journal import Journal
from service.logs import logger
from service.postings import Posting, posting_of
from service.releases import Due
from service.tables import WORKERS_FACT, JobState
from service.traces import case_ids, pair_ids
from service.worker import BUSY, NO_ROOM, CaseJob, CaseResult, Refusal, attempt, backoff

if TYPE_CHECKING:
    from analysis.patient.pipeline import AnalysisSettings
    from dicom_io.derived import ObjectSettings
    from dicom_io.pairing import PairingSettings
    from dicom_io.tracers import TracerRules

FAILURES = 5  # so often duet itself may fail on a job before an operator must look
_PARKED = f"This was tried {FAILURES} times; mend the cause and restart the node to try it again."
GIVEN_BACK_S = 5.0  # after which a case that nobody could run, through nobody's fault, is tried again


class Pending(Protocol):
    """A job that was handed to a runner. lost: it was not run, and neither the data nor duet failed."""

    def done(self) -> bool: ...
    def lost(self) -> bool: ...
    def result(self) -> CaseResult | Refusal: ...


class Runner(Protocol):
    """Where jobs run. slots: how many at once, at this moment; trouble: why there is none, or nothing."""

    trouble: str

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
        self._name = f"{uuid.uuid4().hex[:16]} {socket.gethostname()}"
        self._renewed_at = 0.0
        self._trouble: str | None = None

    def step(self) -> None:
        """Reap what has ended, hand over what was released, start what is due."""
        for job, pending in list(self._running):
            if pending.done():
                self._end(job, pending)
                self._running.remove((job, pending))  # last: where the journal cannot be written, it is settled later
            else:
                self._tell(job)
        self._renew()
        for release in releases.due(self._journal, time.time()):
            self._hand_over(release)
        while len(self._running) < self._runner.slots and (row := casebook.claim(self._journal, time.time(), self._name)):
            self._start(row)
        self._tell_trouble()

    def _start(self, row: JobRow) -> None:
        logger().info("case started", **self._ids(row), version=row.version)
        submitted = attempt(lambda: self._runner.submit(self._job(row)))
        if isinstance(submitted, Refusal) and submitted.reason == ConnectionError.__name__:  # its workers went this moment
            leases.give_back(self._journal, row.id, time.time() + GIVEN_BACK_S)
        elif isinstance(submitted, Refusal):
            self._settle(row, submitted)
        else:
            self._running.append((row, submitted))

    def _end(self, job: JobRow, pending: Pending) -> None:
        outcome = None if pending.lost() else attempt(pending.result)
        if outcome is None or (isinstance(outcome, Refusal) and outcome.reason == BUSY):
            logger().warning("case given back", **self._ids(job), why=BUSY if outcome else "Lost")
            leases.give_back(self._journal, job.id, time.time() + GIVEN_BACK_S)
        else:
            self._settle(job, outcome)

    def _renew(self) -> None:
        """Say that this engine lives, and queue what nobody runs any more."""
        now = time.time()
        if abs(now - self._renewed_at) < leases.RENEW_S:
            return
        left = leases.renew(self._journal, self._name, [job.id for job, _ in self._running], now)
        if left:
            logger().warning("cases that nobody runs any more are queued again", count=left)
        self._renewed_at = now

    def _tell_trouble(self) -> None:
        """Why no case can run, for the log and for `duet status`, once."""
        trouble = self._runner.trouble
        if trouble != self._trouble:
            (logger().error if trouble else logger().info)("workers", trouble=trouble or "none")
            self._journal.remember(WORKERS_FACT, trouble)
            self._trouble = trouble

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
        elif release.failures + 1 >= FAILURES and post.reason != NO_ROOM:
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
        elif job.failures + 1 >= FAILURES and why.reason != NO_ROOM:  # room comes back without a restart
            casebook.set_aside(self._journal, job.id, JobState.PARKED, why.reason, f"{why.sentence} {_PARKED}")
        else:
            again = time.time() + backoff(job.failures, self._plan.first_retry_s, 600.0)
            casebook.try_again(self._journal, job.id, why.sentence, again)
