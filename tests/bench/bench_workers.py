"""Throughput by the number of worker processes, through intake, engine, scheduler and workers as they are.

First cases that only wait, as for a GPU: they show what handing out costs, on any number of cores. Then small patients (the
trunk of a phantom on every second voxel, each under names of its own), a core for each worker: these say something only where
the machine has nothing else to do.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid
from results import Figure, keep

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "helpers"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "service"))

from conftest import NodeFolder
from nodes import small_patient, until
from workforce import engine_of, queue_job, workforce

from service import casebook, intake
from service.dask_runner import DaskPending, DaskRunner
from service.intake import IntakeSettings, Rules
from service.node import PAUSE_S
from service.worker import CaseJob, CaseResult

CASES = int(os.environ.get("DUET_BENCH_CASES", "6"))
WAIT_S, WAITING = 4.0, 8
ONE_CORE = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")
UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID")


def patients(folder: Path) -> Iterator[list[Dataset]]:
    """The same small patient again and again, each time another person with other UIDs."""
    files = sorted(small_patient(folder).rglob("*.dcm"))
    for number in range(max(CASES, 2)):
        read = [dcmread(path) for path in files]
        for ds in read:
            ds.PatientID, ds.PatientName = f"BENCH{number}", f"Bench^{number}"
            for keyword in UIDS:
                setattr(ds, keyword, generate_uid(entropy_srcs=[str(number), ds[keyword].value]))
            ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        yield read


def filed(folder: NodeFolder) -> float:
    """Objects a second whose header is read and filed."""
    count = len(list(folder.inbox.files()))
    began = time.perf_counter()
    intake.step(folder.journal, folder.data, Rules(intake=IntakeSettings(silence_s=1e6)), 200.0)
    return count / (time.perf_counter() - began)


class Waiting(DaskRunner):
    """Cases that take WAIT_S on their worker and leave nothing."""

    def submit(self, job: CaseJob) -> DaskPending:
        return DaskPending(self._client.submit(wait, key=f"{job.pair_uid}-{time.time()}", pure=False, resources=self._asked))


def wait() -> CaseResult:
    time.sleep(WAIT_S)
    return CaseResult(objects=())


def run(folder: NodeFolder, runner: DaskRunner, count: int) -> float:
    """Cases a minute with so many workers, from the first claim to the last result; the engine looks as often as in a node."""
    with folder.journal.writing() as connection:
        connection.exec_driver_sql("DELETE FROM outcomes")
        connection.exec_driver_sql("UPDATE jobs SET state = 'queued', next_try_at = 0, batch_upto = NULL")
    cases = folder.data / "cases"
    if cases.is_dir():
        cases.rename(folder.data / f"cases-{count}-{time.time():.0f}")
    until(lambda: runner.slots == count, f"{count} workers", 120)
    engine = engine_of(folder.journal, folder.data, runner)
    began = time.perf_counter()
    while not all(job.finished for job in casebook.jobs_of(folder.journal)):
        engine.step()
        time.sleep(PAUSE_S)
    took = time.perf_counter() - began
    runner.close()
    return 60 * len(casebook.jobs_of(folder.journal)) / took


def growth(what: str, speed: dict[int, float]) -> Iterator[Figure]:
    """The cases a minute of each number of workers, and how many times those of one."""
    for count, cases in speed.items():
        ratio = cases / speed[1]
        yield Figure(
            what=f"{what}: {count} worker(s), {cases:.3g} cases a minute, of one worker's",
            ours=ratio,
            unit="times",
            target=f"{0.8 * count:g}" if count > 1 else "",
            met=ratio >= 0.8 * count if count > 1 else None,
        )


def waiting(name: Path) -> Iterator[Figure]:
    (name / "waiting").mkdir()
    folder = NodeFolder(name / "waiting")
    for number in range(WAITING):
        queue_job(folder.journal, f"2.25.{number}", [])
    speed = {}
    with workforce(name / "waiting") as team:
        team.scheduler()
        for count in (1, 2, 4):
            for _ in range(count - (max(speed) if speed else 0)):
                team.worker("--no-gpu")
            speed[count] = run(folder, Waiting(team.address), count)
    folder.journal.close()
    yield from growth(f"cases that wait {WAIT_S:g} s", speed)


def computing(name: Path) -> Iterator[Figure]:
    (name / "computing").mkdir()
    node = NodeFolder(name / "computing")
    for datasets in patients(name / "patient"):
        node.receive(datasets)
    yield Figure(what="intake: headers read and filed", ours=filed(node), unit="/s")
    if not CASES:
        return
    intake.step(node.journal, node.data, Rules(), 1e9)
    assert len(casebook.jobs_of(node.journal)) == CASES
    speed = {}
    with workforce(name / "computing") as team:
        team.scheduler()
        for count in (1, 2):
            team.worker("--no-gpu")
            speed[count] = run(node, DaskRunner(team.address), count)
    node.journal.close()
    yield from growth("small patients, a core each", speed)


def main() -> int:
    os.environ.update(dict.fromkeys(ONE_CORE, "1"))
    with tempfile.TemporaryDirectory() as name:
        figures = [*waiting(Path(name)), *computing(Path(name))]
    keep("Workers", figures, f"The machine's load at the end: {os.getloadavg()[0]:.1f}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
