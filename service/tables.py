"""The journal's tables, and the words for every state a thing can be in."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)


class Ending(StrEnum):
    """How an association ended; an open one of a node that died was broken."""

    OPEN = "open"
    RELEASED = "released"
    BROKEN = "broken"


class InstanceState(StrEnum):
    """NEW: header not read yet; FILED: part of a study; IGNORED: neither PET nor CT; REJECTED: not readable. All are kept
    until [retention] lets them go. DELETED: it has let the file go, the row stays."""

    NEW = "new"
    FILED = "filed"
    IGNORED = "ignored"
    REJECTED = "rejected"
    DELETED = "deleted"


class StudyState(StrEnum):
    """RECEIVING: slices may still come; WAITING: for a partner or for slices; HELD: cannot be used as it is;
    PAIRED: part of a case; PARKED: duet itself failed on it."""

    RECEIVING = "receiving"
    WAITING = "waiting"
    HELD = "held"
    PAIRED = "paired"
    PARKED = "parked"


class JobState(StrEnum):
    """HELD: the data or a quality check forbid delivery; PARKED: duet failed too often; WITHDRAWN: the pair no longer holds."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    HELD = "held"
    PARKED = "parked"
    WITHDRAWN = "withdrawn"


class DeliveryState(StrEnum):
    """PENDING: to be sent; STORED: the destination has it and has not committed itself yet; DELIVERED: it has it, and no
    commitment is to be had; COMMITTED: it answers for it; PARKED: it has refused to too often, an operator must look."""

    PENDING = "pending"
    STORED = "stored"
    DELIVERED = "delivered"
    COMMITTED = "committed"
    PARKED = "parked"


class PromiseState(StrEnum):
    """OPEN: a sender is to be told what is kept of its objects; TOLD: it was; UNTOLD: there is no way to it."""

    OPEN = "open"
    TOLD = "told"
    UNTOLD = "untold"


class _Storable(TypeDecorator[str]):
    """A text as every database takes it: PostgreSQL refuses NUL, and no database has a sign that UTF-8 has not."""

    impl: Any = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:  # noqa: ARG002  the method's name and form are SQLAlchemy's
        return None if value is None else storable(str(value))


class Words(_Storable):
    """A text of any length."""

    cache_ok = True


class Word(_Storable):
    """A text of a known length; that it is kept is the caller's care, for SQLite does not look."""

    impl: Any = String
    cache_ok = True


def storable(words: str) -> str:
    """With U+FFFD for what no database takes."""
    return _UNSTORABLE.sub("\ufffd", words)


_UNSTORABLE = re.compile("[\0\ud800-\udfff]")

metadata = MetaData()


def _where(condition: str) -> dict[str, Any]:
    """An index of a few rows among very many."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


# Times are seconds since 1970 (UTC). Paths are relative to the node's data folder.
associations = Table(
    "associations",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("calling_ae", Word(16), nullable=False),
    Column("address", Word(64), nullable=False),
    Column("opened_at", Float, nullable=False),
    Column("closed_at", Float),
    Column("ending", Word(16), nullable=False),
    Column("door", Word(32)),  # the door process that serves it
)

instances = Table(
    "instances",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("sop_instance_uid", Word(64), nullable=False),
    Column("sop_class_uid", Word(64), nullable=False),
    Column("digest", Word(64), nullable=False),  # SHA-256 of transfer syntax and dataset bytes
    Column("path", Word(255), nullable=False, unique=True),
    Column("received_at", Float, nullable=False),
    Column("association_id", Integer, ForeignKey("associations.id")),
    Column("state", Word(16), nullable=False),
    Column("sentence", Words, nullable=False),
    Column("study_instance_uid", Word(64)),
    Column("series_instance_uid", Word(64)),
    Column("modality", Word(16)),
    Column("deleted_at", Float),  # when [retention] let its file go
    UniqueConstraint("sop_instance_uid", "digest", name="one_row_per_content"),
    Index("instances_by_state", "state"),
    Index("instances_unread", "id", **_where("state = 'new'")),
    Index("instances_by_study", "study_instance_uid"),
)

studies = Table(
    "studies",
    metadata,
    Column("study_instance_uid", Word(64), primary_key=True),
    Column("patient_id", Word(64), nullable=False),
    Column("issuer", Word(64), nullable=False),
    Column("study_date", Word(8), nullable=False),
    Column("tracer", Word(16), nullable=False),
    Column("state", Word(16), nullable=False),
    Column("reason", Word(32), nullable=False),
    Column("sentence", Words, nullable=False),
    Column("instances", Integer, nullable=False),  # filed so far
    Column("settled_instances", Integer, nullable=False),  # how many of them the state above rests on
    Column("last_received_at", Float, nullable=False),
    Column("last_association_id", Integer, ForeignKey("associations.id")),
    Column("checked_instances", Integer, nullable=False, server_default="0"),  # how many there were when last looked at
    Column("evidence", Words, nullable=False, server_default=""),  # why the state above rests on a whole study
    Index("studies_by_patient", "patient_id", "issuer"),
    Index("studies_unsettled", "study_instance_uid", **_where("instances <> settled_instances")),
    Index("studies_by_state", "state"),
    Index("studies_by_association", "last_association_id"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("pair_uid", Word(64), nullable=False, unique=True),
    Column("patient_id", Word(64), nullable=False),
    Column("issuer", Word(64), nullable=False),
    Column("fdg_study", Word(64), nullable=False),
    Column("pentixafor_study", Word(64), nullable=False),
    Column("version", Integer, nullable=False),
    Column("inputs", Words, nullable=False),  # JSON {"fdg": [path], "pentixafor": [path]}: the PET and CT that are measured
    Column("state", Word(16), nullable=False),
    Column("reason", Word(32), nullable=False),
    Column("sentence", Words, nullable=False),
    Column("progress", Word(128), nullable=False),
    Column("failures", Integer, nullable=False),
    Column("next_try_at", Float, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("finished_at", Float),
    Column("batch_upto", Integer),  # the newest outcome when the job was first claimed: what it is compared with, for good
    Column("ranks_at", Float, nullable=False, server_default="0"),  # whose is earlier goes first: service/priorities.py
    Column("claimed_by", Word(64)),  # the engine that runs it, and
    Column("lease_until", Float),  # until when it has said that it lives; after that another one may take the job
    Index("jobs_by_rank", "state", "ranks_at"),
    Index("jobs_by_patient", "patient_id"),
    Index("jobs_by_fdg", "fdg_study"),
    Index("jobs_by_pentixafor", "pentixafor_study"),
)

# A case's findings as its operator sees them; a row is added where they change and never altered.
outcomes = Table(
    "outcomes",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("job_id", Integer, ForeignKey("jobs.id"), nullable=False),
    Column("verdict", Word(16), nullable=False),
    Column("findings", Words, nullable=False),  # JSON, as "quality" in results.json
    Column("measures", Words, nullable=False),  # JSON {finding name: value}: what later cases are compared with
    Column("made_at", Float, nullable=False),
    Index("outcomes_by_job", "job_id"),
)

# Who let a held case go, and why; withdrawn_at: the case changed before its reports left, so that this release is void.
releases = Table(
    "releases",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("job_id", Integer, ForeignKey("jobs.id"), nullable=False),
    Column("released_by", Word(64), nullable=False),
    Column("why", Words, nullable=False),
    Column("released_at", Float, nullable=False),
    Column("withdrawn_at", Float),
    Index("releases_by_job", "job_id"),
)

# Each version of the cohort's report; a row without a folder is one that the tables did not allow (sentence: why).
cohorts = Table(
    "cohorts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("version", Integer, nullable=False),  # 0: refused
    Column("fingerprint", Word(64), nullable=False),  # SHA-256 of the cases, the clinical table, settings and software
    Column("folder", Word(255), nullable=False),
    Column("cycles", Integer, nullable=False),
    Column("sentence", Words, nullable=False),
    Column("made_at", Float, nullable=False),
    Index("cohorts_by_version", "version"),
)

# An object belongs to a case or to a version of the cohort's report.
deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("job_id", Integer, ForeignKey("jobs.id")),
    Column("cohort_id", Integer, ForeignKey("cohorts.id", name="cohort_of_delivery")),
    Column("position", Integer, nullable=False),  # order within the case or the version
    Column("destination", Word(64), nullable=False),
    Column("sop_instance_uid", Word(64), nullable=False),
    Column("path", Word(255), nullable=False),
    Column("state", Word(16), nullable=False),
    Column("failures", Integer, nullable=False),
    Column("next_try_at", Float, nullable=False),
    Column("sentence", Words, nullable=False),
    Column("delivered_at", Float),  # since when nothing more is owed
    Column("stored_at", Float),  # when the destination said that it has it
    Column("ask_at", Float),  # STORED: when it is asked for its commitment, again or for the first time
    Column("asks", Integer, nullable=False, server_default="0"),  # requests without a report since it was stored
    Column("refusals", Integer, nullable=False, server_default="0"),  # reports that it is not kept
    Column("sent_class_uid", Word(64)),  # as what it is sent where the destination refuses its kind, and
    Column("sent_instance_uid", Word(64)),  # under which UID; both null as a rule
    UniqueConstraint("destination", "sop_instance_uid", name="one_delivery_per_object"),
    Index("deliveries_by_state", "state", "destination"),
    Index("deliveries_by_job", "job_id"),
    Index("deliveries_by_object", "sop_instance_uid"),
    Index("deliveries_by_sent", "sent_instance_uid", **_where("sent_instance_uid IS NOT NULL")),
)

# Each request of ours for storage commitment: by its number a report is known, also one that comes days later.
commitments = Table(
    "commitments",
    metadata,
    Column("transaction_uid", Word(64), primary_key=True),
    Column("destination", Word(64), nullable=False),
    Column("asked_at", Float, nullable=False),
    Column("answered_at", Float),
)

# Each request of a sender for our commitment, kept until it was answered.
promises = Table(
    "promises",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("transaction_uid", Word(64), nullable=False),
    Column("calling_ae", Word(16), nullable=False),
    Column("objects", Words, nullable=False),  # JSON [[SOP class UID, SOP instance UID]]
    Column("state", Word(16), nullable=False),
    Column("failures", Integer, nullable=False),
    Column("next_try_at", Float, nullable=False),
    Column("sentence", Words, nullable=False),
    Column("asked_at", Float, nullable=False),
    Column("answered_at", Float),
    Index("promises_by_state", "state"),
)

# What archives count of a study that arrives here; next_ask_at: null where nothing is open.
tallies = Table(
    "tallies",
    metadata,
    Column("study_instance_uid", Word(64), primary_key=True),
    Column("asked_at", Float, nullable=False),
    Column("next_ask_at", Float),
    Column("asks", Integer, nullable=False),
    Column("told", Words, nullable=False),  # JSON {archive: {"series": {UID: [modality, objects]}, "study": objects}}
    Column("sentence", Words, nullable=False),  # of the archives that did not answer
    Index("tallies_by_next_ask", "next_ask_at"),
)

facts = Table("facts", metadata, Column("name", Word(64), primary_key=True), Column("value", Words, nullable=False))
WORKERS_FACT = "workers"  # the fact that says why no case can be analysed at the moment, or nothing
