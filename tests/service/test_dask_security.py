"""A real Dask scheduler behind TLS: this node gets through with its certificate, a stranger and a plain client do not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from certificates import Authority, Pair
from distributed import Client
from nodes import free_port, until

from analysis.errors import BadSettings
from service.dask_security import security_of
from service.tls import TlsSettings

pytestmark = pytest.mark.peer("openssl")


def own(pair: Pair, authority: Authority) -> TlsSettings:
    return TlsSettings(certificate_file=pair.certificate, key_file=pair.key, ca_file=authority.file)


def test_only_who_shows_a_certificate_of_the_authority_reaches_the_scheduler(
    tmp_path: Path, program: Callable[[str], str]
) -> None:
    authority = Authority(tmp_path / "authority", program)
    stranger = Authority(tmp_path / "stranger", program, "Another authority")
    server, port = authority.pair("SCHEDULER"), free_port()
    words = ["--protocol", "tls", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]
    shown = ["--tls-ca-file", str(authority.file), "--tls-cert", str(server.certificate), "--tls-key", str(server.key)]
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", *words, *shown]
    log = tmp_path / "log"
    with log.open("w") as out, subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT) as scheduler:
        try:
            until(lambda: "Scheduler at:" in log.read_text(), f"the scheduler starts {log.read_text()[-500:]}", 60)
            address = f"tls://127.0.0.1:{port}"
            with Client(address, security=security_of(address, own(authority.pair("DUET"), authority)), timeout=20) as client:
                assert client.scheduler_info()["address"] == address
            for wrong in (own(stranger.pair("DUET"), authority), own(authority.pair("DUET"), stranger)):
                with pytest.raises(OSError, match=r"Timed out|TLS"):
                    Client(address, security=security_of(address, wrong), timeout=2)
            with pytest.raises(OSError, match=r"Timed out|TCP"):
                Client(address.replace("tls", "tcp"), timeout=2)
        finally:
            scheduler.terminate()


def test_what_is_missing_is_told(tmp_path: Path, program: Callable[[str], str]) -> None:
    authority = Authority(tmp_path, program)
    pair, address = authority.pair("DUET"), "tls://127.0.0.1:8786"
    assert security_of("", TlsSettings()) is None
    assert security_of("tcp://127.0.0.1:8786", own(pair, authority)) is None
    with pytest.raises(BadSettings, match="needs certificate_file and ca_file"):
        security_of(address, TlsSettings(certificate_file=pair.certificate, key_file=pair.key))
    locked = authority.with_password(pair, "open sesame")
    open_by_password = replace(own(locked, authority), key_password_file=tmp_path / "word")
    with pytest.raises(BadSettings, match="Dask opens no key with a password"):
        security_of(address, open_by_password)
    with pytest.raises(BadSettings, match="has a password"):
        security_of(address, own(locked, authority))
