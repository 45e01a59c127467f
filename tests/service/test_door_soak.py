"""Many instances from several senders while the door is killed again and again: what was acknowledged is there.

`make soak` sends 20,000 of them (DUET_SOAK names the number); the tests of every day send fewer.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import door_alone
import psutil
import pytest
from door_peers import BrokenError, Peer, Sent, half_written, in_journal, nothing_lost, on_disk, some_object

INSTANCES = int(os.environ.get("DUET_SOAK", "800"))
SENDERS, IN_AN_ASSOCIATION = 4, 100
BETWEEN_KILLS = (200, 600) if INSTANCES > 5000 else (150, 250)  # acknowledged instances


class Doors:
    """One door after the other on the same folder and port."""

    def __init__(self, data: Path, port: int, processes: int) -> None:
        self._command = [sys.executable, door_alone.__file__, str(data), str(port), str(processes)]
        self._log = data.with_name("door.log")
        self.kills = 0
        self._open()

    def _open(self) -> None:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(self._command, stdout=log, stderr=subprocess.STDOUT)

    def kill(self) -> None:
        """SIGKILL, and the next one at once."""
        assert self.process.poll() is None, f"the door has ended by itself: {self._log.read_text()[-2000:]}"
        self.process.kill()
        self.process.wait()
        self.kills += 1
        self._open()

    def kill_one_process(self, chance: random.Random) -> None:
        """SIGKILL to one of those that serve; the door starts it anew."""
        found = psutil.Process(self.process.pid).children()
        if found:
            with suppress(psutil.NoSuchProcess):
                chance.choice(found).kill()
            self.kills += 1

    def close(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)


class Told:
    """What was acknowledged, by all senders: UID > digest."""

    def __init__(self) -> None:
        self.told: dict[str, str] = {}
        self._more = threading.Condition()

    def add(self, sent: Sent) -> None:
        with self._more:
            self.told[sent.uid] = sent.digest
            self._more.notify_all()

    def wait_for(self, count: int) -> bool:
        """Whether so many were acknowledged within a time in which a door is opened many times."""
        with self._more:
            return self._more.wait_for(lambda: len(self.told) >= count, timeout=120)


def kill_again_and_again(doors: Doors, told: Told, chance: random.Random, one_process: float) -> None:
    """A SIGKILL whenever some more were acknowledged, until few are left. one_process: how often only to one of those that
    serve."""
    upto = chance.randrange(*BETWEEN_KILLS)
    while upto < INSTANCES:
        assert told.wait_for(upto), f"no door that takes anything, {len(told.told)} acknowledged"
        time.sleep(chance.uniform(0, 0.02))  # anywhere within an object
        doors.kill_one_process(chance) if chance.random() < one_process else doors.kill()
        upto = len(told.told) + chance.randrange(*BETWEEN_KILLS)


def send_all(port: int, objects: Sequence[Sent], told: Told) -> None:
    """Send until each is acknowledged; what was not is sent again."""
    left = list(objects)
    while left:
        try:
            with Peer(port) as peer:
                peer.associate()
                for sent in left[:IN_AN_ASSOCIATION]:
                    if peer.store(sent) == 0:
                        told.add(sent)
                peer.release()
        except (BrokenError, OSError):
            time.sleep(0.05)
        left = [sent for sent in left if sent.uid not in told.told]


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("processes", [0, 2], ids=["one process", "two door processes"])
def test_what_was_acknowledged_outlives_every_kill(tmp_path: Path, port: int, processes: int) -> None:
    data, chance = tmp_path / "data", random.Random(20)
    objects = [[some_object(chance.randrange(2_000, 40_000)) for _ in range(INSTANCES // SENDERS)] for _ in range(SENDERS)]
    doors = Doors(data, port, processes)
    told = Told()
    with ThreadPoolExecutor(SENDERS + 1) as pool:
        work = [pool.submit(send_all, port, mine, told) for mine in objects]
        work.append(pool.submit(kill_again_and_again, doors, told, chance, 0.5 if processes else 0.0))
        for each in work:
            each.result()
    assert doors.kills >= 2
    doors.kill()  # once more, so that the last start clears up
    with Peer(wait_for(port)) as peer:
        assert peer.associate().echo() == 0
        peer.release()
    assert doors.close() == 0
    assert len(told.told) == INSTANCES
    nothing_lost(data, told.told)
    assert half_written(data) == []
    assert on_disk(data) == in_journal(data / "journal.sqlite", data)
    with sqlite3.connect(data / "journal.sqlite") as journal:
        assert journal.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert journal.execute("SELECT count(*) FROM associations WHERE ending = 'open'").fetchall() == [(0,)]


def wait_for(port: int) -> int:
    """The port, when somebody listens there."""
    for _ in range(600):
        try:
            Peer(port).socket.close()
        except OSError:
            time.sleep(0.1)
        else:
            break
    return port
