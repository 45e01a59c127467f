"""What Prometheus reads: numbers of the journal, the disk, the node's parts and what it has counted; nothing of a patient."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from service.counts import BUCKETS_S, BYTES, CASE_FAILURES, OBJECTS
from service.journal import Journal
from service.standings import Standings, done_cases, durations, standings
from service.watched import Watched

if TYPE_CHECKING:
    from prometheus_client.core import Metric

KEEP_S = 10.0  # so long an answer is given again: many who scrape cost no more than one


class Durations:
    """How long cases took that were finished since the node began; the rows of earlier ones are never read."""

    def __init__(self) -> None:
        self._seen: set[int] | None = None
        self._below = [0] * (len(BUCKETS_S) + 1)
        self._sum = 0.0

    def look(self, journal: Journal) -> None:
        """Add what has been finished since the last look."""
        done = done_cases(journal)
        new = done - (done if self._seen is None else self._seen)
        for seconds in durations(journal, new) if new else ():
            self._below[bisect_left(BUCKETS_S, seconds)] += 1
            self._sum += seconds
        self._seen = done | (self._seen or set())

    def buckets(self) -> tuple[list[tuple[str, float]], float]:
        """(upper limit, how many took no longer), as Prometheus wants it, and the sum of all."""
        total, found = 0, []
        for limit, count in zip((*map(str, BUCKETS_S), "+Inf"), self._below, strict=True):
            total += count
            found.append((limit, float(total)))
        return found, self._sum


class Scrape:
    """The text that is scraped, made anew at most every KEEP_S."""

    def __init__(self, watched: Watched) -> None:
        from prometheus_client import CollectorRegistry

        self._watched, self._durations, self._guard = watched, Durations(), threading.Lock()
        self._kept, self._until = b"", 0.0
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def text(self) -> bytes:
        from prometheus_client import generate_latest

        with self._guard:
            if time.monotonic() >= self._until:
                self._kept = generate_latest(self._registry)
                self._until = time.monotonic() + KEEP_S
            return self._kept

    def collect(self) -> Iterator[Metric]:
        """Every metric (the protocol of prometheus_client)."""
        watched, begun = self._watched, time.perf_counter()
        yield from _of_the_process(watched)
        known = None
        try:
            known = standings(watched.journal)
            self._durations.look(watched.journal)
        except SQLAlchemyError:
            pass  # duet_journal_up says it
        yield _gauge("journal_up", "1 where the journal could be read.", known is not None)
        if known is None:
            return
        yield from _of_the_journal(known)
        yield from _of_what_waits(known)
        yield self._histogram()
        yield _gauge("journal_read_seconds", "How long this reading of the journal took.", time.perf_counter() - begun)

    def _histogram(self) -> Metric:
        from prometheus_client.core import HistogramMetricFamily

        buckets, total = self._durations.buckets()
        words = "Seconds from a case's entry to its results, of cases finished since the node began."
        return HistogramMetricFamily("duet_case_duration_seconds", words, buckets=buckets, sum_value=total)


def _of_the_process(watched: Watched) -> Iterator[Metric]:
    yield _gauge("build_info", "1; the label is the version.", {version("duet-node"): 1}, "version")
    yield _gauge("start_time_seconds", "When the node began, in seconds since 1970.", watched.began_at)
    counts = watched.counts
    objects = dict.fromkeys(("stored", "refused", "failed"), 0.0) | dict(counts.of(OBJECTS))
    yield _counter("objects_received", "Objects by what the door answered, since the node began.", objects, "outcome")
    yield _counter("received_bytes", "Bytes of the objects that were stored, since the node began.", counts.of(BYTES))
    yield _counter("case_failures", "How often duet itself failed on a case, since the node began.", counts.of(CASE_FAILURES))
    with suppress(OSError):  # the metric is then absent, which a rule of Prometheus sees
        yield _gauge("disk_free_bytes", "Free bytes where the data lie.", watched.free_bytes)
    yield _gauge("disk_floor_bytes", "Below so many free bytes nothing is received.", watched.floor_bytes)
    yield _gauge("door_up", "1 where the DICOM door is open.", watched.door())
    parts = {part: not trouble for part, trouble in watched.parts().items()}
    yield _gauge("part_up", "1 where a part of the node works, 0 where it waits for what is away.", parts, "part")
    yield _gauge("alerts_firing", "Alerts of the node itself that hold, by kind.", watched.alerts(), "alert")


def _of_the_journal(known: Standings) -> Iterator[Metric]:
    yield _gauge("objects", "Objects in the journal by state.", known.objects, "state")
    yield _gauge("associations_open", "Associations that are open and have sent an object.", known.associations["open"])
    ended = {ending: count for ending, count in known.associations.items() if ending != "open"}
    yield _counter("associations", "Associations that have sent an object, by how they ended.", ended, "ending")
    yield _gauge("studies", "Studies by state.", known.studies, "state")
    yield _gauge("cases", "Cases by state; held: by their data; on_hold: by a quality check.", known.cases, "state")
    yield _gauge("deliveries", "Objects on their way by destination and state.", known.deliveries, ("destination", "state"))


def _of_what_waits(known: Standings) -> Iterator[Metric]:
    now = time.time()
    queued, held = _age(known.queued_since, now), _age(min(known.held.values(), default=None), now)
    yield _gauge("queue_oldest_seconds", "Age of the oldest case that waits for its analysis; 0: none waits.", queued)
    yield _gauge("held_oldest_seconds", "Since when the oldest case is held; 0: none is.", held)
    ages = {destination: 0.0 for destination, _ in known.deliveries}
    ages |= {destination: _age(since, now) for destination, since in known.undelivered.items()}
    words = "Age of the oldest case of which a destination is owed an object; 0: nothing is owed."
    yield _gauge("undelivered_oldest_seconds", words, ages, "destination")


def _age(since: float | None, now: float) -> float:
    return 0.0 if since is None else max(0.0, now - since)


Values = float | Mapping[str, float] | Mapping[str, int] | Mapping[str, bool] | Mapping[tuple[str, str], int]


def _gauge(name: str, words: str, values: Values, label: str | Sequence[str] = ()) -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    if not isinstance(values, Mapping):
        return GaugeMetricFamily(f"duet_{name}", words, value=float(values))
    metric = GaugeMetricFamily(f"duet_{name}", words, labels=[label] if isinstance(label, str) else label)
    for key, value in values.items():
        metric.add_metric([key] if isinstance(key, str) else list(key), float(value))
    return metric


def _counter(name: str, words: str, values: Mapping[str, float] | Mapping[str, int], label: str = "") -> Metric:
    """One number for each label, or one in all where there is none."""
    from prometheus_client.core import CounterMetricFamily

    if not label:
        return CounterMetricFamily(f"duet_{name}", words, value=float(sum(values.values())))
    metric = CounterMetricFamily(f"duet_{name}", words, labels=[label])
    for key, value in values.items():
        metric.add_metric([key], float(value))
    return metric
