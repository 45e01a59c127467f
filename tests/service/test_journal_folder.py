"""One journal and two data folders: the second node is refused, a moved or restored folder is not; on both databases."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from nodes import NodeProcess, free_port
from postgres import Postgres

from analysis.errors import BadSettings
from service.backup import Wish, back_up
from service.backup_restore import Request, restore
from service.checks import run_checks
from service.config import Settings
from service.journal import Journal
from service.journal_copy import copy_journal
from service.journal_folder import FACT, FILE, require_own
from service.journal_upgrade import BackupSettings, upgraded_journal

REFUSED = "serves another data folder than .*, and never two"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.peer("postgres"))])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A journal that lies outside of the data folders."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'journal.sqlite'}"
        return
    postgres: Postgres = request.getfixturevalue("postgres")
    with postgres.database() as address:
        yield address


def started(url: str, data: Path) -> None:
    """As a node does when it starts."""
    data.mkdir(exist_ok=True)
    upgraded_journal(url, data, BackupSettings()).close()


def word(url: str) -> str | None:
    with closing(Journal(url)) as journal:
        return journal.fact(FACT)


@pytest.mark.peer("echoscu")
def test_a_second_node_on_the_journal_of_a_running_one_is_refused(
    url: str, tmp_path: Path, program: Callable[[str], str]
) -> None:
    nodes = [NodeProcess(tmp_path / name, program, free_port()) for name in ("one", "two")]
    try:
        for node in nodes:
            settings = node.config.read_text().replace("[node]", f'[node]\njournal = "{url}"')
            node.config.write_text(settings)
            node.start()
            if node is nodes[0]:
                node.wait_for_door()
        assert nodes[1].ended() == 2
        (told,) = nodes[1].log().splitlines()
        assert "serves another data folder than" in told
        lines = [next(line for line in run_checks(node.config) if line[0] == "journal") for node in nodes]
        assert [fault for _, fault, _ in lines] == [False, True]
        assert lines[1][2] == told.removeprefix("duet: ")
    finally:
        for node in nodes:
            node.clean_up()


@pytest.mark.peer("echoscu")
@pytest.mark.parametrize("url", [pytest.param("postgresql", marks=pytest.mark.peer("postgres"))], indirect=True)
def test_a_node_ends_when_one_on_a_copy_of_its_folder_has_its_journal(
    url: str, tmp_path: Path, program: Callable[[str], str]
) -> None:
    node = NodeProcess(tmp_path / "old", program, free_port())
    node.config.write_text(node.config.read_text().replace("[node]", f'[node]\njournal = "{url}"'))
    try:
        node.start()
        node.wait_for_door()
        shutil.copytree(tmp_path / "old" / "data", tmp_path / "new")
        started(url, tmp_path / "new")
        assert node.ended() == 1
        assert "serves another data folder than" in node.log()
    finally:
        node.clean_up()


def test_a_folder_that_moved_goes_on_and_the_one_that_was_left_behind_does_not(url: str, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    started(url, old)
    shutil.copytree(old, new)
    started(url, new)
    started(url, new)
    with pytest.raises(BadSettings, match=REFUSED):
        started(url, old)
    new.rename(tmp_path / "renamed")
    started(url, tmp_path / "renamed")


def test_a_refused_start_changes_nothing_and_says_how_the_folder_may_take_the_place(url: str, tmp_path: Path) -> None:
    started(url, tmp_path / "one")
    before = word(url)
    with pytest.raises(BadSettings, match=REFUSED) as refused:
        started(url, tmp_path / "two")
    assert word(url) == before
    assert list((tmp_path / "two").iterdir()) == []
    line, file = str(refused.value).partition("add the line ")[2].rstrip(".").split(" to ")
    with Path(file).open("a") as words:  # as an operator would, whose first folder is lost
        words.write(f"{line}\n")
    started(url, tmp_path / "two")
    with pytest.raises(BadSettings, match=REFUSED):
        started(url, tmp_path / "one")


def test_an_older_copy_of_the_journal_may_be_put_back(tmp_path: Path) -> None:
    url, data = f"sqlite:///{tmp_path / 'journal.sqlite'}", tmp_path / "data"
    started(url, data)
    copy_journal(url, tmp_path / "copy.sqlite")
    for _ in range(3):
        started(url, data)
    (tmp_path / "copy.sqlite").replace(tmp_path / "journal.sqlite")
    started(url, data)


def test_a_restored_journal_is_that_of_the_restored_folder_alone(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    started("", old)
    backup, _ = back_up(
        Settings(tables={"node": {"data": str(old)}}), Wish(target=tmp_path / "b.tar"), lambda _words, _share: None
    )
    restore(Request(backup=backup, data=new), lambda _words, _share: None)
    started("", new)
    started("", old)
    with pytest.raises(BadSettings, match=REFUSED):
        started(f"sqlite:///{old / 'journal.sqlite'}", new)


def test_of_an_old_journal_that_is_another_nodes_no_copy_is_made(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'journal.sqlite'}"
    started(url, tmp_path / "one")
    with closing(sqlite3.connect(tmp_path / "journal.sqlite")) as journal:
        journal.execute("UPDATE alembic_version SET version_num = '0006'")
        journal.commit()
    with pytest.raises(BadSettings, match=REFUSED):
        started(url, tmp_path / "two")
    assert list((tmp_path / "two").iterdir()) == []


def test_a_full_disk_does_not_keep_a_node_from_its_own_journal(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started(url, tmp_path / "one")
    before = word(url)
    monkeypatch.setattr("service.journal_folder.write_durably", _full)
    started(url, tmp_path / "one")
    assert word(url) == before


def _full(*_words: object) -> None:
    raise OSError(28, "No space left on device")


def test_many_starts_do_not_make_the_file_grow_without_end(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.journal_folder.KEPT", 3)
    for _ in range(5):
        started(url, tmp_path / "one")
    assert len((tmp_path / "one" / FILE).read_text().split()) == 3
    with closing(Journal(url)) as journal:
        require_own(journal, url, tmp_path / "one")


_START = """
import sys
from pathlib import Path
from analysis.errors import BadSettings
from service.journal_upgrade import BackupSettings, upgraded_journal
try:
    upgraded_journal(sys.argv[1], Path(sys.argv[2]), BackupSettings())
except BadSettings:
    sys.exit(2)
"""


def test_of_two_that_start_at_once_on_an_empty_database_one_gets_it(url: str, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    started = [subprocess.Popen([sys.executable, "-c", _START, url, str(folder)]) for folder in folders]
    assert sorted(each.wait(timeout=60) for each in started) == [0, 2]
