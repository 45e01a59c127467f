"""What the node knows: every study, every case with its findings and its release, and what is kept without use."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import func, select

from service import casebook, cohorts, outcomes, postings, releases
from service.casebook import HELD_BY_QUALITY, JobRow, StudyRow
from service.cohorts import CohortRow
from service.journal import Journal
from service.outcomes import Outcome
from service.postings import DeliveryCount
from service.releases import ReleaseRow
from service.restorations import Restoration, restoration_of
from service.searches import search_of
from service.tables import InstanceState, JobState, StudyState, instances


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseView:
    """One case. outcome: None before its analysis, and of cases that an earlier duet finished."""

    job: JobRow
    outcome: Outcome | None = None
    release: ReleaseRow | None = None
    deliveries: tuple[DeliveryCount, ...] = ()

    @property
    def state(self) -> str:
        """The job's state in an operator's words."""
        if self.job.state is JobState.DONE:
            everywhere = self.deliveries and all(count.delivered == count.total for count in self.deliveries)
            return "delivered" if everywhere else "returned"
        if self.job.state is JobState.HELD and self.job.reason == HELD_BY_QUALITY:
            return "on hold" if self.release is None else "releasing"
        return str(self.job.state)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unused:
    """Objects that are kept and not used, all for one reason. example: the path of one."""

    state: str
    sentence: str
    count: int
    example: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CohortView:
    """The cohort's report. newest: its last version; refused: why the one that should follow cannot be made, or empty."""

    newest: CohortRow | None
    refused: str = ""
    deliveries: tuple[DeliveryCount, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Of one patient, or of all: studies and cases, oldest first. The rest is of all patients together."""

    studies: tuple[StudyRow, ...] = ()
    cases: tuple[CaseView, ...] = ()
    unused: tuple[Unused, ...] = ()
    objects: dict[str, int]
    cohort: CohortView | None = None
    restored: Restoration | None = None


def overview(journal: Journal, patient_id: str | None = None) -> Overview:
    """Everything about one patient, or about all."""
    found, released = outcomes.outcomes_of(journal, patient_id), releases.active_releases(journal, patient_id)
    arrived: dict[int, list[DeliveryCount]] = defaultdict(list)
    for count in postings.counts(journal, patient_id):
        arrived[count.job_id].append(count)
    cases = [
        CaseView(job=job, outcome=found.get(job.id), release=released.get(job.id), deliveries=tuple(arrived[job.id]))
        for job in casebook.jobs_of(journal, patient_id, inputs=False)
    ]
    return Overview(
        studies=tuple(_searched(journal, row) for row in casebook.studies_of(journal, patient_id)),
        cases=tuple(cases),
        unused=() if patient_id is not None else tuple(_unused(journal)),
        objects=_objects(journal),
        cohort=None if patient_id is not None else _cohort(journal),
        restored=restoration_of(journal),
    )


def _searched(journal: Journal, row: StudyRow) -> StudyRow:
    """A waiting study's sentence with what the archives said of its partner."""
    search = search_of(journal, row.study_instance_uid) if row.state is StudyState.WAITING else None
    return row if search is None else replace(row, sentence=f"{row.sentence} {search.sentence}")


def _cohort(journal: Journal) -> CohortView | None:
    newest, refused = cohorts.newest(journal), cohorts.refusal(journal)
    if newest is None and refused is None:
        return None
    counts = [count for count in postings.cohort_counts(journal) if newest is not None and count.job_id == newest.id]
    return CohortView(newest=newest, refused="" if refused is None else refused.sentence, deliveries=tuple(counts))


def _unused(journal: Journal) -> list[Unused]:
    query = (
        select(instances.c.state, instances.c.sentence, func.count(), func.min(instances.c.path))
        .where(instances.c.state.in_([InstanceState.IGNORED, InstanceState.REJECTED]))
        .group_by(instances.c.state, instances.c.sentence)
        .order_by(instances.c.state, instances.c.sentence)
    )
    with journal.reading() as connection:
        rows = connection.execute(query).all()
    return [Unused(state=str(state), sentence=sentence, count=count, example=path) for state, sentence, count, path in rows]


def _objects(journal: Journal) -> dict[str, int]:
    with journal.reading() as connection:
        rows = connection.execute(select(instances.c.state, func.count()).group_by(instances.c.state)).all()
    return {str(state): int(count) for state, count in rows}


def study_state(row: StudyRow) -> tuple[str, str]:
    """A study's state and sentence: what was settled, or that more may come."""
    if row.settled:
        return str(row.state), row.sentence
    cut = " The sender was cut off and may have more to send." if row.cut_off else ""
    last = time.strftime("%H:%M:%S", time.localtime(row.last_received_at))
    return str(StudyState.RECEIVING), f"Last object at {last}.{cut}"


def moment(seconds: float) -> str:
    """Seconds since 1970 as ISO 8601 in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def as_json(known: Overview, *, node_runs: bool) -> str:
    """For scripts; the keys stay as they are from version to version."""
    facts = {
        "node_runs": node_runs,
        "objects": known.objects,
        "studies": [_study_facts(row) for row in known.studies],
        "cases": [_case_facts(case) for case in known.cases],
        "unused": [
            {"state": each.state, "sentence": each.sentence, "objects": each.count, "example": each.example}
            for each in known.unused
        ],
        "cohort": None if known.cohort is None else _cohort_facts(known.cohort),
        "restored": known.restored
        and {"from_backup_of": moment(known.restored.made_at), "at": moment(known.restored.restored_at)},
    }
    return json.dumps(facts, indent=1, ensure_ascii=False)


def _cohort_facts(cohort: CohortView) -> dict[str, Any]:
    newest = cohort.newest
    return {
        "version": None if newest is None else newest.version,
        "cycles": None if newest is None else newest.cycles,
        "made_at": None if newest is None else moment(newest.made_at),
        "folder": None if newest is None else newest.folder,
        "refused": cohort.refused,
        "deliveries": [
            {"destination": c.destination, "delivered": c.delivered, "objects": c.total, **_stages(c), "sentence": c.sentence}
            for c in cohort.deliveries
        ],
    }


def _study_facts(row: StudyRow) -> dict[str, Any]:
    state, sentence = study_state(row)
    return {
        "patient_id": row.patient_id,
        "study_instance_uid": row.study_instance_uid,
        "study_date": row.study_date,
        "tracer": row.tracer,
        "objects": row.instances,
        "state": state,
        "reason": row.reason if row.settled else "",
        "sentence": sentence,
        "evidence": row.evidence if row.settled else "",
    }


def _case_facts(case: CaseView) -> dict[str, Any]:
    job, given = case.job, case.release
    return {
        "number": job.id,
        "uid": job.pair_uid,
        "patient_id": job.patient_id,
        "fdg_study": job.fdg_study,
        "pentixafor_study": job.pentixafor_study,
        "version": job.version,
        "state": case.state,
        "reason": job.reason,
        "sentence": job.sentence,
        "progress": job.progress,
        "folder": f"cases/{job.pair_uid}",
        "verdict": case.outcome.verdict if case.outcome else None,
        "findings": list(case.outcome.findings) if case.outcome else [],
        "release": given and {"by": given.released_by, "at": moment(given.released_at), "why": given.why},
        "deliveries": [
            {"destination": c.destination, "delivered": c.delivered, "total": c.total, **_stages(c), "sentence": c.sentence}
            for c in case.deliveries
        ],
    }


def _stages(count: DeliveryCount) -> dict[str, int]:
    return {"stored": count.stored, "committed": count.committed}
