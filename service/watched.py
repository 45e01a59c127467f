"""What is watched of a node, for its health page, its metrics and its alerts: the door, the journal, the disk, its parts."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from service.counts import COUNTS, Counts
from service.journal import Journal


def _nobody() -> Mapping[str, int]:
    return {}


def _never() -> bool:
    return False


def _nothing() -> Mapping[str, str]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What is looked at. floor_gb: below it nothing is received; door: whether it is open; behind: whether the rows of what
    came by it wait too long; parts: each part of the node and what it waits for, empty where it works; alerts: how many of
    each kind hold."""

    journal: Journal
    data: Path
    floor_gb: float
    door: Callable[[], bool]
    behind: Callable[[], bool] = _never
    parts: Callable[[], Mapping[str, str]] = _nothing
    alerts: Callable[[], Mapping[str, int]] = _nobody
    counts: Counts = COUNTS
    began_at: float = field(default_factory=time.time)

    @property
    def free_bytes(self) -> int:
        return shutil.disk_usage(self.data).free

    @property
    def floor_bytes(self) -> float:
        return self.floor_gb * 1e9


def faults(watched: Watched) -> list[str]:
    """The names of what is not as it should be, nothing else."""
    found = [] if watched.door() else ["door"]
    try:
        watched.journal.fact("alive")
        found += ["journal"] if watched.behind() else []
    except SQLAlchemyError:
        found.append("journal")
    try:
        found += ["disk"] if watched.free_bytes <= watched.floor_bytes else []  # the floor may be 0
    except OSError:
        found.append("disk")
    return found + sorted(part for part, trouble in watched.parts().items() if trouble)
