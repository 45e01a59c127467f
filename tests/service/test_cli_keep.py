"""A node over the years: an old journal upgraded, a backup while it works, and a new node where that one stopped."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from duet_command import duet
from nodes import NodeProcess, Orthanc, until
from old_journals import old_journal
from pydicom import dcmwrite

from service.journal import HEAD

DELIVERED = "SELECT count(*) FROM deliveries WHERE state IN ('delivered', 'committed', 'stored')"
FILED = "SELECT count(*) FROM instances WHERE state = 'filed'"


def first_journal(data: Path, scan: Any) -> None:
    """As the first release left it when it was killed: a case is to be delivered, and an object was received and not filed."""
    (data / "inbox" / "00").mkdir(parents=True)
    old_journal(f"sqlite:///{data / 'journal.sqlite'}", "0001")
    result, received = scan(slices=2, modalities=("CT",)).datasets()
    for ds, path in ((result, data / "cases" / "2.25.1" / "sr.dcm"), (received, data / "inbox" / "00" / "a.dcm")):
        path.parent.mkdir(parents=True, exist_ok=True)
        dcmwrite(path, ds, enforce_file_format=True)
    with closing(sqlite3.connect(data / "journal.sqlite")) as journal:
        journal.execute(
            "INSERT INTO jobs VALUES (1, '2.25.1', 'P1', '', '1.2', '1.3', 1, '{}', 'done', '', '', '', 0, 0.0, 0.0, 1.0)"
        )
        journal.execute(
            "INSERT INTO deliveries VALUES (1, 1, 0, 'pacs', ?, 'cases/2.25.1/sr.dcm', 'pending', 0, 0.0, '', NULL)",
            (str(result.SOPInstanceUID),),
        )
        journal.execute(
            "INSERT INTO instances VALUES (1, ?, ?, 'd', 'inbox/00/a.dcm', 1.0, NULL, 'new', '', NULL, NULL, NULL)",
            (str(received.SOPInstanceUID), str(received.SOPClassUID)),
        )
        journal.commit()


@pytest.mark.peer("Orthanc")
@pytest.mark.timeout(120)
def test_a_node_of_the_first_release_goes_on_and_so_does_one_that_is_restored_from_its_backup(
    tmp_path: Path, scan: Any, program: Callable[[str], str]
) -> None:
    with Orthanc(tmp_path / "orthanc", program).running() as archive:
        node = NodeProcess(tmp_path / "node", program, archive.port)
        data = tmp_path / "node" / "data"
        first_journal(data, scan)
        said = node.duet("status")
        assert said.returncode == 2
        assert "start the node once with duet serve" in said.stderr
        again = NodeProcess(tmp_path / "again", program, archive.port)
        try:
            node.start()
            until(lambda: node.ask(DELIVERED) == [(1,)], f"delivered\n{node.log()[-3000:]}", 60)
            until(lambda: node.ask(FILED) == [(1,)], f"filed\n{node.log()[-3000:]}", 60)
            assert node.ask("SELECT version_num FROM alembic_version") == [(HEAD,)]
            assert [path.name[:13] for path in (data / "backups").iterdir()] == ["journal-0001-"]
            assert len(archive.holds()) == 1
            made = node.duet("backup", str(tmp_path / "b.tar"), "--images")
            assert made.returncode == 0, made.stderr
            assert "1 cases, 0 cohort reports, 1 received images" in made.stdout
            node.kill()
            restored = duet("restore", str(tmp_path / "b.tar"), "--to", str(tmp_path / "again" / "data"))
            assert restored.returncode == 0, restored.stderr
            assert "What came after the backup was made is not known here" in restored.stdout
            for folder, event in ((data, "110106"), (tmp_path / "again" / "data", "110107")):  # Export, Import
                assert f'"csd-code": "{event}"' in (folder / "logs" / "audit.jsonl").read_text()
            again.start()
            until(lambda: "receives on" in again.log(), f"the door opens\n{again.log()[-3000:]}", 60)
            assert "Restored " in again.status()
            until(lambda: again.ask(DELIVERED) == [(1,)], "still delivered")
            assert "Nothing would be deleted by [retention] now." in again.duet("retention").stdout
        finally:
            node.clean_up()
            again.clean_up()


def test_a_command_without_a_wish_says_what_is_missing(tmp_path: Path) -> None:
    said = duet("backup", str(tmp_path), "--verify", __file__)
    told = "duet: Say where the backup goes, or which one is checked: --verify FILE.\n"
    assert (said.returncode, said.stderr) == (2, told)
