"""A process that serves connections which the node hands it: everything that a door does, except for having the port.

It needs what a node needs for that: inbox, journal, audit trail, storage commitment. It ends when the node says so; when the
node is gone without a word it ends at once, so that the next node is alone on its folder.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pynetdicom import evt
from sqlalchemy.exc import SQLAlchemyError

from analysis.errors import Rejected
from service import audit, logs
from service.audit import AuditSettings
from service.commitment import Reports
from service.commitment_promises import Promises
from service.destinations import DeliverySettings, Sender
from service.door_board import Board
from service.inbox import Inbox
from service.journal import Journal, journal_url
from service.logs import logger
from service.receiver import Receiver, ReceiverSettings, Station
from service.tls import TlsSettings

PAUSE_S = 0.5  # between two looks for promises
CONNECTIONS = 4  # to the database, kept open; see journal.py


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is served, and how: the same for the node and for its door processes. journal: the database's address."""

    ae_title: str
    data: Path
    journal: str = field(default="", repr=False)  # it may hold a password
    receiver: ReceiverSettings
    tls: TlsSettings = field(default_factory=TlsSettings)
    senders: Sequence[Sender] = ()
    delivery: DeliverySettings = field(default_factory=DeliverySettings)
    audit: AuditSettings = field(default_factory=AuditSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """What one process is told: the plan, its name and number, and the descriptors that it was given. channels: by door."""

    plan: Plan
    name: str
    number: int
    rows: int
    board: int
    channels: Mapping[str, int]


def commitment(promises: Promises, reports: Reports) -> list[tuple[Any, Callable[[Any], Any]]]:
    """What handles the events of storage commitment at a door."""
    return [(evt.EVT_N_EVENT_REPORT, reports.hear), (evt.EVT_N_ACTION, promises.take)]


def serve(errand: Errand) -> None:
    """Until the node says that it is over."""
    plan = errand.plan
    audit.set_up(plan.data / "logs", plan.audit, plan.ae_title)
    journal, inbox = Journal(journal_url(plan.journal, plan.data), connections=CONNECTIONS), Inbox(plan.data)
    promises = Promises(journal, inbox, plan.ae_title, plan.senders)
    handlers = commitment(promises, Reports(journal, plan.delivery))
    channels = {door: socket.socket(fileno=number) for door, number in errand.channels.items()}
    row = Board(errand.rows, errand.board).row(errand.number)
    receiver = Receiver(plan.ae_title, plan.receiver, inbox, journal, handlers, plan.tls)
    receiver.start(Station(row=row, name=errand.name, channels=channels))
    threading.Thread(target=_keep_promises, args=(promises,), name="promises", daemon=True).start()
    receiver.wait_until_over()
    receiver.stop()
    journal.close()
    audit.close()


def _keep_promises(promises: Promises) -> None:
    """Answer those that only this process can: their senders wait on an association that it serves."""
    try:
        while True:
            time.sleep(PAUSE_S)
            try:
                promises.answer_waiting()
            except (OSError, SQLAlchemyError) as error:
                logger().error("waiting for disk or database", error=type(error).__name__)
    finally:  # what nobody foresaw: a node ends for such an error of one of its parts, and so does this process
        logger().error("a part of a door process has ended", error=type(sys.exception()).__name__)
        os._exit(1)


def main() -> None:
    """Told by the node, through standard input."""
    for number in (signal.SIGTERM, signal.SIGINT):  # they reach the whole group; the node says when to end
        signal.signal(number, signal.SIG_IGN)
    errand: Errand = pickle.load(sys.stdin.buffer)  # noqa: S301  written by the process that started this one
    logs.to_standard_error()
    try:
        serve(errand)
    except Rejected as error:
        logger().error("a door process cannot serve", error=str(error))
        sys.exit(1)
    except (OSError, SQLAlchemyError) as error:
        logger().error("a door process cannot serve", error=type(error).__name__, number=getattr(error, "errno", None))
        sys.exit(1)


if __name__ == "__main__":
    main()
