"""Who runs a job: one engine at a time, on either database, and nobody for ever."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

from workforce import job_of, queue_job

from service import leases
from service.casebook import LEASE_S, claim
from service.journal import open_journal
from service.tables import JobState


def test_engines_that_claim_at_the_same_time_never_get_one_job(folder: Any, journal_address: str) -> None:
    for number in range(40):
        queue_job(folder.journal, f"2.25.{number}", [])
    journals = [open_journal(journal_address, folder.data) for _ in range(4)]  # as in four processes
    taken: list[tuple[str, int]] = []

    def work(number: int) -> None:
        while job := claim(journals[number], 1.0, f"engine {number}"):
            taken.append((f"engine {number}", job.id))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for journal in journals:
        journal.close()
    assert Counter(job for _, job in taken) == dict.fromkeys(range(1, 41), 1)


def test_a_job_is_taken_from_an_engine_that_has_died_and_from_no_other(folder: Any) -> None:
    numbers = [queue_job(folder.journal, f"2.25.{number}", []) for number in range(2)]
    for name in ("lives", "dies"):
        assert claim(folder.journal, 1.0, name) is not None
    assert leases.renew(folder.journal, "lives", numbers[:1], LEASE_S) == 0
    assert leases.renew(folder.journal, "lives", numbers[:1], LEASE_S + 2) == 1
    assert [job_of(folder.journal, number).state for number in numbers] == [JobState.RUNNING, JobState.QUEUED]
    assert job_of(folder.journal, numbers[1]).failures == 0


def test_a_job_that_its_engine_never_heard_of_is_queued_again(folder: Any) -> None:
    """The answer to the claim was lost with the connection."""
    number = queue_job(folder.journal, "2.25.1", [])
    claim(folder.journal, 1.0, "engine")
    assert leases.renew(folder.journal, "engine", [], LEASE_S) == 0
    assert leases.renew(folder.journal, "engine", [], LEASE_S + 2) == 1
    assert job_of(folder.journal, number).state is JobState.QUEUED


def test_what_is_given_back_keeps_its_failures(folder: Any) -> None:
    number = queue_job(folder.journal, "2.25.1", [])
    claim(folder.journal, 1.0)
    leases.give_back(folder.journal, number, 7.0)
    job = job_of(folder.journal, number)
    assert (job.state, job.failures, job.next_try_at) == (JobState.QUEUED, 0, 7.0)
    leases.give_back(folder.journal, number, 9.0)
    assert job_of(folder.journal, number).next_try_at == 7.0, "it is not running"
