"""What Prometheus reads, by Prometheus' own parser, from a journal whose rows are counted by hand."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from journals import add_association, add_case, add_delivery, add_outcome, add_release, add_study
from pages import served
from prometheus_client.parser import text_string_to_metric_families

from service import web_metrics
from service.casebook import HELD_BY_QUALITY
from service.counts import BUCKETS_S, BYTES, CASE_FAILURES, OBJECTS, Counts
from service.tables import DeliveryState, Ending, JobState, StudyState, jobs
from service.watched import Watched
from service.web_metrics import Durations, Scrape

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """(name, labels) > value; each name is of one family, and each family is explained."""
    found = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation
        assert family.type in ("gauge", "counter", "histogram"), family.name
        for sample in family.samples:
            found[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
    return found


def watched(folder: Any, **words: Any) -> Watched:
    return Watched(journal=folder.journal, data=folder.data, floor_gb=2.0, door=lambda: True, **words)


def scraped(folder: Any, **words: Any) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return samples(Scrape(watched(folder, **words)).text().decode())


def test_every_row_is_counted_where_it_belongs(folder: Any, scan: Any) -> None:
    now = time.time()
    folder.receive(scan(slices=3, modalities=("CT",)).datasets())
    add_association(folder.journal, Ending.OPEN)
    add_association(folder.journal, Ending.BROKEN)
    add_association(folder.journal, Ending.BROKEN)
    add_study(folder.journal, "1.1", instances=11)
    add_study(folder.journal, "1.2", state=StudyState.HELD)
    add_study(folder.journal, "1.3", state=StudyState.PAIRED)
    add_case(folder.journal, pair_uid="a", created_at=now - 500)
    add_case(folder.journal, pair_uid="b", created_at=now - 100)
    held = {"state": JobState.HELD, "reason": HELD_BY_QUALITY}
    on_hold = add_case(folder.journal, pair_uid="c", created_at=now - 9000, **held)
    add_outcome(folder.journal, on_hold, made_at=now - 700)
    released = add_case(folder.journal, pair_uid="d", created_at=now - 9000, **held)
    add_release(folder.journal, released)
    add_case(folder.journal, pair_uid="e", state=JobState.HELD, reason="NotAPair", created_at=now - 300)
    done = add_case(folder.journal, pair_uid="f", state=JobState.DONE, created_at=now - 5000, finished_at=now - 4000)
    add_delivery(folder.journal, done, "2.1", state=DeliveryState.COMMITTED)
    add_delivery(folder.journal, done, "2.2")
    add_delivery(folder.journal, done, "2.1", destination="cloud", state=DeliveryState.DELIVERED)
    found = scraped(folder)
    assert found["duet_objects", (("state", "new"),)] == 3
    assert found["duet_associations_open", ()] == 1
    assert found["duet_associations_total", (("ending", "broken"),)] == 2
    studies = {labels[0][1]: value for (name, labels), value in found.items() if name == "duet_studies"}
    assert studies == {"receiving": 1, "waiting": 0, "held": 1, "paired": 1, "parked": 0}
    cases = {labels[0][1]: value for (name, labels), value in found.items() if name == "duet_cases"}
    none = {"running": 0, "parked": 0, "withdrawn": 0}
    assert cases == {"queued": 2, "done": 1, "held": 1, "on_hold": 1, "releasing": 1, **none}
    assert found["duet_deliveries", (("destination", "pacs"), ("state", "pending"))] == 1
    assert found["duet_deliveries", (("destination", "cloud"), ("state", "pending"))] == 0
    assert found["duet_deliveries", (("destination", "pacs"), ("state", "committed"))] == 1
    assert found["duet_queue_oldest_seconds", ()] == pytest.approx(500, abs=30)
    assert found["duet_held_oldest_seconds", ()] == pytest.approx(700, abs=30)
    assert found["duet_undelivered_oldest_seconds", (("destination", "pacs"),)] == pytest.approx(4000, abs=30)
    assert found["duet_undelivered_oldest_seconds", (("destination", "cloud"),)] == 0
    assert found["duet_disk_floor_bytes", ()] == 2e9
    assert found["duet_journal_up", ()] == 1


def test_what_the_process_has_counted_is_told(folder: Any) -> None:
    counts = Counts()
    counts.add(OBJECTS, "stored")
    counts.add(OBJECTS, "stored")
    counts.add(OBJECTS, "refused")
    counts.add(BYTES, by=1000)
    counts.add(BYTES, by=24)
    counts.add(CASE_FAILURES)
    parts = {"intake": "", "engine": "waits for workers"}
    found = scraped(folder, counts=counts, parts=lambda: parts, alerts=lambda: {"disk": 1, "held": 0})
    outcomes = {labels[0][1]: value for (name, labels), value in found.items() if name == "duet_objects_received_total"}
    assert outcomes == {"stored": 2, "refused": 1, "failed": 0}
    assert found["duet_received_bytes_total", ()] == 1024
    assert found["duet_case_failures_total", ()] == 1
    assert found["duet_part_up", (("part", "engine"),)] == 0
    assert found["duet_part_up", (("part", "intake"),)] == 1
    assert found["duet_alerts_firing", (("alert", "disk"),)] == 1


def test_a_journal_that_is_away_is_told_and_hides_nothing_else(folder: Any) -> None:
    with folder.journal.writing() as connection:
        connection.exec_driver_sql("DROP TABLE deliveries")
    found = scraped(folder)
    assert found["duet_journal_up", ()] == 0
    assert found["duet_door_up", ()] == 1
    assert not any(name == "duet_cases" for name, _ in found)


def test_durations_are_those_of_cases_finished_since_the_beginning(folder: Any) -> None:
    add_case(folder.journal, pair_uid="old", state=JobState.DONE, created_at=0.0, finished_at=1e6)
    durations = Durations()
    durations.look(folder.journal)
    running = add_case(folder.journal, pair_uid="r", state=JobState.RUNNING, created_at=100.0)
    for uid, seconds in (("a", 15.0), ("b", 15.1), ("c", 1e6)):
        add_case(folder.journal, pair_uid=uid, state=JobState.DONE, created_at=100.0, finished_at=100.0 + seconds)
    durations.look(folder.journal)
    durations.look(folder.journal)  # nothing is counted twice
    buckets, total = durations.buckets()
    assert [limit for limit, _ in buckets] == [*map(str, BUCKETS_S), "+Inf"]
    assert [count for _, count in buckets] == [1.0] + [2.0] * (len(BUCKETS_S) - 1) + [3.0]
    assert total == pytest.approx(15.0 + 15.1 + 1e6)
    with folder.journal.writing() as connection:  # the earliest number is the last to end
        connection.execute(jobs.update().where(jobs.c.id == running).values(state=JobState.DONE, finished_at=130.0))
    durations.look(folder.journal)
    assert durations.buckets()[0][1] == ("30.0", 3.0)


def test_many_who_scrape_at_once_cost_one_reading(folder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    scrape = Scrape(watched(folder))
    first = scrape.text()
    add_study(folder.journal, "1.1")
    assert scrape.text() == first
    monkeypatch.setattr(web_metrics, "KEEP_S", 0.0)
    fresh = Scrape(watched(folder))
    fresh.text()
    add_study(folder.journal, "1.2")
    assert samples(fresh.text().decode())["duet_studies", (("state", "waiting"),)] == 2


def test_no_metric_names_a_patient(folder: Any) -> None:
    add_study(folder.journal, "1.2.3.99", patient_id="SECRET-ID", sentence="SECRET-ID is odd")
    add_case(folder.journal, patient_id="SECRET-ID", fdg_study="1.2.3.99", sentence="SECRET-ID")
    with served(folder.journal, folder.data) as site:
        answer = site.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "SECRET" not in answer.text
    assert "1.2.3.99" not in answer.text


def names_in(text: str) -> set[str]:
    return set(re.findall(r"\bduet_[a-z_]+", text))


def exposed(folder: Any) -> set[str]:
    """Every metric of a node that has something of everything."""
    add_association(folder.journal)
    done = add_case(folder.journal, state=JobState.DONE, finished_at=2100.0)
    add_delivery(folder.journal, done, "2.1")
    return {name for name, _ in scraped(folder, parts=lambda: {"intake": ""}, alerts=lambda: {"disk": 0})}


def test_the_dashboard_asks_only_for_metrics_that_exist_and_shows_each(folder: Any) -> None:
    board = json.loads((DEPLOY / "grafana-dashboard.json").read_text(encoding="utf-8"))
    there, asked = exposed(folder), set()
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    for panel in panels:
        assert panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}"
        for target in panel["targets"]:
            assert names_in(target["expr"]), panel["title"]
            asked |= names_in(target["expr"])
    assert asked - there == set()
    unseen = {name for name in there - asked if not name.endswith(("_count", "_sum", "_created"))}
    assert unseen == set()
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    places = [panel["gridPos"] for panel in panels]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    cells = [(x, y) for p in places for x in range(p["x"], p["x"] + p["w"]) for y in range(p["y"], p["y"] + p["h"])]
    assert len(set(cells)) == len(cells)  # nothing lies upon another


def test_the_rules_ask_only_for_metrics_that_exist(folder: Any) -> None:
    yaml = pytest.importorskip("yaml")
    rules = yaml.safe_load((DEPLOY / "prometheus-alerts.yaml").read_text(encoding="utf-8"))
    there = exposed(folder)
    listed = [rule for group in rules["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in listed}) == len(listed) >= 8
    for rule in listed:
        assert names_in(rule["expr"]) - there == set(), rule["alert"]
        assert rule["annotations"]["summary"]
        assert rule["labels"]["severity"] in ("warning", "critical")
