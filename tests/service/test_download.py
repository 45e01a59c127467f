"""Downloads against a real HTTP server that cuts connections, lies about ranges and sends other bytes. No other network."""

from __future__ import annotations

import hashlib
import json
import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from analysis.errors import ModelUnavailable
from service.download import Patience, RemoteFile, check_address, download, remote_file

CONTENT = random.Random(7).randbytes(300_000)
QUICK = Patience(tries=3, pause_s=0.001, timeout_s=5.0)


@dataclass
class Manners:
    """How the server behaves. cuts: after how many bytes each answer breaks off, one an answer; 0: it does not."""

    content: bytes = CONTENT
    cuts: list[int] = field(default_factory=list)
    ranges: str = "honest"  # or "none", "lying" (another range than asked for), "shifted" (says what was asked, sends another)
    status: int = 0
    redirect: str = ""
    asked: list[str] = field(default_factory=list)
    record: Any = None


class Server(ThreadingHTTPServer):
    daemon_threads = True
    manners: Manners

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answering(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        manners = self.server.manners
        wanted = self.headers.get("Range", "")
        manners.asked.append(wanted)
        if self.path.startswith("/records/"):
            self.whole(json.dumps(manners.record).encode())
        elif manners.redirect:
            self.send_response(302)
            self.send_header("Location", manners.redirect)
            self.end_headers()
        elif manners.status:
            self.send_error(manners.status)
        else:
            self.file(manners, wanted)

    def file(self, manners: Manners, wanted: str) -> None:
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and manners.ranges != "none" else 0
        if start == 0:
            self.whole(manners.content)
            return
        sent = start + 1000 if manners.ranges in ("lying", "shifted") else start
        said = start if manners.ranges == "shifted" else sent
        self.send_response(206)
        size = len(manners.content)
        self.send_header("Content-Range", f"bytes {said}-{size - 1}/{size}")
        self.body(manners.content[sent:])

    def whole(self, content: bytes) -> None:
        self.send_response(200)
        self.body(content)

    def body(self, content: bytes) -> None:
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        cut = self.server.manners.cuts.pop(0) if self.server.manners.cuts else 0
        self.wfile.write(content[:cut] if cut else content)
        self.close_connection = True

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Answering) as running:
        running.manners = Manners()
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def remote(server: Server, content: bytes = CONTENT) -> RemoteFile:
    return RemoteFile(
        url=f"{server.url}/file.zip",
        size=len(content),
        algorithm="md5",
        digest=hashlib.md5(content).hexdigest(),  # noqa: S324
    )


def got(server: Server, target: Path, wanted: RemoteFile | None = None) -> list[tuple[str, float]]:
    told: list[tuple[str, float]] = []
    download(wanted or remote(server), target, lambda *words: told.append(words), patience=QUICK)
    assert target.read_bytes() == CONTENT
    assert list(target.parent.iterdir()) == [target]
    return told


def test_a_file_arrives_and_its_progress_is_told(server: Server, tmp_path: Path) -> None:
    told = got(server, tmp_path / "file.zip")
    assert [fraction for _, fraction in told] == sorted(fraction for _, fraction in told)
    assert told[-1] == ("file.zip is complete", 1.0)


def test_a_connection_that_is_cut_is_taken_up_where_it_broke_off(server: Server, tmp_path: Path) -> None:
    server.manners.cuts = [100_000, 50_000, 1]
    got(server, tmp_path / "file.zip")
    assert server.manners.asked == ["", "bytes=100000-", "bytes=150000-", "bytes=150001-"]


def test_another_run_goes_on_where_the_last_one_stopped(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.zip.part").write_bytes(CONTENT[:123_456])
    got(server, tmp_path / "file.zip")
    assert server.manners.asked == ["bytes=123456-"]


def test_a_part_that_is_complete_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.zip.part").write_bytes(CONTENT)
    got(server, tmp_path / "file.zip")
    assert server.manners.asked == []


@pytest.mark.parametrize("ranges", ["none", "lying", "shifted"])
def test_a_server_that_does_not_keep_to_ranges_does_no_harm(server: Server, tmp_path: Path, ranges: str) -> None:
    server.manners.cuts, server.manners.ranges = [200_000], ranges
    got(server, tmp_path / "file.zip")
    assert "bytes=200000-" in server.manners.asked


def test_a_part_of_another_file_is_found_out_and_fetched_anew(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.zip.part").write_bytes(b"x" * 200_000)
    got(server, tmp_path / "file.zip")
    assert server.manners.asked == ["bytes=200000-", ""]


def test_a_part_that_is_too_long_is_begun_anew(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.zip.part").write_bytes(CONTENT + b"more")
    got(server, tmp_path / "file.zip")


@pytest.mark.parametrize("other", [CONTENT[:-1] + b"?", CONTENT + b"and much more", random.Random(8).randbytes(300_000)])
def test_wrong_bytes_are_deleted(server: Server, tmp_path: Path, other: bytes) -> None:
    server.manners.content = other
    with pytest.raises(ModelUnavailable, match=r"is not the file of the record|cannot be fetched"):
        download(remote(server), tmp_path / "file.zip", lambda *_: None, patience=QUICK)
    assert not (tmp_path / "file.zip").exists()
    assert all(path.stat().st_size <= len(CONTENT) + 1 for path in tmp_path.iterdir())


def test_a_server_that_always_fails_ends_in_a_sentence(server: Server, tmp_path: Path) -> None:
    server.manners.status = 503
    with pytest.raises(ModelUnavailable, match=r"the server answers 503; the same command goes on where it stopped\.$"):
        download(remote(server), tmp_path / "file.zip", lambda *_: None, patience=QUICK)
    assert len(server.manners.asked) == QUICK.tries
    server.manners.status = 404
    with pytest.raises(ModelUnavailable, match=r"the server answers 404\.$"):
        download(remote(server), tmp_path / "file.zip", lambda *_: None, patience=QUICK)
    assert len(server.manners.asked) == QUICK.tries + 1


def test_nobody_there_ends_in_a_sentence(server: Server, tmp_path: Path) -> None:
    nobody = replace(remote(server), url="http://127.0.0.1:9/file.zip")
    with pytest.raises(ModelUnavailable, match=r"cannot be fetched: .*refused"):
        download(nobody, tmp_path / "file.zip", lambda *_: None, patience=QUICK)


def test_only_encrypted_or_local_addresses_are_asked(server: Server, tmp_path: Path) -> None:
    for url in ("http://example.com/a.zip", "ftp://example.com/a.zip", "file:///etc/passwd"):
        with pytest.raises(ModelUnavailable, match="only https"):
            check_address(url)
    server.manners.redirect = "file:///etc/passwd"
    with pytest.raises(ModelUnavailable, match=r"only https|cannot be fetched"):
        download(remote(server), tmp_path / "file.zip", lambda *_: None, patience=QUICK)
    server.manners.redirect = "http://example.com/a.zip"
    with pytest.raises(ModelUnavailable, match="only https"):
        download(remote(server), tmp_path / "file.zip", lambda *_: None, patience=QUICK)


def test_a_disk_without_room_is_told_before_a_byte_is_fetched(server: Server, tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match=r"needs 1000000\.0 GB more"):
        download(replace(remote(server), size=10**15), tmp_path / "file.zip", lambda *_: None, patience=QUICK)
    assert server.manners.asked == []


def record(server: Server, **changed: Any) -> dict[str, Any]:
    """A record as Zenodo's API describes it."""
    file = {"key": "file.zip", "size": len(CONTENT), "checksum": "md5:" + "a" * 32, "links": {"self": f"{server.url}/content"}}
    return {"id": 1, "files": [{**file, **changed}]}


def test_a_record_says_where_its_file_is_and_what_it_is(server: Server) -> None:
    server.manners.record = record(server)
    found = remote_file("1", "file.zip", api=f"{server.url}/records/", patience=QUICK)
    assert found == RemoteFile(url=f"{server.url}/content", size=len(CONTENT), algorithm="md5", digest="a" * 32)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"key": "other.zip"}, "has no file file.zip; it has other.zip"),
        ({"checksum": "crc32:12345678"}, "no usable checksum"),
        ({"checksum": "md5:xyz"}, "no usable checksum"),
        ({"size": -1}, "no usable checksum"),
        ({"links": {}}, "does not say what its files are"),
        ({"links": {"self": "http://example.com/file.zip"}}, "only https"),
    ],
)
def test_a_record_that_cannot_be_used_is_told(server: Server, changed: dict[str, Any], words: str) -> None:
    server.manners.record = record(server, **changed)
    with pytest.raises(ModelUnavailable, match=words):
        remote_file("1", "file.zip", api=f"{server.url}/records/", patience=QUICK)
