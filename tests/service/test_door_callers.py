"""What a door process is believed to serve, and the places that its associations hold, when they end out of the ordinary."""

from __future__ import annotations

import struct
import sys
from collections import Counter
from typing import Any

import pytest
from door_crowd import children, crowd, first_to_lose, rows
from door_peers import Peer, some_object
from nodes import until

from service import door_processes
from service.door_process import Plan
from service.door_processes import Processes
from service.receiver import ReceiverSettings

RUBBISH = struct.pack(">BxL", 1, 10) + b"\xff" * 10  # an A-ASSOCIATE-RQ that cannot be decoded


def test_callers_that_never_associate_count_once(folder: Any, port: int) -> None:
    """Silent ones, port checks and rubbish; afterwards eight senders are shared out evenly."""
    with crowd(folder, port, 2, negotiation_timeout_s=0.4):
        for words in (b"", RUBBISH, b""):
            with Peer(port) as peer:
                peer.say(words)
                assert peer.closed()
        peers = [Peer(port).associate() for _ in range(8)]
        assert [peer.store(some_object()) for peer in peers] == [0] * 8
        for peer in peers:
            peer.release()
    assert sorted(Counter(door for door, _ in rows(folder)).values()) == [4, 4]


def test_an_object_that_cannot_be_let_go_keeps_no_place(folder: Any, port: int) -> None:
    """A folder of the inbox becomes a file while half an object is there, so that the disk refuses to delete it."""
    with crowd(folder, port, 1, associations=1, negotiation_timeout_s=1.0):
        peer = Peer(port).associate()
        peer.say(peer.whole(some_object(400_000))[:200_000])
        until(lambda: any(folder.data.glob("inbox/*/*.part")), "half an object")
        shard = next(folder.data.glob("inbox/*/*.part")).parent
        away = shard.rename(shard.with_name("away"))
        shard.touch()
        peer.reset()
        Peer(port).associate().release()
        shard.unlink()
        away.rename(shard)


def test_a_killed_process_holds_no_place_while_the_journal_is_away(folder: Any, port: int) -> None:
    with crowd(folder, port, 2, associations=1, negotiation_timeout_s=5.0), Peer(port) as peer:
        peer.associate()
        with folder.journal.writing():
            first_to_lose(children(), peer)
            Peer(port).associate().release()


def test_a_process_that_ends_before_it_is_told_is_no_error(folder: Any, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    monkeypatch.setattr(door_processes, "LONGEST_AGAIN_S", 0.0)
    plan = Plan(ae_title="DUET" * 50_000, data=folder.data, receiver=ReceiverSettings(port=port, processes=1))
    behind = Processes(plan, folder.journal, folder.inbox)  # more than a pipe holds: nobody has read it
    for _ in range(10):
        behind.step()
    behind.stop()
