"""Real peers for the tests of the whole journey: a node in processes of its own, Orthanc, dcmtk's storescu, a small patient."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from duet_command import duet

from analysis.phantom import make_patient
from analysis.phantom.values import PhantomSettings
from analysis.values import Grid, PetCt, Volume
from dicom_io.synthetic import write_patient


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(true: Callable[[], bool], what: str | Callable[[], str], seconds: float = 120.0) -> None:
    """Wait for a condition; fails by name. what: words, or what finds them when they are needed (a log as it is then)."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:.0f} s: {what if isinstance(what, str) else what()}")
        time.sleep(0.05)


# A small patient: the trunk of a phantom on every second voxel.


@dataclass(frozen=True, kw_only=True)
class Cut:
    """A phantom without its noise, thinned and cut to the trunk, so that a pair takes seconds."""

    fdg: PetCt
    pentixafor: PetCt
    truth: dict[str, Any]


def small_patient(folder: Path, seed: int = 3) -> Path:
    """Both studies below `folder`, about 200 slices."""
    patient = make_patient(PhantomSettings(seed=seed, noise=False, blur=False))
    write_patient(Cut(fdg=cut(patient.fdg), pentixafor=cut(patient.pentixafor), truth=patient.truth), folder)
    return folder


def cut(study: PetCt, step: int = 2) -> PetCt:
    """The trunk of a study on every `step`-th voxel."""
    low, high = sorted(_heights(study.pet)[[0, -1]])
    low, high = low + 0.4 * (high - low), low + 0.8 * (high - low)
    return replace(study, pet=_thinned(study.pet, low, high, step), ct=_thinned(study.ct, low - 8, high + 8, step))


def _heights(volume: Volume) -> np.ndarray:
    index = np.zeros((volume.grid.shape[0], 3))
    index[:, 0] = np.arange(volume.grid.shape[0])
    return np.asarray(volume.grid.to_world(index)[:, 2])


def _thinned(volume: Volume, low: float, high: float, step: int) -> Volume:
    inside = np.flatnonzero((_heights(volume) >= low) & (_heights(volume) <= high))
    values = np.ascontiguousarray(volume.values[inside[0] : inside[-1] + 1 : step, ::step, ::step])
    affine = volume.grid.affine.copy()
    affine[:3, 3] = volume.grid.to_world((inside[0], 0, 0))
    affine[:3, :3] *= step
    return Volume(grid=Grid(shape=values.shape, affine=affine), values=values, unit=volume.unit)  # type: ignore[arg-type]


# Peers


def echoes(program: Callable[[str], str], port: int) -> bool:
    return (
        subprocess.run(
            [program("echoscu"), "-aet", "SCANNER", "-aec", "DUET", "127.0.0.1", str(port)], capture_output=True, check=False
        ).returncode
        == 0
    )


def push(program: Callable[[str], str], port: int, files: Sequence[Path]) -> bool:
    """All files in this order by dcmtk's storescu over one association; whether each was acknowledged."""
    command = [program("storescu"), "-aet", "SCANNER", "-aec", "DUET", "127.0.0.1", str(port), *map(str, files)]
    return subprocess.run(command, capture_output=True, check=False, timeout=300).returncode == 0


class Orthanc:
    """Debian's Orthanc on loopback with an empty storage."""

    def __init__(self, folder: Path, program: Callable[[str], str]) -> None:
        self.folder, self._program = folder, program
        self.port, self._http = free_port(), free_port()
        self.more: dict[str, Any] = {}  # settings of a test

    @contextlib.contextmanager
    def running(self) -> Iterator[Orthanc]:
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "orthanc.json"
        config.write_text(json.dumps(self._settings()))
        with (self.folder / "log").open("w") as log:
            process = subprocess.Popen([self._program("Orthanc"), str(config)], stdout=log, stderr=subprocess.STDOUT)
        try:
            until(lambda: self._ready(process), "Orthanc answers")
            yield self
        finally:
            process.terminate()
            process.wait(timeout=30)

    def _settings(self) -> dict[str, Any]:
        return {
            "Name": "test",
            "StorageDirectory": str(self.folder / "db"),
            "IndexDirectory": str(self.folder / "db"),
            "HttpPort": self._http,
            "DicomPort": self.port,
            "DicomAet": "ORTHANC",
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomAlwaysAllowEcho": True,
            "DicomAlwaysAllowStore": True,
            "OverwriteInstances": False,
            "SaveJobs": False,
            "Plugins": [],
            **self.more,
        }

    def _ready(self, process: subprocess.Popen[bytes]) -> bool:
        if process.poll() is not None:
            raise AssertionError((self.folder / "log").read_text()[-2000:])
        try:
            self.ask("/system")
        except (urllib.error.URLError, ConnectionError):
            return False
        return True

    def ask(self, path: str) -> Any:
        return json.loads(self.ask_bytes(path))

    def ask_bytes(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._http}{path}", timeout=10) as answer:
            found: bytes = answer.read()
            return found

    def tell(self, path: str, words: dict[str, Any] | list[Any], method: str = "POST") -> Any:
        """A command by its REST interface."""
        url, content = f"http://127.0.0.1:{self._http}{path}", json.dumps(words).encode()
        with urllib.request.urlopen(urllib.request.Request(url, content, method=method), timeout=30) as answer:
            said = answer.read()
            return json.loads(said) if said else None

    def put_file(self, path: Path) -> None:
        url, kind = f"http://127.0.0.1:{self._http}/instances", {"Content-Type": "application/dicom"}
        with urllib.request.urlopen(urllib.request.Request(url, path.read_bytes(), kind), timeout=60) as answer:
            answer.read()

    def know(self, title: str, port: int) -> None:
        """Let it call another AE on this machine, as it must to report on a storage commitment."""
        words = {"AET": title, "Host": "127.0.0.1", "Port": port, "AllowStorageCommitment": True, "AllowNAction": True}
        self.tell(f"/modalities/{title.lower()}", words | {"AllowNEventReport": True}, "PUT")

    def holds(self) -> dict[str, tuple[str, str]]:
        """SOP instance UID > (study instance UID, modality) of everything stored."""
        found = {}
        for instance in self.ask("/instances"):
            tags = self.ask(f"/instances/{instance}/simplified-tags")
            found[tags["SOPInstanceUID"]] = (tags["StudyInstanceUID"], tags["Modality"])
        return found


class NodeProcess:
    """`duet serve` as a process group of its own, which can be killed and started again on the same folder."""

    def __init__(
        self,
        folder: Path,
        program: Callable[[str], str],
        archive_port: int,
        more: str = "",
        *,
        deliver_held: bool = True,
        web: bool = False,
        processes: int = 0,
    ) -> None:
        """processes: at the door; they take two seconds to start, and few tests have more than one sender."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self._program = folder, program
        self.port, self.web_port = free_port(), free_port()
        self.config = folder / "duet.toml"
        held, pages = str(deliver_held).lower(), f"enabled = {str(web).lower()}\nport = {self.web_port}"
        words = {"data": folder / "data", "port": self.port, "archive": archive_port, "pages": pages, "processes": processes}
        self.config.write_text(_TOML.format(quick=QUICK.format(held=held), **words) + more)
        self._process: subprocess.Popen[bytes] | None = None
        self._groups: list[int] = []

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            command = [sys.executable, "-m", "service.cli", "serve", "--config", str(self.config)]
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        self._groups.append(self._process.pid)

    def wait_for_door(self) -> None:
        until(lambda: echoes(self._program, self.port), f"the door opens\n{self.log()[-2000:]}", 60)

    def kill(self, *, group: bool = True) -> None:
        """SIGKILL to all its processes, or to the first alone."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL) if group else self._process.kill()
        self._process.wait(timeout=10)

    def stop(self) -> int:
        """SIGTERM, as a service manager does; returns the exit status."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(timeout=60)

    def ended(self) -> int:
        """The exit status of a node that ends by itself."""
        assert self._process is not None
        return self._process.wait(timeout=60)

    def clean_up(self) -> None:
        for group in self._groups:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
        if self._process is not None:
            self._process.wait(timeout=10)

    def workers(self) -> list[psutil.Process]:
        """What computes cases below it, and looks after that."""
        assert self._process is not None
        below = psutil.Process(self._process.pid).children(recursive=True)
        return [each for each in below if "multiprocessing" in " ".join(each.cmdline())]

    def survivors(self) -> list[int]:
        """Groups of earlier starts of which a process still runs."""
        return [group for group in self._groups if _alive(group)]

    def environments(self) -> list[dict[str, str]]:
        """The environment of each process that it has started."""
        assert self._process is not None
        return [process.environ() for process in psutil.Process(self._process.pid).children(recursive=True)]

    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def ask(self, query: str) -> list[Any]:
        """A look into the journal."""
        path = self.folder / "data" / "journal.sqlite"
        if not path.exists():
            return []
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=20)) as journal:
            try:
                return journal.execute(query).fetchall()
            except sqlite3.OperationalError:  # killed before the tables were made
                return []

    def told(self) -> str:
        """For a failure: what its status and the end of its log say."""
        return f"{self.status()}\n{self.log()[-3000:]}"

    def status(self, *patient: str) -> str:
        """What `duet status` prints."""
        return self.duet("status", *patient).stdout

    def duet(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command on this node's settings."""
        return duet(*words, "--config", self.config)


def _alive(group: int) -> bool:
    """Whether a process of the group runs (one that has ended and waits to be collected does not)."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, its_group = stat.read_text().rpartition(")")[2].split()[:3]
            if int(its_group) == group and state != "Z":
                return True
    return False


# Of a node that a test may wait for.
QUICK = """
[intake]
silence_s = 1.5
patience_s = 8
[registration]
step_mm = 8
deformable = false
[delivery]
first_retry_s = 0.5
longest_retry_s = 1
deliver_held = {held}
"""
_TOML = """
[node]
ae_title = "DUET"
data = "{data}"
[receiver]
host = "127.0.0.1"
port = {port}
free_gb = 0
processes = {processes}
[web]
{pages}
{quick}[[destination]]
name = "pacs"
url = "dicom://ORTHANC@127.0.0.1:{archive}"
"""
