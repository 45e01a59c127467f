"""One pair through `analyse_folders`, as `duet analyse` runs it, each step's cost told: stages.py PAIR OUT FILE.json."""

from __future__ import annotations

import json
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import psutil

from service.config import Settings
from service.folders import Telling, analyse_folders


class Watch:
    """Notes when each step begins, and the resident memory in between."""

    def __init__(self) -> None:
        self._process, self._over = psutil.Process(), threading.Event()
        self._marks: list[tuple[str, float, float]] = []
        self._memory: list[tuple[float, float]] = []
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def begin(self, step: str, _: float) -> None:
        self._marks.append((step, time.perf_counter(), time.process_time()))

    def _sample(self) -> None:
        while not self._over.wait(0.02):
            self._memory.append((time.perf_counter(), self._process.memory_info().rss / 2**20))

    def end(self) -> list[dict[str, str | float]]:
        """[{step, seconds, cpu_seconds, memory_mb}] in order."""
        self.begin("", 1.0)
        self._over.set()
        self._thread.join()
        return [
            {
                "step": step,
                "seconds": until - since,
                "cpu_seconds": cpu_until - cpu_since,
                "memory_mb": max((mb for at, mb in self._memory if since <= at <= until), default=0.0),
            }
            for (step, since, cpu_since), (_, until, cpu_until) in pairwise(self._marks)
        ]


def main(pair: Path, out: Path, to: Path) -> None:
    watch = Watch()
    telling = Telling(progress=watch.begin, note=lambda _: None)
    analyse_folders(Settings(), (pair / "fdg", pair / "pentixafor"), out, telling, nifti=False)
    to.write_text(json.dumps(watch.end(), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*(Path(word) for word in sys.argv[1:]))
