"""The journal: made by migrations alone, safe to open again, safe to write from many threads."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from analysis.errors import BadSettings
from service import arrivals
from service.journal import HEAD, MIGRATIONS, journal_url, open_journal
from service.tables import Ending, metadata


def test_the_migrations_make_exactly_the_tables(tmp_path: Path) -> None:
    journal = open_journal("", tmp_path)
    with journal.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_the_newest_revision_is_the_one_that_the_code_expects() -> None:
    script = ScriptDirectory(str(MIGRATIONS), version_locations=[str(MIGRATIONS)])
    assert script.get_current_head() == HEAD


def test_a_journal_that_is_opened_again_keeps_what_it_holds(tmp_path: Path) -> None:
    first = open_journal("", tmp_path)
    first.remember("rules", "old")
    first.close()
    again = open_journal("", tmp_path)
    assert again.fact("rules") == "old"
    assert again.fact("nothing") is None


def test_a_commit_is_on_disk_before_it_returns(tmp_path: Path) -> None:
    journal = open_journal("", tmp_path)
    with journal.writing() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL: https://sqlite.org/pragma.html
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def test_many_threads_write_without_losing_a_row(tmp_path: Path) -> None:
    journal = open_journal("", tmp_path)

    def write(name: int) -> None:
        for _ in range(10):
            arrivals.open_association(journal, f"AE{name}", "127.0.0.1", 1.0)

    threads = [threading.Thread(target=write, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with sqlite3.connect(tmp_path / "journal.sqlite") as check:
        assert check.execute("SELECT count(*) FROM associations").fetchone() == (80,)


def test_only_the_first_ending_of_an_association_counts(tmp_path: Path) -> None:
    journal = open_journal("", tmp_path)
    number = arrivals.open_association(journal, "AE", "127.0.0.1", 1.0)
    arrivals.close_association(journal, number, Ending.RELEASED, 2.0)
    arrivals.close_association(journal, number, Ending.BROKEN, 3.0)
    arrivals.break_open_associations(journal, 4.0)
    with sqlite3.connect(tmp_path / "journal.sqlite") as check:
        assert check.execute("SELECT ending, closed_at FROM associations").fetchall() == [("released", 2.0)]


def test_an_address_that_is_no_database_is_refused() -> None:
    with pytest.raises(BadSettings, match="postgresql"):
        journal_url("mysql://host/db", Path())
