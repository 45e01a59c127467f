"""What has happened since this process began, counted where it happens and read by whoever scrapes it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping

BUCKETS_S = (15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0, 14400.0)


class Counts:
    """Numbers by name and label that only grow; any thread may add to them."""

    def __init__(self) -> None:
        self._numbers: Counter[tuple[str, str]] = Counter()
        self._guard = threading.Lock()

    def add(self, name: str, label: str = "", by: float = 1) -> None:
        with self._guard:
            self._numbers[name, label] += by  # type: ignore[assignment]

    def of(self, name: str) -> Mapping[str, float]:
        """Label > number."""
        with self._guard:
            return {label: number for (known, label), number in self._numbers.items() if known == name}


OBJECTS, BYTES, CASE_FAILURES = "objects", "bytes", "case failures"
# One for the process: the door and the search for missing halves each have a handler of their own, and both count.
COUNTS = Counts()
