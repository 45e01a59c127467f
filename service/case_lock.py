"""One case is computed by one process at a time, on whichever host: a lock that ends with its owner, however that ends.

It lies on the disk that node and workers share (data/locks), so that it also holds while a node that died starts anew and
a worker of its former scheduler still computes. On NFS flock is a lock of the server's (Linux since 2.6.12).
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def only_worker(folder: Path) -> Iterator[bool]:
    """Whether this process alone may now compute the case of the folder; it may until the block is left."""
    path = folder.parent.with_name("locks") / folder.name
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _locked(path)
    if descriptor is None:
        yield False
        return
    try:
        yield True
    finally:
        path.unlink(missing_ok=True)  # while it is ours: whoever waits for the old file sees that it has gone
        os.close(descriptor)


def _locked(path: Path) -> int | None:
    """The file, open and locked; None where another process has it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        if _is_still(path, descriptor):
            return descriptor
        os.close(descriptor)  # its last owner removed it between our two steps


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
