"""A journal serves one data folder: at each start a node gives it a new word, and its folder keeps all that it has given.

So a second node is refused, on whatever host, and also one on a copy of the folder, once its twin has started since. A folder
that is moved takes its words along; a copy of the journal that is put back bears an older one of them.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import Connection, select
from sqlalchemy.exc import OperationalError

from analysis.errors import BadSettings
from service.inbox import write_durably
from service.journal import Journal, named
from service.logs import logger
from service.tables import facts

FACT = "data folder"
FILE = "journal.words"  # below the data folder, the newest word last
KEPT = 1000  # words, of as many starts


def require_own(journal: Journal, url: str, data: Path) -> None:
    """Raises BadSettings where the journal serves another data folder."""
    given = journal.fact(FACT)
    if given is not None and given not in _words(data):
        raise BadSettings(_refusal(url, data, given))


def take(journal: Journal, url: str, data: Path) -> None:
    """The journal of a node that starts: it serves this folder from now on. Raises BadSettings where it serves another."""
    try:
        with journal.writing() as connection:  # of two that start at once the second one sees the first one's word
            given = connection.execute(select(facts.c.value).where(facts.c.name == FACT)).scalar()
            words = _words(data)
            if given is not None and given not in words:
                raise BadSettings(_refusal(url, data, given))
            _give(connection, data, words)
    except (OSError, OperationalError) as error:  # a full disk: the word stays, and the door opens and says so
        require_own(journal, url, data)
        logger().warning("the journal keeps its word", error=type(error).__name__)


def take_restored(journal: Journal, data: Path) -> None:
    """A restored journal serves the folder that it was restored with, and no longer the one that it was copied from."""
    with journal.writing() as connection:
        _give(connection, data, [])


def _words(data: Path) -> Sequence[str]:
    try:
        return (data / FILE).read_text(encoding="utf-8", errors="replace").split()
    except FileNotFoundError:
        return []


def _give(connection: Connection, data: Path, words: Sequence[str]) -> None:
    """A new word, on disk before the journal has it. Raises OSError."""
    word = uuid.uuid4().hex
    write_durably(data / FILE, ["".join(f"{each}\n" for each in [*words, word][-KEPT:]).encode()])
    connection.execute(facts.delete().where(facts.c.name == FACT))
    connection.execute(facts.insert().values(name=FACT, value=word))


def _refusal(url: str, data: Path, given: str) -> str:
    return (
        f"The journal {named(url)} serves another data folder than {data}, and never two; name a database of this node's own "
        f"in [node] journal, or, where this folder takes the other one's place for good and no node runs there, add the line "
        f"{given} to {data / FILE}."
    )
