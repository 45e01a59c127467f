"""Journals as earlier versions of duet left them: made by Alembic up to one revision, with rows in every state."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, MetaData, Table, create_engine, select

from service.journal import MIGRATIONS

# What columns of these names held in every version; a list is one row for each.
_STATES = {
    "associations": ["open", "released", "broken"],
    "instances": ["new", "filed", "ignored", "rejected"],
    "studies": ["receiving", "waiting", "held", "paired", "parked"],
    "jobs": ["queued", "running", "done", "held", "parked", "withdrawn"],
    "deliveries": ["pending", "delivered", "parked"],
    "promises": ["open", "told", "untold"],
}
_LATER_STATES = {"deliveries": ["pending", "stored", "delivered", "committed", "parked"]}
_INPUTS = json.dumps({"fdg": ["inbox/00/a.dcm"], "pentixafor": ["inbox/00/b.dcm"]})


def revisions() -> list[str]:
    """All, the first released one first."""
    return [each.revision for each in reversed(list(_script().walk_revisions()))]


def old_journal(url: str, revision: str) -> None:
    """The tables of this revision in an empty database."""
    script = _script()
    with _engine(url) as engine:
        steps = {"fn": lambda begun, _context: script._upgrade_revs(revision, begun)}
        with EnvironmentContext(Config(), script, **steps) as environment, engine.begin() as connection:
            environment.configure(connection=connection, transactional_ddl=True)
            environment.run_migrations()


def fill(url: str) -> None:
    """Rows of every table and in every state, as the tables of its revision allow."""
    with _engine(url) as engine:
        tables = _reflected(engine)
        commitments = "commitments" in tables
        with engine.begin() as connection:
            for name in ("associations", "instances", "studies", "jobs", "outcomes", "releases", "cohorts", "deliveries"):
                if name in tables:
                    connection.execute(tables[name].insert(), list(_rows(tables[name], later=commitments)))
            for name in sorted(set(tables) - {"alembic_version"}):
                if connection.execute(select(tables[name])).first() is None:
                    connection.execute(tables[name].insert(), list(_rows(tables[name], later=commitments)))


def rows(url: str) -> dict[str, list[dict[str, Any]]]:
    """Everything that a journal holds, table by table."""
    with _engine(url) as engine, engine.connect() as connection:
        return {
            name: [dict(row._mapping) for row in connection.execute(select(table).order_by(*table.primary_key))]
            for name, table in _reflected(engine).items()
            if name != "alembic_version"
        }


def _rows(table: Table, *, later: bool) -> Iterator[Mapping[str, Any]]:
    known = {**_STATES, **(_LATER_STATES if later else {})}
    for number, state in enumerate(known.get(table.name, ["one", "two"]), start=1):
        yield {column.name: _value(table.name, column, number, state) for column in table.columns}


def _value(table: str, column: Any, number: int, state: str) -> Any:
    """Something that tells one row and column from another; every second row leaves empty what may be empty."""
    fixed = {
        "state": state,
        "ending": state,
        "inputs": _INPUTS,
        "objects": '[["1.2", "1.3"]]',
        "findings": "[]",
        "measures": "{}",
    }
    if column.name in fixed:
        return fixed[column.name]
    if table == "deliveries" and column.name in ("job_id", "cohort_id"):
        mine = "cohort_id" if number % 2 == 0 and _has_cohorts(column) else "job_id"
        return 1 if column.name == mine else None
    if column.foreign_keys or column.name == "id":
        return number if column.name == "id" else 1
    if column.nullable and number % 2:
        return None
    kind = column.type.python_type
    return f"{table}.{column.name}.{number} \u00e9"[: column.type.length or 99] if kind is str else kind(1000 + number)


def _has_cohorts(column: Any) -> bool:
    return "cohort_id" in column.table.columns


def _script() -> ScriptDirectory:
    return ScriptDirectory(str(MIGRATIONS), version_locations=[str(MIGRATIONS)])


@contextlib.contextmanager
def _engine(url: str) -> Iterator[Engine]:
    engine = create_engine(url)
    try:
        yield engine
    finally:
        engine.dispose()


def _reflected(engine: Engine) -> Mapping[str, Table]:
    metadata = MetaData()
    metadata.reflect(engine)
    return metadata.tables
