"""Every study, case and delivery in one sentence: what it waits for, since when, why it is held, and what to do."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from sqlalchemy import Connection, func, or_, select

from service.casebook import HELD_BY_QUALITY, JobRow, StudyRow
from service.journal import Journal
from service.postings import DeliveryCount
from service.releases import ReleaseRow
from service.tables import DeliveryState, JobState, StudyState, associations, deliveries, jobs, outcomes, studies

T = TypeVar("T")

LONGEST_QUEUE = 10_000  # cases whose place is counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Seconds without a new object after which intake judges a study that does not show to be whole; patience_s: where its
    sender was cut off."""

    silence_s: float = 30.0
    patience_s: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """When a case was entered, finished, and last analysed (seconds since 1970)."""

    created_at: float
    finished_at: float | None
    analysed_at: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tries:
    """How the objects of one case stand that a destination is still owed."""

    failures: int = 0
    next_try_at: float | None = None
    parked: int = 0
    stored: int = 0
    ask_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What the rows themselves do not say. queue: case > how many are before it; senders: study > who sent last."""

    now: float
    patience: Patience = field(default_factory=Patience)
    moments: Mapping[int, Moments] = field(default_factory=dict)
    queue: Mapping[int, int] = field(default_factory=dict)
    tries: Mapping[tuple[int, str], Tries] = field(default_factory=dict)
    senders: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseFacts:
    """One case as far as its sentence goes."""

    job: JobRow
    release: ReleaseRow | None = None
    deliveries: Sequence[DeliveryCount] = ()


def when(seconds: float) -> str:
    """A moment as an operator at this machine reads it."""
    return time.strftime("%Y-%m-%d %H:%M %Z", time.localtime(seconds)).strip()


def counted(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def study_sentence(row: StudyRow, around: Circumstances, cases: Sequence[str] = ()) -> str:
    """What a study waits for or why it is held. cases: the sentences of those that it is part of, newest last."""
    if not row.settled:
        return _receiving(row, around)
    since, told = when(row.last_received_at), row.sentence.strip()
    if row.state is StudyState.WAITING and not row.reason and told.startswith("Waits for "):
        wanted = told.removeprefix("Waits for ").removesuffix(".")
        return f"Waiting since {since} for {wanted}; it is paired by itself when that arrives."
    if row.state is StudyState.PAIRED:
        return " ".join(filter(None, (cases[-1] if cases else f"Paired; complete since {since}.", told)))
    if row.state is StudyState.PARKED:
        return f"Parked since {since}; mend the cause and restart the node to have it looked at again: {told}"
    words = {StudyState.WAITING: "Waiting for objects", StudyState.HELD: "Held"}.get(row.state, str(row.state).capitalize())
    return f"{words} since {since}: {told or 'no reason is known.'}"


def _receiving(row: StudyRow, around: Circumstances) -> str:
    if row.settled_instances < 0:
        news = "an archive has counted it or the settings or duet itself have changed"
        return f"To be looked at anew, as {news}; {counted(row.instances, 'object')} here."
    sender = around.senders.get(row.study_instance_uid, "")
    whence = f" from {sender}" if sender else ""
    came = f"{counted(row.instances, 'object')} so far{whence}, the last at {when(row.last_received_at)}"
    patience = around.patience
    latest = f"at the latest {patience.silence_s:g} s"
    if row.cut_off:
        latest = f"and, as its sender was cut off and may come back, at the latest {patience.patience_s:g} s"
    soonest = f"as soon as it shows to be whole, {latest} after the last object"
    return f"Receiving: {came}; it is judged {soonest}, with the patient's other studies."


def case_sentence(facts: CaseFacts, around: Circumstances) -> str:
    """What a case waits for, why it is held, or where its results are."""
    job = facts.job
    moments = around.moments.get(job.id)
    since = f" since {when(moments.created_at)}" if moments else ""
    entered = f", entered at {when(moments.created_at)}" if moments else ""
    if job.state is JobState.QUEUED:
        return _queued(job, around, since)
    if job.state is JobState.RUNNING:
        return f"Case {job.id} is being analysed{entered}: {job.progress or 'it has just begun'}."
    if job.state is JobState.HELD:
        return _held(facts, around, since)
    if job.state is JobState.PARKED:
        return f"Case {job.id} is parked{entered}: {job.sentence}"
    if job.state is JobState.WITHDRAWN:
        return f"Case {job.id} is withdrawn: {job.sentence}"
    finished = f" at {when(moments.finished_at)}" if moments and moments.finished_at else ""
    return f"Case {job.id} was finished{finished}. {delivery_sentence(facts, around)}"


def _queued(job: JobRow, around: Circumstances, since: str) -> str:
    if job.failures:
        again = when(job.next_try_at)
        return f"Case {job.id} was tried {counted(job.failures, 'time')} and is tried again at {again}: {job.sentence}"
    ahead = around.queue.get(job.id)
    if ahead is None:
        return f"Case {job.id} waits for its analysis{since}."
    place = f"behind {counted(ahead, 'other case')}" if ahead else "and is the next"
    return f"Case {job.id} waits for its analysis{since}, {place}."


def _held(facts: CaseFacts, around: Circumstances, since: str) -> str:
    job, moments = facts.job, around.moments.get(facts.job.id)
    if job.reason != HELD_BY_QUALITY:
        return f"Case {job.id} is held{since} and nothing is sent of it: {job.sentence}"
    analysed = f" since {when(moments.analysed_at)}" if moments and moments.analysed_at else since
    if facts.release is None:
        return f"Case {job.id} is on hold{analysed}: nothing is sent of it before somebody has looked at it and released it."
    given = facts.release
    failed = f"; it was tried {counted(job.failures, 'time')}: {job.sentence}" if job.failures else "."
    return f"Case {job.id} was released at {when(given.released_at)} and its reports are written anew to be sent{failed}"


def delivery_sentence(facts: CaseFacts, around: Circumstances) -> str:
    """Where the results of a finished case are, destination by destination."""
    if not facts.deliveries:
        return f"No [[destination]] is set: its results stay in cases/{facts.job.pair_uid}."
    return " ".join(_to(count, around.tries.get((count.job_id, count.destination), Tries())) for count in facts.deliveries)


def _to(count: DeliveryCount, tries: Tries) -> str:
    stands = f"{count.destination}: {count.delivered} of {count.total}{committed(count)}."
    if count.delivered == count.total:
        return stands
    said = f": {count.sentence}" if count.sentence else "."
    if tries.parked:
        verb = "is" if tries.parked == 1 else "are"
        return f"{stands} {counted(tries.parked, 'object')} {verb} not tried again before duet resend {count.job_id}{said}"
    if count.stored == count.total:
        asks = f", asked for next at {when(tries.ask_at)}" if tries.ask_at is not None else ""
        return f"{stands} Its commitment is awaited{asks}{said}"
    if tries.failures and tries.next_try_at is not None:
        return f"{stands} Tried {counted(tries.failures, 'time')} in vain, next at {when(tries.next_try_at)}{said}"
    return f"{stands} The others are sent next."


def committed(count: DeliveryCount) -> str:
    """That a destination answers for objects, or that it has some and is yet to."""
    if count.stored > count.delivered:
        return f", {count.stored} stored, {count.committed} committed"
    return f", {count.committed} committed" if count.committed else ""


def circumstances(journal: Journal, rows: Sequence[StudyRow], cases: Sequence[JobRow], patience: Patience) -> Circumstances:
    """What has to be known beside these rows."""
    unsettled = [row.study_instance_uid for row in rows if not row.settled]
    numbers = [job.id for job in cases]
    with journal.reading() as connection:
        return Circumstances(
            now=time.time(),
            patience=patience,
            moments=_moments(connection, numbers),
            queue=_queue(connection),
            tries=_tries(connection, numbers),
            senders=_senders(connection, unsettled),
        )


def _moments(connection: Connection, numbers: Sequence[int]) -> dict[int, Moments]:
    query = select(jobs.c.id, jobs.c.created_at, jobs.c.finished_at, func.max(outcomes.c.made_at))
    query = query.outerjoin(outcomes, outcomes.c.job_id == jobs.c.id).group_by(jobs.c.id, jobs.c.created_at, jobs.c.finished_at)
    found = {}
    for lot in lots(numbers):
        for number, created, finished, made in connection.execute(query.where(jobs.c.id.in_(lot))):
            found[number] = Moments(created_at=created, finished_at=finished, analysed_at=made)
    return found


def _queue(connection: Connection) -> dict[int, int]:
    query = select(jobs.c.id).where(jobs.c.state == JobState.QUEUED).order_by(jobs.c.next_try_at, jobs.c.id)
    running = connection.execute(select(func.count()).where(jobs.c.state == JobState.RUNNING)).scalar_one()
    queued = connection.execute(query.limit(LONGEST_QUEUE)).scalars()
    return {number: place for place, number in enumerate(queued, start=running)}


def _tries(connection: Connection, numbers: Sequence[int]) -> dict[tuple[int, str], Tries]:
    state = deliveries.c.state
    query = select(
        deliveries.c.job_id,
        deliveries.c.destination,
        func.max(deliveries.c.failures),
        func.min(deliveries.c.next_try_at).filter(state == DeliveryState.PENDING),
        func.count().filter(state == DeliveryState.PARKED),
        func.count().filter(state == DeliveryState.STORED),
        func.min(deliveries.c.ask_at).filter(state == DeliveryState.STORED),
    ).group_by(deliveries.c.job_id, deliveries.c.destination)
    names = ("failures", "next_try_at", "parked", "stored", "ask_at")
    owed = state.in_([DeliveryState.PENDING, DeliveryState.STORED, DeliveryState.PARKED])  # by the index
    found = {}
    for lot in lots(numbers):
        for job_id, destination, *rest in connection.execute(query.where(deliveries.c.job_id.in_(lot), owed)):
            found[job_id, destination] = Tries(**dict(zip(names, rest, strict=True)))
    return found


def _senders(connection: Connection, uids: Sequence[str]) -> dict[str, str]:
    query = select(studies.c.study_instance_uid, associations.c.calling_ae, associations.c.address).join(
        associations, associations.c.id == studies.c.last_association_id
    )
    found = {}
    for lot in lots(uids):
        for uid, title, address in connection.execute(query.where(studies.c.study_instance_uid.in_(lot))):
            found[uid] = f"{title} ({address})"
    return found


def cases_of(journal: Journal, uids: Sequence[str]) -> dict[str, list[int]]:
    """Study > the numbers of the cases that hold and that it is part of, oldest first."""
    found: dict[str, list[int]] = defaultdict(list)
    query = select(jobs.c.id, jobs.c.fdg_study, jobs.c.pentixafor_study).order_by(jobs.c.id)
    for lot in lots(uids):
        concerned = or_(jobs.c.fdg_study.in_(lot), jobs.c.pentixafor_study.in_(lot))
        with journal.reading() as connection:
            rows = connection.execute(query.where(concerned, jobs.c.state != JobState.WITHDRAWN)).all()
        for number, *pair in rows:
            for uid in set(pair) & set(lot):
                found[uid].append(number)
    return found


def lots(things: Sequence[T], size: int = 500) -> list[Sequence[T]]:
    """As many at once as a database takes."""
    return [things[start : start + size] for start in range(0, len(things), size)]
