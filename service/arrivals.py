"""What the journal knows of received objects: written by the door, filed by intake."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select, update

from service.journal import Journal, insert_or_ignore
from service.tables import Ending, InstanceState, StudyState, associations, deliveries, instances, studies


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


_ROW = (
    instances.c.id,
    instances.c.sop_instance_uid,
    instances.c.digest,
    instances.c.path,
    instances.c.received_at,
    instances.c.association_id,
)


def open_association(journal: Journal, calling_ae: str, address: str, now: float) -> int:
    with journal.writing() as connection:
        row = {"calling_ae": calling_ae[:16], "address": address, "opened_at": now, "ending": Ending.OPEN}
        inserted = connection.execute(associations.insert().values(**row))
        return int(inserted.inserted_primary_key[0])  # type: ignore[index]


def close_association(journal: Journal, association_id: int, ending: Ending, now: float) -> None:
    """Remember how it ended; only the first word counts."""
    with journal.writing() as connection:
        connection.execute(
            update(associations)
            .where(associations.c.id == association_id, associations.c.ending == Ending.OPEN)
            .values(ending=ending, closed_at=now)
        )


def break_open_associations(journal: Journal, now: float) -> None:
    """At start: what was open when the node last ended was cut off, and its sender may have more to send."""
    with journal.writing() as connection:
        connection.execute(
            update(associations).where(associations.c.ending == Ending.OPEN).values(ending=Ending.BROKEN, closed_at=now)
        )


def known_path(journal: Journal, sop_instance_uid: str, digest: str) -> str | None:
    """Where the same object with the same content lies already."""
    with journal.reading() as connection:
        same = (instances.c.sop_instance_uid == sop_instance_uid, instances.c.digest == digest)
        return connection.execute(select(instances.c.path).where(*same)).scalar()


def record(journal: Journal, arrival: Arrival) -> None:
    """Write the row of an object on disk; one that came before is only marked as seen again."""
    with journal.writing() as connection:
        row = {
            "sop_class_uid": arrival.sop_class_uid,
            "sop_instance_uid": arrival.sop_instance_uid,
            "digest": arrival.digest,
            "path": arrival.path,
            "received_at": arrival.received_at,
            "association_id": arrival.association_id,
            "state": InstanceState.NEW,
            "sentence": "",
        }
        if connection.execute(insert_or_ignore(connection, instances).values(**row)).rowcount == 0:
            _seen_again(connection, arrival)


def _seen_again(connection: Connection, arrival: Arrival) -> None:
    # A sender that begins anew after a broken association is still at work on the study.
    same = (instances.c.sop_instance_uid == arrival.sop_instance_uid, instances.c.digest == arrival.digest)
    seen = {"received_at": arrival.received_at, "association_id": arrival.association_id}
    connection.execute(update(instances).where(*same).values(**seen))
    study = select(instances.c.study_instance_uid).where(*same).scalar_subquery()
    last = {"last_received_at": arrival.received_at, "last_association_id": arrival.association_id}
    connection.execute(update(studies).where(studies.c.study_instance_uid == study).values(**last))


def recorded_paths(journal: Journal) -> set[str]:
    with journal.reading() as connection:
        return set(connection.execute(select(instances.c.path)).scalars())


def unread(journal: Journal, limit: int = 200) -> list[InstanceRow]:
    """Objects whose header nobody has read yet, oldest first."""
    with journal.reading() as connection:
        query = select(*_ROW).where(instances.c.state == InstanceState.NEW).order_by(instances.c.id).limit(limit)
        return [InstanceRow(**row._mapping) for row in connection.execute(query)]


def filed(journal: Journal, study_instance_uid: str) -> list[InstanceRow]:
    """The PET and CT objects of a study, oldest first."""
    with journal.reading() as connection:
        mine = (instances.c.study_instance_uid == study_instance_uid, instances.c.state == InstanceState.FILED)
        return [InstanceRow(**row._mapping) for row in connection.execute(select(*_ROW).where(*mine).order_by(instances.c.id))]


def own_results(journal: Journal, sop_instance_uids: Iterable[str]) -> set[str]:
    """Which of these objects this node has made and sent itself."""
    with journal.reading() as connection:
        query = select(deliveries.c.sop_instance_uid).where(deliveries.c.sop_instance_uid.in_(list(sop_instance_uids)))
        return set(connection.execute(query).scalars())


def file(journal: Journal, filings: Sequence[Filing]) -> None:
    """Put objects into their studies, all or none."""
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
            if filing.state is InstanceState.FILED:
                _count(connection, filing)


def _count(connection: Connection, filing: Filing) -> None:
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
    connection.execute(insert_or_ignore(connection, studies).values(**blank))
    connection.execute(
        update(studies)
        .where(studies.c.study_instance_uid == filing.study_instance_uid)
        .values(
            instances=studies.c.instances + 1,
            last_received_at=filing.row.received_at,
            last_association_id=filing.row.association_id,
        )
    )
