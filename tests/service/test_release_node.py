"""A real node: a case on hold stays, and is sent with the statement after its release, also when the node is killed then."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cases import HOLD, Made, enter, made_case, put_on_hold
from nodes import NodeProcess, free_port, until
from pydicom import Dataset, dcmread

from service.handover import hand_over
from service.journal import Journal, open_journal
from service.releases import active_releases

pytestmark = [pytest.mark.peer("storescp"), pytest.mark.peer("echoscu")]
OBJECTS = 6
WHY = "Später bestätigt: 確認済み"


@contextmanager
def archive(folder: Path, program: Callable[[str], str], port: int) -> Iterator[None]:
    """dcmtk's storescp, which keeps each object that it is sent under its UID."""
    folder.mkdir()
    command = [program("storescp"), "--output-directory", str(folder), str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.kill()


def received(folder: Path) -> dict[str, Dataset]:
    """SOP instance UID > object."""
    objects = [dcmread(path, stop_before_pixels=True) for path in folder.iterdir()]
    return {str(ds.SOPInstanceUID): ds for ds in objects}


def arrived(node: NodeProcess) -> int:
    """How many objects the archive has acknowledged."""
    rows = node.ask("SELECT count(*) FROM deliveries WHERE state = 'delivered'")
    return int(rows[0][0]) if rows else 0


def reports(objects: dict[str, Dataset]) -> list[str]:
    """All words of each report."""
    found = [ds for ds in objects.values() if ds.Modality == "SR"]
    return [" ".join(str(element.value) for element in ds.iterall() if element.keyword == "TextValue") for ds in found]


def begin_release(node: NodeProcess, number: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "service.cli", "release", str(number), "--why", WHY, "--config", str(node.config)]
    return subprocess.Popen(command)


def expected(journal: Journal, data: Path, case: Made, number: int) -> set[str]:
    """The UIDs of the case as it is released, from a copy that was not interrupted."""
    (data / "copy").mkdir()
    copy = data / "copy" / "case"
    case.folder.rename(copy)
    result = hand_over(copy, active_releases(journal)[number])
    assert result is not None
    return {str(dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in result.objects}


@pytest.mark.timeout(300)
def test_what_is_on_hold_stays_until_it_is_released_and_a_kill_changes_nothing(
    case: Made, tmp_path: Path, program: Callable[[str], str]
) -> None:
    port, sent = free_port(), tmp_path / "archive"
    node = NodeProcess(tmp_path / "node", program, port, deliver_held=False)
    data = tmp_path / "node" / "data"
    data.mkdir()
    journal = open_journal("", data)
    other = made_case(tmp_path / "other", settings="other")
    held, killed = put_on_hold(journal, data, case, ".1"), put_on_hold(journal, data, other, ".2")
    fine = enter(journal, data, made_case(tmp_path / "fine", held=False, settings="fine"), ".3")
    with archive(sent, program, port):
        try:
            node.start()
            until(lambda: arrived(node) == OBJECTS, lambda: f"the case that is fine arrives\n{node.told()}")
            assert f"delivered  case {fine}" in node.status()
            assert f"on hold    case {held}" in node.status()
            assert not any(HOLD in report for report in reports(received(sent)))
            told = node.duet("release", str(held), "--why", WHY, "--by", "Jörg")
            assert "the node now sends its results" in told.stdout
            changes = [
                line for line in (data / "logs" / "audit.jsonl").read_text().splitlines() if '"EventActionCode": "U"' in line
            ]
            assert len(changes) == 1
            assert '"UserID": "Jörg"' in changes[0]
            until(lambda: arrived(node) == 2 * OBJECTS, "the released case arrives")
            named = [report for report in reports(received(sent)) if HOLD in report]
            assert len(named) == 3
            assert all(WHY in report and "Jörg" in report for report in named)
            assert "Released by Jörg" in node.status()

            with begin_release(node, killed):
                until(lambda: any((data / "cases").glob(".*")) or arrived(node) > 2 * OBJECTS, "the release begins")
                node.kill()
            node.start()
            until(lambda: arrived(node) == 3 * OBJECTS, lambda: f"the case arrives after the kill\n{node.told()}")
            until(lambda: f"delivered  case {killed}" in node.status(), "all is delivered")
        finally:
            node.clean_up()
    assert len(received(sent)) == 3 * OBJECTS
    assert expected(journal, tmp_path, other, killed) <= set(received(sent))
    assert sorted(path.name for path in (data / "cases").iterdir()) == sorted(f"{case.pair.uid}.{n}" for n in (1, 2, 3))
