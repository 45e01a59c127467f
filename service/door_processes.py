"""The node's side of its door processes: it starts them, hands each connection to the one with the fewest, and starts one
anew that has ended.

A process that ends takes its associations with it, as a node does that is killed; nothing else is touched. The port is the
node's: while no process is there, at the very start or after all have ended, the node serves its callers itself.
"""

from __future__ import annotations

import json
import os
import pickle
import re
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, cast

from sqlalchemy.exc import SQLAlchemyError

import service
from service import arrivals, recovery
from service.counts import BYTES, COUNTS, OBJECTS
from service.door_board import Board, Number
from service.door_channel import Channel
from service.door_process import Errand, Plan
from service.inbox import Inbox
from service.journal import Journal
from service.logs import logger
from service.receiver import COUNTED, Station

PATIENCE_S = 30.0  # one that is not ready after so long is in trouble
HUNG_S = 60.0  # one without a sign of life for so long is killed, and another one started
SILENT_S = 5.0  # a process without a sign of life for so long gets no connections
LEAVE_S = 15.0  # so long it has for its leave
FIRST_AGAIN_S, LONGEST_AGAIN_S = 0.5, 60.0  # before one that has ended is started anew, doubled each time that it ends soon
STEADY_S = 60.0  # one that has lived for so long did not end soon


@dataclass(slots=True, eq=False, kw_only=True)
class Process:
    """One of them, and what this side knows of it. given: connections that it was handed."""

    number: int
    name: str = ""
    popen: subprocess.Popen[bytes] | None = None
    channels: Mapping[str, Channel] = field(default_factory=dict)
    given: int = 0
    began: float = 0.0
    served: bool = False
    again_at: float = 0.0
    again_s: float = FIRST_AGAIN_S
    counted: dict[Number, int] = field(default_factory=dict)


class Processes:
    """All of them. Their row 0 is the node's own."""

    def __init__(self, plan: Plan, journal: Journal, inbox: Inbox, keep_open: Sequence[int] = ()) -> None:
        """keep_open: descriptors that they hold as long as they live, for instance that of the lock on the data folder."""
        self._plan, self._journal, self._inbox, self._keep_open = plan, journal, inbox, tuple(keep_open)
        count = plan.receiver.processes
        self._board = Board(count + 1)
        self._all = [Process(number=number) for number in range(1, count + 1)]
        doors = {"tls": plan.tls.port, "receiver": plan.receiver.port}
        self._doors = [door for door, port in doors.items() if port]
        self._complete_at = time.monotonic()
        self._turn, self._over = threading.Lock(), False  # one looks after them at a time, and nobody any more once it is over
        self._guard = threading.Lock()  # of what is known of each; held for moments, for callers wait for it

    @property
    def station(self) -> Station:
        """Where the node's own receiver stands."""
        return Station(row=self._board.row(0), pass_on=self.pass_on if self._all else None)

    def step(self) -> None:
        """Look whether all live; called again and again. The first one starts them; they take connections when they are ready.
        Raises OSError and SQLAlchemyError where disk or database are away, after all were looked at."""
        error: OSError | SQLAlchemyError | None = None
        with self._turn:
            for process in () if self._over else self._all:
                try:
                    self._look_at(process)
                except (OSError, SQLAlchemyError) as found:
                    error = found
        if error is not None:
            raise error
        if self.ready == len(self._all):
            self._complete_at = time.monotonic()

    def stop(self) -> None:
        """When the port is closed: returns when all have ended, and what they had acknowledged is in the journal (that of one
        which had to be killed: at the next start)."""
        with self._turn:
            self._over = True
        deadline = time.monotonic() + LEAVE_S
        running = [process for process in self._all if process.popen is not None]
        for process in running:
            for channel in process.channels.values():
                channel.end()
        for process in running:
            popen = cast("subprocess.Popen[bytes]", process.popen)
            try:
                popen.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                logger().error("a door process did not end in time and is killed", door=process.number)
                popen.kill()
                with suppress(subprocess.TimeoutExpired):  # a disk that hangs; the lock on the folder lasts as long
                    popen.wait(LEAVE_S)
            self._count(process)
            self._forget(process)

    def pass_on(self, door: str, connection: socket.socket) -> bool:
        """Whether a process has taken the connection; else the node serves it."""
        with self._guard:
            for process in sorted(filter(self._takes, self._all), key=self._serves):
                if process.channels[door].give(connection):
                    process.given += 1
                    return True
        return False

    @property
    def behind(self) -> bool:
        """Whether one refuses objects because the journal cannot be written."""
        return any(self._board.all(Number.BEHIND))

    @property
    def ready(self) -> int:
        """How many take connections."""
        with self._guard:
            return sum(map(self._takes, self._all))

    @property
    def trouble(self) -> str:
        """What is wrong, where not all take connections for longer than a start takes."""
        late = time.monotonic() - self._complete_at > PATIENCE_S
        return f"{self.ready} of {len(self._all)} take connections" if late else ""

    def _takes(self, process: Process) -> bool:
        beat = self._board.get(process.number, Number.BEAT)
        return process.popen is not None and beat > 0 and time.monotonic_ns() - beat < 1e9 * SILENT_S

    def _serves(self, process: Process) -> int:
        """How many connections it has."""
        return process.given - self._board.get(process.number, Number.ENDED)

    def _look_at(self, process: Process) -> None:
        self._count(process)
        if process.popen is None:
            if time.monotonic() >= process.again_at:
                self._begin(process)
        elif process.popen.poll() is not None:
            self._bury(process)
        elif time.monotonic() - max(process.began, self._board.get(process.number, Number.BEAT) / 1e9) > HUNG_S:
            logger().error("a door process hangs and is killed", door=process.number)
            process.popen.kill()

    def _bury(self, process: Process) -> None:
        """What it served is cut off, and what it had acknowledged is in the inbox, whether its rows were written or not."""
        code = cast("subprocess.Popen[bytes]", process.popen).returncode
        logger().error("a door process has ended and is started anew", door=process.number, status=code)
        process.served |= self._board.get(process.number, Number.BEAT) > 0
        for number in (Number.BEAT, Number.PLACES, Number.BEHIND):  # before the journal is asked, which may be away
            self._board.put(process.number, number, 0)
        if process.served:
            arrivals.break_open_associations(self._journal, time.time(), process.name)
            recovered = recovery.enter_files(self._journal, self._inbox, time.time())
            if recovered:
                logger().info("files without a row were entered", count=recovered)
        soon = time.monotonic() - process.began < STEADY_S
        process.again_s = min(2 * process.again_s, LONGEST_AGAIN_S) if soon else FIRST_AGAIN_S
        process.again_at = time.monotonic() + process.again_s
        self._forget(process)

    def _forget(self, process: Process) -> None:
        with self._guard:
            for channel in process.channels.values():
                channel.close()
            process.popen, process.channels = None, {}
            self._board.clear(process.number)

    def _begin(self, process: Process) -> None:
        """Start it; it shows by its first sign of life that it is ready. Raises OSError."""
        channels = {door: Channel() for door in self._doors}
        theirs = {door: channel.theirs.fileno() for door, channel in channels.items()}
        board = cast(int, self._board.descriptor)
        process.name = uuid.uuid4().hex
        errand = Errand(
            plan=self._plan,
            name=process.name,
            number=process.number,
            rows=self._board.rows,
            board=board,
            channels=theirs,
        )
        popen = subprocess.Popen(
            [sys.executable, "-P", "-m", "service.door_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=(board, *theirs.values(), *self._keep_open),
            env=_environment(),
        )
        for channel in channels.values():
            channel.theirs.close()
        with suppress(BrokenPipeError), cast("IO[bytes]", popen.stdin) as told:  # one that has ended is found at the next look
            told.write(pickle.dumps(errand))
        threading.Thread(target=_relay, args=(popen.stderr, process.number), name="door log", daemon=True).start()
        with self._guard:
            process.popen, process.channels, process.given = popen, channels, 0
            process.began, process.counted, process.served = time.monotonic(), {}, False
        logger().info("a door process begins", door=process.number, name=process.name)

    def _count(self, process: Process) -> None:
        """Add what it has counted since the last look to the node's own counts."""
        for number in (*COUNTED, Number.RECEIVED):
            value = self._board.get(process.number, number)
            grown = value - process.counted.get(number, 0)
            if grown > 0:
                process.counted[number] = value
                if number is Number.RECEIVED:
                    COUNTS.add(BYTES, by=grown)
                else:
                    COUNTS.add(OBJECTS, COUNTED[number], by=grown)


def _environment() -> Mapping[str, str]:
    """In which the same duet is found that runs here, also where it is not installed."""
    root = Path(service.__file__).resolve().parents[1]
    if root.name in ("site-packages", "dist-packages"):
        return os.environ
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])}


_ERROR = re.compile(rb"[A-Za-z_.]+(Error|Exception)(?=:)")  # as a traceback ends with it


def _relay(lines: IO[bytes], number: int) -> None:
    """What a process logs stands in the node's log, and the name of an error; no other words: they may quote what was sent."""
    with lines:
        for line in lines:
            try:
                facts = json.loads(line)
                level, event = str(facts.pop("level")), str(facts.pop("event"))
                tell = getattr(logger(), level)
            except (ValueError, TypeError, KeyError, AttributeError):
                if named := _ERROR.match(line):
                    logger().error("a door process says", door=number, error=named[0].decode())
                continue
            facts.pop("timestamp", None)
            tell(event, **{"door": number, **facts})
