"""Every released revision of the journal, with rows in every state, becomes the newest one; a copy is kept before."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from old_journals import fill, old_journal, revisions, rows
from postgres import Postgres
from sqlalchemy import create_engine, inspect

from analysis.errors import BadSettings
from service import arrivals, casebook, journal, journal_upgrade, outcomes, postings, releases
from service.journal import HEAD, MADE_BY, MIGRATIONS, Journal, open_journal
from service.journal_folder import FACT
from service.journal_upgrade import BackupSettings, upgraded_journal
from service.tables import JobState, metadata

WITH, WITHOUT = BackupSettings(), BackupSettings(before_upgrade=False)

# What a row has in a column that its revision did not know, as r0002, r0004 and r0005 say. Others are empty.
NEW: dict[tuple[str, str], Callable[[dict[str, Any]], Any]] = {
    ("jobs", "ranks_at"): lambda old: old["created_at"],
    ("deliveries", "stored_at"): lambda old: old["delivered_at"],
    ("deliveries", "asks"): lambda _old: 0,
    ("deliveries", "refusals"): lambda _old: 0,
    ("studies", "checked_instances"): lambda _old: 0,
    ("studies", "evidence"): lambda _old: "",
}


@pytest.fixture
def server(postgres: Postgres) -> Iterator[Callable[[], str]]:
    """Makes empty databases of a PostgreSQL server."""
    with postgres.databases() as make:
        yield make


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.peer("postgres"))])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """Makes empty databases of both kinds."""
    if request.param == "postgresql":
        made: Callable[[], str] = request.getfixturevalue("server")
        return made
    numbers = iter(range(9))
    return lambda: f"sqlite:///{tmp_path / f'{next(numbers)}.sqlite'}"


@pytest.mark.parametrize("revision", revisions())
def test_every_row_of_every_revision_is_kept(database: Callable[[], str], tmp_path: Path, revision: str) -> None:
    url = database()
    old_journal(url, revision)
    fill(url)
    before = rows(url)
    upgraded_journal(url, tmp_path, WITHOUT).close()
    after = rows(url)
    for table, old in before.items():
        new = [row for row in after[table] if row.get("name") not in (MADE_BY, FACT)]
        assert [{**row, **old_row} for row, old_row in zip(new, old, strict=True)] == new, table
        for row, old_row in zip(new, old, strict=True):
            given = {name: NEW.get((table, name), lambda _old: None)(old_row) for name in set(row) - set(old_row)}
            assert {name: row[name] for name in given} == given, table
    assert all(after[table] == [] for table in set(after) - set(before))


@pytest.mark.parametrize("revision", revisions())
def test_an_upgraded_journal_has_exactly_the_tables_of_a_new_one(
    database: Callable[[], str], tmp_path: Path, revision: str
) -> None:
    url, fresh = database(), database()
    old_journal(url, revision)
    fill(url)
    upgraded = upgraded_journal(url, tmp_path, WITHOUT)
    with upgraded.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    upgraded.close()
    metadata.create_all(create_engine(fresh))
    assert _shape(url) == _shape(fresh)


def _shape(url: str) -> dict[str, Any]:
    """Column by column with type, default and whether it may be empty; indexes, keys and constraints."""
    found = inspect(create_engine(url))
    return {
        name: (
            [(c["name"], str(c["type"]), c["nullable"], _plain(c["default"])) for c in _by_name(found.get_columns(name))],
            [(i["name"], i["column_names"], bool(i["unique"])) for i in _by_name(found.get_indexes(name))],
            found.get_pk_constraint(name)["constrained_columns"],
            sorted((k["constrained_columns"], k["referred_table"]) for k in found.get_foreign_keys(name)),
            sorted(u["column_names"] for u in found.get_unique_constraints(name)),
        )
        for name in found.get_table_names()
        if name != "alembic_version"
    }


def _by_name(items: Any) -> Any:
    return sorted(items, key=lambda item: str(item["name"]))


def _plain(default: str | None) -> str | None:
    return default and default.strip("'")


def _first(data: Path, revision: str = "0001") -> str:
    """A journal in a data folder as its first revision left it."""
    data.mkdir(parents=True, exist_ok=True)
    url = f"sqlite:///{data / 'journal.sqlite'}"
    old_journal(url, revision)
    fill(url)
    return url


def test_a_checked_copy_is_kept_before_the_upgrade_and_never_more_than_three_of_a_revision(tmp_path: Path) -> None:
    before = rows(_first(tmp_path))
    backups = tmp_path / "backups"
    backups.mkdir()
    for year in range(2001, 2005):
        (backups / f"journal-0001-{year}0101T000000Z.sqlite").touch()
    (backups / "journal-0002-20010101T000000Z.sqlite").touch()
    upgraded_journal("", tmp_path, WITH).close()
    kept = sorted(path.name for path in backups.iterdir())
    assert [name[:16] for name in kept] == ["journal-0001-200", "journal-0001-200", "journal-0001-202", "journal-0002-200"]
    assert rows(f"sqlite:///{backups / kept[2]}") == before


def test_a_new_journal_or_one_of_today_is_not_copied(tmp_path: Path) -> None:
    upgraded_journal("", tmp_path, WITH).close()
    upgraded_journal("", tmp_path, WITH).close()
    assert not (tmp_path / "backups").exists()


@pytest.mark.peer("postgres")
def test_a_journal_of_postgresql_is_dumped_before_and_the_dump_brings_it_back(
    server: Callable[[], str], tmp_path: Path
) -> None:
    url, other = server(), server()
    old_journal(url, "0001")
    fill(url)
    before = rows(url)
    upgraded_journal(url, tmp_path, WITH).close()
    (dump,) = (tmp_path / "backups").iterdir()
    subprocess.run(["pg_restore", "--no-owner", "-d", other.replace("+psycopg", ""), dump], check=True)
    assert rows(other) == before


@pytest.mark.peer("postgres")
def test_without_pg_dump_a_journal_of_postgresql_is_not_upgraded(
    server: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server()
    old_journal(url, "0001")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BadSettings, match=r"could not be copied to .* \(pg_dump is not installed here\)"):
        upgraded_journal(url, tmp_path, WITH)
    upgraded_journal(url, tmp_path, WITHOUT).close()


def test_without_a_copy_nothing_is_upgraded(tmp_path: Path) -> None:
    before = rows(_first(tmp_path))
    (tmp_path / "backups").write_text("in the way")
    with pytest.raises(BadSettings, match=r"was not upgraded, because it could not be copied .* before_upgrade = false"):
        upgraded_journal("", tmp_path, WITH)
    assert rows(f"sqlite:///{tmp_path / 'journal.sqlite'}") == before
    upgraded_journal("", tmp_path, WITHOUT).close()


_SMALL_DISK = """
import resource, sys
from pathlib import Path
from analysis.errors import BadSettings
from service.journal_upgrade import BackupSettings, upgraded_journal
resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
try:
    upgraded_journal("", Path(sys.argv[1]), BackupSettings())
except BadSettings as error:
    print(error)
"""


def test_without_room_for_the_copy_nothing_is_upgraded_and_nothing_is_left_behind(tmp_path: Path) -> None:
    before = rows(_first(tmp_path))
    ran = subprocess.run([sys.executable, "-c", _SMALL_DISK, str(tmp_path)], capture_output=True, text=True, check=True)
    assert "was not upgraded, because it could not be copied" in ran.stdout
    assert list((tmp_path / "backups").iterdir()) == []
    assert rows(f"sqlite:///{tmp_path / 'journal.sqlite'}") == before


def test_a_damaged_journal_is_not_upgraded(tmp_path: Path) -> None:
    _first(tmp_path)
    path = tmp_path / "journal.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'instances_by_state'").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    content = bytearray(path.read_bytes())
    content[(page - 1) * size : page * size] = bytes(size)
    path.write_bytes(content)
    with pytest.raises(BadSettings, match=r"damaged|malformed"):
        upgraded_journal("", tmp_path, WITH)


def test_a_journal_of_a_later_duet_is_left_alone_and_the_sentence_says_what_is_needed(tmp_path: Path) -> None:
    open_journal("", tmp_path).close()
    path = tmp_path / "journal.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.execute("UPDATE facts SET value = '7.5.0' WHERE name = 'duet'")
        connection.commit()
    before = path.read_bytes()
    for opening in (lambda: upgraded_journal("", tmp_path, WITH), lambda: open_journal("", tmp_path)):
        with pytest.raises(BadSettings, match=r"revision 9999; .* install duet 7\.5\.0 or later, or restore"):
            opening()
    assert path.read_bytes() == before


def test_only_a_node_that_starts_upgrades(tmp_path: Path) -> None:
    before = rows(_first(tmp_path))
    with pytest.raises(BadSettings, match=r"of an earlier duet \(revision 0001, .* start the node once with duet serve"):
        open_journal("", tmp_path)
    assert rows(f"sqlite:///{tmp_path / 'journal.sqlite'}") == before


_HALF_WAY = """
import os, signal
import sqlalchemy as sa
from alembic import op
revision, down_revision = "9999", "{head}"
def upgrade():
    op.create_table("more", sa.Column("id", sa.Integer, primary_key=True))
    with op.batch_alter_table("deliveries") as deliveries:
        deliveries.add_column(sa.Column("more", sa.Integer))
    op.execute("DELETE FROM outcomes")
    {end}
"""


def _migrations(folder: Path, end: str) -> Path:
    """The migrations with one more, which ends so half way."""
    folder.mkdir()
    for path in MIGRATIONS.glob("r*.py"):
        (folder / path.name).write_text(path.read_text())
    (folder / "r9999_half.py").write_text(_HALF_WAY.format(head=HEAD, end=end))
    return folder


def test_a_migration_that_fails_half_way_leaves_the_journal_as_it_was(
    database: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = database()
    old_journal(url, HEAD)
    fill(url)
    before = rows(url)
    monkeypatch.setattr(journal, "MIGRATIONS", _migrations(tmp_path / "migrations", 'raise RuntimeError("half way")'))
    for module in (journal, journal_upgrade):
        monkeypatch.setattr(module, "HEAD", "9999")
    with pytest.raises(RuntimeError, match="half way"):
        upgraded_journal(url, tmp_path, WITH)
    assert rows(url) == before


_KILLED = """
import sys
from pathlib import Path
from service import journal, journal_upgrade
journal.MIGRATIONS, journal.HEAD, journal_upgrade.HEAD = Path(sys.argv[2]), "9999", "9999"
journal_upgrade.upgraded_journal("", Path(sys.argv[1]), journal_upgrade.BackupSettings())
"""


def test_a_migration_that_is_killed_half_way_leaves_the_journal_as_it_was(tmp_path: Path) -> None:
    before = rows(_first(tmp_path))
    migrations = _migrations(tmp_path / "migrations", "os.kill(os.getpid(), signal.SIGKILL)")
    ran = subprocess.run([sys.executable, "-c", _KILLED, str(tmp_path), str(migrations)], check=False, env=os.environ)
    assert ran.returncode == -signal.SIGKILL
    assert rows(f"sqlite:///{tmp_path / 'journal.sqlite'}") == before
    with closing(upgraded_journal("", tmp_path, WITH)) as upgraded:
        assert upgraded.revision() == HEAD


def test_what_a_node_was_doing_at_the_first_revision_goes_on(tmp_path: Path) -> None:
    _first(tmp_path)
    opened: Journal = upgraded_journal("", tmp_path, WITH)
    arrivals.break_open_associations(opened, 1.0)
    casebook.resume(opened, 2000.0)
    states = [job.state for job in casebook.jobs_of(opened)]
    assert states == [JobState.QUEUED, JobState.QUEUED, JobState.DONE, JobState.HELD, JobState.QUEUED, JobState.WITHDRAWN]
    assert casebook.claim(opened, 2000.0) is not None
    assert [row.state for row in arrivals.unread(opened)] == ["new"]
    assert [row.id for row in postings.due(opened, "deliveries.destinatio", 2000.0)] == []
    assert outcomes.outcomes_of(opened) == {}
    assert releases.due(opened, 2000.0) == []
    opened.close()
