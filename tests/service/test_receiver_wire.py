"""The timers of a connection: they go by a clock that nobody sets. What else it does, test_door_faults.py sees from outside."""

from __future__ import annotations

import time

import pytest

from service.receiver_wire import SteadyTimer


def test_a_timer_expires_once_it_has_run_out_whatever_the_clock_says(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "time", lambda: -now[0])  # it runs backwards
    timer = SteadyTimer(10.0)
    assert (timer.expired, timer.remaining) == (False, 10.0)
    timer.start()
    now[0] += 9.0
    assert (timer.expired, timer.remaining) == (False, 1.0)
    now[0] += 2.0
    assert timer.expired
    timer.restart()
    assert not timer.expired


def test_a_timer_that_was_stopped_too_late_does_not_expire_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    timer = SteadyTimer(1.0)
    timer.start()
    now[0] = 5.0
    timer.stop()
    assert not timer.expired


def test_one_without_a_timeout_never_expires() -> None:
    timer = SteadyTimer(None)
    timer.start()
    assert not timer.expired
