"""[web]: nothing is served to others without a password or a proxy, and every mistake is told in a sentence."""

from __future__ import annotations

import ssl
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pages import served

from analysis.errors import BadSettings
from service.config import build
from service.web_settings import Keyhole, WebSettings, check_certificate, keyhole


def built(**keys: Any) -> WebSettings:
    return build(WebSettings, keys, where="duet.toml: [web]")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.0.5", "duet.hospital.example"])  # noqa: S104
def test_what_others_reach_demands_a_password_or_a_proxy(host: str) -> None:
    with pytest.raises(BadSettings, match=r"others reach host .*: set password_file, password_env or proxy_header") as told:
        built(host=host)
    assert str(told.value).count(". ") == 0
    assert not built(host=host, enabled=False).enabled
    assert built(host=host, password_env="P").password  # noqa: S106
    assert built(host=host, proxy_header="X-User", trusted_proxies=["10.1.0.1"]).proxy_header


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_this_machine_alone_needs_none(host: str) -> None:
    assert built(host=host).local


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"proxy_header": "X-User"}, "proxy_header and trusted_proxies belong together"),
        ({"trusted_proxies": ["10.0.0.1"]}, "proxy_header and trusted_proxies belong together"),
        ({"proxy_header": "X User", "trusted_proxies": ["10.0.0.1"]}, "proxy_header is the name of a header"),
        ({"proxy_header": "X-User", "trusted_proxies": ["proxy"]}, "trusted_proxies holds addresses and networks"),
        ({"metrics_networks": ["10.0.0.0/99"]}, "metrics_networks holds addresses and networks"),
        ({"password_file": "a", "password_env": "B"}, "both set; one is enough"),
        ({"password_env": "B", "user": "a:b"}, "user is empty or has a colon"),
        ({"certificate_file": "a"}, "certificate_file and key_file belong together"),
        ({"port": 0}, "port is a TCP port from 1 to 65535, not 0"),
        ({"connections": 0}, "connections is a finite number above 0"),
    ],
)
def test_a_mistake_is_told(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(BadSettings, match=words):
        built(**keys)


def test_a_password_that_cannot_be_had_or_is_short_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DUET_NO_SUCH", raising=False)
    with pytest.raises(BadSettings, match="password_env: there is no environment variable DUET_NO_SUCH"):
        keyhole(WebSettings(password_env="DUET_NO_SUCH"))  # noqa: S106
    with pytest.raises(BadSettings, match=r"password_file: .* cannot be read: No such file"):
        keyhole(WebSettings(password_file=str(tmp_path / "none")))
    (tmp_path / "short").write_text("short")
    with pytest.raises(BadSettings, match="has 5 characters; at least 12 are wanted") as told:
        keyhole(WebSettings(password_file=str(tmp_path / "short")))
    assert "short" not in str(told.value).replace(str(tmp_path), "")
    monkeypatch.setenv("DUET_THERE", "a long password")
    found = keyhole(WebSettings(password_env="DUET_THERE"))  # noqa: S106
    assert found is not None
    assert found.fits("duet", "a long password")
    assert keyhole(WebSettings()) is None


def test_user_and_password_are_not_run_together() -> None:
    assert not Keyhole.of("ab", "c").fits("a", "bc")


def certificate(folder: Path, program: Callable[[str], str], name: str) -> tuple[str, str]:
    """A self-signed certificate for localhost by openssl, and its key."""
    paths = str(folder / f"{name}.pem"), str(folder / f"{name}.key")
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-days", "2"]
    command = [program("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    subprocess.run([*command, *subject, "-out", paths[0], "-keyout", paths[1]], check=True, capture_output=True)
    return paths


@pytest.mark.peer("openssl")
def test_the_pages_are_served_by_https(folder: Any, tmp_path: Path, program: Callable[[str], str]) -> None:
    pem, key = certificate(tmp_path, program, "a")
    with served(folder.journal, folder.data, certificate_file=pem, key_file=key) as site:
        context = ssl.create_default_context(cafile=pem)
        with urllib.request.urlopen(f"https://localhost:{site.port}/", context=context, timeout=20) as answer:
            assert answer.status == 200
            assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"


@pytest.mark.peer("openssl")
def test_a_certificate_that_cannot_be_used_is_told(tmp_path: Path, program: Callable[[str], str]) -> None:
    pem, _ = certificate(tmp_path, program, "a")
    _, key = certificate(tmp_path, program, "b")
    for other in (key, str(tmp_path / "none.key")):
        with pytest.raises(BadSettings, match=r"\[web\] certificate_file .* cannot be used"):
            check_certificate(WebSettings(certificate_file=pem, key_file=other))
