"""A consistent copy of the journal as one file, also of one that a node is writing: SQLite's online backup, or pg_dump."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import uuid
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from sqlalchemy.engine import make_url

from service.inbox import PART, move_durably

SQLITE, POSTGRESQL = ".sqlite", ".pgdump"  # endings of the two kinds of copies


class CopyError(Exception):
    """Why no copy was made, in words that go into a sentence."""


def ending(url: str) -> str:
    """That of a copy of this journal."""
    return SQLITE if url.startswith("sqlite") else POSTGRESQL


def copy_journal(url: str, target: Path) -> None:
    """A checked copy at `target`, there as a whole or not at all, and on disk when this returns. Raises CopyError."""
    part = target.with_name(f"{target.name}.{uuid.uuid4().hex}{PART}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        (_copy_sqlite if url.startswith("sqlite") else _dump_postgresql)(url, part)
        move_durably(part, target)
    except (OSError, sqlite3.Error) as error:
        raise CopyError((error.strerror if isinstance(error, OSError) else None) or str(error)) from None
    finally:
        part.unlink(missing_ok=True)
        part.with_name(f"{part.name}-journal").unlink(missing_ok=True)


def _copy_sqlite(url: str, part: Path) -> None:
    """In one step under one view: a node goes on writing meanwhile. Raises sqlite3.Error, CopyError."""
    source = f"file:{quote(str(make_url(url).database))}?mode=ro"
    with closing(sqlite3.connect(source, uri=True, timeout=60)) as journal, closing(sqlite3.connect(part)) as copy:
        journal.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")  # one file, without a -wal beside it
        check_sqlite(copy)


def check_sqlite(copy: sqlite3.Connection) -> None:
    """Raises CopyError where the database is damaged."""
    (said,) = copy.execute("PRAGMA integrity_check(1)").fetchone()
    if said != "ok":
        raise CopyError(f"it is damaged: {said}")


def _dump_postgresql(url: str, part: Path) -> None:
    """Raises CopyError."""
    run_postgresql("pg_dump", url, ["--format=custom", "--no-owner", f"--file={part}"])


def run_postgresql(name: str, url: str, options: list[str]) -> None:
    """One of PostgreSQL's programs on a database; its password is in no command line. Raises CopyError."""
    program = shutil.which(name)
    if program is None:
        raise CopyError(f"{name} is not installed here")
    ran = subprocess.run(
        [program, "--no-password", *options], env=_environment(url), capture_output=True, text=True, check=False
    )
    if ran.returncode:
        raise CopyError(f"{name}: {(ran.stderr.strip().splitlines() or ['failed'])[-1]}")


def _environment(url: str) -> dict[str, str]:
    """The database's address as libpq reads it."""
    address = make_url(url)
    known = {
        "PGHOST": address.host,
        "PGPORT": address.port,
        "PGUSER": address.username,
        "PGPASSWORD": address.password,
        "PGDATABASE": address.database,
        **{f"PG{name.upper()}": value for name, value in address.query.items() if isinstance(value, str)},
    }
    return {**os.environ, **{name: str(value) for name, value in known.items() if value is not None}}
