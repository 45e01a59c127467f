"""What a node enters into its audit trail, each kind of event in one function."""

from __future__ import annotations

import getpass
import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from sqlalchemy import ColumnElement, func, select

from service import audit
from service.audit import AuditSettings, Event, Kind, Outcome, Participant, Role, Thing, Trail
from service.config import Settings
from service.journal import Journal
from service.tables import Ending, InstanceState, associations, instances, jobs, studies

AUDITED = "audited associations"  # a fact of the journal
SETTINGS = "audited settings"
QUIET_S = 60.0  # so long a refusal of the same caller for the same reason is counted, not entered again
MOST_CALLERS = 1000
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Objects that went to a destination together. delivered: how many of each SOP class."""

    ae_title: str
    destination: str
    address: str
    job_id: int | None
    delivered: Mapping[str, int] = field(default_factory=dict)


@contextmanager
def trail_of(settings: Settings, data: Path | None = None) -> Iterator[Trail]:
    """While it lasts, this process enters events into the node's trail; data: its folder, where that is another than the
    settings name. Raises BadSettings, OSError."""
    own = settings.section("audit", AuditSettings)
    try:
        yield audit.set_up((data or settings.node.data) / "logs", own, settings.node.ae_title)
    finally:
        audit.close()


def began(settings: Settings, journal: Journal) -> None:
    """The node has started; where its settings are not those of the last start that is entered, too."""
    own = _node(settings.node.ae_title, Role.APPLICATION)
    launcher = Participant(user=_user(), role=Role.LAUNCHER, requestor=True)
    audit.record(Event.STARTED, [own, launcher])
    words = json.dumps([settings.tables, settings.lists], sort_keys=True, default=str)
    digest = hashlib.sha256(f"{version('duet-node')} {words}".encode()).hexdigest()
    if journal.fact(SETTINGS) != digest:
        thing = Thing(kind=Kind.ALERT, id=f"file:{settings.source}", detail={"SHA-256": digest})
        audit.record(Event.CONFIGURED, [own, launcher], [thing])
        journal.remember(SETTINGS, digest)


def ended(ae_title: str) -> None:
    """The node was told to stop."""
    audit.record(Event.STOPPED, [_node(ae_title, Role.APPLICATION)])


def released(ae_title: str, by: str, patient_id: str, study_uids: Sequence[str]) -> None:
    """A person has released a held case."""
    people = [Participant(user=by, requestor=True), _node(ae_title, Role.APPLICATION)]
    audit.record(Event.RELEASED, people, _about(patient_id, study_uids))


def resent(ae_title: str, destination: str, patient_id: str = "", study_uids: Sequence[str] = ()) -> None:
    """A person has asked that results are sent again, of one case or, without a patient, of all; each sending is told by
    itself when it is over."""
    people = [Participant(user=_user(), requestor=True), _node(ae_title, Role.SOURCE)]
    receiver = Participant(user=destination or "every destination", role=Role.DESTINATION)
    audit.record(Event.EXPORTED, [*people, receiver], _about(patient_id, study_uids or [UNKNOWN]))


def backed_up(ae_title: str, file: Path) -> None:
    """A person has made a backup; it holds every patient."""
    people = [Participant(user=_user(), requestor=True), _node(ae_title, Role.SOURCE)]
    audit.record(Event.EXPORTED, people, [Thing(kind=Kind.ALERT, id=f"file:{file.absolute()}")])


def restored(ae_title: str, file: Path) -> None:
    """A person has made this node from a backup."""
    people = [Participant(user=_user(), requestor=True), _node(ae_title, Role.DESTINATION)]
    audit.record(Event.IMPORTED, people, [Thing(kind=Kind.ALERT, id=f"file:{file.absolute()}")])


def deleted(journal: Journal, study_uids: Sequence[str], at: float) -> None:
    """[retention] has decided that the images of studies go; at: when they were marked."""
    rule = Participant(user="[retention]", requestor=True)
    gone = instances.c.study_instance_uid.in_(study_uids) & (instances.c.deleted_at == at)
    for (study_uid, patient_id), classes in _counted(journal, gone).items():
        audit.record(Event.DELETED, [rule], _about(patient_id, [study_uid], classes))


def queried(ae_title: str, archive: tuple[str, str, int], sop_class_uid: str, keys: Mapping[str, str]) -> None:
    """An archive was asked (C-FIND); the keys hold no name."""
    called, host, _ = archive
    asked = Participant(user=called, ae_title=called, role=Role.DESTINATION, address=host)
    query = Thing(kind=Kind.QUERY, id=sop_class_uid, query=json.dumps(dict(keys)).encode())
    audit.record(Event.QUERIED, [_node(ae_title, Role.SOURCE, requestor=True), asked], [query])


def sent(journal: Journal, batch: Batch) -> None:
    """Objects of one case, or of the cohort, have arrived at a destination."""
    if not batch.delivered:
        return
    receiver = Participant(user=batch.destination, role=Role.DESTINATION, address=batch.address)
    people = [_node(batch.ae_title, Role.SOURCE, requestor=True), receiver]
    with journal.reading() as connection:
        query = select(jobs.c.patient_id, jobs.c.fdg_study, jobs.c.pentixafor_study).where(jobs.c.id == batch.job_id)
        row = connection.execute(query).first()
    patient_id, *study_uids = row if row is not None else (UNKNOWN, UNKNOWN)
    audit.record(Event.SENT, people, _about(patient_id, study_uids, batch.delivered))


class Refusals:
    """Security alerts of a door, by DICOM or http. Whoever knocks a thousand times fills no disk: repeats are counted."""

    def __init__(self, scheme: str = "dicom") -> None:
        self._scheme, self._guard = scheme, threading.Lock()
        self._last: dict[tuple[str, str], tuple[float, int]] = {}

    def enter(self, ae_title: str, address: str, why: str, calling: str = "") -> None:
        """calling: the AE title that was given, where it came so far."""
        now, key = time.monotonic(), (address, why)
        with self._guard:
            before, count = self._last.get(key, (-QUIET_S, 0))
            if now - before < QUIET_S:
                self._last[key] = (before, count + 1)
                return
            if len(self._last) >= MOST_CALLERS:
                self._last.clear()
            self._last[key] = (now, 0)
        caller = Participant(user=calling or address, ae_title=calling, requestor=True, address=address)
        told = f"{why} ({count} times more since the record before)" if count else why
        subject = Thing(kind=Kind.ALERT, id=f"{self._scheme}:{ae_title}")
        audit.record(Event.REFUSED, [caller, _node(ae_title)], [subject], outcome=Outcome.MINOR, told=told)


class Received:
    """Enters what associations have brought, once they are over and intake knows whose images they were.

    The door itself decodes nothing, and so knows no patient.
    """

    def __init__(self, journal: Journal, ae_title: str) -> None:
        self._journal, self._ae_title = journal, ae_title

    def step(self) -> None:
        """Enter the associations that are due, a record for each of their studies."""
        upto, beyond = self._entered()
        with self._journal.reading() as connection:
            unread = select(instances.c.association_id).where(instances.c.state == InstanceState.NEW)
            over = associations.c.ending != Ending.OPEN, associations.c.id > upto
            unread_ids = unread.where(instances.c.association_id.is_not(None))
            query = select(associations).where(*over, associations.c.id.not_in(unread_ids)).order_by(associations.c.id)
            due = [row for row in connection.execute(query) if row.id not in beyond]
            lowest = connection.execute(
                select(func.min(associations.c.id)).where(associations.c.id > upto, associations.c.ending == Ending.OPEN)
            ).scalar()
        for row in due:
            self._enter(row)
        if due:
            entered = sorted({*beyond, *(row.id for row in due)})
            while entered and entered[0] == upto + 1 and entered[0] != lowest:
                upto = entered.pop(0)
            self._journal.remember(AUDITED, json.dumps([upto, entered]))

    def begin(self) -> None:
        """A journal that is older than its audit trail: what came before is not entered."""
        if self._journal.fact(AUDITED) is None:
            with self._journal.reading() as connection:
                last = connection.execute(select(func.max(associations.c.id))).scalar()
            self._journal.remember(AUDITED, json.dumps([last or 0, []]))

    def _entered(self) -> tuple[int, frozenset[int]]:
        """All associations up to a number, and some beyond it."""
        upto, beyond = json.loads(self._journal.fact(AUDITED) or "[0, []]")
        return int(upto), frozenset(beyond)

    def _enter(self, row: object) -> None:
        sender_ae, address = getattr(row, "calling_ae", ""), getattr(row, "address", "")
        broken = getattr(row, "ending", "") == Ending.BROKEN
        sender = Participant(user=sender_ae, ae_title=sender_ae, role=Role.SOURCE, requestor=True, address=address)
        brought = instances.c.association_id == getattr(row, "id", 0)
        for (study_uid, patient_id), classes in _counted(self._journal, brought).items():
            audit.record(
                Event.RECEIVED,
                [sender, _node(self._ae_title, Role.DESTINATION)],
                _about(patient_id, [study_uid], classes),
                outcome=Outcome.MINOR if broken else Outcome.SUCCESS,
                told="the association broke; these objects were kept" if broken else "",
            )


def _counted(journal: Journal, wanted: ColumnElement[bool]) -> dict[tuple[str, str], Counter[str]]:
    """(study, patient) > how many objects of each SOP class."""
    found: dict[tuple[str, str], Counter[str]] = {}
    query = (
        select(instances.c.study_instance_uid, studies.c.patient_id, instances.c.sop_class_uid, func.count())
        .select_from(instances.outerjoin(studies, instances.c.study_instance_uid == studies.c.study_instance_uid))
        .where(wanted)
        .group_by(instances.c.study_instance_uid, studies.c.patient_id, instances.c.sop_class_uid)
    )
    with journal.reading() as connection:
        for study_uid, patient_id, sop_class_uid, count in connection.execute(query):
            found.setdefault((study_uid or UNKNOWN, patient_id or UNKNOWN), Counter())[sop_class_uid] += count
    return found


def _about(patient_id: str, study_uids: Sequence[str], classes: Mapping[str, int] | None = None) -> list[Thing]:
    """The studies, then their patient; the objects are told with the first study."""
    counts = [dict(classes or {}), *({} for _ in study_uids[1:])]
    about = [Thing(kind=Kind.STUDY, id=uid, sop_classes=count) for uid, count in zip(study_uids, counts, strict=False)]
    return [*about, Thing(kind=Kind.PATIENT, id=patient_id or UNKNOWN)]


def _node(ae_title: str, role: Role | None = None, *, requestor: bool = False) -> Participant:
    return Participant(user=ae_title, ae_title=ae_title, role=role, requestor=requestor)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, ImportError, OSError):
        return UNKNOWN
