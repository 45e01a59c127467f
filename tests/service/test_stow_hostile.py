"""STOW-RS to servers that mean ill or are broken: every sending ends, in bounded time and memory, with a word in the ledger."""

from __future__ import annotations

import gzip
import itertools
import json
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from deliveries import post, posted
from hostile_web import Answer, HostileServer, dripped, uid_of

from service import postings, stow, stow_session
from service.destinations import DeliverySettings, Destination
from service.outbox import Desk, Outbox

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/dicom+json\r\n"
MANY = bytes(1 << 16)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stow_session, "ENDS_S", 1.0)
    monkeypatch.setattr(stow, "ANSWER_S", 0.7)


def step(folder: Any, url: str) -> None:
    settings = DeliverySettings()
    desk = Desk(journal=folder.journal, data=folder.data, ae_title="DUET", settings=settings)
    Outbox(Destination(name="pacs", url=url), desk).step()


def stored(request: bytes) -> bytes:
    item = {"00081155": {"vr": "UI", "Value": [uid_of(request)]}}
    return json.dumps({"00081199": {"vr": "SQ", "Value": [item]}}).encode()


def plain(head: bytes, body: Callable[[bytes], bytes]) -> Answer:
    return lambda request: [head + b"\r\n" + body(request)]


def endless(head: bytes, piece: bytes) -> Answer:
    return lambda _request: itertools.chain([head], itertools.repeat(piece))


def _chunk(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece)


BOMB = gzip.compress(bytes(200_000_000))
SIZED, CHUNKED = HEAD + b"Content-Length: 1000000000000\r\n\r\n", HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
DEEP = b"[" * 500_000
LAUGHS = (
    b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "' + b"a" * 1000 + b'">'
    + b"".join(b'<!ENTITY %c "%b">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(9))
    + b"]><NativeDicomModel>&j;</NativeDicomModel>"
)  # fmt: skip

HOSTILE: dict[str, tuple[Answer, str]] = {
    "a huge body": (endless(SIZED, MANY), "its answer is longer than 1 MB"),
    "an endless body": (endless(CHUNKED, _chunk(MANY)), "its answer is longer than 1 MB"),
    "a body without end or length": (endless(HEAD + b"\r\n", MANY), "its answer is longer than 1 MB"),
    "a drip of a status line": (lambda _: dripped(b"HTTP/1.1 200 OK", 0.02), "its answer did not end within 1 s"),
    "a drip of headers": (lambda _: dripped(HEAD + b"X: y", 0.02), "its answer did not end within 1 s"),
    "a drip of a body": (lambda _: dripped(SIZED + b"{", 0.02), "its answer did not end within 1 s"),
    "a drip of a chunk's size": (lambda _: dripped(CHUNKED + b"0", 0.02), "its answer did not end within 1 s"),
    "endless patience": (endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), "its answer did not end within 1 s"),
    "many headers": (endless(HEAD, b"X: y\r\n"), "the connection was lost before it had answered"),
    "a bomb": (
        plain(HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n" % len(BOMB), lambda _: BOMB),
        "its answer is longer than 1 MB",
    ),
    "no gzip": (
        plain(HEAD + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n", lambda _: b"abcd"),
        "its answer cannot be read (DecodeError)",
    ),
    "a drop within the answer": (plain(HEAD + b"Content-Length: 500\r\n", lambda _: b"{"), "its answer was cut off"),
    "a drop within a chunk": (lambda _: [CHUNKED + b"400\r\n{"], "its answer was cut off"),
    "a drop before the answer": (lambda _: [], "the connection was lost before it had answered"),
    "no HTTP": (lambda _: [b"220 mail.example ESMTP\r\n"], "the connection was lost before it had answered"),
    "a deep nest": (
        plain(HEAD + b"Content-Length: %d\r\n" % len(DEEP), lambda _: DEEP),
        "answered with HTTP 200, which does not say that it is stored.",
    ),
    "a billion laughs": (
        plain(
            HEAD.replace(b"json", b"xml") + b"Content-Length: %d\r\n" % len(LAUGHS),
            lambda _: LAUGHS,
        ),
        "answered with HTTP 200, which does not say that it is stored.",
    ),
    "a number that is none": (
        plain(
            HEAD + b"Connection: close\r\n",
            lambda request: stored(request).replace(b'"UI"', b'"DS"').replace(uid_of(request).encode(), b"1e999999999999"),
        ),
        "answered with HTTP 200, which does not say that it is stored.",
    ),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_answer_ends_and_is_told(folder: Any, scan: Any, kind: str) -> None:
    posted(folder, scan)
    answer, told = HOSTILE[kind]
    tracemalloc.start()
    try:
        with HostileServer(answer).running() as server:
            step(folder, server.url)
        assert tracemalloc.get_traced_memory()[1] < 40e6
    finally:
        tracemalloc.stop()
    owed = postings.owed(folder.journal)
    assert len(owed) == 3, "nothing counts as delivered"
    assert owed[0].failures == 1
    assert owed[0].sentence.rstrip(".").endswith(told.rstrip(".")), owed[0].sentence


def sentences(folder: Any) -> list[str]:
    return [row.sentence for row in postings.owed(folder.journal)]


def test_an_object_that_makes_a_server_fall_over_holds_no_other_up(folder: Any, scan: Any) -> None:
    (uids,) = posted(folder, scan)

    def answer(request: bytes) -> Iterator[bytes]:
        if uid_of(request) != uids[0]:
            yield b"HTTP/1.0 200 OK\r\n\r\n" + stored(request)  # without length and type, as RFC 1945 allows

    with HostileServer(answer).running() as server:
        for _ in range(3):
            step(folder, server.url)
    assert sentences(folder) == [f"{uids[0]}.dcm: the connection was lost before it had answered."]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_object_goes_where_a_server_sends_it_on_to(folder: Any, scan: Any, status: int) -> None:
    posted(folder, scan)
    with HostileServer(plain(HEAD + b"Connection: close\r\n", stored)).running() as elsewhere:
        head = b"HTTP/1.1 %d Go\r\nLocation: %b/studies\r\nContent-Length: 0\r\n" % (status, elsewhere.url.encode())
        with HostileServer(plain(head, lambda _: b"")).running() as server:
            step(folder, server.url)
    assert elsewhere.requests == []
    assert all("it sends on to another address" in sentence for sentence in sentences(folder))


def test_a_slow_server_gets_the_whole_object(folder: Any, scan: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer than the time in which a connection must come about; without a pause longer than a server may be silent."""
    monkeypatch.setattr(stow, "CONNECT_S", 0.5)
    monkeypatch.setattr(stow, "ANSWER_S", 10)
    monkeypatch.setattr(stow_session, "ENDS_S", 20.0)
    uid = large(folder, scan, 16_000_000)
    server = HostileServer(plain(HEAD + b"Connection: close\r\n", stored), read_s=0.01)
    with server.running():
        step(folder, server.url)
    assert sentences(folder) == []
    assert uid_of(server.requests[0]) == uid


def test_a_server_that_takes_an_object_by_crumbs_is_left(folder: Any, scan: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stow, "ANSWER_S", 10)
    monkeypatch.setattr(stow_session, "SLOWEST", 16_000_000)
    large(folder, scan, 16_000_000)
    with HostileServer(plain(HEAD, stored), read_s=0.3).running() as server:
        step(folder, server.url)
    assert sentences(folder) == ["1.2.7.dcm: it did not take the object in time."]


def large(folder: Any, scan: Any, size: int) -> str:
    (ds,) = scan(slices=1, modalities=("CT",)).datasets()
    uid = "1.2.7"
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = uid
    ds.Rows, ds.Columns = 1000, size // 2000
    ds.PixelData = bytes(size)
    ds.save_as(folder.data / f"{uid}.dcm", enforce_file_format=True)
    post(folder, 1, [uid])
    return uid
