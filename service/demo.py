"""`duet demo`: digital patients, a stand-in archive, a real node in a process of its own, and what comes back."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from analysis.errors import BadSettings
from analysis.ports import Progress
from service.casebook import HELD_BY_QUALITY, JobRow, jobs_of, studies_of
from service.destinations import Destination, UndeliveredError
from service.folders import write_phantoms
from service.journal import Journal, open_journal
from service.releases import active_releases, release
from service.sockets import PROMPT
from service.storage import echo, send
from service.tables import JobState, StudyState

PATIENTS = 2
NETWORK = "duet-phantom-lesions"  # trained on digital patients, so that it may be shown on them
OBJECTS = 6  # of a pair: two SEG, three SR, the fusion picture
TIMEOUT_S = 900.0


class Archive:
    """A stand-in for a hospital's archive: keeps each object it is sent in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._guard = threading.Lock()
        self.received: set[str] = set()
        folder.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def open(self, port: int) -> Iterator[None]:
        ae = AE(ae_title="ARCHIVE")
        ae.supported_contexts = AllStoragePresentationContexts
        ae.add_supported_context(Verification)
        server: Any = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=[*PROMPT, (evt.EVT_C_STORE, self._store)])
        try:
            yield
        finally:
            server.shutdown()

    def _store(self, event: Any) -> int:
        uid = str(event.request.AffectedSOPInstanceUID)
        (self._folder / f"{uid}.dcm").write_bytes(event.encoded_dataset())
        with self._guard:
            self.received.add(uid)
        return 0x0000


def run_demo(out: Path, *, progress: Progress, network: bool = False) -> list[Path]:
    """Everything below `out`; returns the pictures to open. network: lesions by the shipped network. Raises Rejected."""
    if out.exists() and any(out.iterdir()):
        raise BadSettings(f"The folder {out} is not empty; name another one with --out, or remove it.")
    out.mkdir(parents=True, exist_ok=True)
    node_port, archive_port = _free_ports(2)
    folders = write_phantoms(
        out / "phantoms", PATIENTS, 1, progress=lambda m, f: progress(f"Making digital patients: {m}", 0.15 * f)
    )
    archive = Archive(out / "archive")
    config = _write_config(out, node_port, archive_port, NETWORK if network else "")
    node = Destination(name="node", url=f"dicom://DUET@127.0.0.1:{node_port}")
    with archive.open(archive_port), _running_node(config, out):
        _wait_for_door(node)
        _send_all(folders, node, progress)
        _wait_for_results(out / "node", archive, progress)
        return _collect(out)


def _write_config(out: Path, node_port: int, archive_port: int, network: str = "") -> Path:
    config = out / "duet.toml"
    config.write_text(
        f"""# Written by `duet demo`.
[node]
ae_title = "DUET"
data = "{(out / "node").absolute()}"
[receiver]
host = "127.0.0.1"
port = {node_port}
[intake]
silence_s = 2
[web]
enabled = false
[[destination]]
name = "archive"
url = "dicom://ARCHIVE@127.0.0.1:{archive_port}"
{_network_sections(network) if network else ""}""",
        encoding="utf-8",
    )
    return config


def _network_sections(name: str) -> str:
    """The sections of duet.toml that let a shipped network find both tracers' lesions."""
    from analysis.segmenters.catalogue import SHIPPED
    from analysis.segmenters.model_files import look_into

    allow = ",\n  ".join(f'"{digest}"' for digest in look_into(SHIPPED, name).to_allow.values())
    return f"""[models]
folder = "{SHIPPED}"
allow = [
  {allow},
]
[segmentation]
fdg_network = "{name}"
pentixafor_network = "{name}"
"""


@contextmanager
def _running_node(config: Path, out: Path) -> Iterator[None]:
    command = [sys.executable, "-m", "service.cli", "serve", "--config", str(config)]
    with (out / "node.log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT) as process:
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_for_door(node: Destination) -> None:
    for _ in range(60):
        try:
            echo(node, "DEMO")
        except UndeliveredError:
            time.sleep(0.5)
        else:
            return
    raise RuntimeError("the node did not start; see node.log")


def _send_all(folders: Sequence[Path], node: Destination, progress: Progress) -> None:
    files = [path for folder in folders for path in sorted(folder.rglob("*.dcm"))]
    for number, _ in enumerate(send(files, node, "DEMO"), start=1):
        progress(f"Sending {len(files)} images to the node over DICOM", 0.15 + 0.15 * number / len(files))


def _wait_for_results(data: Path, archive: Archive, progress: Progress) -> None:
    journal = open_journal("", data)
    deadline = time.monotonic() + TIMEOUT_S
    try:
        while time.monotonic() < deadline:
            wanted, message = _expected(journal)
            have = len(archive.received)
            if wanted and have >= wanted:
                return
            progress(message, 0.3 + 0.7 * have / max(wanted or 0, PATIENTS * OBJECTS))
            time.sleep(0.5)
    finally:
        journal.close()
    raise RuntimeError("the results did not come back in time; see node.log")


def _expected(journal: Journal) -> tuple[int, str]:
    """How many objects the archive is to receive (0: not known yet), and what the node is doing. Raises Rejected."""
    refused = [s.sentence for s in studies_of(journal) if s.settled and s.state in (StudyState.HELD, StudyState.PARKED)]
    jobs = jobs_of(journal)
    on_hold = [job for job in jobs if job.state is JobState.HELD and job.reason == HELD_BY_QUALITY]
    refused += [job.sentence for job in jobs if job.state in (JobState.HELD, JobState.PARKED) and job not in on_hold]
    if refused:
        raise BadSettings(f"The node holds a phantom study, which is an error of duet: {refused[0]}")
    if waiting := _let_go(journal, on_hold):
        return 0, waiting
    running = next((job.progress for job in jobs if job.state is JobState.RUNNING and job.progress), "")
    done = sum(job.state is JobState.DONE for job in jobs)
    message = f"Pair {done + 1} of {PATIENTS}: {running}" if running else "The node works"
    if done < PATIENTS:
        return 0, message
    return _posted(journal), "Results on their way to the archive"


def _let_go(journal: Journal, on_hold: Sequence[JobRow]) -> str:
    """Release what a quality check holds, as an operator would; what is waited for then ("": nothing)."""
    known = active_releases(journal)
    for job in on_hold:
        if job.id not in known:
            release(
                journal, str(job.id), by="duet demo", why="A digital patient, released to show the journey.", now=time.time()
            )
    return f"Case {on_hold[0].id} was on hold for its quality and is released" if on_hold else ""


def _posted(journal: Journal) -> int:
    from service.postings import counts

    return sum(count.total for count in counts(journal))


def _collect(out: Path) -> list[Path]:
    """Copy the case folders to out/results, named by patient."""
    journal = open_journal("", out / "node")
    jobs = jobs_of(journal)
    journal.close()
    pictures = []
    for job in jobs:
        target = out / "results" / job.patient_id
        shutil.copytree(out / "node" / "cases" / job.pair_uid, target)
        pictures.append(target / "fusion.png")
    return pictures


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports
