"""Runs the benchmarks one after the other, all or those named: `make bench`, `make bench ONLY="features reading"`."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console

HERE = Path(__file__).resolve().parent


def scripts(names: list[str]) -> list[Path]:
    """The benchmarks of these names (bench_NAME.py), in order of name."""
    known = {path.stem.removeprefix("bench_"): path for path in sorted(HERE.glob("bench_*.py"))}
    if unknown := sorted(set(names) - set(known)):
        sys.exit(f"There is no benchmark {', '.join(unknown)}; there are {', '.join(known)}.")
    return [path for name, path in known.items() if not names or name in names]


def main(names: list[str]) -> int:
    failed = []
    for script in scripts(names):
        began = time.perf_counter()
        if subprocess.run([sys.executable, script], check=False).returncode:
            failed.append(script.stem)
        Console().print(f"{script.stem}: {time.perf_counter() - began:.0f} s", highlight=False)
    if failed:
        Console().print(f"Failed: {', '.join(failed)}", style="bold")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
