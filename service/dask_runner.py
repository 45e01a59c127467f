"""Runs cases on Dask: on a local cluster of one process, or on the workers of the scheduler that is set.

A worker says by its resources what it can do: which version of duet it computes with, for another version's numbers may
differ, and whether it has a GPU. A job asks for them, so that the scheduler never gives it to a worker that cannot.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from structlog.contextvars import bound_contextvars

from service.case_lock import only_worker
from service.logs import logger, to_standard_error
from service.worker import BUSY, CaseJob, CaseResult, Refusal, attempt, clear_drafts, run_case

if TYPE_CHECKING:
    from distributed.security import Security

TOPIC = "duet-progress"
GPU = "GPU"
LOOK_AGAIN_S = 5.0  # between two tries to reach a scheduler
CONNECT_S = 3.0
COMPUTING = threading.Lock()  # held while this process computes a case, also one whose scheduler is gone
# What Dask would set in the environment of a worker: one core, and memory that goes back to the system at once. None keeps
# it from that; an empty section would not, for Dask adds its own defaults to it.
LEFT_ALONE = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MALLOC_TRIM_THRESHOLD_")
# A job that kills its worker is to be counted by the journal, not tried three times more by Dask. Nothing is served over
# HTTP. A worker may use every core.
QUIET = {
    "logging": {"distributed": "warning"},
    "distributed.scheduler.http.routes": [],
    "distributed.scheduler.allowed-failures": 0,
    "distributed.nanny.pre-spawn-environ": dict.fromkeys(LEFT_ALONE),
    "distributed.comm.timeouts.connect": f"{CONNECT_S} s",
    "distributed.worker.profile.enabled": False,  # nobody is shown it
    "distributed.admin.tick.limit": "1 h",  # a case may keep Python's lock for seconds; that is no fault
}


def resources(*, gpu: bool) -> dict[str, float]:
    """What a worker of this version offers, and what a job of a node of this version asks for."""
    return {f"duet-{version('duet-node')}": 1.0, **({GPU: 1.0} if gpu else {})}


class DaskPending:
    """A case on its way. lost: the scheduler that had it is gone, or this node's connection to it."""

    def __init__(self, future: Any) -> None:
        self._future = future

    def done(self) -> bool:
        return bool(self._future.done())

    def lost(self) -> bool:
        return bool(self._future.cancelled())

    def result(self) -> CaseResult | Refusal:
        found: CaseResult | Refusal = self._future.result()
        return found


class DaskRunner:
    """A Dask client; with no address it brings a cluster of one worker process on this machine.

    A scheduler that is away is looked for again and again; meanwhile there is no slot, and `trouble` says why.
    """

    def __init__(self, address: str = "", *, gpu: bool = False, security: Security | None = None) -> None:
        import dask

        dask.config.set(QUIET)
        self._security = security
        self._address, self._asked = address, resources(gpu=gpu and bool(address))
        self._messages: dict[str, str] = {}
        self._guard = threading.Lock()
        self._cluster: Any = None
        self._client: Any = None  # of distributed
        self._scheduler, self._next_look = "", 0.0
        self.trouble = ""
        if not address:
            self._cluster = _local_cluster(self._asked)
            self._warming = self._connect(self._cluster).submit(warm_up, pure=False)

    @property
    def slots(self) -> int:
        """How many cases may run at once: one for each worker that can, seen anew each time."""
        if self._cluster is not None:
            return 1
        workers = self._workers()
        able = sum(all(worker["resources"].get(name, 0) >= 1 for name in self._asked) for worker in workers.values())
        if self._client is not None:
            self.trouble = "" if able else self._unable(len(workers))
        return able

    def submit(self, job: CaseJob) -> DaskPending:
        if self._client is None or self._client.status != "running":
            raise ConnectionError("the scheduler is gone")
        key = f"{job.pair_uid}-{time.time()}"
        return DaskPending(self._client.submit(run_on_worker, job, key=key, pure=False, resources=self._asked))

    def progress(self, pair_uid: str) -> str:
        with self._guard:
            return self._messages.get(pair_uid, "")

    def close(self) -> None:
        """What still runs is given up; it begins anew at the next start."""
        self._disconnect()
        if self._cluster is not None:
            with suppress(TimeoutError):
                self._cluster.close(timeout=5)

    def _workers(self) -> Mapping[str, Any]:
        """The workers of the scheduler; none where it cannot be reached, or is another one than a moment ago."""
        if self._client is None and time.monotonic() >= self._next_look:
            self._look()
        if self._client is None:
            return {}
        try:
            known = self._client.scheduler_info(n_workers=-1)
        except (OSError, TimeoutError):
            known = {"id": "", "workers": {}}
        if self._client.status == "running" and known["id"] == self._scheduler:
            workers: Mapping[str, Any] = known["workers"]
            return workers
        logger().warning("the scheduler is gone; what it had is run again")
        self._disconnect()
        self.trouble = self._away()
        return {}

    def _look(self) -> None:
        """Connect where somebody listens; a client of Dask that meets nobody would leave its thread behind."""
        self._next_look = time.monotonic() + LOOK_AGAIN_S
        with suppress(OSError, TimeoutError):
            if listens(self._address):
                self._connect(self._address)
        if self._client is None:
            self.trouble = self._away()

    def _connect(self, where: Any) -> Any:
        from distributed import Client

        client = Client(where, timeout=CONNECT_S, set_as_default=False, security=self._security)  # type: ignore[no-untyped-call]
        client.subscribe_topic(TOPIC, self._hear)  # type: ignore[no-untyped-call]
        self._scheduler = client.scheduler_info(n_workers=-1)["id"]
        self._client = client
        return client

    def _disconnect(self) -> None:
        if self._client is not None:
            with suppress(TimeoutError, OSError):
                self._client.close(timeout=2)
        self._client = None

    def _away(self) -> str:
        return f"No scheduler answers at {self._address}; cases wait for it. Start it with: duet scheduler."

    def _unable(self, others: int) -> str:
        wanted = " with a ".join(self._asked)
        there = (
            f"the {others} there are of another version, whose numbers may differ, or lack a GPU" if others else "none is there"
        )
        return f"No worker of {wanted} at {self._address}, so that cases wait: {there}. Start one with: duet worker."

    def _hear(self, event: Any) -> None:
        _, message = event
        with self._guard:
            self._messages[message["case"]] = message["text"]


def workers_at(address: str, *, gpu: bool, security: Security | None) -> str:
    """How many of a scheduler's workers can take cases that ask for these. Raises ConnectionError where none can."""
    runner = DaskRunner(address, gpu=gpu, security=security)
    try:
        able = runner.slots
    finally:
        runner.close()
    if not able:
        raise ConnectionError(runner.trouble)
    return f"answers at {address}; {able} worker(s) there can take cases"


def listens(address: str) -> bool:
    """Whether anybody takes a connection at tcp://host:port."""
    where = urlsplit(address)
    try:
        socket.create_connection((where.hostname or "", where.port or 8786), timeout=CONNECT_S).close()
    except OSError:
        return False
    return True


def _local_cluster(offered: Mapping[str, float]) -> Any:
    from distributed import LocalCluster

    local = {"n_workers": 1, "threads_per_worker": 1, "host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    return LocalCluster(**local, memory_limit=0, resources=dict(offered))  # type: ignore[no-untyped-call]


def warm_up() -> None:
    """Import the analysis before the first case asks for it."""
    for name in ("analysis.patient.pipeline", "dicom_io.results", "dicom_io.volumes"):
        import_module(name)


def run_on_worker(job: CaseJob) -> CaseResult | Refusal:
    """run_case inside a Dask worker, telling the node how far it is. Errors are values here: Dask would log their text."""
    from distributed import get_worker

    worker = get_worker()

    def tell(message: str, fraction: float) -> None:
        worker.log_event(TOPIC, {"case": job.pair_uid, "text": f"{message} ({fraction:.0%})"})

    to_standard_error()
    with COMPUTING, bound_contextvars(**job.ids):  # also in the lines of whatever is called
        return alone(job, lambda: run_case(job, tell))


def alone(job: CaseJob, work: Callable[[], CaseResult]) -> CaseResult | Refusal:
    """The case's result, unless another process computes it at this moment; what one that was killed left is taken away."""
    with only_worker(job.folder) as mine:
        if not mine:
            return Refusal(reason=BUSY, sentence="Another process still computes the case.", system=True)
        clear_drafts(job.folder)
        return attempt(work)
