"""What the journal knows of studies and of the jobs that pairs of them become."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, and_, func, literal, or_, select, update

from service import arrivals
from service.arrivals import Note
from service.journal import Journal
from service.outcomes import Outcome, newest, record
from service.postings import Posting, post
from service.tables import Ending, JobState, StudyState, associations, jobs, releases, studies


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyRow:
    """One study with PET or CT; cut_off: its last association broke, so its sender may have more to send.

    checked_instances: how many it had when it was last looked at; evidence: why it was taken as whole, in words.
    """

    study_instance_uid: str
    patient_id: str
    issuer: str
    study_date: str
    tracer: str
    state: StudyState
    reason: str
    sentence: str
    instances: int
    settled_instances: int
    last_received_at: float
    cut_off: bool
    checked_instances: int = 0
    evidence: str = ""

    @property
    def settled(self) -> bool:
        """Whether its state rests on all that was received."""
        return self.instances == self.settled_instances


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """What intake says of one study after looking at its objects. instances: how many are part of it; notes: on each file;
    evidence: why no more are awaited."""

    study_instance_uid: str
    instances: int
    state: StudyState
    reason: str = ""
    sentence: str = ""
    tracer: str = ""
    notes: Sequence[Note] = ()
    evidence: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A pair that is to be analysed. inputs: the files that are measured, by "fdg" and "pentixafor"."""

    pair_uid: str
    fdg_study: str
    pentixafor_study: str
    inputs: Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRow:
    """One case on its way. failures: how often duet itself failed on it; batch_upto: the newest outcome when it was begun."""

    id: int
    pair_uid: str
    patient_id: str
    fdg_study: str
    pentixafor_study: str
    version: int
    state: JobState
    reason: str
    sentence: str
    progress: str
    failures: int
    next_try_at: float
    batch_upto: int | None
    inputs: str = field(repr=False)

    @property
    def finished(self) -> bool:
        """Whether its results exist, delivered or held back by a quality check."""
        return self.state is JobState.DONE or (self.state is JobState.HELD and self.reason == HELD_BY_QUALITY)

    def paths(self, which: str) -> tuple[str, ...]:
        return tuple(json.loads(self.inputs)[which])


LONGEST_NUMBER = 10  # digits of a case's number that a database takes
HELD_BY_QUALITY = "Quality"  # the reason of a job whose results exist and are not delivered unseen

_STUDY = [c for c in studies.c if c.name != "last_association_id"]
_STUDY_VIEW = select(*_STUDY, func.coalesce(associations.c.ending == Ending.BROKEN, False).label("cut_off")).outerjoin(
    associations, associations.c.id == studies.c.last_association_id
)
_JOB = [c for c in jobs.c if c.name in JobRow.__dataclass_fields__]


def _study(row: Mapping[Any, Any]) -> StudyRow:
    values = dict(row)
    values["cut_off"] = bool(values["cut_off"])
    return StudyRow(**{**values, "state": StudyState(str(values["state"]))})


def _job(row: Mapping[Any, Any]) -> JobRow:
    return JobRow(**{**row, "state": JobState(str(row["state"]))})


def unsettled(journal: Journal) -> list[StudyRow]:
    """Studies that have received more than their state rests on."""
    with journal.reading() as connection:
        query = _STUDY_VIEW.where(studies.c.instances != studies.c.settled_instances)
        return [_study(row._mapping) for row in connection.execute(query)]


def studies_of(journal: Journal, patient_id: str | None = None, issuer: str | None = None) -> list[StudyRow]:
    """The studies of one patient, or of all, oldest first."""
    query = _STUDY_VIEW.order_by(studies.c.patient_id, studies.c.study_date, studies.c.study_instance_uid)
    if patient_id is not None:
        query = query.where(studies.c.patient_id == patient_id)
    if issuer is not None:
        query = query.where(studies.c.issuer == issuer)
    with journal.reading() as connection:
        return [_study(row._mapping) for row in connection.execute(query)]


def waiting_for_partner(journal: Journal) -> list[StudyRow]:
    """Studies of a known tracer that are whole and wait for one of the other, oldest first."""
    waits = (studies.c.state == StudyState.WAITING, studies.c.reason == "", studies.c.tracer != "", studies.c.patient_id != "")
    query = _STUDY_VIEW.where(*waits, studies.c.instances == studies.c.settled_instances).order_by(studies.c.last_received_at)
    with journal.reading() as connection:
        return [_study(row._mapping) for row in connection.execute(query)]


def unsettle_all(journal: Journal) -> None:
    """What was turned away is to be looked at again, because the rules or duet itself have changed."""
    with journal.writing() as connection:
        connection.execute(update(studies).where(studies.c.state != StudyState.PAIRED).values(settled_instances=-1))
        refused = and_(jobs.c.state == JobState.HELD, jobs.c.reason != HELD_BY_QUALITY)
        connection.execute(update(jobs).where(refused).values(state=JobState.QUEUED))


def unsettle(journal: Journal, study_instance_uid: str) -> None:
    """Something is known of a study that was not known when it was judged."""
    with journal.writing() as connection:
        mine = studies.c.study_instance_uid == study_instance_uid
        connection.execute(update(studies).where(mine).values(settled_instances=-1))


def remember_look(journal: Journal, row: StudyRow) -> None:
    """Nothing showed that a study is whole: with the objects it has now it is not looked at again before silence."""
    with journal.writing() as connection:
        mine = studies.c.study_instance_uid == row.study_instance_uid
        connection.execute(update(studies).where(mine).values(checked_instances=row.instances))


def settle(journal: Journal, rulings: Sequence[Ruling], cases: Sequence[Case], now: float) -> None:
    """Write what was decided for one patient: the states of the studies, new jobs, and jobs that no longer hold."""
    with journal.writing() as connection:
        for ruling in rulings:
            arrivals.note(connection, ruling.notes)
            values = {
                "instances": ruling.instances,
                "settled_instances": ruling.instances,
                "state": ruling.state,
                "reason": ruling.reason,
                "sentence": ruling.sentence,
                "tracer": ruling.tracer,
                "checked_instances": ruling.instances,
                "evidence": ruling.evidence,
            }
            mine = studies.c.study_instance_uid == ruling.study_instance_uid
            connection.execute(update(studies).where(mine).values(**values))
        _withdraw(connection, [r.study_instance_uid for r in rulings], [c.pair_uid for c in cases], now)
        for case in cases:
            _enter(connection, case, now)


def _withdraw(connection: Connection, study_uids: Sequence[str], still: Sequence[str], now: float) -> None:
    """Cases of these studies that no longer hold, and with them releases that were not carried out yet."""
    concerned = or_(jobs.c.fdg_study.in_(study_uids), jobs.c.pentixafor_study.in_(study_uids))
    unfinished = jobs.c.state.in_([JobState.QUEUED, JobState.RUNNING, JobState.HELD, JobState.PARKED])
    gone = select(jobs.c.id).where(concerned, unfinished, jobs.c.pair_uid.not_in(still))
    open_release = (releases.c.job_id.in_(gone), releases.c.withdrawn_at.is_(None))
    connection.execute(update(releases).where(*open_release).values(withdrawn_at=now))
    sentence = "The studies have changed since; their lines say why there is no case of them now, or see the newer version."
    withdrawn = {"state": JobState.WITHDRAWN, "reason": "Withdrawn", "sentence": sentence}
    connection.execute(update(jobs).where(jobs.c.id.in_(gone)).values(**withdrawn))


def _enter(connection: Connection, case: Case, now: float) -> None:
    known = connection.execute(select(*_JOB).where(jobs.c.pair_uid == case.pair_uid)).first()
    inputs = json.dumps({name: list(paths) for name, paths in case.inputs.items()})
    fresh = {"state": JobState.QUEUED, "reason": "", "sentence": "", "progress": "", "failures": 0, "next_try_at": now}
    if known is not None:
        if known.state == JobState.WITHDRAWN:
            connection.execute(update(jobs).where(jobs.c.id == known.id).values(**fresh, batch_upto=None))
        if not _job(known._mapping).finished:  # one version of a file may have taken the other's place
            connection.execute(update(jobs).where(jobs.c.id == known.id).values(inputs=inputs))
        return
    same = (jobs.c.fdg_study == case.fdg_study, jobs.c.pentixafor_study == case.pentixafor_study)
    earlier = connection.execute(select(func.count()).select_from(jobs).where(*same)).scalar_one()
    owner = connection.execute(
        select(studies.c.patient_id, studies.c.issuer).where(studies.c.study_instance_uid == case.fdg_study)
    ).one()
    connection.execute(
        jobs.insert().values(
            pair_uid=case.pair_uid,
            patient_id=owner.patient_id,
            issuer=owner.issuer,
            fdg_study=case.fdg_study,
            pentixafor_study=case.pentixafor_study,
            version=earlier + 1,
            inputs=inputs,
            created_at=now,
            **fresh,
        )
    )


def claim(journal: Journal, now: float) -> JobRow | None:
    """Take the next job that is due and mark it as running."""
    with journal.writing() as connection:
        due = (jobs.c.state == JobState.QUEUED, jobs.c.next_try_at <= now)
        row = connection.execute(select(*_JOB).where(*due).order_by(jobs.c.next_try_at, jobs.c.id).limit(1)).first()
        if row is None:
            return None
        upto = newest(connection) if row.batch_upto is None else row.batch_upto
        running = {"state": JobState.RUNNING, "progress": "", "batch_upto": upto}
        connection.execute(update(jobs).where(jobs.c.id == row.id).values(**running))
        return _job({**row._mapping, **running})


def report_progress(journal: Journal, job_id: int, progress: str) -> None:
    with journal.writing() as connection:
        mine = (jobs.c.id == job_id, jobs.c.state == JobState.RUNNING)
        connection.execute(update(jobs).where(*mine).values(progress=progress[:128]))


def finish(journal: Journal, job_id: int, postings: Sequence[Posting], now: float, outcome: Outcome | None = None) -> bool:
    """The results are on disk: mark the job as done and post them, together; False where it was withdrawn meanwhile."""
    with journal.writing() as connection:
        mine = (jobs.c.id == job_id, jobs.c.state == JobState.RUNNING)
        done = {"state": JobState.DONE, "reason": "", "sentence": "", "progress": "", "finished_at": now}
        if connection.execute(update(jobs).where(*mine).values(**done)).rowcount == 0:
            return False
        post(connection, job_id, postings, now)
        if outcome is not None:
            record(connection, job_id, outcome, now)
        return True


def hold(journal: Journal, job_id: int, sentence: str, outcome: Outcome, now: float) -> None:
    """The results are on disk, and a quality check keeps them here until an operator releases them."""
    with journal.writing() as connection:
        mine = (jobs.c.id == job_id, jobs.c.state == JobState.RUNNING)
        held = {"state": JobState.HELD, "reason": HELD_BY_QUALITY, "sentence": sentence, "progress": "", "failures": 0}
        if connection.execute(update(jobs).where(*mine).values(**held)).rowcount:
            record(connection, job_id, outcome, now)


def set_aside(journal: Journal, job_id: int, state: JobState, reason: str, sentence: str) -> None:
    """Hold or park a running job, with the sentence that an operator sees."""
    with journal.writing() as connection:
        mine = (jobs.c.id == job_id, jobs.c.state == JobState.RUNNING)
        connection.execute(update(jobs).where(*mine).values(state=state, reason=reason, sentence=sentence, progress=""))


def try_again(journal: Journal, job_id: int, sentence: str, next_try_at: float) -> None:
    """Queue a job again after duet itself failed on it."""
    with journal.writing() as connection:
        mine = (jobs.c.id == job_id, jobs.c.state == JobState.RUNNING)
        later = {
            "state": JobState.QUEUED,
            "sentence": sentence,
            "next_try_at": next_try_at,
            "failures": jobs.c.failures + 1,
            "progress": "",
        }
        connection.execute(update(jobs).where(*mine).values(**later))


def resume(journal: Journal, now: float, *, release_held: bool = False) -> None:
    """At start: what was running is run again, and what was parked is tried again, for that is why an operator starts anew.

    release_held: also cases that were held back by a quality check only, and that nobody has released.
    """
    again = {"state": JobState.QUEUED, "failures": 0, "next_try_at": now}
    with journal.writing() as connection:
        stopped = jobs.c.state.in_([JobState.RUNNING, JobState.PARKED])
        released = select(releases.c.job_id).where(releases.c.withdrawn_at.is_(None))
        unseen = and_(jobs.c.state == JobState.HELD, jobs.c.reason == HELD_BY_QUALITY)
        wanted = or_(stopped, and_(unseen, jobs.c.id.not_in(released))) if release_held else stopped
        connection.execute(update(jobs).where(unseen, jobs.c.id.in_(released)).values(next_try_at=now, failures=0))
        connection.execute(update(jobs).where(wanted).values(**again))
        connection.execute(update(studies).where(studies.c.state == StudyState.PARKED).values(settled_instances=-1))


def jobs_named(connection: Connection, case: str) -> list[JobRow]:
    """The case with this number, or those whose UID begins with the word; a UID has a dot, a number has none."""
    number = case.isascii() and case.isdecimal() and len(case) < LONGEST_NUMBER
    wanted = jobs.c.id == int(case) if number else jobs.c.pair_uid.startswith(case, autoescape=True)
    if not number and ("." not in case or not case.isascii()):
        return []
    return [_job(row._mapping) for row in connection.execute(select(*_JOB).where(wanted).order_by(jobs.c.id).with_for_update())]


def jobs_of(journal: Journal, patient_id: str | None = None, *, inputs: bool = True) -> list[JobRow]:
    """The jobs of one patient, or of all, newest last; inputs: False leaves their long lists of files empty."""
    columns = _JOB if inputs else [literal("").label("inputs") if c.name == "inputs" else c for c in _JOB]
    query = select(*columns).order_by(jobs.c.id)
    if patient_id is not None:
        query = query.where(jobs.c.patient_id == patient_id)
    with journal.reading() as connection:
        return [_job(row._mapping) for row in connection.execute(query)]
