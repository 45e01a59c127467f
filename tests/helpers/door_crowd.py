"""A door with processes of its own behind it, in a test's process."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
from door_alone import kept
from door_peers import Peer
from nodes import until

from service.door_process import Plan
from service.door_processes import Processes
from service.receiver import Receiver, ReceiverSettings
from service.tls import TlsSettings


@contextmanager
def crowd(
    folder: Any, port: int, processes: int, *, ready: bool = True, tls: TlsSettings | None = None, **settings: Any
) -> Iterator[Processes]:
    """ready: once all of them take connections."""
    words: dict[str, Any] = {"host": "127.0.0.1", "port": port, "free_gb": 0.0, "processes": processes, **settings}
    plan = Plan(ae_title="DUET", data=folder.data, receiver=ReceiverSettings(**words), tls=tls or TlsSettings())
    behind = Processes(plan, folder.journal, folder.inbox)
    door = Receiver("DUET", plan.receiver, folder.inbox, folder.journal, tls=plan.tls)
    door.start(behind.station)
    with kept(behind):
        try:
            until(lambda: not ready or behind.ready == processes, "the door processes are ready")
            yield behind
        finally:
            door.stop()


def children() -> list[psutil.Process]:
    """The door processes of this process."""
    return [each for each in filter(lives, psutil.Process().children()) if "service.door_process" in each.cmdline()]


def lives(process: psutil.Process) -> bool:
    """Not as a zombie, which whoever adopts it may never ask about."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def rows(folder: Any) -> list[tuple[str | None, str]]:
    """Door and ending of every association."""
    with folder.journal.reading() as connection:
        return [(row[0], row[1]) for row in connection.exec_driver_sql("SELECT door, ending FROM associations ORDER BY id")]


def first_to_lose(processes: list[psutil.Process], peer: Peer) -> psutil.Process:
    """Kill the process that serves the peer."""
    mine = peer.socket.getsockname()[1]
    for process in processes:
        if any(each.raddr and each.raddr.port == mine for each in process.net_connections(kind="tcp")):
            process.send_signal(signal.SIGKILL)
            return process
    raise AssertionError("nobody serves the peer")
