"""A door with processes of its own behind it, in a test's process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from door_alone import kept
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
