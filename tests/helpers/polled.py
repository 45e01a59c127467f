"""What a node asks its journal each half second, and how the database finds the answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, event

from service import arrivals, casebook, commitments, leases, postings, releases
from service.journal import Journal

POLLED: dict[str, Callable[[Journal], Any]] = {
    "intake: objects not read yet": arrivals.unread,
    "intake: studies not judged yet": casebook.unsettled,
    "engine: next case": lambda journal: casebook.claim(journal, 0.5),
    "engine: leases": lambda journal: leases.renew(journal, "engine", [1], 0.5),
    "engine: releases due": lambda journal: releases.due(journal, 0.5),
    "outbox: objects to send": lambda journal: postings.due(journal, "pacs", 0.5),
    "outbox: commitments to ask for": lambda journal: commitments.to_ask(journal, "pacs", 0.5),
    "promises: requests to answer": lambda journal: commitments.open_promises(journal, 0.5),
    "door: is it here already": lambda journal: arrivals.known_path(journal, "1.2.3", "d"),
    "door: what is kept of it": lambda journal: arrivals.kept_as(journal, "1.2.3"),
    "intake: results that came back": lambda journal: arrivals.own_results(journal, ["1.2.3"]),
    "intake: a patient's studies": lambda journal: casebook.studies_of(journal, "P7"),
    "intake: a patient's cases": lambda journal: casebook.jobs_of(journal, "P7"),
    "intake: a study's objects": lambda journal: arrivals.images_of(journal, "1.2.7"),
    "status of one patient: deliveries": lambda journal: postings.counts(journal, "P7"),
    "missing half: who waits": casebook.waiting_for_partner,
}


def plans(journal: Journal, ask: Callable[[Journal], Any]) -> list[str]:
    """The database's plan for each statement, a line a step."""
    asked: list[tuple[str, Any]] = []

    def remember(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith(("SELECT", "UPDATE")) and "pg_" not in statement:
            asked.append((statement, parameters))

    def glance(statement: Any, words: Any) -> Any:  # as the journal does it, past SQLAlchemy, it could not be listened to
        with journal.reading() as connection:
            return connection.execute(statement, words).first()

    event.listen(journal._engine, "before_cursor_execute", remember)
    journal.glance = glance  # type: ignore[method-assign]
    try:
        ask(journal)
    finally:
        event.remove(journal._engine, "before_cursor_execute", remember)
        del journal.glance
    with journal.reading(by_index=True) if ask is casebook.unsettled else journal.writing() as connection:
        return [line for statement, parameters in asked for line in _plan(connection, statement, parameters)]


def _plan(connection: Connection, statement: str, parameters: Any) -> list[str]:
    sqlite = connection.dialect.name == "sqlite"
    words = "EXPLAIN QUERY PLAN" if sqlite else "EXPLAIN"
    rows = connection.exec_driver_sql(f"{words} {statement}", parameters).all()
    return [str(row[-1]).strip() for row in rows]


def scans(lines: list[str]) -> list[str]:
    """Steps that look at every row of a table; a small index of a few rows may be walked."""
    return [line for line in lines if ("SCAN" in line and "INDEX" not in line) or "Seq Scan" in line]
