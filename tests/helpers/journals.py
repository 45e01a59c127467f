"""Rows of a journal in every state, as the parts of a node leave them, without a node."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from service.journal import Journal, open_journal
from service.tables import (
    DeliveryState,
    Ending,
    JobState,
    StudyState,
    associations,
    deliveries,
    jobs,
    outcomes,
    releases,
    studies,
)


@cache
def _empty() -> tuple[str, bytes]:
    """The name of SQLite's file, and what is in it when all migrations have run: a tenth of a second of a core."""
    with TemporaryDirectory(prefix="duet-journal-") as folder:
        open_journal("", Path(folder)).close()
        (made,) = Path(folder).iterdir()
        return made.name, made.read_bytes()


def new_journal(url: str, data: Path) -> Journal:
    """As open_journal where there is none yet; SQLite's is a copy of one that was made once for all tests of a process."""
    if not url:
        name, content = _empty()
        (data / name).write_bytes(content)
    return open_journal(url, data)


def add_study(journal: Journal, uid: str, **words: Any) -> str:
    """A study of patient P1 that waits for its partner, but for what words say."""
    row: dict[str, Any] = {
        "study_instance_uid": uid,
        "patient_id": "P1",
        "issuer": "",
        "study_date": "20260310",
        "tracer": "FDG",
        "state": StudyState.WAITING,
        "reason": "",
        "sentence": "",
        "instances": 10,
        "settled_instances": 10,
        "last_received_at": 1000.0,
    }
    with journal.writing() as connection:
        connection.execute(studies.insert().values(**row | words))
    return uid


def add_case(journal: Journal, **words: Any) -> int:
    """A queued case of the studies 1.1 and 1.2, but for what words say; returns its number."""
    row: dict[str, Any] = {
        "pair_uid": f"2.25.{id(words)}",
        "patient_id": "P1",
        "issuer": "",
        "fdg_study": "1.1",
        "pentixafor_study": "1.2",
        "version": 1,
        "inputs": '{"fdg": [], "pentixafor": []}',
        "state": JobState.QUEUED,
        "reason": "",
        "sentence": "",
        "progress": "",
        "failures": 0,
        "next_try_at": 2000.0,
        "created_at": 2000.0,
    }
    with journal.writing() as connection:
        inserted = connection.execute(jobs.insert().values(**row | words)).inserted_primary_key
    assert inserted is not None
    return int(inserted[0])


def add_delivery(journal: Journal, job_id: int, uid: str, **words: Any) -> None:
    """One object of a case, on its way to "pacs", but for what words say."""
    row: dict[str, Any] = {
        "job_id": job_id,
        "position": 0,
        "destination": "pacs",
        "sop_instance_uid": uid,
        "path": f"cases/{uid}.dcm",
        "state": DeliveryState.PENDING,
        "failures": 0,
        "next_try_at": 3000.0,
        "sentence": "",
    }
    with journal.writing() as connection:
        connection.execute(deliveries.insert().values(**row | words))


def add_outcome(journal: Journal, job_id: int, made_at: float = 2500.0) -> None:
    with journal.writing() as connection:
        row = {"job_id": job_id, "verdict": "hold", "findings": "[]", "measures": "{}", "made_at": made_at}
        connection.execute(outcomes.insert().values(**row))


def add_release(journal: Journal, job_id: int, why: str = "looked at", by: str = "Dr. X") -> None:
    with journal.writing() as connection:
        row = {"job_id": job_id, "released_by": by, "why": why, "released_at": 2600.0}
        connection.execute(releases.insert().values(**row))


def add_association(journal: Journal, ending: Ending = Ending.RELEASED, calling_ae: str = "SCANNER") -> int:
    with journal.writing() as connection:
        row = {"calling_ae": calling_ae, "address": "10.0.0.7", "opened_at": 900.0, "ending": ending}
        inserted = connection.execute(associations.insert().values(**row)).inserted_primary_key
    assert inserted is not None
    return int(inserted[0])
