"""STOW-RS to Orthanc, and to a server that answers as it is told: what counts as stored, and what is said of the rest."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cases import Made
from deliveries import post, posted
from orthanc_web import OrthancWeb
from pydicom import dcmread, dcmwrite

from dicom_io.sr_enhanced import enhanced_uid
from service import postings, stow
from service.destinations import Commitment, DeliverySettings, Destination, UndeliveredError
from service.outbox import Desk, Outbox
from service.stow import read_answer


def outbox(folder: Any, to: Destination) -> Outbox:
    settings = DeliverySettings(first_retry_s=1e-6, longest_retry_s=1e-6)
    return Outbox(to, Desk(journal=folder.journal, data=folder.data, ae_title="DUET", settings=settings))


@pytest.mark.peer("Orthanc")
@pytest.mark.peer("OrthancDicomWeb")
def test_a_case_arrives_in_orthanc_byte_for_byte(
    folder: Any, case: Made, tmp_path: Path, program: Callable[[str], str]
) -> None:
    uids = []
    for path in sorted(case.folder.glob("*.dcm")):
        ds = dcmread(path)
        dcmwrite(folder.data / f"{ds.SOPInstanceUID}.dcm", ds, enforce_file_format=True)
        uids.append(str(ds.SOPInstanceUID))
    post(folder, 1, uids)
    with OrthancWeb(tmp_path / "orthanc", program).running() as archive:
        to = Destination(name="pacs", url=f"http://127.0.0.1:{archive.http_port}/dicom-web/")
        assert stow.look(to).startswith("answers HTTP 200")
        outbox(folder, to).step()
        assert postings.owed(folder.journal) == []
        for instance in archive.ask("/instances"):
            file = archive.ask_bytes(f"/instances/{instance}/file")
            uid = archive.ask(f"/instances/{instance}/simplified-tags")["SOPInstanceUID"]
            uids.remove(uid)
            ours = dcmread(folder.data / f"{uid}.dcm")
            (tmp_path / "back.dcm").write_bytes(file)
            assert dcmread(tmp_path / "back.dcm") == ours
    assert uids == []
    (count,) = postings.counts(folder.journal)
    assert (count.delivered, count.committed) == (count.total, 0)


class Server:
    """answers: (status, body, content type) for each request in order; the last one from then on. A body that can be called
    is given the SOP instance UID."""

    def __init__(self, *answers: tuple[int, Any, str]) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, str]] = []
        self.uids: list[str] = []

    @contextmanager
    def open(self, context: ssl.SSLContext | None = None) -> Iterator[str]:
        handler = type("Handler", (_Handler,), {"told": self})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield f"http{'s' if context else ''}://127.0.0.1:{server.server_address[1]}/dicom-web"
        finally:
            server.shutdown()
            server.server_close()
            thread.join(timeout=10)


class _Handler(BaseHTTPRequestHandler):
    told: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.told.asked.append({**self.headers, "path": self.path})
        uid = body.split(b"\x08\x00\x18\x00UI")[1]
        self.told.uids.append(uid[2 : 2 + int.from_bytes(uid[:2], "little")].decode().rstrip("\0"))
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        status, content, kind = self.told.answers.pop(0) if len(self.told.answers) > 1 else self.told.answers[0]
        words = content(self.told.uids[-1]) if callable(content) else content
        data = words if isinstance(words, bytes) else json.dumps(words).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """The tests' output holds no access log."""


JSON = "application/dicom+json"
VARIABLE = "DUET_TEST_PASSWORD"


def ok(uid: str, warning: int | None = None) -> dict[str, Any]:
    """PS3.18 10.5.3.4, in the DICOM JSON model."""
    item: dict[str, Any] = {"00081155": {"vr": "UI", "Value": [uid]}}
    if warning is not None:
        item["00081196"] = {"vr": "US", "Value": [warning]}
    return {"00081199": {"vr": "SQ", "Value": [item]}}


def failed(uid: str, reason: int) -> dict[str, Any]:
    item = {"00081155": {"vr": "UI", "Value": [uid]}, "00081197": {"vr": "US", "Value": [reason]}}
    return {"00081198": {"vr": "SQ", "Value": [item]}}


def xml(uid: str) -> bytes:
    return (
        '<NativeDicomModel><DicomAttribute tag="00081199" vr="SQ" keyword="ReferencedSOPSequence"><Item number="1">'
        '<DicomAttribute tag="00081155" vr="UI" keyword="ReferencedSOPInstanceUID">'
        f'<Value number="1">{uid}</Value></DicomAttribute></Item></DicomAttribute></NativeDicomModel>'
    ).encode()


SAYS_NOTHING = "answered with HTTP 200, which does not say that it is stored."


@pytest.mark.parametrize(
    ("answer", "taken", "words"),
    [
        ((200, ok, JSON), True, ""),
        ((200, ok, f"{JSON}; charset=utf-8"), True, ""),
        ((200, xml, "application/dicom+xml"), True, ""),
        ((200, lambda uid: [ok(uid)], JSON), True, ""),
        ((202, lambda uid: ok(uid, 0xB000), JSON), True, "stored with the remark 0xB000"),
        ((202, lambda uid: failed(uid, 0xA700), f"{JSON}; charset=utf-8"), False, "refused with HTTP 202, out of resources."),
        ((409, lambda uid: failed(uid, 0x0110), JSON), False, "refused with HTTP 409, processing failure."),
        ((409, lambda uid: failed(uid, 0xC123), JSON), False, "refused with HTTP 409, reason 0xC123."),
        ((409, b"no", "text/plain"), False, "refused with HTTP 409: it does not take the object."),
        ((401, b"", "text/plain"), False, "refused with HTTP 401: user and password, or the headers, are not accepted."),
        ((413, b"", "text/plain"), False, "refused with HTTP 413: the object is too large for it."),
        ((500, b"", "text/plain"), False, "refused with HTTP 500."),
        ((200, b"<html>Please log in</html>", "text/html"), False, SAYS_NOTHING),
        ((200, b"<NativeDicomModel>", "application/dicom+xml"), False, SAYS_NOTHING),
        ((200, b"", JSON), False, SAYS_NOTHING),
        ((200, ok("1.2.3"), JSON), False, SAYS_NOTHING),
    ],
)
def test_only_what_the_answer_names_counts(folder: Any, scan: Any, answer: Any, taken: bool, words: str) -> None:
    (uids,) = posted(folder, scan)
    server = Server(answer)
    with server.open() as url:
        outbox(folder, Destination(name="pacs", url=url)).step()
    assert server.uids == uids  # each once and in order: nothing is sent a second time by the client itself
    assert len(postings.owed(folder.journal)) == (0 if taken else 3)
    with folder.journal.reading() as connection:
        sentences = connection.execute(postings.select(postings.deliveries.c.sentence)).scalars().all()
    assert all(sentence.endswith(words) for sentence in sentences)


def test_an_object_of_many_megabytes_goes_as_one_piece(folder: Any, scan: Any) -> None:
    """The client's own chunks are a stream without a length, which some servers refuse."""
    (ds,) = scan(slices=1, modalities=("CT",)).datasets()
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = "1.2.7"
    ds.Rows, ds.Columns, ds.PixelData = 2048, 1024, bytes(2 * 2048 * 1024)
    dcmwrite(folder.data / "1.2.7.dcm", ds, enforce_file_format=True)
    post(folder, 1, ["1.2.7"])
    server = Server((200, ok, JSON))
    with server.open() as url:
        outbox(folder, Destination(name="pacs", url=url)).step()
    (asked,) = server.asked
    assert int(asked["Content-Length"]) > 4e6
    assert postings.owed(folder.journal) == []


def test_a_kind_that_is_refused_goes_as_enhanced_sr(folder: Any, case: Made) -> None:
    ds = dcmread(case.folder / "sr-fdg.dcm")
    uid = str(ds.SOPInstanceUID)
    dcmwrite(folder.data / f"{uid}.dcm", ds, enforce_file_format=True)
    post(folder, 1, [uid])
    server = Server((409, lambda uid: failed(uid, 0x0122), JSON), (200, ok, JSON))
    with server.open() as url:
        outbox(folder, Destination(name="pacs", url=url)).step()
    assert server.uids == [uid, enhanced_uid(uid)]
    assert postings.owed(folder.journal) == []


def test_password_and_headers_come_from_files_or_the_environment(
    folder: Any, scan: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    posted(folder, scan)
    (tmp_path / "headers").write_text("X-Api-Key: a b:c\n\nX-Site: 7\n")
    (tmp_path / "password").write_text("gehe1m-ä\n", encoding="utf-8")
    monkeypatch.setenv(VARIABLE, "other")
    server = Server((200, ok, JSON))
    with server.open() as url:
        words = {"name": "pacs", "url": url, "user": "duet", "headers_file": tmp_path / "headers"}
        outbox(folder, Destination(**words, password_file=tmp_path / "password")).step()
        postings.resend(folder.journal, postings.Which(), 1.0, again=True)
        outbox(folder, Destination(**words, password_env=VARIABLE)).step()
    sent = server.asked[0]
    assert base64.b64decode(sent["Authorization"].removeprefix("Basic ")).decode() == "duet:gehe1m-ä"
    assert (sent["X-Api-Key"], sent["X-Site"], sent["path"]) == ("a b:c", "7", "/dicom-web/studies")
    assert base64.b64decode(server.asked[3]["Authorization"].removeprefix("Basic ")) == b"duet:other"


def test_a_secret_that_is_not_there_is_told_and_waited_for(folder: Any, scan: Any, tmp_path: Path) -> None:
    posted(folder, scan)
    words = {"name": "pacs", "url": "http://127.0.0.1:9"}
    (tmp_path / "headers").write_text("fine: yes\nGeheimnis ohne Doppelpunkt\n")
    for destination, sentence in (
        (Destination(**words, user="u", password_file=tmp_path / "no"), "no cannot be read: No such file or directory."),
        (Destination(**words, user="u", password_env=VARIABLE), "there is no environment variable DUET_TEST_PASSWORD."),
        (Destination(**words, headers_file=tmp_path / "headers"), "headers is not `Name: value`."),
        (Destination(**words, ca_file=tmp_path / "ca.pem"), "ca.pem."),
        (Destination(**words), "http://127.0.0.1:9 cannot be reached."),
    ):
        outbox(folder, destination).step()
        (told,) = {row.sentence for row in postings.owed(folder.journal)}
        assert told.endswith(sentence)
        assert "Geheimnis" not in told


def test_a_server_that_never_answers_is_left(folder: Any, scan: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stow, "ANSWER_S", 0.3)
    posted(folder, scan)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(5)
        outbox(folder, Destination(name="pacs", url=f"http://127.0.0.1:{silent.getsockname()[1]}")).step()
    failures = [row.failures for row in postings.owed(folder.journal)]
    assert failures == [1, 0, 0]
    assert "did not answer within 0.3 s" in postings.owed(folder.journal)[0].sentence


@pytest.mark.peer("openssl")
def test_only_a_certificate_of_ca_file_is_trusted(folder: Any, scan: Any, certificate: tuple[Path, Path]) -> None:
    posted(folder, scan)
    pem, key = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)
    server = Server((200, ok, JSON))
    with server.open(context) as url:
        outbox(folder, Destination(name="pacs", url=url)).step()
        assert {row.sentence for row in postings.owed(folder.journal)} == {
            f"{url}: its certificate is not trusted; ca_file names those that are."
        }
        outbox(folder, Destination(name="pacs", url=url, ca_file=pem)).step()
    assert postings.owed(folder.journal) == []


@pytest.fixture
def certificate(tmp_path: Path, program: Callable[[str], str]) -> tuple[Path, Path]:
    """Self-signed, for 127.0.0.1: certificate and key."""
    pem, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    words = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    command = [program("openssl"), *words.split(" "), "-keyout", str(key), "-out", str(pem)]
    subprocess.run(command, check=True, capture_output=True)
    return pem, key


def test_look_tells_what_stands_in_the_way() -> None:
    for answers, words in (((401, b"", "text/plain"), "answers HTTP 401"), ((503, b"", "text/plain"), "it is busy")):
        with Server(answers).open() as url, pytest.raises(UndeliveredError, match=words):
            stow.look(Destination(name="pacs", url=url))
    with Server((404, b"", "text/plain")).open() as url:  # a server that stores need not search
        assert "HTTP 404" in stow.look(Destination(name="pacs", url=url))
    with pytest.raises(UndeliveredError, match="cannot be reached"):
        stow.look(Destination(name="pacs", url="http://127.0.0.1:9/dicom-web"))


def test_what_is_no_dataset_says_nothing() -> None:
    for words in ({}, {"00081199": 1}, {"00081199": {"Value": [None, 3]}}, {"00081199": {"Value": [{"00081155": []}]}}):
        assert not read_answer(200, words, "1.2", "a.dcm").taken  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"url": "https://u:p@host/x"}, "without user, password"),
        ({"url": "https:///x"}, "https://host/dicom-web"),
        ({"url": "https://host/x", "user": "u"}, "belong together"),
        ({"url": "https://host/x", "user": "u", "password_file": Path("a"), "password_env": "b"}, "one is enough"),
        ({"url": "https://host/x", "commitment": Commitment.REQUIRE}, "knows no storage commitment"),
        ({"url": "dicom://A@host:104", "user": "u", "password_env": "b"}, "are for http"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(words: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Destination(name="pacs", **words)
