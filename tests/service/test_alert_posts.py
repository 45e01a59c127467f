"""Alerts by webhook and by mail, against real servers."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from nodes import free_port
from smtp_server import smtp_server
from webhooks import webhook

from analysis.errors import BadSettings
from service.alert_posts import AlertSettings, Letter, post
from service.config import build

SENTENCE = "Little disk is free: 3.1 GB."
MAIL = {"mail_host": "localhost", "mail_from": "node@a.example", "mail_to": ["pacs@a.example", "b@a.example"]}


def letter(channel: str, event: str = "begins") -> Letter:
    words = {"node": "DUET", "alert": "disk", "about": "", "event": event, "sentence": SENTENCE}
    return Letter(channel=channel, since=0.0, at=60.0, next_try_at=0.0, **words)  # type: ignore[arg-type]


def built(**keys: Any) -> AlertSettings:
    return build(AlertSettings, keys, where="duet.toml: [alerts]")


def test_the_webhook_gets_json_and_the_secret(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("a token\n")
    with webhook() as hook:
        settings = built(webhook=hook.address, webhook_secret_file=str(tmp_path / "secret"), webhook_header="X-Token")
        assert post(letter("webhook"), settings) == ""
    ((headers, words),) = hook.posts
    assert headers["x-token"] == "a token"
    assert headers["content-type"] == "application/json"
    times = {"since": "1970-01-01T00:00:00Z", "at": "1970-01-01T00:01:00Z"}
    assert words == {"node": "DUET", "alert": "disk", "about": "", "event": "begins", "sentence": SENTENCE, **times}


def test_the_secret_follows_no_redirect(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("a token")
    with webhook() as elsewhere, webhook() as hook:
        hook.status, hook.location = 307, elsewhere.address
        settings = built(webhook=hook.address, webhook_secret_file=str(tmp_path / "secret"))
        assert post(letter("webhook"), settings) == "the webhook answers 307"
        hook.status = 302
        assert post(letter("webhook"), settings) == "the webhook answers 302"
    assert elsewhere.posts == []


def test_what_cannot_be_sent_says_why(tmp_path: Path) -> None:
    assert post(letter("webhook"), built(webhook=f"http://127.0.0.1:{free_port()}/")) == "URLError"
    gone = built(webhook="http://127.0.0.1:1/", webhook_secret_file=str(tmp_path / "none"))
    assert "webhook_secret_file" in post(letter("webhook"), gone)
    (tmp_path / "odd").write_text("확인\nb")
    odd = built(webhook="http://127.0.0.1:1/", webhook_secret_file=str(tmp_path / "odd"))
    assert post(letter("webhook"), odd) in ("ValueError", "UnicodeEncodeError")
    assert post(letter("mail"), built(**MAIL, mail_port=free_port(), mail_starttls=False)) == "ConnectionRefusedError"


def test_a_mail_says_it_in_words_to_everybody() -> None:
    with smtp_server() as box:
        settings = built(**MAIL, mail_port=box.port, mail_starttls=False)
        assert [post(letter("mail", event), settings) for event in ("begins", "holds", "ends")] == ["", "", ""]
    subjects = [mail["Subject"] for mail in box.mails]
    assert subjects == ["[duet DUET] ALERT: disk", "[duet DUET] STILL: disk", "[duet DUET] OVER: disk"]
    assert box.recipients[:2] == ["TO:<pacs@a.example>", "TO:<b@a.example>"]
    text = box.mails[0].get_content()
    assert text.startswith(SENTENCE)
    assert "It began 1970-01-01T00:00:00Z; this was written 1970-01-01T00:01:00Z." in text
    assert "Research use only." in text


def test_a_mail_server_that_refuses_is_told() -> None:
    with smtp_server() as box:
        box.refuse = "452 no room"
        assert post(letter("mail"), built(**MAIL, mail_port=box.port, mail_starttls=False)) == "the mail server answers 452"


@pytest.mark.peer("openssl")
def test_the_password_travels_encrypted_to_the_server_that_is_trusted_alone(
    tmp_path: Path, program: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pem, key = str(tmp_path / "pem"), str(tmp_path / "key")
    command = [program("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"]
    subprocess.run([*command, *subject, "-out", pem, "-keyout", key], check=True, capture_output=True)
    monkeypatch.setenv("DUET_MAIL", "geheim")
    with smtp_server((pem, key)) as box:
        login = {"mail_user": "node", "mail_password_env": "DUET_MAIL", "mail_port": box.port}
        assert post(letter("mail"), built(**MAIL, **login)) == "SSLCertVerificationError"
        assert box.logins == []
        assert post(letter("mail"), built(**MAIL, **login, mail_ca_file=pem)) == ""
    assert box.logins == [("node", "geheim", True)]
    assert len(box.mails) == 1
    with smtp_server() as plain:  # a server without STARTTLS, or somebody between who hides it
        assert post(letter("mail"), built(**MAIL, **login | {"mail_port": plain.port})) == "SMTPNotSupportedError"
    assert plain.logins == []


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"webhook": "ftp://host"}, "webhook is written https://host/path"),
        ({"webhook_header": "X Y"}, "webhook_header is the name of a header"),
        ({"webhook_secret_file": "a", "webhook_secret_env": "B"}, "both set; one is enough"),
        ({"mail_host": "h"}, "mail_host, mail_from and mail_to belong together"),
        ({"mail_from": "a@b", "mail_to": ["c@d"]}, "mail_host, mail_from and mail_to belong together"),
        ({**MAIL, "mail_to": ["a@b\nBcc: c@d"]}, "are addresses such as"),
        ({**MAIL, "mail_from": "node"}, "are addresses such as"),
        ({**MAIL, "mail_user": "u"}, "mail_user and one of mail_password_file"),
        ({**MAIL, "mail_user": "u", "mail_password_env": "P", "mail_starttls": False}, "for all to read"),
        ({"mail_port": 0}, "mail_port is a TCP port"),
        ({"repeat_h": 0}, "repeat_h is a finite number above 0"),
        ({"queue_h": -1}, "queue_h is a finite number, 0 or more"),
    ],
)
def test_a_mistake_is_told(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(BadSettings, match=words):
        built(**keys)
