"""The whole journey with real peers: dcmtk's storescu sends, the node works, Orthanc receives; also when the node is killed."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from nodes import NodeProcess, Orthanc, push, small_patient, until
from pydicom import dcmread

from service.dask_runner import LEFT_ALONE

pytestmark = [pytest.mark.peer("storescu"), pytest.mark.peer("echoscu"), pytest.mark.peer("Orthanc")]

Program = Callable[[str], str]
OBJECTS = 6  # of a pair's results
RECEIVED = "SELECT count(*) FROM instances"
STARTED = "SELECT count(*) FROM jobs WHERE state IN ('running', 'done')"
WRITING = "SELECT count(*) FROM jobs WHERE state = 'done' OR progress LIKE 'Writing%'"
DELIVERED = "SELECT count(*) FROM deliveries WHERE state <> 'pending'"
ARRIVED = "SELECT count(*) FROM deliveries WHERE state IN ('delivered', 'committed')"


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_patient(tmp_path_factory.mktemp("patient"))


def shuffled(patient: Path, seed: int) -> list[Path]:
    """Both studies interleaved in no order, and the FDG study once more."""
    files = sorted(patient.rglob("*.dcm")) + sorted((patient / "fdg").rglob("*.dcm"))
    random.Random(seed).shuffle(files)
    return files


@contextmanager
def hospital(folder: Path, program: Program, more: str = "") -> Iterator[tuple[NodeProcess, Orthanc]]:
    """An empty archive and a node that returns to it; the node is not started yet."""
    with ExitStack() as stack:
        archive = stack.enter_context(Orthanc(folder / "orthanc", program).running())
        node = NodeProcess(folder / "node", program, archive.port, more, processes=2)
        archive.know("DUET", node.port)
        stack.callback(node.clean_up)
        yield node, archive


@pytest.fixture(scope="module")
def uninterrupted(
    patient: Path, tmp_path_factory: pytest.TempPathFactory, program: Program
) -> Iterator[tuple[NodeProcess, Orthanc, dict[str, tuple[str, str]]]]:
    """A run without disturbance, after everything has arrived."""
    with hospital(tmp_path_factory.mktemp("calm"), program) as (node, archive):
        node.start()
        node.wait_for_door()
        assert push(program, node.port, shuffled(patient, 1))
        until(lambda: node.ask(ARRIVED) == [(OBJECTS,)], lambda: f"all delivered\n{node.told()}", 180)
        assert "delivered" in node.status()
        yield node, archive, archive.holds()


def study_of(patient: Path, tracer: str) -> str:
    return str(dcmread(next((patient / tracer).rglob("*.dcm")), stop_before_pixels=True).StudyInstanceUID)


def test_two_seg_three_sr_and_the_picture_arrive_in_the_right_studies(
    patient: Path, uninterrupted: tuple[NodeProcess, Orthanc, dict[str, tuple[str, str]]]
) -> None:
    _, _, held = uninterrupted
    fdg, pentixafor = study_of(patient, "fdg"), study_of(patient, "pentixafor")
    by_study = {study: sorted(m for s, m in held.values() if s == study) for study in (fdg, pentixafor)}
    assert len(held) == OBJECTS
    assert by_study[fdg] == ["SEG", "SR"]
    assert [m for m in by_study[pentixafor] if m in ("SEG", "SR")] == ["SEG", "SR", "SR"]
    assert len(by_study[pentixafor]) == 4  # and the fusion picture


def test_the_archive_has_what_the_case_folder_has(
    uninterrupted: tuple[NodeProcess, Orthanc, dict[str, tuple[str, str]]],
) -> None:
    node, _, held = uninterrupted
    (case,) = (node.folder / "data" / "cases").iterdir()
    objects = json.loads((case / "results.json").read_text())["objects"]
    assert {each["sop_instance_uid"] for each in objects.values()} == set(held)
    assert {path.name for path in case.iterdir()} >= {"lesions.csv", "features.csv", "fusion.png", "fusion.dcm", "sr-pair.dcm"}


def test_its_worker_may_use_every_core_and_keep_its_memory(
    uninterrupted: tuple[NodeProcess, Orthanc, dict[str, tuple[str, str]]],
) -> None:
    """Dask would have it otherwise."""
    node, _, _ = uninterrupted
    assert node.environments()
    for environment in node.environments():
        assert {name: environment.get(name) for name in LEFT_ALONE} == {name: os.environ.get(name) for name in LEFT_ALONE}


def test_sending_everything_again_changes_nothing(
    patient: Path, uninterrupted: tuple[NodeProcess, Orthanc, dict[str, tuple[str, str]]], program: Program
) -> None:
    node, archive, held = uninterrupted
    assert push(program, node.port, shuffled(patient, 2))
    time.sleep(3)
    assert archive.holds() == held
    assert node.ask("SELECT count(*) FROM jobs") == [(1,)]
    assert "delivered" in node.status()


def test_no_name_of_a_patient_in_the_log(uninterrupted: tuple[NodeProcess, Orthanc, dict[str, tuple[str, str]]]) -> None:
    node, _, _ = uninterrupted
    written = node.log() + (node.folder / "data" / "logs" / "duet.jsonl").read_text()
    assert "case delivered" in written
    assert "Phantom^" not in written
    assert "PHANTOM" not in written


class Sender:
    """A scanner that sends both studies and begins anew until everything was acknowledged."""

    def __init__(self, program: Program, port: int, files: list[Path]) -> None:
        self._program, self._port, self._files = program, port, files
        self._thread = threading.Thread(target=self._send, daemon=True)
        self._end = threading.Event()
        self._thread.start()

    @property
    def done(self) -> bool:
        return not self._thread.is_alive()

    def end(self) -> None:
        self._end.set()
        self._thread.join(timeout=60)

    def _send(self) -> None:
        while not self._end.is_set() and not push(self._program, self._port, self._files):
            time.sleep(0.1)


def wait_for(node: NodeProcess, query: str, least: int, seconds: float) -> None:
    """Until a count in the journal is reached, or the time is over (then the kill comes at that moment)."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        rows = node.ask(query)
        if rows and (rows[0][0] or 0) >= least:
            return
        time.sleep(0.01)


# How many kills while images come, while the node waits and pairs, while it analyses, while it writes, while it delivers.
SEVEN, TWENTY = (2, 1, 2, 1, 1), (6, 2, 6, 2, 4)


def moments(chance: random.Random, files: int, kills: tuple[int, ...]) -> list[tuple[str, int, float]]:
    """Random moments from the first image to the last result: (what to wait for, how much of it, further seconds)."""
    coming, waiting, analysing, writing, delivering = kills
    receiving = sorted(chance.randrange(files) for _ in range(coming))
    found = [(RECEIVED, count, chance.uniform(0, 0.3)) for count in receiving]
    found += [(RECEIVED, files, chance.uniform(0, 4)) for _ in range(waiting)]
    found += [(STARTED, 1, chance.uniform(0, 6)) for _ in range(analysing)]
    found += [(WRITING, 1, chance.uniform(0, 2)) for _ in range(writing)]
    found += [(DELIVERED, 1 + chance.randrange(5), chance.uniform(0, 0.05)) for _ in range(delivering)]
    return found


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "kills", [SEVEN, pytest.param(TWENTY, marks=pytest.mark.thorough)], ids=["seven times", "twenty times"]
)
def test_a_node_that_is_killed_again_and_again_loses_nothing_and_doubles_nothing(
    kills: tuple[int, ...],
    patient: Path,
    tmp_path: Path,
    program: Program,
    uninterrupted: tuple[NodeProcess, Orthanc, dict[str, tuple[str, str]]],
) -> None:
    _, _, expected = uninterrupted
    seed = int(os.environ.get("DUET_KILL_SEED", random.SystemRandom().randrange(10**6)))
    chance = random.Random(seed)
    files = shuffled(patient, seed)
    with hospital(tmp_path, program) as (node, archive):
        sender = Sender(program, node.port, files)
        for query, least, more in moments(chance, len(set(files)), kills):
            node.start()
            wait_for(node, query, least, 60)
            time.sleep(more)
            node.kill(group=chance.random() < 0.7)
        node.start()
        until(lambda: sender.done, lambda: f"all sent (DUET_KILL_SEED={seed})\n{node.told()}")
        sender.end()
        until(lambda: node.ask(ARRIVED) == [(OBJECTS,)], lambda: f"all delivered (DUET_KILL_SEED={seed})\n{node.told()}", 180)
        assert "delivered" in node.status(), f"DUET_KILL_SEED={seed}"
        assert archive.holds() == expected, f"DUET_KILL_SEED={seed}"
        assert node.ask("SELECT count(*), max(version) FROM jobs") == [(1, 1)], f"DUET_KILL_SEED={seed}"
        assert node.ask(RECEIVED) == [(len(set(files)),)]
        assert len(list((node.folder / "data" / "inbox").rglob("*.dcm"))) == len(set(files))
        assert list((node.folder / "data" / "cases").glob(".*")) == []
        assert node.stop() == 0
        until(lambda: node.survivors() == [], "no process of an earlier start is left", 30)
