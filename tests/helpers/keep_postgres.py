"""A PostgreSQL server of its own for tests of journals: on a socket in a temporary folder, ended with the fixture."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

_OWNER = "postgres"  # the server refuses to run as root


def _programs() -> Path | None:
    return max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)


@contextlib.contextmanager
def databases() -> Iterator[Callable[[], str]]:
    """Makes empty databases and returns their addresses."""
    programs = _programs()
    if programs is None:
        pytest.skip("peer absent: postgres")
    folder = Path(tempfile.mkdtemp(prefix="duet-pg-"))
    as_owner: dict[str, Any] = {"user": _OWNER, "group": _OWNER, "extra_groups": []} if os.getuid() == 0 else {}
    if as_owner:
        shutil.chown(folder, _OWNER, _OWNER)

    def ask(program: str, *words: str) -> None:
        command = [str(programs / program), *words]
        subprocess.run(command, check=True, capture_output=True, cwd=folder, timeout=60, **as_owner)

    data, log = str(folder / "db"), str(folder / "log")
    ask("initdb", "-D", data, "-U", "duet", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C")
    ask("pg_ctl", "-D", data, "-l", log, "-w", "-o", f"-k {folder} -c listen_addresses='' -c fsync=off", "start")
    numbers = count()

    def make() -> str:
        name = f"journal{next(numbers)}"
        ask("createdb", "-h", str(folder), "-U", "duet", name)
        return f"postgresql+psycopg://duet@/{name}?host={folder}"

    try:
        yield make
    finally:
        ask("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
        shutil.rmtree(folder, ignore_errors=True)
