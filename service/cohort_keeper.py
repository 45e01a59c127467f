"""The node's part that keeps the cohort's report true: a new version once cases and outcomes have been still for a while.

A version is made in a process of its own, so that the door and the analysis go on, and a crash of it is only a failure.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from service import cohorts
from service.cohort_inputs import CohortSection, fingerprint
from service.cohort_making import MadeVersion, VersionJob, make_version
from service.cohort_positions import report_positions
from service.cohorts import CohortRow
from service.journal import Journal
from service.logs import logger, to_standard_error
from service.postings import posting_of
from service.worker import Refusal, attempt, backoff

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

LOOK_S = 2.0  # between two looks at cases and table
FIRST_RETRY_S, LONGEST_RETRY_S = 30.0, 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """Where versions lie and go. destinations: their names."""

    data: Path
    section: CohortSection
    destinations: Sequence[str]

    def job(self, journal: Journal, pair_uids: Sequence[str], mark: str, now: float) -> VersionJob:
        """The next version. Its folder bears number and fingerprint: one that was finished before a crash is found again."""
        newest = cohorts.newest(journal)
        number = 1 if newest is None else newest.version + 1
        return VersionJob(
            section=self.section,
            data=self.data,
            pair_uids=tuple(pair_uids),
            folder=self.data / "cohort" / f"v{number:05d}-{mark[:16]}",
            number=number,
            made_at=float(int(now)),
            earlier=None if newest is None else self.data / newest.folder,
        )

    def enter(self, journal: Journal, job: VersionJob, made: MadeVersion, mark: str) -> bool:
        """Journal the version, and its objects for every destination; False where another process made one meanwhile."""
        row = CohortRow(
            id=0,
            version=made.number,
            fingerprint=mark,
            folder=str(job.folder.relative_to(self.data)),
            cycles=made.cycles,
            sentence="",
            made_at=made.made_at,
        )
        postings = [posting_of(path, self.data, name) for name in self.destinations for path in made.objects]
        return cohorts.enter(journal, row, postings, time.time())

    def position(self, journal: Journal) -> int:
        """Where it is set, the positions of the newest version in each pair's report; how many reports are new."""
        newest = cohorts.newest(journal)
        if not self.section.positions or newest is None:
            return 0
        version = (newest.version, self.data / newest.folder)
        return report_positions(journal, self.data, version, self.destinations, time.time())


@dataclass(slots=True)
class _Child:
    """A version in the making."""

    process: Any
    answer: Connection
    job: VersionJob
    mark: str


@dataclass(slots=True)
class Keeper:
    """Looks, waits until nothing changes, and has a version made. Nothing is done without a clinical table."""

    journal: Journal
    shelf: Shelf
    _seen: str = ""
    _since: float = 0.0
    _looked: float = 0.0
    _failures: int = 0
    _again: float = 0.0
    _child: _Child | None = field(default=None)

    def step(self) -> None:
        """One look."""
        now = time.time()
        if self._child is not None:
            self._reap(self._child)
        elif now - self._looked >= LOOK_S:
            self._looked = now
            self._look(now)

    def position(self) -> None:
        """Also at start, where an earlier run was cut off in the middle of it."""
        renewed = self.shelf.position(self.journal)
        if renewed:
            logger().info("reports with positions", cases=renewed)

    def close(self) -> None:
        """Give up what is in the making; it begins anew at the next start."""
        if self._child is not None:
            self._child.process.terminate()
            self._child.process.join(timeout=5)
            self._child = None

    def _look(self, now: float) -> None:
        section, journal = self.shelf.section, self.journal
        if section.clinical is None or not section.clinical.is_file():
            return
        pair_uids = cohorts.finished_cases(journal)
        mark = fingerprint(section, pair_uids)
        if mark != self._seen or cohorts.cases_on_their_way(journal):
            self._seen, self._since, self._failures, self._again = mark, now, 0, 0.0
        newest, refusal = cohorts.newest(journal), cohorts.refusal(journal)
        done = mark in {row.fingerprint for row in (newest, refusal) if row is not None}
        if newest is not None and refusal is not None and newest.fingerprint == mark:
            cohorts.allow(journal)
        if pair_uids and not done and now - self._since >= section.quiet_s and now >= self._again:
            self._child = _begin(self.shelf.job(journal, pair_uids, mark, now), mark)
            logger().info("cohort report begun", version=self._child.job.number, cases=len(pair_uids))

    def _reap(self, child: _Child) -> None:
        if child.answer.poll():
            outcome = attempt(child.answer.recv)
        elif child.process.is_alive():
            return
        else:
            outcome = Refusal(reason="Ended", sentence="The process that made the cohort's report has ended.", system=True)
        child.process.join(timeout=5)
        self._child = None
        if isinstance(outcome, Refusal):
            self._refused(outcome, child.mark)
        elif self.shelf.enter(self.journal, child.job, outcome, child.mark):
            logger().info("cohort report made", version=outcome.number, cycles=outcome.cycles)
            self.position()

    def _refused(self, why: Refusal, mark: str) -> None:
        logger().warning("no cohort report", reason=why.reason)
        # A failure of duet itself bears no fingerprint: it is seen in `duet status`, and tried again.
        cohorts.refuse(self.journal, "" if why.system else mark, why.sentence, time.time())
        if not why.system:
            return
        self._again = time.time() + backoff(self._failures, FIRST_RETRY_S, LONGEST_RETRY_S)
        self._failures += 1


def _begin(job: VersionJob, mark: str) -> _Child:
    spawn = get_context("spawn")
    here, there = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_make, args=(job, there), name="duet-cohort", daemon=False)
    process.start()
    there.close()
    return _Child(process=process, answer=here, job=job, mark=mark)


def _make(job: VersionJob, answer: Connection) -> None:
    """In the child: the version, or why there is none."""
    to_standard_error()
    answer.send(attempt(partial(make_version, job, lambda _message, _fraction: None)))


def make_now(journal: Journal, shelf: Shelf, progress: Any) -> tuple[CohortRow, bool]:
    """`duet cohort --send`: the newest version, made now where anything has changed since; whether it was. Raises Rejected."""
    pair_uids = cohorts.finished_cases(journal)
    mark = fingerprint(shelf.section, pair_uids)
    newest = cohorts.newest(journal)
    if newest is not None and newest.fingerprint == mark:
        return newest, False
    job = shelf.job(journal, pair_uids, mark, time.time())
    shelf.enter(journal, job, make_version(job, progress), mark)
    shelf.position(journal)
    made = cohorts.newest(journal)
    assert made is not None  # noqa: S101  this one, or that of a node that was quicker
    return made, True
