"""This node's certificate and its calls by TLS: what cannot be used is told in a sentence, and peers are verified."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority, Pair
from nodes import Orthanc, free_port, until

from service import storage
from service.destinations import Destination, UndeliveredError
from service.retrieval import Archive, ArchiveError
from service.retrieval_link import Link
from service.tls import TlsError, TlsSettings, Trust, days_left, lifetime, load_own

pytestmark = pytest.mark.peer("openssl")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory, program: Callable[[str], str]) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), program)


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory, program: Callable[[str], str]) -> Authority:
    return Authority(tmp_path_factory.mktemp("stranger"), program, "Another authority")


def own(pair: Pair, authority: Authority, **more: Any) -> TlsSettings:
    return TlsSettings(certificate_file=pair.certificate, key_file=pair.key, ca_file=authority.file, **more)


def loaded(settings: TlsSettings) -> None:
    load_own(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), settings)


def test_the_days_of_a_certificate_are_those_that_openssl_tells(authority: Authority, program: Callable[[str], str]) -> None:
    pair = authority.pair("NODE")
    words = [program("openssl"), "x509", "-in", str(pair.certificate), "-noout", "-dates", "-dateopt", "iso_8601"]
    told = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    begins, ends = (each.strftime("%Y-%m-%d %H:%M:%SZ") for each in lifetime(pair.certificate))
    assert " ".join(told) == f"notBefore={begins} notAfter={ends}"
    assert days_left(pair.certificate) == 19  # of 20, of which a moment has gone


def test_a_certificate_and_its_key_are_loaded(authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = authority.pair("NODE")
    loaded(own(pair, authority))
    both = tmp_path / "both.pem"
    both.write_text(pair.certificate.read_text() + pair.key.read_text())
    loaded(TlsSettings(certificate_file=both))
    locked, word = authority.with_password(pair, "open sesame"), tmp_path / "word"
    word.write_text("open sesame\n")
    loaded(own(locked, authority, key_password_file=word))
    monkeypatch.setenv("DUET_TEST_KEY", "open sesame")
    loaded(own(locked, authority, key_password_env="DUET_TEST_KEY"))  # noqa: S106  its name


def test_what_cannot_be_used_is_told_in_a_sentence(authority: Authority, tmp_path: Path) -> None:
    good, other = authority.pair("NODE"), authority.pair("OTHER")
    locked, word = authority.with_password(good, "open sesame"), tmp_path / "word"
    word.write_text("wrong")
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing")
    told = {
        "absent.pem cannot be read: No such file": Pair(certificate=tmp_path / "absent.pem", key=good.key),
        "absent.key cannot be read: No such file": Pair(certificate=good.certificate, key=tmp_path / "absent.key"),
        "OTHER-20-0.key is not the key of": Pair(certificate=good.certificate, key=other.key),
        "has a password; name key_password_file": locked,
        "empty.pem holds no certificate as PEM": Pair(certificate=empty, key=good.key),
        "empty.pem holds no private key as PEM": Pair(certificate=good.certificate, key=empty),
        "ended on 20": authority.pair("OLD", days=-1),
        "is too weak": authority.pair("WEAK", rsa=1024),
    }
    for words, pair in told.items():
        with pytest.raises(TlsError, match=words) as error:
            loaded(own(pair, authority))
        assert str(error.value).startswith("[tls] ")
    with pytest.raises(TlsError, match="holds no private key as PEM that its password opens"):
        loaded(own(locked, authority, key_password_file=word))
    with pytest.raises(TlsError, match=r"ca_file: .*empty\.pem holds no certificates"):
        Trust(ca_file=empty).context()


@contextmanager
def storescp(program: Callable[[str], str], pair: Pair, authority: Authority, folder: Path, *words: str) -> Iterator[int]:
    """dcmtk's storescp behind TLS, which demands a certificate of its callers."""
    port = free_port()
    security = ["+tls", str(pair.key), str(pair.certificate), "+cf", str(authority.file), *words]
    command = [program("storescp"), "-od", str(folder), "-aet", "PEER", *security, str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: _answers(port), "storescp listens", 20)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=20)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.peer("storescp")
def test_objects_go_by_tls_to_a_peer_that_both_sides_know(
    program: Callable[[str], str], authority: Authority, stranger: Authority, tmp_path: Path, scan: Any
) -> None:
    file, taken = tmp_path / "slice.dcm", tmp_path / "taken"
    scan().datasets()[0].save_as(file, enforce_file_format=True)
    taken.mkdir()
    node, peer = own(authority.pair("DUET"), authority), authority.pair("PEER")
    with storescp(program, peer, authority, taken) as port:
        url = f"dicoms://PEER@127.0.0.1:{port}"
        assert list(storage.send([file], Destination(name="p", url=url, tls=node), "DUET")) == [""]
        assert len(list(taken.iterdir())) == 1
        refusals = {
            "its certificate is not accepted (self-signed certificate in certificate chain)": (url, {"ca_file": stranger.file}),
            "its certificate is not accepted (IP address mismatch": (url.replace("127.0.0.1", "127.0.0.2"), {}),
            "demand": (url, {"tls": TlsSettings(ca_file=authority.file)}),
        }
        for words, (address, other) in refusals.items():
            with pytest.raises(UndeliveredError) as told:
                list(storage.send([file], Destination(name="p", url=address, **({"tls": node} | other)), "DUET"))
            assert words in str(told.value)
        with pytest.raises(UndeliveredError, match="cannot be reached"):  # without TLS
            list(storage.send([file], Destination(name="p", url=url.replace("dicoms", "dicom")), "DUET"))
    assert len(list(taken.iterdir())) == 1


@pytest.mark.peer("Orthanc")
def test_orthanc_is_served_and_asked_by_tls(
    program: Callable[[str], str], authority: Authority, tmp_path: Path, scan: Any
) -> None:
    file = tmp_path / "slice.dcm"
    ds = scan().datasets()[0]
    ds.save_as(file, enforce_file_format=True)
    node, peer = own(authority.pair("DUET"), authority), authority.pair("ORTHANC")
    archive = Orthanc(tmp_path / "orthanc", program)
    archive.more = {
        "DicomTlsEnabled": True,
        "DicomTlsCertificate": str(peer.certificate),
        "DicomTlsPrivateKey": str(peer.key),
        "DicomTlsTrustedCertificates": str(authority.file),
        "DicomTlsRemoteCertificateRequired": True,
        "DicomAlwaysAllowFind": True,
        "DicomAlwaysAllowMove": True,
    }
    with archive.running():
        url = f"dicoms://ORTHANC@127.0.0.1:{archive.port}"
        destination = Destination(name="pacs", url=url, tls=node)
        storage.echo(destination, "DUET")
        assert list(storage.send([file], destination, "DUET")) == [""]
        assert set(archive.holds()) == {str(ds.SOPInstanceUID)}
        with Link(Archive(name="pacs", url=url, tls=node), "DUET") as link:
            assert link.check().startswith("offers C-FIND and C-MOVE at dicoms://")
        nobody = Archive(name="pacs", url=url, tls=TlsSettings(ca_file=authority.file), tries=1)
        with pytest.raises(ArchiveError, match=r"ORTHANC at 127\.0\.0\.1:\d+ is not called: it demands a certificate"):
            Link(nobody, "DUET").check()


def test_a_peer_that_never_answers_the_handshake_is_given_up(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "CONNECT_S", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        held: list[socket.socket] = []
        threading.Thread(target=lambda: held.append(silent.accept()[0]), daemon=True).start()
        url = f"dicoms://PEER@127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(UndeliveredError, match="it did not finish the TLS handshake in time"):
            storage.echo(Destination(name="p", url=url, tls=TlsSettings(ca_file=authority.file)), "DUET")
        for each in held:
            each.close()
