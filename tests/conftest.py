"""What all tests share: the inputs nobody of this project made, and the programs from outside Python ("peers").

A test that needs a peer says so: `@pytest.mark.peer("dciodvfy")`. Where the peer is absent the test is skipped and the
closing summary names it; with DUET_REQUIRE_PEERS=1 it fails. OHIF alone may be absent even then: it comes through npm, whose
registry is another than all the rest comes from.
"""

from __future__ import annotations

import os
import re
import shutil
import sysconfig
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duet_command
import psutil
import pytest
from postgres import Postgres, running

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = Path(sysconfig.get_path("scripts"))

# Name of the peer > where it comes from. The first group are Debian's packages (ohif is npm's, fetched into .peers/ by
# deploy/install-peers.sh), the second sits beside the interpreter.
SYSTEM_PEERS = {
    "dciodvfy": "dicom3tools",
    "dcentvfy": "dicom3tools",
    "storescu": "dcmtk",
    "storescp": "dcmtk",
    "echoscu": "dcmtk",
    "findscu": "dcmtk",
    "movescu": "dcmtk",
    "dcmqrscp": "dcmtk",
    "dcmdump": "dcmtk",
    "dcm2pdf": "dcmtk",
    "dcmj2pnm": "dcmtk",
    "dsrdump": "dcmtk",
    "Orthanc": "orthanc",
    "OrthancDicomWeb": "orthanc-dicomweb",
    "chromium": "chromium",
    "openssl": "openssl",
    "systemd-analyze": "systemd",
    "Rscript": "r-cran-survival",
    "ohif": "@ohif/app of npm",
    "postgres": "postgresql",
}
PYTHON_PEERS = {"segimage2itkimage": "dcmqi", "itkimage2segimage": "dcmqi", "tid1500reader": "dcmqi"}
GROUPS = {"dcmqi": tuple(PYTHON_PEERS)}

begun = pytest.StashKey[float]()
left_running = pytest.StashKey[list[str]]()
SCREENSHOTS = ROOT / "build" / "screenshots"
NO_INPUTS = "inputs absent: ../shared/data"
NO_PEER = re.compile(r"peer absent: ([^']+)")
# These last longest. Whoever runs the files beside each other begins with them, or all wait for one at the end.
LONGEST = (
    "test_cohort_journey.py",
    "test_journey.py",
    "test_reading_room.py",
    "test_journey_scale.py",
    "test_real_pair.py",
    "test_viewers.py",
    "test_fuzz.py",
    "test_dask_runner.py",
    "test_synthetic.py",
    "test_cli.py",
    "test_release_node.py",
    "test_retrieval_command.py",
    "test_cohort_command.py",
    "test_pipeline.py",
    "test_exchange.py",
    "test_registration.py",
    "test_rules.py",
    "test_phantom_network.py",
    "test_phantom.py",
    "test_trees.py",
    "test_cohort_keeper.py",
)


def find_program(name: str) -> Path | None:
    """Where a peer lies.

    pynetdicom puts a storescu of its own beside the interpreter; dcmtk's is meant, so that folder is left out.
    """
    if name == "OrthancDicomWeb":
        plugins = (Path("/usr/lib/orthanc"), Path("/usr/share/orthanc/plugins"))
        return next((found for folder in plugins for found in sorted(folder.glob("libOrthancDicomWeb.so*"))), None)
    if name == "ohif":
        return _ohif()
    if name == "postgres":  # Debian keeps it out of the way, a folder for each version
        return max(Path("/usr/lib/postgresql").glob("*/bin/postgres"), default=None)
    beside = name in PYTHON_PEERS or name == "duet"
    where = [str(SCRIPTS)] if beside else [*_outside_folders(), "/usr/sbin", "/usr/local/sbin"]
    found = shutil.which(name, path=os.pathsep.join(where))
    return Path(found) if found else None


def _ohif() -> Path | None:
    """The folder of the built viewer; DUET_OHIF names that of another version."""
    given = os.environ.get("DUET_OHIF", "")
    folders = [Path(given)] if given else sorted((ROOT / ".peers" / "ohif").glob("*"))
    return next((folder for folder in folders if (folder / "index.html").is_file()), None)


def _outside_folders() -> list[str]:
    folders = os.environ.get("PATH", "").split(os.pathsep)
    return [folder for folder in folders if folder and Path(folder).resolve() != SCRIPTS.resolve()]


def absent(name: str) -> list[str]:
    """The programs of a peer, or of a group like "dcmqi", that are not on this machine."""
    return [program for program in GROUPS.get(name, (name,)) if find_program(program) is None]


def pytest_configure(config: pytest.Config) -> None:
    """Peers called by bare name are the peers; without TCP_NODELAY dcmtk and Orthanc take 40 ms more for each instance."""
    config.stash[begun] = time.time()
    os.environ["PATH"] = os.pathsep.join([*_outside_folders(), "/usr/sbin", str(SCRIPTS)])
    os.environ.setdefault("TCP_NODELAY", "1")
    os.environ["DUET_TEST_RUN"] = uuid.uuid4().hex  # inherited by all that its tests start, however far removed
    config.stash[left_running] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first; the order within a file stays."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """No server outlives the tests: what still runs is ended, by its own number, and named in the summary."""
    shares = getattr(session.config, "workeroutput", None)
    if shares is None and session.config.getoption("numprocesses", None):
        return  # each worker has cleared up after itself
    for process in psutil.process_iter():
        try:
            ours = process.environ().get("DUET_TEST_RUN") == os.environ["DUET_TEST_RUN"] and process.pid != os.getpid()
            command = " ".join(process.cmdline())
            if ours and "multiprocessing.resource_tracker" not in command:
                session.config.stash[left_running].append(f"{process.pid}: {command[:120]}")
                process.kill()
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    if shares is not None:
        shares["left_running"] = session.config.stash[left_running]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """What a worker of pytest-xdist found still running is told by the summary of them all."""
    node.config.stash[left_running].extend(getattr(node, "workeroutput", {}).get("left_running", ()))


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("peer"):
        for name in mark.args:
            if name not in SYSTEM_PEERS | PYTHON_PEERS | GROUPS:
                pytest.fail(f"unknown peer {name!r}: tests/conftest.py lists the known ones", pytrace=False)
            if absent(name):
                _without(name)


def _without(name: str) -> None:
    label = f"{name} (package {(SYSTEM_PEERS | PYTHON_PEERS).get(name, name)})"
    if os.environ.get("DUET_REQUIRE_PEERS", "") == "1" and name != "ohif":
        pytest.fail(f"peer absent: {label}, and DUET_REQUIRE_PEERS=1", pytrace=False)
    pytest.skip(f"peer absent: {label}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    skipped = [str(report.longrepr) for report in terminalreporter.stats.get("skipped", [])]
    without_inputs = sum(NO_INPUTS in why for why in skipped)
    without_peers = Counter(found[1] for why in skipped if (found := NO_PEER.search(why)))
    if without_peers or without_inputs:
        terminalreporter.section("not on this machine")
    for label, count in sorted(without_peers.items()):
        terminalreporter.line(f"peer {label}: {count} test(s) not run")
    if without_inputs:
        terminalreporter.line(f"{NO_INPUTS}: {without_inputs} test(s) not run")
    if SCREENSHOTS.is_dir() and SCREENSHOTS.stat().st_mtime >= config.stash[begun]:
        terminalreporter.line(f"screenshots of the reading room: {SCREENSHOTS}")
    for label in config.stash[left_running]:
        terminalreporter.line(f"left running by a test, ended now: {label}")


@pytest.fixture(scope="session", autouse=True)
def _forked_commands() -> Iterator[None]:
    """What commands are forked from is ended with the tests."""
    yield
    duet_command.end()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real inputs beside the project; the test is skipped where it is absent."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(NO_INPUTS)
    return folder


@pytest.fixture(scope="session")
def screenshots() -> Path:
    """Where pictures of what a viewer shows are kept; the closing summary names the folder."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    os.utime(SCREENSHOTS)
    return SCREENSHOTS


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server that all tests of this process share; each takes a database of its own."""
    found = find_program("postgres")
    if found is None:
        pytest.skip("program absent: postgres")
    with running(found) as server:
        yield server


@pytest.fixture(scope="session")
def program() -> Callable[[str], str]:
    """The full path of a peer, or of `duet`: dcmtk's storescu and not the one that pynetdicom installs."""

    def locate(name: str) -> str:
        found = find_program(name)
        if found is None:
            pytest.skip(f"program absent: {name}")
        return str(found)

    return locate
