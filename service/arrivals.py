"""What the journal knows of received objects: written by the door, filed by intake."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, bindparam, func, literal_column, not_, or_, select, update

from service.journal import Journal, insert_or_ignore
from service.logs import logger
from service.tables import Ending, InstanceState, StudyState, associations, deliveries, instances, studies
from service.traces import study_id

IMAGES = ("PT", "CT")
LOT = 500  # objects that are asked for in one go


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One object that is on disk; association_id is None where a file was found without a row."""

    sop_class_uid: str
    sop_instance_uid: str
    digest: str
    path: str
    received_at: float
    association_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceRow:
    """One received object as intake sees it."""

    id: int
    sop_instance_uid: str
    digest: str
    path: str
    received_at: float
    association_id: int | None
    state: InstanceState
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What has become of one object of a study."""

    row: InstanceRow
    state: InstanceState
    sentence: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filing:
    """What the header of one object says; for an object that is not FILED only the sentence counts."""

    row: InstanceRow
    state: InstanceState
    sentence: str = ""
    study_instance_uid: str | None = None
    series_instance_uid: str | None = None
    modality: str | None = None
    patient_id: str = ""
    issuer: str = ""
    study_date: str = ""


_ARRIVAL = tuple(field.name for field in fields(Arrival))
_ROW = (
    instances.c.id,
    instances.c.sop_instance_uid,
    instances.c.digest,
    instances.c.path,
    instances.c.received_at,
    instances.c.association_id,
    instances.c.state,
    instances.c.sentence,
)
# Written out, and no parameter: else SQLite would not take the index of the few new ones.
_NEW: ColumnElement[str] = literal_column(f"'{InstanceState.NEW}'")
_KEPT = instances.c.state != InstanceState.DELETED
_KEY = (instances.c.sop_instance_uid, instances.c.digest)
_KNOWN_PATH = select(instances.c.path).where(_KEY[0] == bindparam("uid"), _KEY[1] == bindparam("digest"))
_AS_NEW = {"state": InstanceState.NEW, "sentence": ""}
GONE = "Its file is no longer in the inbox, so it is not used; put it back and restart the node, or send it again."


def _row(row: Mapping[Any, Any]) -> InstanceRow:
    return InstanceRow(**{**row, "state": InstanceState(str(row["state"]))})


def opened(connection: Connection, calling_ae: str, address: str, now: float, door: str = "") -> int:
    """The number of an association that is new. door: the door process that serves it; empty: the node itself."""
    row = {"calling_ae": calling_ae[:16], "address": address, "opened_at": now, "ending": Ending.OPEN}
    inserted = connection.execute(associations.insert().values(**row, door=door or None))
    return int(inserted.inserted_primary_key[0])  # type: ignore[index]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How and when an association ended."""

    association_id: int
    ending: Ending
    at: float


def closed(connection: Connection, ended: Sequence[Ended]) -> None:
    """Remember how they ended; only the first word on each counts."""
    for each in ended:
        connection.execute(
            update(associations)
            .where(associations.c.id == each.association_id, associations.c.ending == Ending.OPEN)
            .values(ending=each.ending, closed_at=each.at)
        )


def break_open_associations(journal: Journal, now: float, door: str | None = None) -> None:
    """At start: what was open when the node last ended was cut off, and its sender may have more to send. door: the process
    that has ended, where it is not the node."""
    served = () if door is None else (associations.c.door == door,)
    with journal.writing() as connection:
        connection.execute(
            update(associations)
            .where(associations.c.ending == Ending.OPEN, *served)
            .values(ending=Ending.BROKEN, closed_at=now)
        )


def known_path(journal: Journal, sop_instance_uid: str, digest: str) -> str | None:
    """Where the same object with the same content lies already."""
    found = journal.glance(_KNOWN_PATH, {"uid": sop_instance_uid, "digest": digest})
    return None if found is None else str(found[0])


def present(journal: Journal, data: Path, sop_instance_uids: Iterable[str]) -> set[str]:
    """Which of these objects the node has, whatever became of them; one whose file is gone it has not."""
    found: set[str] = set()
    wanted = sorted(set(sop_instance_uids))
    columns = (instances.c.sop_instance_uid, instances.c.path)
    for start in range(0, len(wanted), LOT):
        query = select(*columns).where(instances.c.sop_instance_uid.in_(wanted[start : start + LOT]), _KEPT)
        with journal.reading() as connection:
            rows = connection.execute(query).all()
        found |= {uid for uid, path in rows if (data / path).is_file()}
    return found


def record(journal: Journal, *arrived: Arrival) -> list[bool]:
    """Write the rows of objects on disk; one that came before is only marked as seen again. Which are new."""
    with journal.adding() as connection:
        new = entered(connection, arrived)
    again = [arrival for arrival, is_new in zip(arrived, new, strict=True) if not is_new]
    if again:  # alone: what [retention] decides in its turn must not change under it
        with journal.writing() as connection:
            for arrival in again:
                seen_again(connection, arrival)
    return new


def entered(connection: Connection, arrived: Sequence[Arrival]) -> list[bool]:
    """Which of these objects were not known before."""
    if not arrived:
        return []
    rows = [{name: getattr(arrival, name) for name in _ARRIVAL} | _AS_NEW for arrival in arrived]
    written = {tuple(row) for row in connection.execute(_new_row(connection), rows)}
    new = []
    for arrival in arrived:
        key = (arrival.sop_instance_uid, arrival.digest)
        new.append(key in written)
        written.discard(key)
    return new


def move(journal: Journal, sop_instance_uid: str, digest: str, path: str) -> None:
    """An object whose file was gone lies elsewhere now."""
    same = (instances.c.sop_instance_uid == sop_instance_uid, instances.c.digest == digest)
    with journal.writing() as connection:
        connection.execute(update(instances).where(*same).values(path=path))


_new_rows: dict[str, Any] = {}


def _new_row(connection: Connection) -> Any:
    """Made once: SQLAlchemy takes longer to look at a new statement than SQLite to execute it."""
    dialect = connection.dialect.name
    if dialect not in _new_rows:
        _new_rows[dialect] = insert_or_ignore(connection, instances).returning(*_KEY)
    return _new_rows[dialect]


def seen_again(connection: Connection, arrival: Arrival) -> None:
    """An object came once more: a sender that begins anew after a broken association is still at work on the study."""
    same = (instances.c.sop_instance_uid == arrival.sop_instance_uid, instances.c.digest == arrival.digest)
    # One that was found on disk (no association) tells nothing of who sent it.
    by = arrival.association_id
    seen = {"received_at": arrival.received_at} | ({} if by is None else {"association_id": by})
    connection.execute(update(instances).where(*same).values(**seen))
    anew = {"state": InstanceState.NEW, "sentence": "", "deleted_at": None}
    connection.execute(update(instances).where(*same, or_(_set_aside_as_gone(), ~_KEPT)).values(**anew))
    study = select(instances.c.study_instance_uid).where(*same).scalar_subquery()
    last = {"last_received_at": arrival.received_at} | ({} if by is None else {"last_association_id": by})
    connection.execute(update(studies).where(studies.c.study_instance_uid == study).values(**last))


def _set_aside_as_gone() -> Any:
    return and_(instances.c.state == InstanceState.IGNORED, instances.c.sentence == GONE)


def kept_as(journal: Journal, sop_instance_uid: str) -> list[tuple[str, str]]:
    """Under which (SOP class UID, path) the door has taken in an object."""
    query = select(instances.c.sop_class_uid, instances.c.path).where(instances.c.sop_instance_uid == sop_instance_uid, _KEPT)
    with journal.reading() as connection:
        return [(str(sop_class), str(path)) for sop_class, path in connection.execute(query)]


def unrecorded(journal: Journal, paths: Sequence[str]) -> list[str]:
    """Which of these files, LOT at most, have no row."""
    with journal.reading() as connection:
        known = set(connection.execute(select(instances.c.path).where(instances.c.path.in_(paths))).scalars())
    return [path for path in paths if path not in known]


def unread(journal: Journal, limit: int = 200) -> list[InstanceRow]:
    """Objects whose header nobody has read yet, oldest first."""
    with journal.reading() as connection:
        query = select(*_ROW).where(instances.c.state == _NEW).order_by(instances.c.id).limit(limit)
        return [_row(row._mapping) for row in connection.execute(query)]


def images_of(journal: Journal, study_instance_uid: str) -> list[InstanceRow]:
    """The PET and CT objects of a study, oldest first, also those that were set aside beside another version."""
    own = select(deliveries.c.id).where(deliveries.c.sop_instance_uid == instances.c.sop_instance_uid)
    set_aside = and_(instances.c.state == InstanceState.IGNORED, instances.c.modality.in_(IMAGES), not_(own.exists()))
    wanted = or_(instances.c.state == InstanceState.FILED, set_aside)
    with journal.reading() as connection:
        query = select(*_ROW).where(instances.c.study_instance_uid == study_instance_uid, wanted).order_by(instances.c.id)
        return [_row(row._mapping) for row in connection.execute(query)]


def note(connection: Connection, notes: Iterable[Note]) -> None:
    """Write down what has become of objects, where that is news."""
    for each in notes:
        if (each.row.state, each.row.sentence) != (each.state, each.sentence):
            known = {"state": each.state, "sentence": each.sentence}
            connection.execute(update(instances).where(instances.c.id == each.row.id).values(**known))


def reconsider(journal: Journal, there: Callable[[str], bool]) -> None:
    """At start: an operator may have moved files. What was put back is filed anew, and a study of which one of two
    versions of an object was moved away is judged anew. there: whether a path is that of a file."""
    doubled = select(instances.c.sop_instance_uid).group_by(instances.c.sop_instance_uid).having(func.count() > 1)
    columns = (instances.c.id, instances.c.study_instance_uid, instances.c.sop_instance_uid, instances.c.path)
    with journal.writing() as connection:
        gone = select(instances.c.id, instances.c.path).where(_set_aside_as_gone())
        back = [row.id for row in connection.execute(gone) if there(row.path)]
        for number in back:
            connection.execute(update(instances).where(instances.c.id == number).values(state=InstanceState.NEW, sentence=""))
        versions: dict[tuple[str, str], set[bool]] = defaultdict(set)
        images = (instances.c.modality.in_(IMAGES), instances.c.sop_instance_uid.in_(doubled))
        for row in connection.execute(select(*columns).where(~_set_aside_as_gone(), _KEPT, *images)):
            versions[row.study_instance_uid, row.sop_instance_uid].add(there(row.path))
        for study in {study for (study, _), found in versions.items() if len(found) > 1}:
            connection.execute(update(studies).where(studies.c.study_instance_uid == study).values(settled_instances=-1))


def own_results(journal: Journal, sop_instance_uids: Iterable[str]) -> set[str]:
    """Which of these objects this node has made and sent itself."""
    with journal.reading() as connection:
        found: set[str] = set()
        for uid in (deliveries.c.sop_instance_uid, deliveries.c.sent_instance_uid):
            found.update(connection.execute(select(uid).where(uid.in_(list(sop_instance_uids)))).scalars())
        return found


def file(journal: Journal, filings: Sequence[Filing]) -> None:
    """Put objects into their studies, all or none."""
    begun = []
    with journal.writing() as connection:
        for filing in filings:
            known = {
                "state": filing.state,
                "sentence": filing.sentence,
                "study_instance_uid": filing.study_instance_uid,
                "series_instance_uid": filing.series_instance_uid,
                "modality": filing.modality,
            }
            connection.execute(update(instances).where(instances.c.id == filing.row.id).values(**known))
            if filing.state is InstanceState.FILED and _count(connection, filing):
                begun.append(filing)
    for filing in begun:
        if filing.study_instance_uid is not None:
            named = study_id(journal, filing.study_instance_uid)
            logger().info("study begun", study=named, association=filing.row.association_id)


def _count(connection: Connection, filing: Filing) -> bool:
    """Count an object to its study; whether it is the study's first."""
    blank = {
        "study_instance_uid": filing.study_instance_uid,
        "patient_id": filing.patient_id,
        "issuer": filing.issuer,
        "study_date": filing.study_date,
        "tracer": "",
        "state": StudyState.RECEIVING,
        "reason": "",
        "sentence": "",
        "instances": 0,
        "settled_instances": 0,
        "last_received_at": filing.row.received_at,
    }
    first = connection.execute(
        insert_or_ignore(connection, studies).values(**blank).returning(studies.c.study_instance_uid)
    ).first()
    connection.execute(
        update(studies)
        .where(studies.c.study_instance_uid == filing.study_instance_uid)
        .values(
            instances=studies.c.instances + 1,
            last_received_at=filing.row.received_at,
            last_association_id=filing.row.association_id,
        )
    )
    return first is not None  # not rowcount, which is not told of an INSERT into PostgreSQL
