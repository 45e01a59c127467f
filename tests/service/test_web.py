"""The pages on a real port: health, limits, and what a stranger who is not polite gets."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from typing import Any

import pytest
from nodes import free_port, until
from pages import served

from analysis.errors import BadSettings
from service import web as web_module
from service.web import Web
from service.web_settings import WebSettings


def test_a_node_that_is_well_says_so_and_one_that_is_not_names_what(folder: Any) -> None:
    with served(folder.journal, folder.data) as site:
        well = site.get("/healthz")
        assert (well.status, json.loads(well.content)) == (200, {"status": "ok"})
        site.parts["engine"] = "waits for workers"
        site.door["open"] = False
        ill = site.get("/healthz")
        assert (ill.status, json.loads(ill.content)) == (503, {"status": "failing", "failing": ["door", "engine"]})


def test_a_full_disk_and_a_journal_that_is_away_are_named(folder: Any) -> None:
    with served(folder.journal, folder.data, floor_gb=1e9) as site:
        assert json.loads(site.get("/healthz").content)["failing"] == ["disk"]
        with folder.journal.writing() as connection:
            connection.exec_driver_sql("DROP TABLE facts")
        assert json.loads(site.get("/healthz").content)["failing"] == ["journal", "disk"]


def test_a_taken_port_is_told_in_a_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(BadSettings, match=rf"\[web\] 127.0.0.1:{port} cannot be opened \(Address already in use\)"):
            Web(WebSettings(port=port)).open()


def test_pages_that_were_opened_and_never_served_let_go_of_the_port() -> None:
    port = free_port()
    web = Web(WebSettings(port=port))
    web.open()
    web.stop()
    with socket.socket() as again:
        again.bind(("127.0.0.1", port))


def raw(port: int, sent: bytes) -> bytes:
    """All that comes back for these bytes until the connection ends."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(sent)
        found = b""
        with contextlib.suppress(ConnectionResetError):
            while part := connection.recv(65536):
                found += part
        return found


def test_a_request_without_end_is_refused(folder: Any) -> None:
    with served(folder.journal, folder.data) as site:
        long = b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 100_000
        assert raw(site.port, long).startswith(b"HTTP/1.1 400 ")
        content = b"POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 9000000000\r\n\r\n"
        assert raw(site.port, content).startswith(b"HTTP/1.1 405 ")
        content = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 9000000000\r\n\r\n"
        assert raw(site.port, content).startswith(b"HTTP/1.1 413 ")
        path = b"GET /" + b"a" * 2000 + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        assert raw(site.port, path).startswith(b"HTTP/1.1 414 ")
        assert site.get("/healthz").status == 200


def test_who_sends_slowly_is_cut_off_and_holds_nobody_up(folder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_module, "HEAD_S", 0.5)
    with served(folder.journal, folder.data) as site, contextlib.ExitStack() as stack:
        slow = [stack.enter_context(socket.create_connection(("127.0.0.1", site.port), timeout=20)) for _ in range(8)]
        for each in slow:
            each.sendall(b"GET / HTTP/1.1\r\nHost: local")
        assert site.get("/healthz").status == 200
        for each in slow:
            assert ended(each)


def test_a_connection_ends_after_its_time_also_where_nothing_is_read(folder: Any) -> None:
    with served(folder.journal, folder.data, connection_s=0.6) as site, contextlib.ExitStack() as stack:
        kept = stack.enter_context(socket.create_connection(("127.0.0.1", site.port), timeout=20))
        kept.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert kept.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert ended(kept)


def test_more_connections_than_are_allowed_are_closed_and_the_port_comes_back(folder: Any) -> None:
    with served(folder.journal, folder.data, connections=4) as site:
        many = [socket.create_connection(("127.0.0.1", site.port), timeout=20) for _ in range(12)]
        until(lambda: sum(_closed(each) for each in many) >= 8, "those too many are closed", 10)
        for each in many:
            each.close()
        until(lambda: site.get("/healthz").status == 200, "it answers again", 10)


def _closed(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def ended(connection: socket.socket) -> bool:
    """Whether the other side closes it within 20 s."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            if connection.recv(65536) == b"":
                return True
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False
    return False
