"""Time and memory of the commands on small inputs: the start, a digital patient, and the shared real pair."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from cost import DUET, Cost, fastest, run
from results import Figure, keep

REAL_PAIR = Path(__file__).resolve().parents[3] / "shared" / "data" / "pair1"


def measure(folder: Path) -> dict[str, tuple[Cost, float, float]]:
    """What > its cost and the targets in s and MB."""
    run(DUET, "--help")  # the first run compiles
    costs = {"duet --help": (fastest([run(DUET, "--help") for _ in range(5)]), 0.5, 200.0)}
    costs["duet phantom (one patient)"] = (run(DUET, "phantom", "--out", folder / "phantom", "--seed", "1"), 30.0, 1000.0)
    pairs = {"duet analyse (phantom, seed 1)": next((path.parent for path in sorted(folder.rglob("pentixafor"))), None)}
    if REAL_PAIR.is_dir():
        pairs["duet analyse (real GE scan)"] = REAL_PAIR
    for number, (name, pair) in enumerate(pairs.items()):
        if pair is not None:
            cost = run(DUET, "analyse", pair / "fdg", pair / "pentixafor", "--out", folder / f"out{number}")
            costs[name] = (cost, 60.0, 3000.0)
    return costs


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        costs = measure(Path(folder))
    figures = []
    for name, (cost, limit_s, limit_mb) in costs.items():
        done = cost.exit_status == 0
        figures += [
            Figure(what=name, ours=cost.seconds, unit="s", target=f"{limit_s:g} s", met=done and cost.seconds <= limit_s),
            Figure(
                what="its memory", ours=cost.memory_mb, unit="MB", target=f"{limit_mb:g} MB", met=cost.memory_mb <= limit_mb
            ),
        ]
    keep("Commands", figures)
    return max(cost.exit_status for cost, *_ in costs.values())


if __name__ == "__main__":
    sys.exit(main())
