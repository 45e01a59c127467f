"""The audit trail at a syslog server: framed by the RFCs, in the standard's XML, complete whatever the server does."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import audit_schema
import pytest
from certificates import Authority
from nodes import free_port, until
from structlog.testing import capture_logs
from syslog_server import SyslogServer

from service import audit, audit_syslog
from service.audit import AuditSettings, Event, Outcome, Participant
from service.audit_syslog import SyslogSender
from service.tls import TlsSettings


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    audit.close()


def enter(numbers: Sequence[int]) -> None:
    for number in numbers:
        audit.record(Event.SEEN, [Participant(user=f"reader {number}", requestor=True)])


def users(server: SyslogServer) -> list[str]:
    return [message.xml[1].attrib["UserID"] for message in server.heard()]


def sender(folder: Path, url: str, tls: TlsSettings | None = None, **more: float) -> SyslogSender:
    return SyslogSender(audit.set_up(folder, AuditSettings(syslog=url, **more), "DUET"), tls or TlsSettings())  # type: ignore[arg-type]


@pytest.mark.parametrize("way", ["udp", "tcp"])
def test_each_record_comes_as_rfc_5424_with_the_standards_xml(tmp_path: Path, way: str) -> None:
    server = SyslogServer(way)
    sending = sender(tmp_path, f"{way}://127.0.0.1:{server.port}")
    enter([1, 2])
    audit.record(Event.REFUSED, [Participant(user="STRANGER")], outcome=Outcome.MINOR, told="caller refused \u00e9")
    sending.step()
    until(lambda: len(server.heard()) == 3, "three messages", 10)
    enter([3])
    sending.step()
    until(lambda: len(server.heard()) == 4, "one more, and none twice", 10)
    heard = server.heard()
    for message in heard:
        audit_schema.check(message.xml)
        assert (message.facility, message.app, message.msgid) == (10, "duet", "DICOM+RFC3881")
        assert message.time == message.xml[0].attrib["EventDateTime"]
    assert [message.severity for message in heard] == [5, 5, 4, 5]
    assert [users(server)[index] for index in (0, 1, 3)] == ["reader 1", "reader 2", "reader 3"]
    sending.close()
    server.stop()


def test_a_server_that_is_away_loses_nothing_over_files_and_restarts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_syslog, "FIRST_RETRY_S", 0)
    port = free_port()
    url = f"tcp://127.0.0.1:{port}"
    sending = sender(tmp_path, url, max_mb=0.002)
    enter(range(10))
    with capture_logs() as lines:
        sending.step()
    assert [(line["event"], line["error"]) for line in lines] == [("audit trail not sent", "Connection refused")]
    server = SyslogServer("tcp", port=port)
    sending.step()
    until(lambda: len(server.heard()) == 10, "what had waited", 10)
    first = users(server)
    server.stop()
    enter(range(10, 20))
    sending.step()
    again = SyslogServer("tcp", port=port)
    sending.close()
    sending = sender(tmp_path, url, max_mb=0.002)  # the node was started anew
    sending.step()
    until(lambda: len(again.heard()) == 10, "what had waited", 10)
    assert first + users(again) == [f"reader {number}" for number in range(20)]
    sending.close()
    again.stop()


@pytest.mark.peer("openssl")
def test_by_tls_both_sides_show_their_certificates(tmp_path: Path, program: Callable[[str], str]) -> None:
    authority = Authority(tmp_path / "authority", program)
    theirs, ours = authority.pair("SYSLOG"), authority.pair("DUET")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority.file))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(theirs.certificate, theirs.key)
    server = SyslogServer("tls", context)
    tls = TlsSettings(certificate_file=ours.certificate, key_file=ours.key, ca_file=authority.file)
    sending = sender(tmp_path / "logs", f"tls://127.0.0.1:{server.port}", tls)
    enter([1])
    sending.step()
    until(lambda: users(server) == ["reader 1"], "one message", 10)
    enter([2])
    sending.step()
    until(lambda: users(server) == ["reader 1", "reader 2"], "on the same connection", 10)
    assert len(server._streams) == 1
    sending.close()
    stranger = Authority(tmp_path / "stranger", program, "Another authority")
    sending = sender(tmp_path / "logs", f"tls://127.0.0.1:{server.port}", TlsSettings(ca_file=stranger.file))
    enter([3])
    with capture_logs() as lines:
        sending.step()
    assert "its certificate is not accepted" in lines[0]["error"] or "certificate verify failed" in lines[0]["error"]
    assert users(server) == ["reader 1", "reader 2"]
    server.stop()
