"""The TLS door under the eyes of openssl and dcmtk: what it accepts, what it refuses, and callers who hold its handshake up."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority, Pair
from nodes import free_port, until
from structlog.testing import capture_logs

from analysis.errors import BadSettings
from service.receiver import Receiver, ReceiverSettings
from service.tls import ClientCertificates, TlsSettings

pytestmark = [pytest.mark.peer("openssl"), pytest.mark.peer("storescu")]
Program = Callable[[str], str]
# What RFC 9325 4.2 recommends, and its kin with another key exchange by elliptic curves or ChaCha20: all AEAD.
GOOD = {
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-RSA-CHACHA20-POLY1305",
}
# One of each kind that testssl.sh and RFC 9325 4.1 name as weak; RC4, export and single DES have left OpenSSL 3 for good.
WEAK = {
    "NULL-SHA256": "no encryption",
    "ECDHE-RSA-NULL-SHA": "no encryption",
    "ADH-AES128-GCM-SHA256": "no authentication",
    "AECDH-AES128-SHA": "no authentication",
    "AES128-GCM-SHA256": "no forward secrecy",
    "AES256-SHA": "no forward secrecy, CBC with SHA-1",
    "ECDHE-RSA-AES128-SHA": "CBC with SHA-1",
    "ECDHE-ECDSA-AES256-SHA384": "CBC",
    "DHE-RSA-AES128-SHA": "CBC with SHA-1",
    "CAMELLIA128-SHA": "no forward secrecy, CBC with SHA-1",
    "PSK-AES128-CBC-SHA": "a shared secret",
    "DES-CBC3-SHA": "3DES",
    "RC4-SHA": "RC4",
    "EXP-RC4-MD5": "export",
}


@dataclass(frozen=True, kw_only=True)
class Ends:
    """Both ends of a door: the folder of the node, its port, and the caller's certificate."""

    folder: Any
    port: int
    caller: Pair
    authority: Authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory, program: Program) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), program)


@contextmanager
def open_door(folder: Any, authority: Authority, pair: Pair, tls: dict[str, Any] | None = None, **more: Any) -> Iterator[Ends]:
    """A TLS door alone. tls: other keys of [tls]; more: of [receiver]."""
    own = {"certificate_file": pair.certificate, "key_file": pair.key, "ca_file": authority.file}
    settings = TlsSettings(host="127.0.0.1", port=free_port(), **(own | (tls or {})))
    receiver = ReceiverSettings(host="127.0.0.1", port=0, **more)
    opened = Receiver("DUET", receiver, folder.inbox, folder.journal, tls=settings)
    opened.start()
    try:
        yield Ends(folder=folder, port=settings.port, caller=authority.pair("SCANNER"), authority=authority)
    finally:
        opened.stop()


def greets(program: Program, ends: Ends, *words: str, said: str = "") -> str:
    """What `openssl s_client` says of one connection. said: what it is given to send."""
    shown = ["-cert", str(ends.caller.certificate), "-key", str(ends.caller.key), "-CAfile", str(ends.authority.file)]
    command = [program("openssl"), "s_client", "-connect", f"127.0.0.1:{ends.port}", *shown, *words]
    ran = subprocess.run(command, input=said, capture_output=True, text=True, check=False, timeout=20)
    return ran.stdout + ran.stderr


def suite_of(told: str) -> str | None:
    found = re.search(r"^New, \S+, Cipher is (\S+)$", told, re.MULTILINE)
    return None if found is None or found[1] == "(NONE)" else found[1]


def push(program: Program, ends: Ends, file: Path, *, caller: Pair | None = None, title: str = "SCANNER") -> bool:
    """Whether dcmtk's storescu brings an object through the TLS door within 5 s of patience for each step."""
    shown = caller or ends.caller
    security = ["+tls", str(shown.key), str(shown.certificate), "+cf", str(ends.authority.file)]
    patience = ["-to", "5", "-ta", "5", "-td", "5"]
    command = [program("storescu"), *patience, *security, "-aet", title, "-aec", "DUET", "127.0.0.1", str(ends.port), str(file)]
    return subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == 0


@pytest.fixture
def file(tmp_path: Path, scan: Any) -> Path:
    path = tmp_path / "slice.dcm"
    scan().datasets()[0].save_as(path, enforce_file_format=True)
    return path


@pytest.mark.parametrize("rsa", [0, 2048])
def test_only_suites_with_forward_secrecy_and_aead_are_accepted(
    folder: Any, authority: Authority, program: Program, rsa: int
) -> None:
    """Every suite that this openssl knows is offered; the one that the door takes is left out the next time."""
    listed = [program("openssl"), "ciphers", "-s", "-tls1_2", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"]
    known = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.strip().split(":")
    accepted: list[str] = []
    with open_door(folder, authority, authority.pair("DUET", rsa=rsa)) as ends:
        while len(accepted) < len(known):
            left = ":".join(suite for suite in known if suite not in accepted)
            taken = suite_of(greets(program, ends, "-tls1_2", "-cipher", f"{left}:@SECLEVEL=0"))
            if taken is None:
                break
            accepted.append(taken)
    table = "\n".join(f"{suite:35} {'accepted' if suite in accepted else 'refused'}" for suite in sorted(known))
    kind = "RSA" if rsa else "ECDSA"
    assert set(accepted) == {suite for suite in GOOD if f"-{kind}-" in suite}, table
    assert len(known) > 80  # so that a refusal means something


def test_each_weak_suite_is_refused_by_name(folder: Any, authority: Authority, program: Program) -> None:
    with open_door(folder, authority, authority.pair("DUET", rsa=2048)) as ends:
        for suite, fault in WEAK.items():
            told = greets(program, ends, "-tls1_2", "-cipher", f"{suite}:@SECLEVEL=0")
            assert suite_of(told) is None, f"{suite} is accepted: {fault}\n{told}"


def test_older_versions_are_refused_and_a_lax_server_takes_them(folder: Any, authority: Authority, program: Program) -> None:
    lax = ("-cipher", "ALL:@SECLEVEL=0")
    with open_door(folder, authority, authority.pair("DUET", rsa=2048)) as ends:
        told = {version: suite_of(greets(program, ends, version, *lax)) for version in ("-tls1", "-tls1_1", "-tls1_2")}
        newest = suite_of(greets(program, ends))
    assert told == {"-tls1": None, "-tls1_1": None, "-tls1_2": "ECDHE-RSA-AES256-GCM-SHA384"}
    assert newest in {"TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256"}
    pair, port = authority.pair("DUET", rsa=2048), free_port()
    command = [
        program("openssl"),
        "s_server",
        "-www",
        "-accept",
        str(port),
        "-cert",
        str(pair.certificate),
        "-key",
        str(pair.key),
        *lax,
    ]
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env={**os.environ, "OPENSSL_CONF": "/dev/null"}, **quiet) as server:
        try:
            other = Ends(folder=folder, port=port, caller=pair, authority=authority)
            until(lambda: suite_of(greets(program, other, "-tls1", *lax)) is not None, "the lax server takes TLS 1.0", 20)
        finally:
            server.terminate()


def test_no_renegotiation_no_compression_no_tickets_and_curves_of_128_bits(
    folder: Any, authority: Authority, program: Program
) -> None:
    with open_door(folder, authority, authority.pair("DUET", rsa=2048)) as ends:
        told = greets(program, ends, "-tls1_2", said="R\n")
        assert "Compression: NONE" in told
        assert "Secure Renegotiation IS supported" in told  # RFC 5746: nobody can splice one in
        assert "RENEGOTIATING" in told
        assert "no renegotiation" in told
        assert "TLS session ticket:" not in told
        curves = {}
        for curve in (
            "X25519",
            "P-256",
            "P-384",
            "P-521",
            "secp192r1",
            "secp224r1",
            "secp256k1",
            "brainpoolP256r1",
            "sect283r1",
        ):
            curves[curve] = suite_of(greets(program, ends, "-tls1_2", "-curves", f"{curve}")) is not None
    good = {"X25519", "P-256", "P-384", "P-521"}
    assert {curve for curve, taken in curves.items() if taken} == good


def test_a_caller_shows_a_certificate_of_the_authority_or_stays_outside(
    folder: Any, authority: Authority, program: Program, tmp_path: Path, file: Path
) -> None:
    stranger = Authority(tmp_path / "stranger", program, "Another authority")
    with capture_logs() as lines, open_door(folder, authority, authority.pair("DUET")) as ends:
        assert push(program, ends, file)
        assert not push(program, ends, file, caller=stranger.pair("SCANNER"))
        assert not push(program, ends, file, caller=authority.pair("SCANNER", days=-1))
        anonymous = [program("echoscu"), "+tla", "-ic", "-aec", "DUET", "127.0.0.1", str(ends.port)]
        assert subprocess.run(anonymous, capture_output=True, check=False, timeout=20).returncode != 0
        plain = [program("echoscu"), "-aec", "DUET", "127.0.0.1", str(ends.port)]
        assert subprocess.run(plain, capture_output=True, check=False, timeout=20).returncode != 0
    reasons = [line["reason"] for line in lines if line["event"] == "TLS handshake failed"]
    assert reasons == [
        "its certificate is not accepted (unable to get local issuer certificate)",
        "its certificate is not accepted (certificate has expired)",
        "it shows no certificate",
        "it does not speak TLS",
    ]
    assert {line["address"] for line in lines if "reason" in line} == {"127.0.0.1"}
    assert len(list(folder.inbox.files())) == 1


def test_without_client_certificates_the_door_is_secret_but_open(folder: Any, authority: Authority, program: Program) -> None:
    with open_door(folder, authority, authority.pair("DUET"), {"client_certificates": ClientCertificates.NONE}) as ends:
        command = [program("echoscu"), "+tla", "+cf", str(authority.file), "-aec", "DUET", "127.0.0.1", str(ends.port)]
        assert subprocess.run(command, capture_output=True, check=False, timeout=20).returncode == 0


def test_an_ae_title_can_be_bound_to_the_certificate(folder: Any, authority: Authority, program: Program, file: Path) -> None:
    with open_door(folder, authority, authority.pair("DUET"), {"match_ae_title": True}) as ends:
        assert push(program, ends, file)
        assert not push(program, ends, file, title="OTHER")
        assert push(program, ends, file, title="OTHER", caller=authority.pair("PET2", names="DNS:OTHER"))


def hello(authority: Authority) -> bytes:
    """The first message of a TLS client."""
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context(cafile=str(authority.file))
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(into, out, server_hostname="localhost").do_handshake()
    return out.read()


def test_callers_who_hold_their_handshake_up_keep_nobody_out(
    folder: Any, authority: Authority, program: Program, file: Path
) -> None:
    """Silent, half-open and slow ones; their patience of 60 s is far beyond the 5 s of the one who gets through."""
    first = hello(authority)
    with contextlib.ExitStack() as held, open_door(folder, authority, authority.pair("DUET"), negotiation_timeout_s=60) as ends:
        callers = [held.enter_context(socket.create_connection(("127.0.0.1", ends.port))) for _ in range(12)]
        for caller in callers[4:8]:
            caller.sendall(first[:3])
        for byte in first[:20]:
            for caller in callers[8:]:
                caller.sendall(bytes([byte]))
            time.sleep(0.01)
        assert push(program, ends, file)
        for caller in callers[8:]:
            caller.sendall(first[20:])  # and even then they never answer the door's own message
        assert push(program, ends, file)
        for caller in callers:
            caller.close()


def test_a_handshake_that_is_not_finished_gives_its_place_back_and_is_told(
    folder: Any, authority: Authority, program: Program, file: Path
) -> None:
    first = hello(authority)
    with (
        capture_logs() as lines,
        contextlib.ExitStack() as held,
        open_door(folder, authority, authority.pair("DUET"), negotiation_timeout_s=1.5, associations=3) as ends,
    ):
        for sent in (b"", first[:3], first):
            caller = held.enter_context(socket.create_connection(("127.0.0.1", ends.port)))
            caller.sendall(sent)
        until(lambda: push(program, ends, file), "a place is free again", 30)
    reasons = [line["reason"] for line in lines if line["event"] == "TLS handshake failed"]
    assert reasons == ["it did not finish the TLS handshake in time"] * 3


def test_a_renewed_certificate_is_taken_up_and_a_wrong_one_is_not(
    folder: Any, authority: Authority, program: Program, tmp_path: Path
) -> None:
    here = Pair(certificate=tmp_path / "node.pem", key=tmp_path / "node.key")

    def put(pair: Pair) -> None:
        for old, new in ((here.certificate, pair.certificate), (here.key, pair.key)):
            shutil.copy(new, old.with_suffix(".new"))
            old.with_suffix(".new").replace(old)

    def shown(ends: Ends) -> str:
        return re.findall(r"^subject=CN = (.*)$", greets(program, ends), re.MULTILINE)[0]

    put(authority.pair("FIRST"))
    with capture_logs() as lines, open_door(folder, authority, here) as ends:
        assert shown(ends) == "FIRST"
        put(authority.pair("SECOND"))
        assert shown(ends) == "SECOND"
        put(Pair(certificate=authority.pair("THIRD").certificate, key=authority.pair("SECOND").key))
        assert shown(ends) == "SECOND"
        put(authority.pair("THIRD"))
        assert shown(ends) == "THIRD"
    told = [line["event"] for line in lines if "renewed" in line["event"]]
    assert told[:3] == ["renewed certificate taken up", "renewed certificate refused; the door keeps the one before", told[0]]


def test_both_doors_are_open_at_once_and_share_their_places(
    folder: Any, authority: Authority, program: Program, file: Path
) -> None:
    plain, pair = free_port(), authority.pair("DUET")
    tls = TlsSettings(
        host="127.0.0.1", port=free_port(), certificate_file=pair.certificate, key_file=pair.key, ca_file=authority.file
    )
    door = Receiver("DUET", ReceiverSettings(host="127.0.0.1", port=plain), folder.inbox, folder.journal, tls=tls)
    door.start()
    try:
        ends = Ends(folder=folder, port=tls.port, caller=authority.pair("SCANNER"), authority=authority)
        assert push(program, ends, file)
        command = [program("echoscu"), "-aec", "DUET", "127.0.0.1", str(plain)]
        assert subprocess.run(command, capture_output=True, check=False, timeout=20).returncode == 0
    finally:
        door.stop()


def test_a_door_that_cannot_be_opened_is_told(folder: Any, authority: Authority) -> None:
    wrong = Pair(certificate=authority.pair("DUET").certificate, key=authority.pair("OTHER").key)
    with pytest.raises(BadSettings, match=r"OTHER-20-0\.key is not the key of"), open_door(folder, authority, wrong):
        pass
    with pytest.raises(BadSettings, match="both 0, so that nobody could call"):
        Receiver("DUET", ReceiverSettings(port=0), folder.inbox, folder.journal).start()
