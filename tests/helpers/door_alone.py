"""The door in a process of its own, with what a node does before it opens it: `python door_alone.py DATA PORT [PROCESSES]`.

With door processes it says "ready" when all of them take connections. With DUET_BENCH_UNSYNCED nothing is synced, neither file
nor journal: a benchmark's look at the processor without the disk.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import event

from service import arrivals, logs, recovery
from service.door_process import Plan
from service.door_processes import Processes
from service.inbox import Inbox
from service.journal import open_journal
from service.receiver import Receiver, ReceiverSettings


def main(data: Path, port: int, processes: int = 0) -> None:
    """Serve until SIGTERM."""
    told = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: told.set())
    data.mkdir(parents=True, exist_ok=True)
    logs.to_standard_error()
    journal, inbox = open_journal("", data), Inbox(data)
    if os.environ.get("DUET_BENCH_UNSYNCED"):
        os.fsync = lambda _: None
        journal.close()
        event.listen(journal._engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=OFF"))
    inbox.prepare()
    arrivals.break_open_associations(journal, time.time())
    settings = ReceiverSettings(host="127.0.0.1", port=port, free_gb=0.0, processes=processes)
    door = Receiver("DUET", settings, inbox, journal)
    helpers = Processes(Plan(ae_title="DUET", data=data, receiver=settings), journal, inbox)
    door.start(helpers.station)
    with kept(helpers):
        recovery.recover(journal, inbox, time.time())
        while helpers.ready < processes and not told.wait(0.05):
            continue
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        told.wait()
        door.stop()
    journal.close()


@contextmanager
def kept(processes: Processes) -> Iterator[None]:
    """A node's thread looks after its door processes; at the end they have ended."""
    over = threading.Event()

    def step() -> None:
        while not over.wait(0.05):
            processes.step()

    thread = threading.Thread(target=step)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        processes.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), *map(int, sys.argv[3:]))
