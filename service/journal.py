"""The only memory: instances, studies, jobs and deliveries in SQLite or PostgreSQL, and how it is opened and written.

What is asked of it stands in arrivals.py, casebook.py and postings.py, by the part of the node that asks.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, PoolProxiedConnection, Select, create_engine, event, inspect, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, OperationalError

from analysis.errors import BadSettings
from service.tables import facts

HEAD = "0008"  # the newest revision in migrations/; where the journal has it, Alembic need not be imported
MIGRATIONS = Path(__file__).parent / "migrations"
# To a server, kept open; in need there are twice as many. Fewer than its usual hundred, and enough for sixty-four associations
# that take turns for milliseconds.
CONNECTIONS = 16
_SERVER: dict[str, Any] = {  # one that has gone without a word is noticed within half a minute
    "pool_pre_ping": True,
    "pool_timeout": 60,
    "connect_args": {"connect_timeout": 10, "keepalives_idle": 10, "keepalives_interval": 5, "tcp_user_timeout": 30000},
}
# SQLite lets one transaction write at a time, and all that reads before it writes counts on that. This lock, which ends with
# its transaction, promises the same on PostgreSQL, also between the node and a command beside it.
_THE_ONLY_WRITER = text("SELECT pg_advisory_xact_lock(hashtext('duet journal'))")
_BY_INDEX = text("SET LOCAL enable_seqscan = off")
MADE_BY = "duet"  # the fact that says which version of duet gave the journal its revision


class Journal:
    """A journal that may be read by many at once and is written by one at a time."""

    def __init__(self, url: str, connections: int = CONNECTIONS) -> None:
        """connections: to a server."""
        self._server = not url.startswith("sqlite")
        own: dict[str, Any] = {**_SERVER, "pool_size": connections, "max_overflow": connections} if self._server else {}
        self._engine = create_engine(url, **own)
        self._compiled: dict[Any, Any] = {}
        # SQLite's own waiting for the write lock is a poll without order; fifty associations wait better here.
        self._turn = threading.Lock()
        self._glancing = threading.Lock()
        self._for_glances: PoolProxiedConnection | None = None
        if self._server:
            event.listen(self._engine, "begin", _begin_postgresql)
        else:
            event.listen(self._engine, "connect", _set_up_sqlite)
            event.listen(self._engine, "begin", _begin_sqlite)

    @contextmanager
    def reading(self, *, by_index: bool = False) -> Iterator[Connection]:
        """One consistent view. by_index: few rows among very many are wanted, where PostgreSQL cannot know how few."""
        with self._engine.connect().execution_options(duet_reading=True) as connection, connection.begin():
            if by_index and self._server:
                connection.execute(_BY_INDEX)
            yield connection

    def glance(self, statement: Select[Any], words: Mapping[str, str]) -> Any:
        """The first row of a query, or None. For what is asked once an object: SQLAlchemy's layers, which are left out here,
        take ten times as long as SQLite. Raises SQLAlchemyError."""
        compiled = self._compiled.get(statement)
        if compiled is None:
            compiled = self._compiled[statement] = statement.compile(dialect=self._engine.dialect)
        given = compiled.construct_params(words)
        by_place = compiled.positiontup
        values = given if by_place is None else [given[name] for name in by_place]
        with nullcontext() if self._server else self._glancing:
            connection = self._for_glances or self._engine.raw_connection()
            try:
                cursor = connection.cursor()
                cursor.execute(str(compiled), values)
                found = cursor.fetchone()
                cursor.close()
            except self._engine.dialect.loaded_dbapi.Error as error:
                self._for_glances = None
                connection.close()
                raise OperationalError(str(compiled), {}, error) from None
            if self._server:
                connection.close()
            else:  # kept: to get one from the pool takes as long as to ask
                self._for_glances = connection
        return found

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction, the only one of any process; when the block is left without an error it is on disk."""
        with self._turn, self._engine.connect() as connection, connection.begin():
            if self._server:
                connection.execute(_THE_ONLY_WRITER)
            yield connection

    @contextmanager
    def adding(self) -> Iterator[Connection]:
        """The door's transaction, which adds rows or ends its own: on PostgreSQL many go on at once, beside one that writes."""
        with nullcontext() if self._server else self._turn, self._engine.begin() as connection:
            yield connection

    def migrate(self) -> None:
        """Bring the tables to the newest revision, keeping what they hold."""
        if self.revision() != HEAD:
            _upgrade(self._engine)

    def close(self) -> None:
        with self._glancing:
            if self._for_glances is not None:
                self._for_glances.close()
                self._for_glances = None
        self._engine.dispose()

    def revision(self) -> str | None:
        """That of its tables; None where there are none yet."""
        with self.reading() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return None
            return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar())

    def fact(self, name: str) -> str | None:
        """A remembered word, for instance the settings that the studies were last judged by."""
        with self.reading() as connection:
            return connection.execute(select(facts.c.value).where(facts.c.name == name)).scalar()

    def remember(self, name: str, value: str) -> None:
        with self.writing() as connection:
            connection.execute(facts.delete().where(facts.c.name == name))
            connection.execute(facts.insert().values(name=name, value=value))


def journal_url(journal: str, data: Path) -> str:
    """The database's address: the one that is set, else SQLite below the data folder."""
    if journal and not journal.startswith(("sqlite:", "postgresql")):
        kind = journal.partition(":")[0] if ":" in journal else "this"  # the rest may hold a password
        raise BadSettings(f"[node] journal: {kind!r} is no sqlite: or postgresql: address; leave it empty for SQLite.")
    return journal or f"sqlite:///{(data / 'journal.sqlite').absolute()}"


def open_journal(journal: str, data: Path) -> Journal:
    """The node's journal, made where there is none. Raises BadSettings where it cannot be used, or has another revision:
    only a node that starts upgrades its journal (journal_upgrade.py)."""
    url = journal_url(journal, data)
    with telling_errors(url):
        opened = Journal(url)
        revision = opened.revision()
        if revision is None:
            opened.migrate()
        elif revision != HEAD:
            told = newer(opened, url) or (
                f"The journal {named(url)} is of an earlier duet (revision {revision}, now {HEAD}); "
                "start the node once with duet serve, which backs it up and upgrades it."
            )
            opened.close()
            raise BadSettings(told)
    return opened


def newer(opened: Journal, url: str) -> str:
    """That a later duet has written the journal, which this one does not understand; empty where it does."""
    revision = opened.revision()
    if revision is None or any(path.name.startswith(f"r{revision}_") for path in MIGRATIONS.glob("r*.py")):
        return ""
    by = opened.fact(MADE_BY)
    return (
        f"The journal {named(url)} is of a later duet (revision {revision}; this is {version('duet-node')}, which knows up to "
        f"{HEAD}), and nothing was touched; install duet {by or 'of that revision'} or later, or restore an older backup."
    )


def named(url: str) -> str:
    """A database's address without its password."""
    return url.rpartition("@")[2] if "@" in url else url.removeprefix("sqlite:///")


@contextmanager
def telling_errors(url: str) -> Iterator[None]:
    """What the database says, as one sentence that tells what to do. Raises BadSettings."""
    try:
        yield
    except DBAPIError as error:
        said = str(error.orig).splitlines()[0].rstrip(".") if str(error.orig) else type(error.orig).__name__
        todo = "see whether it can be reached and written"
        if not isinstance(error, OperationalError) and url.startswith("sqlite"):
            todo = (
                "stop the node and put a copy of it back, or move it and its -wal and -shm files away: "
                "the next start makes a new one from the inbox, without the releases"
            )
        raise BadSettings(f"The journal {named(url)} cannot be used ({said}); {todo}.") from None


def insert_or_ignore(connection: Connection, table: Any) -> Any:
    """An INSERT that leaves a row with the same key as it is."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    return dialect.insert(table).on_conflict_do_nothing()


def _set_up_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions begin where we say so, below
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=60000", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that begins by reading and then writes can fail at once under WAL; a writer asks for the lock first.
    reading = connection.get_execution_options().get("duet_reading", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def _begin_postgresql(connection: Connection) -> None:
    # One consistent view is one snapshot; a writer sees what was written before its turn came.
    if connection.get_execution_options().get("duet_reading", False):
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")


def _upgrade(engine: Engine) -> None:
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory

    script = ScriptDirectory(str(MIGRATIONS), version_locations=[str(MIGRATIONS)])

    def steps(revision: Any, _context: Any) -> Any:
        return script._upgrade_revs("head", revision)

    with EnvironmentContext(Config(), script, fn=steps) as environment, engine.begin() as connection:
        if connection.dialect.name == "postgresql":  # a command beside a node that starts; the second one finds it done
            connection.execute(_THE_ONLY_WRITER)
        environment.configure(connection=connection, transactional_ddl=True)
        environment.run_migrations()
        connection.execute(facts.delete().where(facts.c.name == MADE_BY))
        connection.execute(facts.insert().values(name=MADE_BY, value=version("duet-node")))
