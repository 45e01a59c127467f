"""Which earlier cases a case is compared with."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import and_, func, not_, select

from service.casebook import JobRow
from service.journal import Journal
from service.tables import jobs, outcomes

BATCH = 200  # earlier cases that one is compared with, the newest ones; a median and its spread need no more


def batch_of(journal: Journal, job: JobRow) -> tuple[dict[str, Any], ...]:
    """The rows of the cases before this one, newest first; the same ones however often the job is run.

    Of each case the newest row of that time; other versions of the same two studies are left out.
    """
    last = select(func.max(outcomes.c.id)).where(outcomes.c.id <= (job.batch_upto or 0)).group_by(outcomes.c.job_id)
    own = and_(jobs.c.fdg_study == job.fdg_study, jobs.c.pentixafor_study == job.pentixafor_study)
    query = (
        select(outcomes.c.measures)
        .join(jobs, jobs.c.id == outcomes.c.job_id)
        .where(outcomes.c.id.in_(last), not_(own), outcomes.c.measures != "{}")
        .order_by(outcomes.c.id.desc())
        .limit(BATCH)
    )
    with journal.reading() as connection:
        return tuple(json.loads(text) for text in connection.execute(query).scalars())
