"""One id for each study, the same in every line of the log, in `duet status` and on the pages, from which no UID follows.

A Study Instance UID tells whoever has the archive who the patient is; the id does not, for it is salted with a secret that
lies in the journal alone. Without the salt nobody can try UIDs until one fits.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Iterable, Mapping
from weakref import WeakKeyDictionary

from sqlalchemy import or_, select

from service.journal import Journal, insert_or_ignore
from service.tables import deliveries, facts, jobs

SALT_FACT = "study id salt"
MOST_CASES, MOST_OBJECTS = 20, 300  # of which one line tells
LENGTH = 12  # hexadecimal digits: among 100,000 studies two share one with a probability of 2 in 100,000

_known: WeakKeyDictionary[Journal, str] = WeakKeyDictionary()
_guard = threading.Lock()


def study_id(journal: Journal, study_instance_uid: str) -> str:
    """The study's id on this node."""
    return hashlib.sha256(f"{_salt(journal)} {study_instance_uid}".encode()).hexdigest()[:LENGTH]


def case_ids(journal: Journal, *job_ids: int | None) -> Mapping[str, object]:
    """What a line of the log says of cases: their UIDs, numbers, and their studies' ids. None: a cohort's report."""
    numbers = sorted({number for number in job_ids if number is not None})[:MOST_CASES]
    query = select(jobs.c.pair_uid, jobs.c.fdg_study, jobs.c.pentixafor_study).where(jobs.c.id.in_(numbers))
    with journal.reading() as connection:
        rows = connection.execute(query.order_by(jobs.c.id)).all() if numbers else []
    if not rows:
        return {"number": numbers} if numbers else {}
    studies = [uid for row in rows for uid in pair_ids(journal, row.fdg_study, row.pentixafor_study)]
    alone = len(rows) == 1
    uids = [str(row.pair_uid) for row in rows]
    return {"case": uids[0] if alone else uids, "number": numbers[0] if alone else numbers, "study": studies}


def ids_of_objects(journal: Journal, sop_instance_uids: Iterable[str]) -> Mapping[str, object]:
    """The same of the cases that these objects were sent of."""
    uids = list(sop_instance_uids)[:MOST_OBJECTS]
    named = or_(deliveries.c.sop_instance_uid.in_(uids), deliveries.c.sent_instance_uid.in_(uids))
    with journal.reading() as connection:
        found = connection.execute(select(deliveries.c.job_id).where(named).distinct()).scalars().all()
    return case_ids(journal, *found)


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
