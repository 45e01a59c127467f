"""The same work for both tracers, at once. Most of it runs in numpy and ITK, which leave the other thread its processor."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from analysis.values import Tracer

T = TypeVar("T")


def for_both(work: Callable[[Tracer], T]) -> dict[Tracer, T]:
    """What `work` makes of each tracer, FDG first; what it raises is raised, FDG's before the other's."""
    with ThreadPoolExecutor(len(Tracer)) as pool:
        return dict(zip(Tracer, pool.map(work, Tracer), strict=True))
