"""One id for each study, the same in every line of the log, in `duet status` and on the pages, from which no UID follows.

A Study Instance UID tells whoever has the archive who the patient is; the id does not, for it is salted with a secret that
lies in the journal alone. Without the salt nobody can try UIDs until one fits.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Mapping
from weakref import WeakKeyDictionary

from sqlalchemy import select

from service.journal import Journal, insert_or_ignore
from service.tables import facts, jobs

SALT_FACT = "study id salt"
LENGTH = 12  # hexadecimal digits: among 100,000 studies two share one with a probability of 2 in 100,000

_known: WeakKeyDictionary[Journal, str] = WeakKeyDictionary()
_guard = threading.Lock()


def study_id(journal: Journal, study_instance_uid: str) -> str:
    """The study's id on this node."""
    return hashlib.sha256(f"{_salt(journal)} {study_instance_uid}".encode()).hexdigest()[:LENGTH]


def case_ids(journal: Journal, job_id: int | None) -> Mapping[str, object]:
    """What a line of the log says of a case: its number, its UID, and the ids of both studies; nothing of a cohort's report."""
    if job_id is None:
        return {}
    query = select(jobs.c.pair_uid, jobs.c.fdg_study, jobs.c.pentixafor_study).where(jobs.c.id == job_id)
    with journal.reading() as connection:
        row = connection.execute(query).first()
    if row is None:
        return {"number": job_id}
    return {"case": row.pair_uid, "number": job_id, "study": pair_ids(journal, row.fdg_study, row.pentixafor_study)}


def pair_ids(journal: Journal, fdg_study: str, pentixafor_study: str) -> list[str]:
    """Both ids, FDG first."""
    return [study_id(journal, fdg_study), study_id(journal, pentixafor_study)]


def _salt(journal: Journal) -> str:
    """The journal's secret, made when it is first asked for; two processes that ask at once agree on one."""
    with _guard:
        known = _known.get(journal)
    if known is None:
        known = journal.fact(SALT_FACT) or _make_salt(journal)
        with _guard:
            _known[journal] = known
    return known


def _make_salt(journal: Journal) -> str:
    with journal.writing() as connection:
        connection.execute(insert_or_ignore(connection, facts).values(name=SALT_FACT, value=secrets.token_hex(16)))
        return str(connection.execute(select(facts.c.value).where(facts.c.name == SALT_FACT)).scalar_one())
