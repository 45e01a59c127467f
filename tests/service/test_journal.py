"""The journal: made by migrations alone, safe to open again, safe to write from many threads."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from associations import close_association, open_association
from old_journals import old_journal
from sqlalchemy.exc import OperationalError

from analysis.errors import BadSettings
from service import arrivals, casebook, commitments, outcomes, postings, releases
from service.batches import batch_of
from service.journal import HEAD, MIGRATIONS, journal_url, open_journal, telling_errors
from service.journal_upgrade import BackupSettings, upgraded_journal
from service.overview import overview
from service.tables import Ending, JobState, metadata


def test_the_migrations_make_exactly_the_tables(tmp_path: Path) -> None:
    journal = open_journal("", tmp_path)
    with journal.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_a_journal_of_the_first_revision_is_upgraded_and_a_case_that_it_holds_can_be_released(tmp_path: Path) -> None:
    _first_journal(tmp_path / "journal.sqlite")
    journal = upgraded_journal("", tmp_path, BackupSettings())
    with journal.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    (job,) = casebook.jobs_of(journal)
    assert (job.pair_uid, job.state, job.sentence) == ("2.25.7", JobState.HELD, "Not delivered: exchanged.")
    assert outcomes.outcomes_of(journal) == {}
    assert batch_of(journal, job) == ()
    releases.release(journal, "5", by="A. Operator", why="Looked at.", now=1.0)
    assert [due.pair_uid for due in releases.due(journal, 2.0)] == ["2.25.7"]
    (case,) = overview(journal).cases
    assert case.state == "releasing"


def test_what_was_delivered_before_commitments_counts_as_stored_then_and_is_not_sent_again(tmp_path: Path) -> None:
    old_journal(f"sqlite:///{tmp_path / 'journal.sqlite'}", "0003")
    with sqlite3.connect(tmp_path / "journal.sqlite") as old:
        old.execute(_FIRST_JOB)
        for number, (state, at) in enumerate((("delivered", 7.0), ("pending", None))):
            old.execute(
                "INSERT INTO deliveries (job_id, position, destination, sop_instance_uid, path, state, failures, next_try_at,"
                " sentence, delivered_at) VALUES (5, ?, 'pacs', ?, 'a.dcm', ?, 0, 0.0, '', ?)",
                (number, f"1.2.{number}", state, at),
            )
    journal = upgraded_journal("", tmp_path, BackupSettings())
    (count,) = postings.counts(journal)
    assert (count.delivered, count.stored, count.committed, count.total) == (1, 1, 0, 2)
    (row,) = postings.due(journal, "pacs", 1.0)
    assert (row.sop_instance_uid, row.asks, row.refusals, row.sent_as) == ("1.2.1", 0, 0, None)
    assert commitments.to_ask(journal, "pacs", 1e12) == []


def _first_journal(path: Path) -> None:
    """As r0001 alone makes it, with a case that a quality check holds."""
    old_journal(f"sqlite:///{path}", "0001")
    with sqlite3.connect(path) as old:
        old.execute(_FIRST_JOB)


_FIRST_JOB = """
INSERT INTO jobs (id, pair_uid, patient_id, issuer, fdg_study, pentixafor_study, version, inputs, state, reason, sentence,
  progress, failures, next_try_at, created_at)
VALUES (5, '2.25.7', 'P1', '', '1.2', '1.3', 1, '{}', 'held', 'Quality', 'Not delivered: exchanged.', '', 0, 0.0, 0.0)
"""


def test_a_damaged_journal_is_told_in_one_sentence_with_a_way_out(tmp_path: Path) -> None:
    open_journal("", tmp_path).close()
    path = tmp_path / "journal.sqlite"
    path.write_bytes(b"no database at all" * 500)
    with pytest.raises(BadSettings, match=r"journal\.sqlite cannot be used \(file is not a database\); stop the node and"):
        open_journal("", tmp_path)


def test_a_database_that_cannot_be_reached_is_told_without_its_password() -> None:
    with (
        pytest.raises(BadSettings, match=r"^The journal 127\.0\.0\.1:9/x cannot be used") as told,
        telling_errors("postgresql+psycopg://user:secret@127.0.0.1:9/x"),
    ):
        raise OperationalError("", {}, ConnectionError("connection refused"))
    assert "secret" not in str(told.value)


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
            open_association(journal, f"AE{name}", "127.0.0.1", 1.0)

    threads = [threading.Thread(target=write, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with sqlite3.connect(tmp_path / "journal.sqlite") as check:
        assert check.execute("SELECT count(*) FROM associations").fetchone() == (80,)


def test_only_the_first_ending_of_an_association_counts(tmp_path: Path) -> None:
    journal = open_journal("", tmp_path)
    number = open_association(journal, "AE", "127.0.0.1", 1.0)
    close_association(journal, number, Ending.RELEASED, 2.0)
    close_association(journal, number, Ending.BROKEN, 3.0)
    arrivals.break_open_associations(journal, 4.0)
    with sqlite3.connect(tmp_path / "journal.sqlite") as check:
        assert check.execute("SELECT ending, closed_at FROM associations").fetchall() == [("released", 2.0)]


def test_an_address_that_is_no_database_is_refused() -> None:
    with pytest.raises(BadSettings, match="postgresql"):
        journal_url("mysql://host/db", Path())


def test_a_glance_finds_what_sqlalchemy_finds_and_says_what_is_wrong(tmp_path: Path) -> None:
    journal = open_journal("", tmp_path)
    arrived = arrivals.Arrival(sop_class_uid="1", sop_instance_uid="1.2", digest="d", path="inbox/a.dcm", received_at=1.0)
    assert arrivals.known_path(journal, "1.2", "d") is None
    arrivals.record(journal, arrived)
    with journal.reading() as connection:
        (path,) = connection.exec_driver_sql("SELECT path FROM instances").scalars()
    assert arrivals.known_path(journal, "1.2", "d") == path == "inbox/a.dcm"
    assert arrivals.known_path(journal, "1.2", "e") is None
    with sqlite3.connect(tmp_path / "journal.sqlite") as other:
        other.execute("DROP TABLE instances")
    with pytest.raises(OperationalError, match="no such table"):
        arrivals.known_path(journal, "1.2", "d")
