"""Rows are written in order and together, by nobody who waits; a journal that cannot be written loses none."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from nodes import until
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError, OperationalError

from service import entries, registrar
from service.arrivals import Arrival
from service.entries import Association, End, Entry
from service.registrar import BehindError, Registrar
from service.tables import Ending


def arrival(number: int, **words: Any) -> Arrival:
    known: dict[str, Any] = {"sop_class_uid": "1.2", "path": f"inbox/00/{number}.dcm", **words}
    return Arrival(sop_instance_uid=f"1.2.{number}", digest="d", received_at=1.0, **known)


def association() -> Association:
    return Association(calling_ae="CT1", address="10.0.0.1", opened_at=1.0)


def asked(folder: Any, query: str) -> list[Any]:
    with folder.journal.reading() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(query)]


def paths(folder: Any) -> set[str]:
    return {path for (path,) in asked(folder, "SELECT path FROM instances")}


def test_what_waits_shares_a_transaction_and_keeps_its_order(folder: Any) -> None:
    commits: list[object] = []
    event.listen(folder.journal._engine, "commit", commits.append)
    mine, sender = Registrar(folder.journal), association()
    with folder.journal.writing():
        for number in range(20):
            mine.add(Entry(association=sender, what=arrival(number)))
        mine.add(Entry(association=sender, what=End(ending=Ending.RELEASED, at=2.0)))
        assert paths(folder) == set()
    mine.settle()
    assert len(commits) <= 4  # the one that held it, this look, and two lots
    assert asked(folder, "SELECT path FROM instances ORDER BY id") == [(f"inbox/00/{number}.dcm",) for number in range(20)]
    assert asked(folder, "SELECT calling_ae, ending FROM associations") == [("CT1", "released")]
    assert asked(folder, "SELECT count(DISTINCT association_id) FROM instances") == [(1,)]


def test_one_that_came_before_is_said(folder: Any) -> None:
    mine, first, second = Registrar(folder.journal), association(), association()
    assert [mine.write(Entry(association=each, what=arrival(1))) for each in (first, second)] == [True, False]
    assert len(paths(folder)) == 1
    assert asked(folder, "SELECT association_id FROM instances") == [(second.number,)]


def test_the_same_row_from_many_is_new_once(folder: Any) -> None:
    mine, sender = Registrar(folder.journal), association()
    waiting = [Entry(association=sender, what=arrival(1)) for _ in range(8)]
    with folder.journal.writing():
        for each in waiting:
            mine.add(each)
    mine.settle()
    assert [each.new for each in waiting] == [True] + [False] * 7


def test_a_row_that_cannot_be_written_takes_no_other_with_it(folder: Any) -> None:
    mine, sender = Registrar(folder.journal), association()
    bad = Entry(association=sender, what=arrival(99, sop_class_uid=None))  # the column must not be empty
    with folder.journal.writing():
        for number in range(3):
            mine.add(Entry(association=sender, what=arrival(number)))
        mine.add(bad)
        mine.add(Entry(association=sender, what=arrival(3)))
    mine.settle()
    assert isinstance(bad.error, IntegrityError)
    assert len(paths(folder)) == 4
    with pytest.raises(IntegrityError):
        mine.write(Entry(association=sender, what=arrival(98, sop_class_uid=None)))


def test_a_journal_that_cannot_be_written_refuses_and_loses_nothing(folder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registrar, "AGAIN_S", 0.02)
    monkeypatch.setattr(registrar, "PATIENCE_S", 0.2)
    broken, real = threading.Event(), entries.write

    def write(*words: Any) -> None:
        if broken.is_set():
            raise OperationalError("insert", {}, Exception("attempt to write a readonly database"))
        real(*words)

    monkeypatch.setattr(entries, "write", write)
    mine, sender = Registrar(folder.journal), association()
    broken.set()
    mine.admit()
    for number in range(5):
        mine.add(Entry(association=sender, what=arrival(number)))
    with pytest.raises(BehindError):
        mine.settle()
    assert mine.behind
    with pytest.raises(BehindError):
        mine.admit()
    broken.clear()
    until(lambda: not mine.behind, "it is written again")
    mine.admit()
    mine.settle()
    assert len(paths(folder)) == 5


def test_no_more_may_wait_than_there_are_places(folder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registrar, "MOST_WAITING", 3)
    mine, sender = Registrar(folder.journal), association()
    with folder.journal.writing():
        for number in range(3):
            mine.admit()
            mine.add(Entry(association=sender, what=arrival(number)))
        with pytest.raises(BehindError):
            mine.admit()
    mine.settle()
    mine.admit()


def test_its_thread_ends_when_nothing_comes_and_begins_anew(folder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registrar, "IDLE_S", 0.05)
    mine, sender = Registrar(folder.journal), association()
    for number in range(3):
        assert mine.write(Entry(association=sender, what=arrival(number)))
        until(lambda: all(thread.name != "registrar" for thread in threading.enumerate()), "the thread ends")
    assert len(paths(folder)) == 3
