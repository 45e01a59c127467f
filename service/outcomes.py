"""What the journal knows of each case's findings."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select

from service.journal import Journal
from service.tables import jobs, outcomes


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A case's verdict ("ok", "warn", "hold"), all its findings as in results.json, and its row for later comparison."""

    verdict: str
    findings: tuple[Mapping[str, Any], ...]
    measures: Mapping[str, Any]


def record(connection: Connection, job_id: int, outcome: Outcome, now: float) -> None:
    """Add a case's outcome within the caller's transaction, where it is not known yet."""
    values = {
        "verdict": outcome.verdict,
        "findings": json.dumps(outcome.findings),
        "measures": json.dumps(outcome.measures),
    }
    mine = select(outcomes).where(outcomes.c.job_id == job_id).order_by(outcomes.c.id.desc()).limit(1)
    known = connection.execute(mine).first()
    if known is None or any(known._mapping[name] != value for name, value in values.items()):
        connection.execute(outcomes.insert().values(job_id=job_id, made_at=now, **values))


def newest(connection: Connection) -> int:
    """What a job that is claimed now may be compared with: every outcome up to this one."""
    return int(connection.execute(select(func.coalesce(func.max(outcomes.c.id), 0))).scalar_one())


def outcomes_of(journal: Journal, patient_id: str | None = None) -> dict[int, Outcome]:
    """Job > its newest outcome, of one patient or of all."""
    query = select(outcomes).order_by(outcomes.c.id)
    if patient_id is not None:
        query = query.join(jobs, jobs.c.id == outcomes.c.job_id).where(jobs.c.patient_id == patient_id)
    with journal.reading() as connection:
        return dict(_outcomes(connection, query))


def newest_outcomes(journal: Journal, job_ids: Sequence[int]) -> dict[int, Outcome]:
    """The same of these jobs."""
    query = select(outcomes).where(outcomes.c.job_id.in_(job_ids)).order_by(outcomes.c.id)
    with journal.reading() as connection:
        return dict(_outcomes(connection, query))


def _outcomes(connection: Connection, query: Any) -> Iterator[tuple[int, Outcome]]:
    for row in connection.execute(query):
        findings, measures = json.loads(row.findings), json.loads(row.measures)
        yield row.job_id, Outcome(verdict=row.verdict, findings=tuple(findings), measures=measures)
