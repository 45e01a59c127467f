"""What a child process cost: elapsed and processor seconds, and its largest resident memory."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

BIN = Path(sys.executable).parent
DUET = BIN / "duet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one run of a command took. memory_mb: of its largest process, those that it started and waited for included."""

    seconds: float
    cpu_seconds: float
    memory_mb: float
    exit_status: int = 0


def run(*command: str | Path, environment: Mapping[str, str] | None = None, log: Path | None = None) -> Cost:
    """One run of a command in a process of its own. log: where its output goes, nowhere if None; exit status 127: not found."""
    began = time.perf_counter()
    target = os.devnull if log is None else str(log)
    files = [(os.POSIX_SPAWN_OPEN, 1, target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), (os.POSIX_SPAWN_DUP2, 1, 2)]
    words = [str(word) for word in command]
    process = os.posix_spawnp(words[0], words, {**os.environ, **(environment or {})}, file_actions=files)
    _, status, usage = os.wait4(process, 0)
    return Cost(
        seconds=time.perf_counter() - began,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        memory_mb=usage.ru_maxrss / 1024,
        exit_status=os.waitstatus_to_exitcode(status),
    )


def python(script: Path, *arguments: str | Path, log: Path | None = None) -> Cost:
    """One run of a Python file with this interpreter."""
    return run(sys.executable, script, *arguments, log=log)


def fastest(costs: Sequence[Cost]) -> Cost:
    return min(costs, key=lambda cost: cost.seconds)


def seconds(work: Callable[[], object], times: int = 3) -> float:
    """The shortest elapsed time of some runs in this process."""
    found = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return min(found)
