"""A copy of a journal is checked, complete, and there as a whole or not at all."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from old_journals import fill, old_journal, rows

from service.journal import open_journal
from service.journal_copy import CopyError, copy_journal, ending


def test_a_copy_is_one_file_with_everything_also_what_is_not_in_the_main_file_yet(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'journal.sqlite'}"
    journal = open_journal(url, tmp_path)
    journal.remember("rules", "in the write-ahead log")
    assert (tmp_path / "journal.sqlite-wal").stat().st_size > 0
    copy_journal(url, tmp_path / "copies" / "copy.sqlite")
    journal.close()
    assert [path.name for path in (tmp_path / "copies").iterdir()] == ["copy.sqlite"]
    with closing(sqlite3.connect(f"file:{tmp_path / 'copies' / 'copy.sqlite'}?immutable=1", uri=True)) as copy:
        assert copy.execute("SELECT value FROM facts WHERE name = 'rules'").fetchone() == ("in the write-ahead log",)


def test_a_name_with_signs_of_an_address_is_copied(tmp_path: Path) -> None:
    folder = tmp_path / "a?b#c %20"
    folder.mkdir()
    url = f"sqlite:///{folder / 'journal.sqlite'}"
    open_journal("", folder).close()
    copy_journal(url, tmp_path / "copy.sqlite")
    assert (tmp_path / "copy.sqlite").stat().st_size > 0


def test_a_journal_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(CopyError, match="unable to open"):
        copy_journal(f"sqlite:///{tmp_path / 'absent.sqlite'}", tmp_path / "copy.sqlite")
    assert list(tmp_path.iterdir()) == []


def test_a_journal_whose_index_does_not_fit_is_not_copied(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'journal.sqlite'}"
    old_journal(url, "0001")
    fill(url)
    assert rows(url)["jobs"]
    with closing(sqlite3.connect(tmp_path / "journal.sqlite")) as journal:
        journal.execute("PRAGMA writable_schema=ON")
        journal.execute("UPDATE sqlite_master SET sql = replace(sql, '(state)', '(reason)') WHERE name = 'jobs_by_state'")
        journal.commit()
    with pytest.raises(CopyError, match="it is damaged: "):
        copy_journal(url, tmp_path / "copy.sqlite")
    assert not (tmp_path / "copy.sqlite").exists()


def test_the_ending_says_what_a_copy_is() -> None:
    assert (ending("sqlite:///a"), ending("postgresql+psycopg://a/b")) == (".sqlite", ".pgdump")
