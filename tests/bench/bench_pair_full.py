"""`duet analyse` with rules on pairs of clinical size: from compressed files to all objects; where time and memory go."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from cost import DUET, Cost, python, run
from results import Figure, keep
from scans import FULL, MANY, full_pair

LIMIT_S, LIMIT_MB = 45.0, 3000.0
STAGES = Path(__file__).with_name("stages.py")


def figures_of(name: str, cost: Cost) -> list[Figure]:
    done = cost.exit_status == 0
    return [
        Figure(what=name, ours=cost.seconds, unit="s", target=f"{LIMIT_S:g} s", met=done and cost.seconds <= LIMIT_S),
        Figure(what="its processor time", ours=cost.cpu_seconds, unit="s"),
        Figure(what="its memory", ours=cost.memory_mb, unit="MB", target=f"{LIMIT_MB:g} MB", met=cost.memory_mb <= LIMIT_MB),
    ]


def main() -> int:
    full, many = full_pair(FULL), full_pair(MANY)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        usual = run(DUET, "analyse", *full.studies, "--out", folder / "full")
        figures = figures_of("duet analyse, some lesions", usual)
        crowded = python(STAGES, many.folder, folder / "many", folder / "stages.json")
        figures += figures_of("the same work, 109 lesions", crowded)
        steps = json.loads((folder / "stages.json").read_text()) if crowded.exit_status == 0 else []
    for step in steps:
        words = f"... {step['step']} (processor {step['cpu_seconds']:.1f} s, at most {step['memory_mb']:.0f} MB)"
        figures.append(Figure(what=words, ours=step["seconds"], unit="s"))
    note = "Digital patients on the matrices CT 512 x 512 x 350 and PET 200 x 200 x 350, both tracers, JPEG-LS, rules."
    keep("A pair of full size", figures, note)
    return max(usual.exit_status, crowded.exit_status)


if __name__ == "__main__":
    sys.exit(main())
