"""The journal's limits: writes from many threads, cases claimed and finished, and questions to one with many studies.

SQLite and PostgreSQL with their defaults, so that each commit is on disk. A million objects in 100,000 studies are made by
the database itself; what a node asks each half second is asked of them.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from operator import itemgetter
from pathlib import Path

from results import Figure, keep

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "helpers"))

from polled import POLLED, plans, scans
from postgres import running
from workforce import queue_job

from service import arrivals, casebook
from service.arrivals import Arrival
from service.journal import Journal, open_journal
from service.overview import as_json, overview

STUDIES, OBJECTS = 100_000, 10  # and so many objects a study
ROWS, CASES = 300, 150
SMALL = ("associations", "promises", "releases")

# Table > (rows of it for each study, its columns and their values by the number n); finished cases of pairs of studies.
_FILL = {
    "studies": (
        1,
        """study_instance_uid, patient_id, issuer, study_date, tracer, state, reason, sentence, instances, settled_instances,
        last_received_at""",
        """'1.2.' || n, 'P' || (n / 2), '', '20260101', 'FDG', 'paired', '', '', 10, 10, 5.0""",
    ),
    "jobs": (
        0.5,
        """pair_uid, patient_id, issuer, fdg_study, pentixafor_study, version, inputs, state, reason, sentence, progress,
        failures, next_try_at, created_at, ranks_at""",
        """'2.25.' || n, 'P' || n, '', '1.2.' || (2 * n), '1.2.' || (2 * n + 1), 1, '{}', 'done', '', '', '', 0, 0, 0, 0""",
    ),
    "deliveries": (
        3,
        """position, destination, sop_instance_uid, path, state, failures, next_try_at, sentence, asks, refusals, job_id""",
        """n % 6, 'pacs', '2.25.8.' || n, 'cases/' || n, 'delivered', 0, 0, '', 0, 0, (SELECT min(id) FROM jobs) + n / 6""",
    ),
    "instances": (
        OBJECTS,
        """sop_instance_uid, sop_class_uid, digest, path, received_at, state, sentence, study_instance_uid,
        series_instance_uid, modality""",
        """'1.2.826.0.1.3680043.8.498.12345678901234567890' || (1000000 + n), '1.2.840.10008.5.1.4.1.1.128',
        '012345678901234567890123456789012345678901234567890123456' || (1000000 + n),
        'inbox/ab/01234567890123456' || (1000000 + n) || '-0123456789abcdef.dcm', 5.0, 'filed', '', '1.2.' || (n / 10),
        '1.2.826.0.1.3680043.8.498.12345678901234567890.1', 'PT'""",
    ),
}


@contextlib.contextmanager
def databases(folder: Path) -> Iterator[dict[str, str]]:
    found = {"SQLite": f"sqlite:///{folder / 'journal.sqlite'}"}
    program = max(Path("/usr/lib/postgresql").glob("*/bin/postgres"), default=None)
    if program is None:
        yield found
        return
    with running(program, {}) as server, server.database() as url:
        yield {**found, "PostgreSQL": url}


def rate(work: Callable[[int], object], count: int, threads: int) -> float:
    began = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(count)))
    return count / (time.perf_counter() - began)


def record(journal: Journal, name: str) -> Callable[[int], None]:
    def one(number: int) -> None:
        uid = f"2.{name}.{number}"
        arrival = Arrival(sop_class_uid="1.2", sop_instance_uid=uid, digest=uid, path=uid, received_at=1.0)
        arrivals.record(journal, arrival)

    return one


def cases(journal: Journal) -> float:
    """Cases a second that an engine claims and finishes, one after the other."""
    for number in range(CASES):
        queue_job(journal, f"2.26.{number}", [])
    began = time.perf_counter()
    while job := casebook.claim(journal, 1.0, "bench"):
        casebook.finish(journal, job.id, [], 2.0)
    return CASES / (time.perf_counter() - began)


def fill(journal: Journal) -> None:
    """Each table from the numbers below its count."""
    with journal.writing() as connection:
        server = connection.dialect.name == "postgresql"
        for table, (each, columns, values) in _FILL.items():
            most = int(STUDIES * each) - 1
            walk = f"SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < {most}"  # noqa: S608  all of it stands above
            numbers = f"SELECT generate_series(0, {most})" if server else walk
            query = f"WITH RECURSIVE numbers(n) AS ({numbers}) SELECT {values} FROM numbers"  # noqa: S608
            words = f"INSERT INTO {table} ({columns}) {query}"
            connection.exec_driver_sql(words.replace("%", "%%") if server else words)
    if server:  # its autovacuum does so by itself; SQLite is never told
        with journal.writing() as connection:
            connection.exec_driver_sql("ANALYZE")


def size_of_objects(journal: Journal, folder: Path) -> float:
    """Bytes of the journal for each object, indexes included."""
    with journal.reading() as connection:
        if connection.dialect.name == "postgresql":
            return float(connection.exec_driver_sql("SELECT pg_total_relation_size('instances')").scalar_one()) / (
                STUDIES * OBJECTS
            )
    return (folder / "journal.sqlite").stat().st_size / (STUDIES * OBJECTS)


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def polled(name: str, journal: Journal) -> Iterator[Figure]:
    """The slowest of the questions, and how many of them look at every row of a large table."""
    times = {what: 1e3 * min(timed(partial(ask, journal)) for _ in range(3)) for what, ask in POLLED.items()}
    slowest, longest = max(times.items(), key=itemgetter(1))
    yield Figure(
        what=f"{name}: the slowest of {len(times)} questions that are asked again and again ({slowest})",
        ours=longest,
        unit="ms",
        target="20 ms",
        met=longest <= 20,
    )
    walked = [what for what, ask in POLLED.items() if any(_large(line) for line in scans(plans(journal, ask)))]
    yield Figure(
        what=f"{name}: questions that look at every row {', '.join(walked)}",
        ours=len(walked),
        unit="",
        target="none",
        met=not walked,
    )


def _large(step: str) -> bool:
    return not any(table in step for table in SMALL)


def measure(name: str, journal: Journal, folder: Path) -> Iterator[Figure]:
    for threads in (1, 4, 16):
        speed = rate(record(journal, f"{threads}"), ROWS, threads)
        yield Figure(what=f"{name}: objects recorded, {threads} association(s)", ours=speed, unit="/s")
    yield Figure(what=f"{name}: cases claimed and finished", ours=cases(journal), unit="/s")
    with journal.writing() as connection:
        for table in ("instances", "jobs"):
            connection.exec_driver_sql(f"DELETE FROM {table}")  # noqa: S608
    fill(journal)
    yield Figure(what=f"{name}: journal for each object", ours=size_of_objects(journal, folder), unit="bytes")
    yield from polled(name, journal)
    everything = timed(lambda: as_json(overview(journal), node_runs=True))
    yield Figure(what=f"{name}: duet status --json, {STUDIES} studies", ours=everything, unit="s")
    yield Figure(what=f"{name}: duet status PATIENT", ours=timed(lambda: overview(journal, "P7")) * 1e3, unit="ms")


def main() -> int:
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder, databases(Path(folder)) as found:
        for name, url in found.items():
            journal = open_journal(url, Path(folder))
            figures += measure(name, journal, Path(folder))
            journal.close()
    keep("Journal", figures, f"{STUDIES} studies of {OBJECTS} objects; every commit is on disk before it returns.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
