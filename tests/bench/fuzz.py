"""10,000 broken objects: `make bench-fuzz`, or `python tests/bench/fuzz.py FIRST LAST`; how they ended, what was slowest.

A case follows from its number; one that is not as it must be is told with it, and `python tests/bench/fuzz.py N N` runs it
again. Exit status 1 where there is any.
"""

from __future__ import annotations

import logging
import resource
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from rich.console import Console

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "helpers"))

import fuzzing  # noqa: E402  beside the tests, not installed
from corpus import real, synthetic, written  # noqa: E402

SHARED = ROOT.parent / "shared" / "data"
LONGEST_S, MOST_MEMORY = 20, 8 << 30


class HangError(BaseException):
    """A case took longer than LONGEST_S."""


@contextmanager
def limited(seconds: int) -> Iterator[None]:
    def ring(number: int, frame: FrameType | None) -> None:
        raise HangError

    signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


def run(what: fuzzing.Sound, seed: int, folder: Path) -> fuzzing.Case:
    """One case in a folder of its own, ended when it takes too long."""
    began = time.perf_counter()
    try:
        with limited(LONGEST_S):
            return fuzzing.run(what, seed, folder)
    except HangError:
        seconds = time.perf_counter() - began
        return fuzzing.Case(base=what.base.name, seed=seed, violation=f"a hang of {seconds:.0f} s", seconds=seconds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main(first: int, last: int) -> int:
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    console = Console(soft_wrap=True, highlight=False, markup=False)
    place = Path(tempfile.mkdtemp(prefix="duet-fuzz-"))
    try:
        bases = synthetic(place / "made") + written(place / "own") + (real(SHARED) if SHARED.is_dir() else [])
        sounds = [fuzzing.sound(base, place / "sound" / str(n)) for n, base in enumerate(bases)]
        console.print(f"{len(sounds)} sound objects, cases {first} to {last}")
        cases = []
        for seed in range(first, last + 1):
            cases.append(run(sounds[seed % len(sounds)], seed, place / "case"))
            if cases[-1].violation:
                console.print(str(cases[-1]))
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return report(console, cases)


def report(console: Console, cases: list[fuzzing.Case]) -> int:
    """Prints how the cases ended; returns the exit status."""
    for end, count in fuzzing.summary(cases).items():
        console.print(f"{count:7d}  {end}")
    console.print("slowest:")
    for case in sorted(cases, key=lambda each: -each.seconds)[:5]:
        console.print(f"{case.seconds:6.2f} s  {case.base} seed {case.seed}: {'; '.join(case.changes)[:160]}")
    console.print(f"{sum(case.seconds for case in cases):.0f} s in all")
    return 1 if any(case.violation for case in cases) else 0


if __name__ == "__main__":
    sys.exit(main(*(int(number) for number in (sys.argv[1:] or ["1", "10000"]))))
