"""Who comes in: a flood of silent connections makes room for a sender."""

from __future__ import annotations

from typing import Any

import pytest
from door_peers import Peer, nothing_lost, some_object

from service import receiver_server
from service.door_board import Board
from service.receiver import Receiver, ReceiverSettings
from service.receiver_server import Places


def test_the_oldest_silent_connection_gives_way(folder: Any, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiver_server, "MOST_SILENT", 3)
    settings = ReceiverSettings(host="127.0.0.1", port=port, free_gb=0.0, negotiation_timeout_s=30.0)
    door = Receiver("DUET", settings, folder.inbox, folder.journal)
    door.start()
    silent = [Peer(port, timeout=5.0 if number < 2 else 0.3) for number in range(6)]
    sent = some_object()
    with Peer(port) as peer:
        assert peer.associate().store(sent) == 0
        peer.release()
    assert [peer.closed() for peer in silent[:2]] == [True, True]
    assert not silent[-1].closed()
    door.stop()
    for peer in silent:
        peer.socket.close()
    nothing_lost(folder.data, {sent.uid: sent.digest})


def test_a_place_is_free_again_when_its_association_has_left() -> None:
    places, first, second = Places(1, 0.05, Board(1).row(0)), object(), object()
    assert places.take(first)
    assert not places.take(second)
    places.leave(first)
    assert places.take(second)


def test_a_place_that_another_process_has_taken_is_no_place() -> None:
    board = Board(3)
    places, elsewhere = Places(2, 0.0, board.row(1)), Places(2, 0.0, Board(3, board.descriptor).row(2))
    assert places.take("a")
    assert elsewhere.take("b")
    assert not places.take("c")
    board.clear(2)  # that process has ended
    assert places.take("c")
