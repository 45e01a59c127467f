"""Who comes in: a flood of silent connections makes room for a sender."""

from __future__ import annotations

from typing import Any

import pytest
from door_peers import Peer, nothing_lost, some_object

from service import receiver_server
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


class Guest:
    """An association, alive or not."""

    def __init__(self) -> None:
        self.alive = True

    def is_alive(self) -> bool:
        return self.alive


def test_a_place_is_free_again_when_its_association_has_ended() -> None:
    places, first, second = Places(1, 0.05), Guest(), Guest()
    assert places.take(first)
    assert not places.take(second)
    first.alive = False
    assert places.take(second)
