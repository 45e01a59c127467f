"""Throughput by the number of worker processes: small cases through intake, engine, scheduler and workers.

Each case is a small patient (the trunk of a phantom on every second voxel) under names of its own. Each worker computes on
one core, as an operator sets it where several share a host, so that what is measured is how work is handed out.
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
from workforce import Workforce, engine_of, workforce

from service import casebook, intake
from service.dask_runner import DaskRunner
from service.intake import IntakeSettings, Rules
from service.tables import JobState

CASES = int(os.environ.get("DUET_BENCH_CASES", "6"))
WORKERS = (1, 2)
ONE_CORE = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")
UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID")


def patients(folder: Path) -> Iterator[list[Dataset]]:
    """The same small patient again and again, each time another person with other UIDs."""
    files = sorted(small_patient(folder).rglob("*.dcm"))
    for number in range(CASES):
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


def run(folder: NodeFolder, team: Workforce, count: int) -> float:
    """Cases a minute with so many workers, from the first claim to the last result."""
    with folder.journal.writing() as connection:
        connection.exec_driver_sql("DELETE FROM outcomes")
        connection.exec_driver_sql("UPDATE jobs SET state = 'queued', next_try_at = 0, batch_upto = NULL")
    cases = folder.data / "cases"
    if cases.is_dir():
        cases.rename(folder.data / f"cases-{count}-{time.time():.0f}")
    runner = DaskRunner(team.address)
    until(lambda: runner.slots == count, f"{count} workers", 120)
    engine = engine_of(folder.journal, folder.data, runner)
    began = time.perf_counter()

    def ended() -> bool:
        engine.step()
        return all(job.finished for job in casebook.jobs_of(folder.journal))

    until(ended, "all cases are done", 1200)
    took = time.perf_counter() - began
    runner.close()
    return 60 * CASES / took


def main() -> int:
    os.environ.update(dict.fromkeys(ONE_CORE, "1"))
    figures = []
    with tempfile.TemporaryDirectory() as name, workforce(Path(name)) as team:
        node = NodeFolder(Path(name))
        for datasets in patients(Path(name) / "patient"):
            node.receive(datasets)
        figures.append(Figure(what="intake: headers read and filed", ours=filed(node), unit="/s"))
        intake.step(node.journal, node.data, Rules(), 1e9)
        queued = [job for job in casebook.jobs_of(node.journal) if job.state is JobState.QUEUED]
        assert len(queued) == CASES
        team.scheduler()
        speed: dict[int, float] = {}
        for count in WORKERS:
            for _ in range(count - len(speed)):
                team.worker("--no-gpu")
            speed[count] = run(node, team, count)
            ratio = speed[count] / speed[1]
            figures += [Figure(what=f"{count} worker(s): cases a minute", ours=speed[count], unit="/min")]
            if count > 1:
                met = ratio >= 0.8 * count
                figures += [Figure(what="... of one worker's", ours=ratio, unit="times", target=f"{0.8 * count:g}", met=met)]
        node.journal.close()
    load = f"Load of the machine at the end: {os.getloadavg()[0]:.1f}." if os.getloadavg()[0] > max(WORKERS) + 1 else ""
    keep("Workers", figures, f"{CASES} small cases, a core for each worker. {load}".strip())
    return 0


if __name__ == "__main__":
    sys.exit(main())
