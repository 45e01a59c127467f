"""Work for both tracers at once: in order, truly beside each other, and with FDG's error first."""

from __future__ import annotations

import threading

import pytest

from analysis.both import for_both
from analysis.values import Tracer


def test_each_tracer_has_its_own_result_in_order() -> None:
    found = for_both(lambda tracer: f"of {tracer}")
    assert list(found.items()) == [(Tracer.FDG, "of FDG"), (Tracer.PENTIXAFOR, "of PentixaFor")]


def test_both_run_at_once() -> None:
    meeting = threading.Barrier(2, timeout=10)
    assert set(for_both(lambda _: meeting.wait()).values()) == {0, 1}


def test_the_error_of_fdg_comes_first() -> None:
    pentixafor_failed = threading.Event()

    def fail(tracer: Tracer) -> None:
        if tracer is Tracer.FDG:
            pentixafor_failed.wait(10)
        else:
            pentixafor_failed.set()
        raise ValueError(tracer)

    with pytest.raises(ValueError, match="FDG"):
        for_both(fail)
