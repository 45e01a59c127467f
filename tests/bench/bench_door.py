"""The DICOM door beside dcmtk's and Orthanc's: slices a second from one sender and from four, and memory over many.

All senders are dcmtk's storescu, Nagle's delay is off everywhere. duet's door is the Receiver in a process of its own, with
everything that a node's door does: each object is on disk (fsync) before it is acknowledged, its row a moment later. dcmtk's
storescp writes files without fsync, with a process for each association; so duet is measured without fsync, too, which shows
what the disk takes and what the processor. It has the door processes of a node's defaults; "one process" has none.
DUET_DOOR_INSTANCES: how many small objects the memory, of all its processes together, is watched over.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psutil
from pydicom import Dataset, FileDataset
from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.uid import ExplicitVRLittleEndian
from results import Figure, keep

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "helpers"), str(HERE.parent)]

import conftest  # noqa: E402
import door_alone  # noqa: E402
from door_peers import Peer, Sent, some_object  # noqa: E402
from nodes import Orthanc, free_port, until  # noqa: E402

from service.receiver import ReceiverSettings  # noqa: E402

ROUNDS = 3
INSTANCES = int(os.environ.get("DUET_DOOR_INSTANCES", "100000"))
PET, CT = 60_000, 524_288  # bytes of pixels


@dataclass(frozen=True, kw_only=True)
class Load:
    """Files of each sender."""

    name: str
    senders: Sequence[Sequence[Path]]
    megabytes: float

    @property
    def count(self) -> int:
        return sum(len(files) for files in self.senders)


def load_of(name: str, senders: Sequence[Sequence[Path]]) -> Load:
    return Load(name=name, senders=senders, megabytes=sum(path.stat().st_size for files in senders for path in files) / 1e6)


def program(name: str) -> str:
    found = conftest.find_program(name)
    if found is None:
        sys.exit(f"{name} is not on this machine.")
    return str(found)


def written(folder: Path, count: int, pixels: int) -> list[Path]:
    """Objects as files."""
    folder.mkdir(parents=True)
    paths = []
    for number in range(count):
        ds: Dataset = read_dataset(DicomBytesIO(some_object(pixels).content), False, True)
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        paths.append(folder / f"{number:05d}.dcm")
        FileDataset(None, ds, file_meta=meta).save_as(paths[-1], enforce_file_format=True)
    return paths


@contextlib.contextmanager
def server(*command: str | Path, says: bytes = b"") -> Iterator[psutil.Process]:
    """says: the line by which it tells that it is ready."""
    output = subprocess.PIPE if says else subprocess.DEVNULL
    process = subprocess.Popen([str(word) for word in command], stdout=output, stderr=subprocess.DEVNULL)
    try:
        if process.stdout is not None and process.stdout.readline() != says:
            sys.exit(f"{command} is not ready")
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(timeout=30)


def _open(port: int) -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    return False


@contextlib.contextmanager
def unsynced(folder: Path) -> Iterator[tuple[int, psutil.Process]]:
    os.environ["DUET_BENCH_UNSYNCED"] = "1"
    try:
        with duet(folder) as found:
            yield found
    finally:
        del os.environ["DUET_BENCH_UNSYNCED"]


@contextlib.contextmanager
def duet(folder: Path, processes: int = ReceiverSettings().processes) -> Iterator[tuple[int, psutil.Process]]:
    port = free_port()
    command = [sys.executable, door_alone.__file__, folder / "data", str(port), str(processes)]
    with server(*command, says=b"ready\n") as process:
        yield port, process


def alone(folder: Path) -> contextlib.AbstractContextManager[tuple[int, psutil.Process]]:
    return duet(folder, 0)


@contextlib.contextmanager
def storescp(folder: Path) -> Iterator[tuple[int, psutil.Process]]:
    port = free_port()
    folder.mkdir()
    with server(program("storescp"), "--fork", "-od", folder, str(port)) as process:
        until(lambda: _open(port), "storescp opens")
        yield port, process


@contextlib.contextmanager
def orthanc(folder: Path) -> Iterator[tuple[int, None]]:
    peer = Orthanc(folder, program)
    with peer.running():
        yield peer.port, None


def push(port: int, load: Load) -> float:
    """Seconds until the last sender has its last answer."""
    storescu = [program("storescu"), "--required", "-aec", "DUET"]  # else it offers 128 contexts, as no scanner does
    began = time.perf_counter()
    running = [
        subprocess.Popen([*storescu, "127.0.0.1", str(port), *map(str, files)], stdout=subprocess.DEVNULL)
        for files in load.senders
    ]
    if any(process.wait() for process in running):
        sys.exit(f"{load.name}: not everything was acknowledged")
    return time.perf_counter() - began


@dataclass(frozen=True, kw_only=True)
class Run:
    """Seconds until all was acknowledged, and the processor time of the door for it (0 where nobody knows)."""

    seconds: float
    processor_s: float


def measure(loads: Sequence[Load], work: Path) -> dict[tuple[str, str], Run]:
    """(door, load) > the best of some rounds in which the doors take turns; each round on an empty folder."""
    best: dict[tuple[str, str], Run] = {}
    doors = {"duet": duet, "storescp": storescp, "unsynced": unsynced, "alone": alone, "Orthanc": orthanc}
    for number in range(ROUNDS):
        for load in loads:
            for name, door in doors.items():
                with tempfile.TemporaryDirectory(dir=work) as folder, door(Path(folder) / f"{name}{number}") as (port, process):
                    before = _processor_s(process)
                    run = Run(seconds=push(port, load), processor_s=_processor_s(process) - before)
                best[name, load.name] = min(run, best.get((name, load.name), run), key=lambda each: each.seconds)
    return best


def _processor_s(process: psutil.Process | None) -> float:
    times = [each.cpu_times() for each in _family(process)]
    return float(sum(each.user + each.system for each in times))


def _family(process: psutil.Process | None) -> list[psutil.Process]:
    return [] if process is None else [process, *process.children()]


def memory(work: Path) -> dict[int, float]:
    """Resident MB of duet's door after so many small objects from four senders."""
    found: dict[int, float] = {}
    with tempfile.TemporaryDirectory(dir=work) as folder, duet(Path(folder) / "memory") as (port, process):
        for upto in (INSTANCES // 100, INSTANCES // 10, INSTANCES):
            count = (upto - max(found, default=0)) // 4
            with ThreadPoolExecutor(4) as pool:
                list(pool.map(lambda _, count=count: _small(port, count), range(4)))
            found[upto] = sum(each.memory_info().rss for each in _family(process)) / 1e6
    return found


def _small(port: int, count: int) -> None:
    template = some_object(2000)
    for start in range(0, count, 250):
        with Peer(port) as peer:
            peer.associate()
            for _ in range(min(250, count - start)):
                uid = some_object(32).uid.ljust(len(template.uid), "0")[: len(template.uid)]
                assert peer.store(Sent(uid=uid, content=template.content.replace(template.uid.encode(), uid.encode()))) == 0
            peer.release()


def main() -> None:
    os.environ["TCP_NODELAY"] = "1"
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        pet = written(work / "pet", 300, PET)
        ct = [written(work / f"ct{number}", 80, CT) for number in range(4)]
        loads = [
            load_of("PET slices, one sender", [pet]),
            load_of("CT slices, one sender", ct[:1]),
            load_of("CT slices, four senders", ct),
        ]
        best = measure(loads, work)
        resident = memory(work)
    figures = [figure for load in loads for figure in _figures(load, {name: best[name, load.name] for name in NAMES})]
    counts = sorted(resident)
    grown = resident[counts[-1]] - resident[counts[-2]]
    for count in counts:
        goal, met = ("grows by < 20 MB", grown < 20) if count == counts[-1] else ("", None)
        figures.append(Figure(what=f"memory after {count} objects", ours=resident[count], unit="MB", target=goal, met=met))
    told = f"The best of {ROUNDS} rounds; duet with fsync and journal, storescp without fsync. The machine's load at the end: "
    keep("The DICOM door", figures, f"{told}{os.getloadavg()[0]:.1f}.")


NAMES = ("duet", "unsynced", "alone", "storescp", "Orthanc")
GOALS = {
    "PET slices, one sender": ("slices", 150),
    "CT slices, one sender": ("data", 118),
    "CT slices, four senders": ("x", 0.5),
}


def _figures(load: Load, of: dict[str, Run]) -> Iterator[Figure]:
    """What one load says of the door and its peers."""
    kind, least = GOALS[load.name]
    slices = {name: load.count / run.seconds for name, run in of.items()}
    for peer in ("storescp", "Orthanc"):
        goal, met = _judged(slices["duet"], least, "slices/s") if (kind, peer) == ("slices", "storescp") else ("", None)
        yield _figure(f"{load.name}: a second", slices, peer, goal, met)
    speed = load.megabytes / of["duet"].seconds
    goal, met = _judged(speed, least, "MB/s") if kind == "data" else ("", None)
    yield Figure(what="... of data", ours=speed, unit="MB/s", target=goal, met=met)
    ratio = slices["duet"] / slices["storescp"]
    goal, met = _judged(ratio, least, "x") if kind == "x" else ("", None)
    yield Figure(what="... beside storescp", ours=ratio, unit="x", target=goal, met=met)
    yield Figure(what="... both without fsync", ours=slices["unsynced"] / slices["storescp"], unit="x")
    yield Figure(what="... one process beside storescp", ours=slices["alone"] / slices["storescp"], unit="x")
    yield Figure(what="... processor time an object", ours=1000 * of["duet"].processor_s / load.count, unit="ms")


def _judged(found: float, least: float, unit: str) -> tuple[str, bool]:
    return f"{least} {unit}", found >= least


def _figure(what: str, found: dict[str, float], peer: str, target: str, met: bool | None) -> Figure:
    named = {"storescp": "dcmtk storescp", "Orthanc": "Orthanc"}[peer]
    return Figure(what=what, ours=found["duet"], unit="slices/s", peer=named, theirs=found[peer], target=target, met=met)


if __name__ == "__main__":
    main()
