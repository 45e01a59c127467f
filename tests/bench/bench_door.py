"""The DICOM door beside dcmtk's and Orthanc's: slices a second from one sender and from four, and memory over many.

All senders are dcmtk's storescu, Nagle's delay is off everywhere. duet's door is the Receiver in a process of its own, with
everything that a node's door does: each object is on disk (fsync of file and folder) and in the journal (fsync) before it is
acknowledged. dcmtk's storescp writes files without fsync, with a process for each association.
DUET_DOOR_INSTANCES: how many small objects the memory is watched over (100,000 take minutes).
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

ROUNDS = 3
INSTANCES = int(os.environ.get("DUET_DOOR_INSTANCES", "20000"))
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
def server(*command: str | Path) -> Iterator[psutil.Process]:
    process = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
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
def duet(folder: Path) -> Iterator[tuple[int, psutil.Process]]:
    port = free_port()
    with server(sys.executable, door_alone.__file__, folder / "data", str(port)) as process:
        until(lambda: _open(port), "duet's door opens")
        yield port, process


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
    storescu = program("storescu")
    began = time.perf_counter()
    running = [
        subprocess.Popen([storescu, "-aec", "DUET", "127.0.0.1", str(port), *map(str, files)], stdout=subprocess.DEVNULL)
        for files in load.senders
    ]
    if any(process.wait() for process in running):
        sys.exit(f"{load.name}: not everything was acknowledged")
    return time.perf_counter() - began


def measure(loads: Sequence[Load], work: Path) -> dict[tuple[str, str], float]:
    """(door, load) > seconds, the best of some rounds in which the doors take turns; each round on an empty folder."""
    best: dict[tuple[str, str], float] = {}
    for number in range(ROUNDS):
        for name, door in (("duet", duet), ("storescp", storescp), ("Orthanc", orthanc)):
            for load in loads:
                with tempfile.TemporaryDirectory(dir=work) as folder, door(Path(folder) / f"{name}{number}") as (port, _):
                    seconds = push(port, load)
                best[name, load.name] = min(seconds, best.get((name, load.name), seconds))
    return best


def memory(work: Path) -> tuple[float, float]:
    """Resident MB of duet's door after a tenth of many small objects from four senders, and after all."""
    with tempfile.TemporaryDirectory(dir=work) as folder, duet(Path(folder) / "memory") as (port, process):
        found = []
        for count in (INSTANCES // 10, INSTANCES - INSTANCES // 10):
            with ThreadPoolExecutor(4) as pool:
                list(pool.map(lambda _, count=count: _small(port, count // 4), range(4)))
            found.append(process.memory_info().rss / 1e6)
    return found[0], found[1]


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
        first, last = memory(work)
    figures = []
    for load in loads:
        of = {name: best[name, load.name] for name in ("duet", "storescp", "Orthanc")}
        slices = {name: load.count / seconds for name, seconds in of.items()}
        speed = {name: load.megabytes / seconds for name, seconds in of.items()}
        is_pet, four = load is loads[0], load is loads[2]
        what = f"{load.name}: a second"
        goal, met = ("150", slices["duet"] >= 150) if is_pet else ("", None)
        figures.append(_figure(what, slices, "storescp", goal, met))
        figures.append(_figure(what, slices, "Orthanc", "", None))
        goal, met = ("118 MB/s", speed["duet"] >= 118) if four else ("", None)
        figures.append(Figure(what="... of data", ours=speed["duet"], unit="MB/s", target=goal, met=met))
        if four:
            ratio = speed["duet"] / speed["storescp"]
            figures.append(Figure(what="... beside storescp", ours=ratio, unit="x", target="0.5 x", met=ratio >= 0.5))
    grown = last - first
    figures.append(
        Figure(what=f"memory after {INSTANCES} objects", ours=last, unit="MB", target="grows by < 20 MB", met=grown < 20)
    )
    figures.append(Figure(what="... after the first tenth", ours=first, unit="MB"))
    keep("The DICOM door", figures, f"The best of {ROUNDS} rounds; duet with fsync and journal, storescp without fsync.")


def _figure(what: str, found: dict[str, float], peer: str, target: str, met: bool | None) -> Figure:
    named = {"storescp": "dcmtk storescp", "Orthanc": "Orthanc"}[peer]
    return Figure(what=what, ours=found["duet"], unit="slices/s", peer=named, theirs=found[peer], target=target, met=met)


if __name__ == "__main__":
    main()
