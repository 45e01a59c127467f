"""`duet backup` of a node that stands still, works, or is killed: consistent, checked, and whole or not there."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import tarfile
import threading
from contextlib import closing
from pathlib import Path
from shutil import disk_usage
from typing import Any

import pytest
from disks import small_disk
from old_journals import rows

from analysis.errors import BadSettings
from service import arrivals, casebook
from service.backup import Wish, back_up, summary, verify
from service.config import Settings, load
from service.handover import exchange

KEPT = "journal.sqlite"


def silent(_message: str, _fraction: float) -> None:
    """Nobody watches."""


def settings_of(folder: Any) -> Settings:
    return Settings(tables={"node": {"data": str(folder.data)}})


def a_case(folder: Any, name: str, content: str) -> Path:
    case: Path = folder.data / "cases" / name
    (case / "nifti").mkdir(parents=True)
    (case / "sr.dcm").write_text(content)
    (case / "nifti" / "pet.nii").write_text(content)
    return case


def members(backup: Path) -> dict[str, bytes]:
    with tarfile.open(backup) as tar:
        return {entry.name: tar.extractfile(entry).read() for entry in tar}  # type: ignore[union-attr]


def test_a_backup_holds_journal_cases_and_reports_and_a_manifest_of_their_digests(
    folder: Any, scan: Any, tmp_path: Path
) -> None:
    paths = folder.receive(scan().datasets())
    a_case(folder, "2.25.1", "one")
    a_case(folder, ".2.25.2.draft", "half")
    (folder.data / "cohort" / "v1").mkdir(parents=True)
    (folder.data / "cohort" / "v1" / "report.html").write_text("report")
    backup, manifest = back_up(settings_of(folder), Wish(target=tmp_path / "b.tar"), silent)
    found = members(backup)
    assert set(found) == {
        KEPT, "cases/2.25.1/sr.dcm", "cases/2.25.1/nifti/pet.nii", "cohort/v1/report.html", "manifest.json",
    }  # fmt: skip
    (tmp_path / "copy.sqlite").write_bytes(found[KEPT])
    assert rows(f"sqlite:///{tmp_path / 'copy.sqlite'}") == rows(f"sqlite:///{folder.data / KEPT}")
    for name, (size, digest) in json.loads(found["manifest.json"])["members"].items():
        said = subprocess.run(["sha256sum", "-"], input=found[name], capture_output=True, check=True).stdout.decode()
        assert (len(found[name]), said.split()[0]) == (size, digest)
    assert (manifest.count("cases"), manifest.count("cohort"), manifest.count("inbox")) == (1, 1, 0)
    assert "1 cases, 1 cohort reports, no received images" in summary(backup, manifest)
    whole, manifest = back_up(settings_of(folder), Wish(target=tmp_path, images=True), silent)
    assert set(paths) < set(members(whole))
    assert manifest.count("inbox") == len(paths) == 10
    assert verify(whole, silent) == manifest
    assert oct(whole.stat().st_mode & 0o777) == "0o600"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["b.tar", "copy.sqlite", "data", whole.name])


def test_the_settings_go_along_without_the_password_of_the_database(folder: Any, tmp_path: Path) -> None:
    config = tmp_path / "duet.toml"
    config.write_text(
        "# postgresql+psycopg://user:secret@db/duet\n"
        f'[node]\ndata = "{folder.data}"\njournal = "sqlite:///{folder.data / KEPT}"\n'
    )
    backup, _ = back_up(load(config), Wish(target=tmp_path / "b.tar"), silent)
    assert b"secret" not in backup.read_bytes()
    assert b"postgresql+psycopg://user:PASSWORD@db/duet" in members(backup)["duet.toml"]


def test_what_stands_in_the_way_is_told_and_left(folder: Any, tmp_path: Path) -> None:
    there = tmp_path / "there.tar"
    there.write_text("older")
    for target, told in ((there, "exists"), (tmp_path / "absent" / "b.tar", "no folder")):
        with pytest.raises(BadSettings, match=told):
            back_up(settings_of(folder), Wish(target=target), silent)
    assert there.read_text() == "older"
    with pytest.raises(BadSettings, match="No node has run"):
        back_up(Settings(tables={"node": {"data": str(tmp_path / "none")}}), Wish(target=tmp_path), silent)


def test_the_files_of_a_case_are_all_of_one_version_while_releases_exchange_it(folder: Any, tmp_path: Path) -> None:
    case = a_case(folder, "2.25.1", "0" * 50_000)
    over = threading.Event()

    def release_again_and_again() -> None:
        number = 0
        while not over.is_set():
            number += 1
            draft = folder.data / "cases" / f".draft{number}"
            (draft / "nifti").mkdir(parents=True)
            for name in ("sr.dcm", "nifti/pet.nii"):
                (draft / name).write_text(f"{number}" * 50_000)
            exchange(draft, case)

    thread = threading.Thread(target=release_again_and_again)
    thread.start()
    try:
        for number in range(15):
            backup, _ = back_up(settings_of(folder), Wish(target=tmp_path / f"{number}.tar"), silent)
            found = members(backup)
            assert found["cases/2.25.1/sr.dcm"] == found["cases/2.25.1/nifti/pet.nii"]
            assert {name for name in found if name.startswith("cases")} == {"cases/2.25.1/sr.dcm", "cases/2.25.1/nifti/pet.nii"}
    finally:
        over.set()
        thread.join()


def test_the_journal_of_a_working_node_is_whole(folder: Any, scan: Any, tmp_path: Path) -> None:
    """Each transaction of the writer adds an association and closes it: no copy may see one without the other."""
    over = threading.Event()

    def write() -> None:
        while not over.is_set():
            with folder.journal.writing() as connection:
                for name in ("A", "B"):
                    row = {"calling_ae": name, "address": "", "opened_at": 1.0, "ending": "open"}
                    connection.execute(arrivals.associations.insert().values(**row))

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for number in range(10):
            backup, _ = back_up(settings_of(folder), Wish(target=tmp_path / f"{number}.tar"), silent)
            (tmp_path / "copy.sqlite").write_bytes(members(backup)[KEPT])
            with closing(sqlite3.connect(tmp_path / "copy.sqlite")) as copy:
                of_each = "SELECT count(*) FROM associations GROUP BY calling_ae"
                assert len(set(copy.execute(of_each))) <= 1
                assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    finally:
        over.set()
        thread.join()
    assert casebook.jobs_of(folder.journal) == []


_KILLED = """
import os, signal, sys
from pathlib import Path
from shutil import disk_usage
from service import backup, backup_archive
from service.config import Settings
point = sys.argv[3]
def die(*_words, **_named):
    os.kill(os.getpid(), signal.SIGKILL)
if point == "cases":
    backup._add_folder = die
elif point == "sync":
    os.fsync = die
elif point == "rename":
    Path.rename = die
settings = Settings(tables={"node": {"data": sys.argv[1]}})
backup.back_up(settings, backup.Wish(target=Path(sys.argv[2])), lambda _m, _f: None)
"""


@pytest.mark.parametrize("point", ["cases", "sync", "rename"])
def test_a_backup_that_is_killed_leaves_nothing_under_its_name(folder: Any, tmp_path: Path, point: str) -> None:
    a_case(folder, "2.25.1", "one")
    target = tmp_path / "b.tar"
    words = [sys.executable, "-c", _KILLED, str(folder.data), str(target), point]
    assert subprocess.run(words, check=False, env=os.environ).returncode == -signal.SIGKILL
    assert not target.exists()
    back_up(settings_of(folder), Wish(target=target), silent)
    verify(target, silent)


def test_without_room_there_is_no_backup_and_no_rest_of_one(folder: Any, tmp_path: Path) -> None:
    a_case(folder, "2.25.1", "x" * 2_000_000)
    code = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))\n" + _KILLED
    words = [sys.executable, "-c", code, str(folder.data), str(tmp_path / "b.tar"), "never"]
    assert b"OSError" in subprocess.run(words, check=False, capture_output=True).stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


def test_a_disk_without_room_for_it_is_not_filled(folder: Any, tmp_path: Path) -> None:
    a_case(folder, "2.25.1", "x" * 2_000_000)
    with small_disk(tmp_path / "small", 2) as disk:
        with pytest.raises(BadSettings, match=r"small has 2 MB free, and the backup takes 4 MB without the journal"):
            back_up(settings_of(folder), Wish(target=disk / "b.tar"), silent)
        assert list(disk.iterdir()) == []


def test_a_disk_that_becomes_full_is_named_and_has_room_again(folder: Any, tmp_path: Path) -> None:
    a_case(folder, "2.25.1", "x" * 200_000)
    with small_disk(tmp_path / "small", 2) as disk:
        others = disk / "others"

        def full(message: str, _fraction: float) -> None:
            if message == "Journal":
                others.write_bytes(bytes(disk_usage(disk).free))

        with pytest.raises(OSError, match=r"No space left on device: .*b.tar"):
            back_up(settings_of(folder), Wish(target=disk / "b.tar"), full)
        assert list(disk.iterdir()) == [others]
