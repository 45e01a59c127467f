"""A small disk that can be full, alone or with what a node has on it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest


@contextmanager
def small_disk(where: Path, megabytes: int) -> Iterator[Path]:
    """A file system of that size; only root may mount one."""
    if os.geteuid() != 0:
        pytest.skip("a small file system needs root")
    where.mkdir(parents=True, exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "duet", where], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield where
    finally:
        subprocess.run(["umount", "-l", where], check=True)


def fill(disk: Path) -> Path:
    """A file that takes all the room that there is, to the last byte."""
    ballast = disk / "ballast"
    for size in (65536, 1):
        with ballast.open("ab", buffering=0) as file, suppress(OSError):
            while file.write(bytes(size)):
                continue
    return ballast
