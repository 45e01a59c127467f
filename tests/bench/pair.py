"""Time and memory of the commands, as a table: `make bench`. Limits are those that duet is judged by, on two cores."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

DUET = Path(sys.executable).parent / "duet"
REAL_PAIR = Path(__file__).resolve().parents[3] / "shared" / "data" / "pair1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one run of a command took: elapsed and processor seconds, largest resident memory of one process in MB."""

    seconds: float
    cpu_seconds: float
    memory_mb: float
    exit_status: int


def run(*arguments: str) -> Cost:
    """One run of duet in a process of its own; its output is thrown away."""
    began = time.perf_counter()
    silent = [(os.POSIX_SPAWN_OPEN, descriptor, os.devnull, os.O_WRONLY, 0) for descriptor in (1, 2)]
    process = os.posix_spawn(DUET, [str(DUET), *arguments], os.environ, file_actions=silent)
    _, status, usage = os.wait4(process, 0)
    return Cost(
        seconds=time.perf_counter() - began,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        memory_mb=usage.ru_maxrss / 1024,
        exit_status=os.waitstatus_to_exitcode(status),
    )


def measure(folder: Path) -> dict[str, tuple[Cost, str]]:
    """What > its cost and the limit, in words."""
    run("--help")  # the first run compiles
    costs = {"duet --help": (min((run("--help") for _ in range(5)), key=lambda cost: cost.seconds), "0.5 s")}
    costs["duet phantom (one patient)"] = (run("phantom", "--out", str(folder / "phantom"), "--seed", "1"), "")
    pairs = {"duet analyse (phantom, seed 1)": next((path.parent for path in sorted(folder.rglob("pentixafor"))), None)}
    if REAL_PAIR.is_dir():
        pairs["duet analyse (real GE scan)"] = REAL_PAIR
    for number, (name, pair) in enumerate(pairs.items()):
        if pair is not None:
            cost = run("analyse", str(pair / "fdg"), str(pair / "pentixafor"), "--out", str(folder / f"out{number}"))
            costs[name] = (cost, "60 s, 3000 MB")
    return costs


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        costs = measure(Path(folder))
    table = Table("run", "elapsed s", "processor s", "memory MB", "limit", "exit status", title=f"{os.cpu_count()} cores")
    for name, (cost, limit) in costs.items():
        numbers = (f"{cost.seconds:.2f}", f"{cost.cpu_seconds:.2f}", f"{cost.memory_mb:.0f}")
        table.add_row(name, *numbers, limit, str(cost.exit_status))
    Console(width=120).print(table)
    return max(cost.exit_status for cost, _ in costs.values())


if __name__ == "__main__":
    sys.exit(main())
