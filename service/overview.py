"""What the node knows, in lines that a radiographer understands."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import func, select

from service import casebook, postings
from service.casebook import JobRow, StudyRow
from service.journal import Journal
from service.postings import DeliveryCount
from service.tables import InstanceState, JobState, StudyState, instances

_JOB_WORDS = {
    JobState.QUEUED: "waiting for its turn",
    JobState.RUNNING: "running",
    JobState.DONE: "returned",
    JobState.HELD: "held",
    JobState.PARKED: "parked: an operator must look",
    JobState.WITHDRAWN: "withdrawn",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of `duet status`."""

    patient_id: str
    what: str
    state: str
    sentence: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Studies, cases, and what belongs to no patient. objects: received so far, by what became of them."""

    lines: tuple[Line, ...]
    objects: dict[str, int]


def overview(journal: Journal, patient_id: str | None = None) -> Overview:
    """Everything about one patient, or about all."""
    lines = [_study_line(row) for row in casebook.studies_of(journal, patient_id)]
    arrived = postings.counts(journal, patient_id)
    for job in casebook.jobs_of(journal, patient_id):
        lines.append(_job_line(job, [count for count in arrived if count.job_id == job.id]))
    lines.sort(key=lambda line: line.patient_id)
    if patient_id is None:
        lines += _unused(journal)
    return Overview(lines=tuple(lines), objects=_objects(journal))


def _study_line(row: StudyRow) -> Line:
    what = f"{row.tracer or 'unknown'} study of {_date(row.study_date)}, {row.instances} objects"
    if row.settled:
        return Line(patient_id=row.patient_id, what=what, state=row.state, sentence=row.sentence)
    cut = " The sender was cut off and may have more to send." if row.cut_off else ""
    last = time.strftime("%H:%M:%S", time.localtime(row.last_received_at))
    return Line(patient_id=row.patient_id, what=what, state=StudyState.RECEIVING, sentence=f"Last object at {last}.{cut}")


def _job_line(job: JobRow, counts: list[DeliveryCount]) -> Line:
    what = f"case, version {job.version}"
    if job.state is JobState.DONE:
        return Line(patient_id=job.patient_id, what=what, state=_arrival(counts), sentence=_deliveries(counts))
    sentence = job.sentence or job.progress
    return Line(patient_id=job.patient_id, what=what, state=_JOB_WORDS[job.state], sentence=sentence)


def _arrival(counts: list[DeliveryCount]) -> str:
    everywhere = counts and all(count.delivered == count.total for count in counts)
    return "delivered" if everywhere else "returned"


def _deliveries(counts: list[DeliveryCount]) -> str:
    if not counts:
        return "No [[destination]] is set: the results stay in the case folder."
    return " ".join(f"{c.destination}: {c.delivered} of {c.total}. {c.sentence}".strip() for c in counts)


def _unused(journal: Journal) -> list[Line]:
    """Objects that are kept and not used, by the sentence that says why."""
    query = (
        select(instances.c.state, instances.c.sentence, func.count(), func.min(instances.c.path))
        .where(instances.c.state.in_([InstanceState.IGNORED, InstanceState.REJECTED]))
        .group_by(instances.c.state, instances.c.sentence)
        .order_by(instances.c.state, instances.c.sentence)
    )
    with journal.reading() as connection:
        rows = connection.execute(query).all()
    return [
        Line(patient_id="", what=f"{count} object(s), for instance {path}", state=str(state), sentence=sentence)
        for state, sentence, count, path in rows
    ]


def _objects(journal: Journal) -> dict[str, int]:
    with journal.reading() as connection:
        rows = connection.execute(select(instances.c.state, func.count()).group_by(instances.c.state)).all()
    return {str(state): int(count) for state, count in rows}


def _date(date: str) -> str:
    return f"{date[:4]}-{date[4:6]}-{date[6:]}" if len(date) == 8 else "unknown date"
