"""Which parts of the node are alive, and which of them are waiting for something that is away."""

from __future__ import annotations

import threading
from collections.abc import Mapping


class Pulse:
    """Part > what it waits for, empty where it works; a part that has ended is out of order for good."""

    def __init__(self) -> None:
        self._parts: dict[str, str] = {}
        self._guard = threading.Lock()

    def beats(self, part: str) -> None:
        with self._guard:
            self._parts[part] = ""

    def falters(self, part: str, why: str) -> None:
        with self._guard:
            self._parts[part] = why

    def parts(self) -> Mapping[str, str]:
        with self._guard:
            return dict(self._parts)
