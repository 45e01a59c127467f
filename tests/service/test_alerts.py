"""Alerts to a real HTTP server: told once when they begin, again after a while, once when they end, across restarts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from journals import add_case, add_delivery, add_outcome, add_release, add_study
from nodes import free_port
from structlog.testing import capture_logs
from webhooks import Hook, webhook

from service.alert_posts import AlertSettings
from service.alerts import ALERTS_FACT, KINDS, Watchman, found_alerts
from service.casebook import HELD_BY_QUALITY
from service.tables import DeliveryState, JobState, StudyState, jobs
from service.traces import study_id
from service.watched import Watched

HOUR = 3600.0
NOW = 1_000_000.0


@pytest.fixture
def hook() -> Iterator[Hook]:
    with webhook() as opened:
        yield opened


def watched(folder: Any, parts: dict[str, str] | None = None) -> Watched:
    return Watched(journal=folder.journal, data=folder.data, floor_gb=0.0, door=lambda: True, parts=lambda: parts or {})


def kinds(folder: Any, **settings: Any) -> dict[str, str]:
    """Key > sentence of what holds at NOW."""
    alerts, _ = found_alerts(watched(folder), AlertSettings(**settings), NOW)
    return {alert.key: alert.sentence for alert in alerts}


def age(hours: float) -> float:
    return NOW - hours * HOUR


def test_a_node_that_is_well_has_no_alert(folder: Any) -> None:
    add_case(folder.journal, pair_uid="a", created_at=age(5))
    done = add_case(folder.journal, pair_uid="b", state=JobState.DONE, created_at=age(99), finished_at=age(23))
    add_delivery(folder.journal, done, "2.1")
    add_delivery(folder.journal, done, "2.2", state=DeliveryState.COMMITTED)
    assert kinds(folder) == {}


def test_each_limit_has_its_alert(folder: Any) -> None:
    add_case(folder.journal, pair_uid="a", created_at=age(7))
    done = add_case(folder.journal, pair_uid="b", state=JobState.DONE, created_at=age(99), finished_at=age(25))
    add_delivery(folder.journal, done, "2.1", destination="cloud")
    held = {"state": JobState.HELD, "reason": HELD_BY_QUALITY, "created_at": age(500)}
    old, new, released = (add_case(folder.journal, pair_uid=uid, **held) for uid in "cde")
    for number, hours in ((old, 73), (new, 71), (released, 99)):
        add_outcome(folder.journal, number, made_at=age(hours))
    add_release(folder.journal, released)
    parked = add_case(folder.journal, pair_uid="f", state=JobState.PARKED)
    add_study(folder.journal, "9", state=StudyState.PARKED)
    found = kinds(folder)
    assert set(found) == {"queue", "undelivered cloud", "held", "parked", "parked studies"}
    ids = f"{study_id(folder.journal, '1.1')}, {study_id(folder.journal, '1.2')}"
    assert found["held"] == f"Held for more than 72 h: case {old} (study {ids})."
    assert f"case {parked} (study" in found["parked"]
    assert "1 study;" in found["parked studies"]
    assert set(kinds(folder, queue_h=8, undelivered_h=26, held_h=74)) == {"parked", "parked studies"}


def test_little_disk_is_told_by_either_limit(folder: Any) -> None:
    assert "disk" in kinds(folder, disk_gb=1e9)
    here = replace(watched(folder), floor_gb=1e8)
    keys = [alert.key for alert in found_alerts(here, AlertSettings(), NOW)[0]]
    assert keys == ["disk"]  # and not also as a part that does not work


def test_no_alert_names_a_patient(folder: Any) -> None:
    secret = {
        "patient_id": "SECRET-7",
        "sentence": "SECRET-7 is odd",
        "fdg_study": "1.2.840.1",
        "pentixafor_study": "1.2.840.2",
    }
    add_case(folder.journal, pair_uid="a", created_at=0.0, **secret)
    add_case(folder.journal, pair_uid="b", state=JobState.PARKED, **secret)
    add_case(folder.journal, pair_uid="c", state=JobState.HELD, reason="NotAPair", created_at=0.0, **secret)
    text = json.dumps(kinds(folder))
    assert len(kinds(folder)) == 3
    assert "SECRET" not in text
    assert "1.2.840" not in text


def test_an_alert_is_told_when_it_begins_again_after_a_while_and_when_it_ends(folder: Any, hook: Hook) -> None:
    settings = AlertSettings(webhook=hook.address, repeat_h=24, every_s=1)
    watchman = Watchman(watched(folder), settings, "DUET")
    number = add_case(folder.journal, created_at=age(7))
    for hours in (0, 1, 23.9):
        watchman.step(NOW + hours * HOUR)
    assert hook.events == [("queue", "begins")]
    assert watchman.firing() == dict.fromkeys(KINDS, 0) | {"queue": 1}
    watchman.step(NOW + 24 * HOUR)
    assert hook.events == [("queue", "begins"), ("queue", "holds")]
    with folder.journal.writing() as connection:
        connection.execute(jobs.update().where(jobs.c.id == number).values(state=JobState.DONE))
    watchman.step(NOW + 25 * HOUR)
    watchman.step(NOW + 60 * HOUR)
    assert hook.events == [("queue", "begins"), ("queue", "holds"), ("queue", "ends")]
    _, words = hook.posts[-1]
    assert set(words) == {"node", "alert", "about", "event", "sentence", "since", "at"}
    assert (words["node"], words["since"], words["at"]) == ("DUET", "1970-01-12T13:46:40Z", "1970-01-13T14:46:40Z")


def test_a_restart_tells_nothing_twice_and_what_ended_meanwhile_has_ended(folder: Any, hook: Hook) -> None:
    settings = AlertSettings(webhook=hook.address, every_s=1)
    parts = {"engine": "waits for workers"}
    add_case(folder.journal, created_at=age(7))
    Watchman(watched(folder, parts), settings, "DUET").step(NOW)
    assert sorted(hook.events) == [("part", "begins"), ("queue", "begins")]
    Watchman(watched(folder, {}), settings, "DUET").step(NOW + 60)
    assert hook.events[2:] == [("part", "ends")]


def test_a_webhook_that_is_away_is_tried_later_and_gets_all_in_order(folder: Any, hook: Hook) -> None:
    hook.status = 503
    settings = AlertSettings(webhook=hook.address, every_s=1)
    parts = {"engine": "waits for workers"}
    watchman = Watchman(watched(folder, parts), settings, "DUET")
    watchman.step(NOW)
    parts["engine"] = ""
    watchman.step(NOW + 2)
    hook.status = 200
    watchman.step(NOW + 5)  # not before its time
    assert hook.events == []
    again = Watchman(watched(folder, parts), settings, "DUET")  # and after a restart
    again.step(NOW + 11)
    assert hook.events == [("part", "begins"), ("part", "ends")]


def test_waits_between_tries_double_up_to_an_hour(folder: Any, hook: Hook) -> None:
    hook.status = 500
    watchman = Watchman(watched(folder, {"engine": "x"}), AlertSettings(webhook=hook.address, every_s=1e9), "DUET")
    now, waits = NOW, []
    for _ in range(12):
        watchman.step(now)
        letter = json.loads(folder.journal.fact(ALERTS_FACT))["letters"][0]
        waits.append(letter["next_try_at"] - now)
        now = letter["next_try_at"]
    assert waits == pytest.approx([10 * 2.0**n for n in range(9)] + [3600.0] * 3)


def test_nobody_who_listens_blocks_or_ends_nothing(folder: Any) -> None:
    settings = AlertSettings(webhook=f"http://127.0.0.1:{free_port()}/", every_s=1)
    watchman = Watchman(watched(folder, {"engine": "x"}), settings, "DUET")
    watchman.step(NOW)
    assert watchman.firing()["part"] == 1


def test_a_journal_that_is_away_ends_no_alert(folder: Any, hook: Hook) -> None:
    watchman = Watchman(watched(folder), AlertSettings(webhook=hook.address, every_s=1), "DUET")
    add_case(folder.journal, created_at=age(7))
    watchman.step(NOW)
    with folder.journal.writing() as connection:
        connection.exec_driver_sql("ALTER TABLE jobs RENAME TO away")
    watchman.step(NOW + 2)
    assert hook.events == [("queue", "begins")]
    with folder.journal.writing() as connection:
        connection.exec_driver_sql("ALTER TABLE away RENAME TO jobs")
    watchman.step(NOW + 4)
    assert hook.events == [("queue", "begins")]


def test_without_a_channel_the_log_alone_tells_it(folder: Any) -> None:
    watchman = Watchman(watched(folder, {"engine": "x"}), AlertSettings(), "DUET")
    with capture_logs() as lines:
        watchman.step(NOW)
    assert "alert begins" in [line["event"] for line in lines]
    assert json.loads(folder.journal.fact(ALERTS_FACT))["letters"] == []
