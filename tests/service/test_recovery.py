"""Files without a row: those of a killed node are entered, those that a power cut tore are not."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from door_peers import some_object

from analysis.values import Tracer
from service import arrivals, casebook, intake, recovery
from service.inbox import Inbox, Received
from service.intake import Rules
from service.journal import open_journal
from service.keeping import PREAMBLE, file_meta
from service.overview import overview
from service.readiness import IntakeSettings
from service.tables import InstanceState

RULES = Rules(intake=IntakeSettings(silence_s=30, patience_s=300))


def received(pixels: int = 60_000) -> Received:
    sent = some_object(pixels)
    return Received(
        sop_class_uid="1.2.840.10008.5.1.4.1.1.128",
        sop_instance_uid=sent.uid,
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        meta=meta(sent.uid),
        dataset=sent.content,
    )


def meta(uid: str) -> bytes:
    return PREAMBLE + file_meta("1.2.840.10008.5.1.4.1.1.128", uid, "1.2.840.10008.1.2.1", "PET")


def rows(folder: Any) -> list[tuple[str, str]]:
    with folder.journal.reading() as connection:
        return [tuple(row) for row in connection.exec_driver_sql("SELECT path, digest FROM instances")]


def test_a_file_of_a_killed_node_is_entered_once(folder: Any) -> None:
    one = received()
    path = folder.inbox.keep(one)
    assert [recovery.recover(folder.journal, folder.inbox, 1.0) for _ in range(2)] == [1, 0]
    assert rows(folder) == [(path, one.digest)]


def test_an_object_that_cannot_be_read_and_was_acknowledged_is_entered_all_the_same(folder: Any) -> None:
    path = folder.inbox.keep(replace(received(), dataset=b"no DICOM at all"))
    assert recovery.recover(folder.journal, folder.inbox, 1.0) == 1
    assert [found for found, _ in rows(folder)] == [path]


@pytest.mark.parametrize("left", [0, 100, 143, 200, 30_000])
def test_a_torn_file_is_no_object_until_it_is_sent_again(folder: Any, left: int) -> None:
    one = received()
    path = folder.inbox.keep(one)
    whole = (folder.data / path).read_bytes()
    (folder.data / path).write_bytes(whole[:left])
    assert recovery.recover(folder.journal, folder.inbox, 1.0) == 0
    assert rows(folder) == []
    assert folder.inbox.keep(one) == path
    assert (folder.data / path).read_bytes() == whole
    assert recovery.recover(folder.journal, folder.inbox, 1.0) == 1


@contextmanager
def mounted(image: Path, where: Path) -> Iterator[Path]:
    where.mkdir()
    if subprocess.run(["mount", "-o", "loop", image, where], capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield where
    finally:
        subprocess.run(["umount", where], check=True)


@pytest.mark.skipif(shutil.which("mkfs.ext4") is None, reason="no mkfs.ext4 here")
def test_what_was_kept_is_there_after_a_power_cut(tmp_path: Path) -> None:
    """The disk is copied as it is in that moment, without what waits in memory; ext4 then recovers the copy by itself."""
    image, cut = tmp_path / "image", tmp_path / "cut"
    with image.open("wb") as file:
        file.truncate(40_000_000)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    with mounted(image, tmp_path / "disk") as disk:
        inbox = Inbox(disk / "data")
        inbox.prepare()
        kept = {inbox.keep(one): one for one in (received(size) for size in (100, 60_000, 600_000))}
        (disk / "data/inbox/00/not-synced.dcm").write_bytes(bytes(60_000))
        shutil.copyfile(image, cut)
    with mounted(cut, tmp_path / "after") as after:
        assert recovery.recover(open_journal("", tmp_path), Inbox(after / "data"), 1.0) == 3
        for path, one in kept.items():
            assert (after / "data" / path).read_bytes() == one.meta + one.dataset
        assert not (after / "data/inbox/00/not-synced.dcm").exists()


def step(folder: Any) -> None:
    intake.step(folder.journal, folder.data, RULES, 1000.0)


def both(scan: Any) -> list[Any]:
    return [*scan(tracer=Tracer.FDG).datasets(), *scan(tracer=Tracer.PENTIXAFOR).datasets()]


@pytest.mark.parametrize("lot", [500, 3])
def test_files_without_a_row_are_found_at_the_start(
    folder: Any, scan: Any, tmp_path: Path, lot: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrivals, "LOT", lot)
    datasets = both(scan)
    kept = folder.receive(datasets)
    lost = type(folder)(tmp_path)  # another folder with an empty journal
    for path in kept:
        (lost.data / path).write_bytes((folder.data / path).read_bytes())
    (lost.inbox.root / "00" / "notes.txt").write_text("no DICOM")
    assert recovery.recover(lost.journal, lost.inbox, 100.0) == len(datasets) + 1
    assert recovery.recover(lost.journal, lost.inbox, 100.0) == 0
    lost.receive(datasets)  # the sender, who got no answer, sends again
    step(lost)
    step(folder)
    assert [job.pair_uid for job in casebook.jobs_of(lost.journal)] == [
        job.pair_uid for job in casebook.jobs_of(folder.journal)
    ]
    assert any(line.state == InstanceState.REJECTED for line in overview(lost.journal).unused)
