"""Rows of many associations: each gets its own word, and those that wait share a transaction."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError

from service.arrivals import Arrival
from service.registrar import Registrar


def arrival(number: int, path: str = "") -> Arrival:
    path = path or f"inbox/00/{number}.dcm"
    return Arrival(sop_class_uid="1.2", sop_instance_uid=f"1.2.{number}", digest="d", path=path, received_at=1.0)


def paths(folder: Any) -> set[str]:
    with folder.journal.reading() as connection:
        return set(connection.exec_driver_sql("SELECT path FROM instances").scalars())


def all_at_once(registrar: Registrar, folder: Any, arrived: list[Arrival]) -> tuple[list[bool | IntegrityError], int]:
    """What each got, and in how many transactions: they gather while the journal is held."""
    commits: list[object] = []
    event.listen(folder.journal._engine, "commit", commits.append)

    def one(each: Arrival) -> bool | IntegrityError:
        try:
            return registrar.record(each)
        except IntegrityError as error:
            return error

    with ThreadPoolExecutor(len(arrived)) as pool:
        with folder.journal.writing():
            coming = [pool.submit(one, each) for each in arrived]
            until_all_wait(registrar, len(arrived) - 1)  # one has the turn and waits for the journal
        return [each.result() for each in coming], len(commits) - 1


def until_all_wait(registrar: Registrar, count: int) -> None:
    for _ in range(1000):
        if len(registrar._waiting) >= count:
            return
        threading.Event().wait(0.01)
    raise AssertionError("they do not gather")


def test_what_waits_shares_a_transaction(folder: Any) -> None:
    told, transactions = all_at_once(Registrar(folder.journal), folder, [arrival(number) for number in range(20)])
    assert told == [True] * 20
    assert transactions <= 2
    assert len(paths(folder)) == 20


def test_one_that_came_before_is_said(folder: Any) -> None:
    registrar = Registrar(folder.journal)
    assert [registrar.record(arrival(1)), registrar.record(arrival(1))] == [True, False]
    assert len(paths(folder)) == 1


def test_a_row_that_cannot_be_written_takes_no_other_with_it(folder: Any) -> None:
    none: Any = None  # the column must not be empty
    bad = Arrival(sop_class_uid=none, sop_instance_uid="1.2.99", digest="d", path="inbox/00/bad.dcm", received_at=1.0)
    told, _ = all_at_once(Registrar(folder.journal), folder, [*(arrival(number) for number in range(5)), bad])
    assert told[:5] == [True] * 5
    assert isinstance(told[5], IntegrityError)
    assert len(paths(folder)) == 5


@pytest.mark.parametrize("senders", [8])
def test_the_same_row_from_many_is_new_once(folder: Any, senders: int) -> None:
    told, _ = all_at_once(Registrar(folder.journal), folder, [arrival(1)] * senders)
    assert sorted(map(bool, told)) == [False] * (senders - 1) + [True]
