"""The door's fault bench: bad peers and a bad network, a full disk, a journal that does not take anything, a clock that jumps.

Each test counts what the sender was told (0x0000) against what lies in the inbox and stands in the journal, byte for byte.
"""

from __future__ import annotations

import socket
import sqlite3
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import door_alone
import pytest
from disks import small_disk
from door_crowd import crowd, rows
from door_peers import (
    PIECE,
    REJECTED,
    VERIFICATION,
    BrokenError,
    Peer,
    Sent,
    association_request,
    command,
    half_written,
    in_journal,
    nothing_lost,
    on_disk,
    pdv,
    send,
    some_object,
    store_pdus,
)
from door_toxics import through
from nodes import until
from pydicom import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import StorageCommitmentPushModel  # type: ignore[attr-defined]
from sqlalchemy import event
from structlog.testing import capture_logs

from service import registrar
from service.inbox import Inbox
from service.journal import Journal, open_journal
from service.receiver import Receiver, ReceiverSettings
from service.watched import Watched, faults

ALONE_AND_IN_PROCESSES = pytest.mark.parametrize("processes", [0, 2], ids=["one process", "two door processes"])
SUCCESS, RESOURCES, NEVER, FAILURE = 0x0000, 0xA700, 0xC000, 0x0110  # PS3.4 B.2.3, PS3.7 C.5


@contextmanager
def door(folder: Any, port: int, processes: int = 0, **settings: Any) -> Iterator[Any]:
    if processes:
        with crowd(folder, port, processes, silence_timeout_s=20.0, **settings) as behind:
            yield behind
        return
    words: dict[str, Any] = {"host": "127.0.0.1", "port": port, "free_gb": 0.0, "silence_timeout_s": 20.0, **settings}
    opened = Receiver("DUET", ReceiverSettings(**words), folder.inbox, folder.journal)
    opened.start()
    try:
        yield opened
    finally:
        opened.stop()


def send_again(port: int, objects: list[Sent], tries: int = 20) -> dict[str, str]:
    """As a scanner does: what was not acknowledged is sent again on a new association."""
    told: dict[str, str] = {}
    for _ in range(tries):
        left = [sent for sent in objects if sent.uid not in told]
        if not left:
            break
        try:
            with Peer(port) as peer:
                peer.associate()
                for sent in left:
                    if peer.store(sent) == SUCCESS:
                        told[sent.uid] = sent.digest
        except BrokenError:
            continue
    return told


def at_once(senders: int, work: Callable[[int], Any]) -> list[Any]:
    """The work of many senders that begin in the same moment."""
    start = threading.Barrier(senders)

    def one(number: int) -> Any:
        start.wait()
        return work(number)

    with ThreadPoolExecutor(senders) as pool:
        return list(pool.map(one, range(senders)))


def endings(folder: Any) -> list[str]:
    return [ending for _, ending in rows(folder)]


# Many, slow and silent ones


@ALONE_AND_IN_PROCESSES
def test_64_senders_at_once(folder: Any, port: int, processes: int) -> None:
    objects = [[some_object() for _ in range(3)] for _ in range(64)]
    with door(folder, port, processes):
        told = at_once(64, lambda number: send(port, objects[number]))
        until(lambda: endings(folder) == ["released"] * 64, "all associations are noted as released")
    acknowledged = {uid: digest for each in told for uid, digest in each.items()}
    assert len(acknowledged) == 192
    nothing_lost(folder.data, acknowledged)


@ALONE_AND_IN_PROCESSES
def test_who_comes_when_all_places_are_taken_waits_for_one(folder: Any, port: int, processes: int) -> None:
    objects = [[some_object()] for _ in range(8)]
    with door(folder, port, processes, associations=2):
        told = at_once(8, lambda number: send(port, objects[number]))
    assert sum(len(each) for each in told) == 8
    nothing_lost(folder.data, {uid: digest for each in told for uid, digest in each.items()})


def test_where_no_place_becomes_free_the_caller_is_put_off(folder: Any, port: int) -> None:
    with door(folder, port, associations=1, negotiation_timeout_s=1.0), Peer(port) as first:
        first.associate()
        with Peer(port) as second:
            second.say(association_request())
            kind, why = second.hear()
        assert (kind, tuple(why[1:4])) == (REJECTED, (2, 3, 2))  # PS3.8 9.3.4: transient, local limit exceeded
        assert first.store(some_object()) == SUCCESS


def test_who_asks_just_when_his_time_is_over_is_let_go(folder: Any, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The association gives up while its upper layer still waits: nobody would answer, and both would stay."""
    monkeypatch.setattr("pynetdicom.timer.Timer.expired", property(lambda _timer: False))
    silent = pytest.raises(BrokenError, match="closed")
    with door(folder, port, negotiation_timeout_s=0.2), Peer(port, timeout=10) as late, silent:
        late.hear()


def test_a_slow_sender_is_served_and_keeps_nobody_waiting(folder: Any, port: int) -> None:
    slow, quick = [some_object(30_000)], [some_object() for _ in range(10)]
    with door(folder, port), through(port, crumb=1000, delay_s=0.03) as far, ThreadPoolExecutor(1) as pool:
        coming = pool.submit(send, far, slow)
        until(lambda: bool(half_written(folder.data)), "the slow object has begun")
        told = send(port, quick)
        assert len(told) == 10
        assert not coming.done()
        told |= coming.result()
    assert len(told) == 11
    nothing_lost(folder.data, told)


def test_silent_connections_hold_no_place_and_are_closed(folder: Any, port: int) -> None:
    with door(folder, port, associations=2, negotiation_timeout_s=1.0):
        silent = [Peer(port, timeout=10) for _ in range(40)]
        told = send(port, [some_object()])
        assert len(told) == 1
        assert all(peer.closed() for peer in silent)
        for peer in silent:
            peer.socket.close()
    nothing_lost(folder.data, told)


def test_a_peer_that_falls_silent_within_an_object_is_let_go(folder: Any, port: int) -> None:
    with door(folder, port, silence_timeout_s=0.5), through(port, silent_at=20_000) as far, Peer(far, timeout=10) as peer:
        peer.associate()
        peer.say(peer.whole(some_object(50_000)))
        assert peer.closed()
        until(lambda: not half_written(folder.data), "its half is gone")
        told = send(port, [some_object()])
    nothing_lost(folder.data, told)
    assert sum(on_disk(folder.data).values()) == 1


# Peers that speak no DICOM, or too much of it

BAD_BEGINNINGS = {
    "nothing but a byte": b"\x01",
    "half a header": b"\x01\x00\x00",
    "half a request": association_request()[:50],
    "HTTP": b"GET / HTTP/1.1\r\nHost: duet\r\n\r\n",
    "TLS": bytes.fromhex("16030100b5010000b10303") + bytes(180),
    "rubbish": bytes(range(255, 0, -1)) * 20,
    "a request of rubbish": struct.pack(">BxL", 0x01, 2000) + bytes(range(250)) * 8,
    "a request of 4 GB": struct.pack(">BxL", 0x01, 0xFFFFFFFF) + bytes(5000),
    "data before a request": pdv(1, 3, b"\0" * 40),
}


@pytest.mark.parametrize("beginning", BAD_BEGINNINGS.values(), ids=BAD_BEGINNINGS)
def test_a_bad_beginning_is_closed_and_hurts_nobody(folder: Any, port: int, beginning: bytes) -> None:
    with door(folder, port, negotiation_timeout_s=0.5), Peer(port, timeout=10) as bad:
        bad.say(beginning)
        told = send(port, [some_object()])
        assert bad.closed()
    nothing_lost(folder.data, told)
    assert len(told) == 1


def _middle(content: bytes) -> bytes:
    """The first pieces of an object, and then what is given."""
    return b"".join(list(store_pdus(some_object(3 * PIECE)))[:2]) + content


BAD_MIDDLES = {
    "data of 4 GB": _middle(struct.pack(">BxL", 0x04, 0xFFFFFFFF) + bytes(5000)),
    "an unknown PDU": _middle(struct.pack(">BxL", 0x4A, 10) + bytes(10)),
    "a piece longer than its PDU": _middle(struct.pack(">BxLLBB", 0x04, 16, 5000, 1, 0) + bytes(10)),
    "a piece of nothing": _middle(struct.pack(">BxLLB", 0x04, 5, 1, 1)),
    "a command within an object": _middle(next(store_pdus(some_object()))),
    "a command set of rubbish": pdv(1, 3, bytes(range(200))),
    "a context that nobody offered": pdv(77, 3, next(store_pdus(some_object()))[12:]),
    "a request within the association": association_request(),
    "a request without a class": pdv(3, 3, command(CommandField=0x0030, MessageID=1)),
    "a request without a number": pdv(3, 3, command(CommandField=0x0030, AffectedSOPClassUID=VERIFICATION)),
}


@pytest.mark.parametrize("middle", BAD_MIDDLES.values(), ids=BAD_MIDDLES)
def test_nonsense_within_an_association_ends_it_and_leaves_nothing(folder: Any, port: int, middle: bytes) -> None:
    one = some_object()
    with door(folder, port), Peer(port, timeout=10) as bad:
        bad.associate()
        assert bad.store(one) == SUCCESS
        bad.say(middle)
        assert bad.closed()
        until(lambda: endings(folder) == ["broken"] and not half_written(folder.data), "it is over")
        told = {one.uid: one.digest} | send(port, [some_object()])
    nothing_lost(folder.data, told)
    assert sum(on_disk(folder.data).values()) == 2


def test_an_object_beyond_the_limit_is_refused_and_the_next_is_taken(folder: Any, port: int) -> None:
    large, small = some_object(1_100_000), some_object(900_000)
    with door(folder, port, max_object_mb=1), Peer(port) as peer:
        peer.associate()
        assert [peer.store(large), peer.store(small)] == [NEVER, SUCCESS]
        assert half_written(folder.data) == []
    nothing_lost(folder.data, {small.uid: small.digest})
    assert sum(on_disk(folder.data).values()) == 1


def test_a_sender_that_does_not_wait_for_answers_gets_them_all(folder: Any, port: int) -> None:
    objects = [some_object() for _ in range(5)]
    with door(folder, port), Peer(port) as peer:
        peer.associate()
        peer.say(b"".join(peer.whole(sent) for sent in objects))
        assert [peer.status() for _ in objects] == [SUCCESS] * 5
        assert peer.echo() == SUCCESS
        peer.release()
    nothing_lost(folder.data, {sent.uid: sent.digest for sent in objects})


# BrokenError off


@pytest.mark.parametrize("end", [Peer.abort, Peer.reset, lambda peer: peer.socket.close()], ids=["abort", "reset", "close"])
def test_an_association_broken_off_within_an_object_leaves_no_half(folder: Any, port: int, end: Callable[[Peer], None]) -> None:
    first, second = some_object(), some_object(100_000)
    with door(folder, port):
        peer = Peer(port).associate()
        assert peer.store(first) == SUCCESS
        peer.say(peer.whole(second)[:60_000])
        until(lambda: bool(half_written(folder.data)), "the second has begun")
        end(peer)
        until(lambda: endings(folder) == ["broken"] and not half_written(folder.data), "the door has seen it")
        assert sum(on_disk(folder.data).values()) == 1
        told = {first.uid: first.digest} | send(port, [second])
    assert len(told) == 2
    nothing_lost(folder.data, told)


def test_a_network_that_cuts_every_connection_loses_nothing(folder: Any, port: int) -> None:
    objects = [some_object() for _ in range(12)]
    with door(folder, port), through(port, cut_at=55_000) as far:
        told = send_again(far, objects)
    assert len(told) == 12
    nothing_lost(folder.data, told)


def test_an_object_whose_answer_was_lost_comes_again_and_is_one(folder: Any, port: int) -> None:
    sent = some_object()
    with door(folder, port):
        with through(port, deaf=True) as far, Peer(far, timeout=1) as peer, pytest.raises(BrokenError):
            peer.associate().store(sent)
        until(lambda: sum(on_disk(folder.data).values()) == 1, "it was kept all the same")
        told = send(port, [sent])
    nothing_lost(folder.data, told)
    assert on_disk(folder.data) == {(sent.uid, sent.digest): 1}


@pytest.mark.peer("storescu")
def test_dcmtk_by_a_network_of_crumbs(folder: Any, port: int, scan: Any, tmp_path: Path, program: Callable[[str], str]) -> None:
    paths = []
    for number, ds in enumerate(scan(slices=3).datasets()):
        paths.append(tmp_path / f"{number}.dcm")
        ds.save_as(paths[-1], enforce_file_format=True)
    with door(folder, port), through(port, crumb=700, delay_s=0.005) as far:
        command = [program("storescu"), "-v", "-aec", "DUET", "127.0.0.1", str(far), *map(str, paths)]
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert (said.stdout + said.stderr).count("Received Store Response (Success)") == len(paths)
    there = on_disk(folder.data)
    assert len(there) == len(paths)
    nothing_lost(folder.data, dict(there.keys()))


# The same object twice


@ALONE_AND_IN_PROCESSES
def test_the_same_object_from_eight_senders_at_once_is_one(folder: Any, port: int, processes: int) -> None:
    sent = some_object(200_000)
    with door(folder, port, processes):
        told = at_once(8, lambda _: send(port, [sent]))
    assert told == [{sent.uid: sent.digest}] * 8
    assert on_disk(folder.data) == {(sent.uid, sent.digest): 1}
    nothing_lost(folder.data, told[0])


@ALONE_AND_IN_PROCESSES
def test_two_contents_of_one_object_at_once_are_both_kept(folder: Any, port: int, processes: int) -> None:
    uid = some_object().uid
    versions = [some_object(uid=uid, SeriesDescription=f"version {number}") for number in range(2)]
    with door(folder, port, processes):
        told = at_once(2, lambda number: send(port, [versions[number]]))
    assert on_disk(folder.data) == {(uid, version.digest): 1 for version in versions}
    for each in told:
        nothing_lost(folder.data, each)


# Disk, journal and clock


class OnDisk:
    """A node's folder on a disk of its own, the journal on another where one is named."""

    def __init__(self, data: Path, journal: Path) -> None:
        self.data, self.inbox = data, Inbox(data)
        self.journal: Journal = open_journal(f"sqlite:///{journal}", data)
        self.inbox.prepare()


@pytest.mark.parametrize("journal_too", [False, True], ids=["inbox", "inbox and journal"])
def test_a_full_disk_is_said_and_recovers_by_itself(port: int, tmp_path: Path, journal_too: bool) -> None:
    objects = [some_object(100_000) for _ in range(30)]
    with small_disk(tmp_path / "disk", 4) as disk:
        journal = (disk if journal_too else tmp_path) / "journal.sqlite"
        folder = OnDisk(disk, journal)
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(2_000_000))
        with door(folder, port), Peer(port) as peer:
            peer.associate()
            statuses = {sent: peer.store(sent) for sent in objects}
            told = {sent.uid: sent.digest for sent, status in statuses.items() if status == SUCCESS}
            assert 0 < len(told) < 30
            assert set(statuses.values()) <= {SUCCESS, RESOURCES, FAILURE}
            assert RESOURCES in statuses.values()
            assert half_written(disk) == []
            assert set(told.items()) <= set(on_disk(disk))  # the journal may be full, too
            ballast.unlink()
            later = [sent for sent in objects if sent.uid not in told]
            assert [peer.store(sent) for sent in later[:8]] == [SUCCESS] * 8  # on the same association
            told |= {sent.uid: sent.digest for sent in later[:8]}
            peer.release()
        nothing_lost(disk, told, journal)
        folder.journal.close()


@contextmanager
def locked(journal: Path) -> Iterator[None]:
    """Another program writes in the journal and does not end."""
    other = sqlite3.connect(journal, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


def test_a_journal_locked_by_another_keeps_no_sender_waiting(folder: Any, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows wait, objects are taken; after a while they are refused, and then nothing that was acknowledged is lost."""
    monkeypatch.setattr(registrar, "PATIENCE_S", 1.0)
    objects = [[some_object() for _ in range(4)] for _ in range(4)]
    with door(folder, port) as opened:
        peers = [Peer(port).associate() for _ in objects]
        with locked(folder.data / "journal.sqlite"):
            assert at_once(4, lambda number: peers[number].store(objects[number][0])) == [SUCCESS] * 4
            assert not in_journal(folder.data / "journal.sqlite", folder.data)
            until(lambda: opened.is_behind, "the rows wait for too long")
            assert at_once(4, lambda number: peers[number].store(objects[number][1])) == [FAILURE] * 4
        until(lambda: not opened.is_behind, "the journal is written again")
        for peer, mine in zip(peers, objects, strict=True):
            assert [peer.store(sent) for sent in mine[1:]] == [SUCCESS] * 3  # on the same associations
            peer.release()
    nothing_lost(folder.data, {sent.uid: sent.digest for mine in objects for sent in mine})
    assert endings(folder) == ["released"] * 4


def test_a_journal_that_can_only_be_read_is_said_and_recovers_by_itself(
    folder: Any, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registrar, "PATIENCE_S", 0.5)
    objects = [some_object() for _ in range(4)]
    read_only = threading.Event()
    event.listen(
        folder.journal._engine,
        "checkout",
        lambda connection, *_: connection.execute(f"PRAGMA query_only={int(read_only.is_set())}"),
    )
    watched = {"journal": folder.journal, "data": folder.data, "floor_gb": 0.0}
    with door(folder, port) as opened, Peer(port) as peer, capture_logs() as logs:
        health = Watched(**watched, door=lambda: opened.is_open, behind=lambda: opened.is_behind)
        peer.associate()
        assert peer.store(objects[0]) == SUCCESS
        until(lambda: len(endings(folder)) == 1, "its row is written")
        with Peer(port) as other:
            other.associate().store(objects[0])
            read_only.set()
            assert peer.store(objects[1]) == SUCCESS
            other.release()
        until(lambda: opened.is_behind, "the rows wait for too long")
        assert peer.store(objects[2]) == FAILURE
        assert faults(health) == ["journal"]
        read_only.clear()
        until(lambda: not opened.is_behind, "the journal is written again")
        assert faults(health) == []
        assert [peer.store(sent) for sent in objects[2:]] == [SUCCESS] * 2
        peer.release()
    assert endings(folder) == ["released"] * 2
    nothing_lost(folder.data, {sent.uid: sent.digest for sent in objects})
    told = [line["event"] for line in logs if "journal" in line["event"]]
    assert told.count("the journal cannot be written, rows wait") == 1
    assert told.count("the journal is written again") == 1


def test_a_door_killed_while_the_journal_could_not_be_written_has_lost_nothing(tmp_path: Path, port: int) -> None:
    data, objects = tmp_path / "data", [some_object() for _ in range(6)]
    command = [sys.executable, door_alone.__file__, str(data), str(port)]
    first = subprocess.Popen(command)
    wait_for_door(port)
    with locked(data / "journal.sqlite"):
        with Peer(port) as peer:
            peer.associate()
            assert [peer.store(sent) for sent in objects] == [SUCCESS] * 6
        first.kill()
        first.wait()
        assert not in_journal(data / "journal.sqlite", data)
    torn = next(iter((data / "inbox").glob("*/*.dcm")))  # as after a power cut, of an object that was not acknowledged
    half = torn.with_name(f"{'0' * 24}-{'1' * 16}.dcm")
    half.write_bytes(torn.read_bytes()[:5000])
    second = subprocess.Popen(command)
    wait_for_door(port)
    until(lambda: len(in_journal(data / "journal.sqlite", data)) == 6, "the files are entered")
    second.terminate()
    assert second.wait(timeout=60) == 0
    half.unlink()
    nothing_lost(data, {sent.uid: sent.digest for sent in objects})


def wait_for_door(port: int) -> None:
    def opens() -> bool:
        with suppress(OSError):
            Peer(port).socket.close()
            return True
        return False

    until(opens, "the door opens")


def test_storage_commitment_finds_every_row(folder: Any, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks at once is not told that a row which still waits is no object of this node."""
    monkeypatch.setattr(registrar, "GATHER_S", 2.0)
    seen: list[int] = []

    def take(_: Any) -> tuple[int, None]:
        seen.append(len(in_journal(folder.data / "journal.sqlite", folder.data)))
        return SUCCESS, None

    settings = ReceiverSettings(host="127.0.0.1", port=port, free_gb=0.0)
    opened = Receiver("DUET", settings, folder.inbox, folder.journal, [(evt.EVT_N_ACTION, take)])
    opened.start()
    ae = AE()
    ae.add_requested_context(StorageCommitmentPushModel)
    ds = Dataset()
    ds.TransactionUID = "1.2.3"
    told = send(port, [some_object() for _ in range(5)])
    assoc = ae.associate("127.0.0.1", port, ae_title="DUET")
    status, _ = assoc.send_n_action(ds, 1, StorageCommitmentPushModel, "1.2.840.10008.1.20.1.1")
    assoc.release()
    opened.stop()
    assert status.Status == SUCCESS
    assert seen == [5]
    nothing_lost(folder.data, told)


@pytest.mark.parametrize("jump_s", [86_400.0, -86_400.0, -2e9], ids=["a day on", "a day back", "before 1970"])
def test_a_clock_that_jumps_breaks_no_association(
    folder: Any, port: int, jump_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = [some_object() for _ in range(4)]
    real, jump = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: real() + jump[0])
    with door(folder, port), Peer(port) as peer, Peer(port, timeout=10) as silent:
        peer.associate()
        assert peer.store(objects[0]) == SUCCESS
        peer.say(peer.whole(objects[1])[:10_000])
        jump[0] = jump_s
        time.sleep(0.6)  # the door looks at its timeouts every quarter of a second
        peer.say(b"".join(store_pdus(objects[1], 2))[10_000:])
        assert peer.status() == SUCCESS
        assert [peer.store(sent) for sent in objects[2:]] == [SUCCESS] * 2
        peer.release()
        silent.associate()
    nothing_lost(folder.data, {sent.uid: sent.digest for sent in objects})


def test_silence_is_measured_though_the_clock_was_set_back(folder: Any, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    real, jump = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: real() + jump[0])
    with door(folder, port, silence_timeout_s=0.5, negotiation_timeout_s=0.5):
        associated, silent = Peer(port, timeout=10).associate(), Peer(port, timeout=10)
        jump[0] = -86_400.0
        assert associated.closed()
        assert silent.closed()
        associated.socket.close()
        silent.socket.close()


def test_a_door_that_closes_breaks_what_is_open(folder: Any, port: int) -> None:
    sent = some_object()
    with door(folder, port):
        peer, silent = Peer(port, timeout=10).associate(), Peer(port, timeout=10)
        assert peer.store(sent) == SUCCESS
    assert peer.closed()
    assert silent.closed()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port))
    nothing_lost(folder.data, {sent.uid: sent.digest})
