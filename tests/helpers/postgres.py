"""A PostgreSQL server of the tests' own: on loopback, in a temporary folder, without any wish to survive a power cut."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from nodes import free_port, until
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError

from service.journal import open_journal

MIGRATED = "duet_migrated"
QUICK = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "100"}


class Postgres:
    """initdb and postgres of Debian; they refuse root, so that root runs them as its user `postgres`."""

    def __init__(self, folder: Path, program: Path, settings: dict[str, str] | None = None) -> None:
        self._bin, self._folder, self._settings = program.parent, folder, QUICK if settings is None else settings
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._as = _other_than_root()
        self._migrated = False

    def make(self) -> None:
        """An empty cluster, whose superuser `duet` needs no password on this machine."""
        if self._as:
            shutil.chown(self._folder, self._as["user"], self._as["group"])
        command = [self._bin / "initdb", "--no-sync", "-A", "trust", "-U", "duet", "-E", "UTF8", "--locale=C.UTF-8"]
        subprocess.run([*command, "-D", self._folder / "db"], check=True, capture_output=True, cwd=self._folder, **self._as)

    def start(self) -> None:
        words = [word for name, value in self._settings.items() for word in ("-c", f"{name}={value}")]
        where = ["-D", self._folder / "db", "-h", "127.0.0.1", "-p", str(self.port), "-k", self._folder]
        with (self._folder / "log").open("ab") as log:
            kept: dict[str, Any] = {"stdout": log, "stderr": subprocess.STDOUT, "cwd": self._folder}
            self._process = subprocess.Popen([self._bin / "postgres", *where, *words], **kept, **self._as)
        until(self._answers, "PostgreSQL answers", 30)

    def stop(self) -> None:
        """At once, also where clients are still connected; what was committed stays."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(timeout=30)

    @contextlib.contextmanager
    def database(self, template: str = "template1") -> Iterator[str]:
        """The address of an empty database, or of another's copy, which is gone afterwards."""
        name = f"duet_{uuid.uuid4().hex[:12]}"
        self._tell(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        try:
            yield self.url(name)
        finally:
            self._tell(f"DROP DATABASE {name} WITH (FORCE)")

    @contextlib.contextmanager
    def journal(self) -> Iterator[str]:
        """The address of a journal's database without a row: a copy of one in which all migrations have run once."""
        if not self._migrated:
            self._tell(f"CREATE DATABASE {MIGRATED}")
            open_journal(self.url(MIGRATED), self._folder).close()
            self._migrated = True
        with self.database(MIGRATED) as url:
            yield url

    @contextlib.contextmanager
    def databases(self) -> Iterator[Callable[[], str]]:
        """Makes an empty database each time it is asked; all are gone afterwards."""
        with contextlib.ExitStack() as made:
            yield lambda: made.enter_context(self.database())

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://duet@127.0.0.1:{self.port}/{database}"

    def _tell(self, words: str) -> None:
        engine = create_engine(self.url("postgres"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(words)
        engine.dispose()

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError((self._folder / "log").read_text()[-2000:])
        try:
            self._tell("SELECT 1")
        except OperationalError:
            return False
        return True


def _other_than_root() -> dict[str, Any]:
    if os.getuid():
        return {}
    user = pwd.getpwnam("postgres")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


@contextlib.contextmanager
def running(program: Path, settings: dict[str, str] | None = None) -> Iterator[Postgres]:
    """A server for a while; its folder is one that another user may enter, and goes with it."""
    with tempfile.TemporaryDirectory(prefix="duet-postgres-") as folder:
        server = Postgres(Path(folder), program, settings)
        server.make()
        server.start()
        try:
            yield server
        finally:
            server.stop()
