"""How an alert gets out: a POST to a webhook, or a mail. Both have ten seconds, and say in a sentence why they failed."""

from __future__ import annotations

import http.client
import json
import smtplib
import ssl
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any

from analysis.errors import BadSettings
from service.bounds import HEADER_NAME, check_not_negative, check_port, check_positive
from service.lines import plain
from service.overview import moment
from service.secret import check_one, needed_secret

CHANNELS = ("webhook", "mail")
TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertSettings:
    """[alerts]. Where they go (webhook, mail, both or neither: then only the log and /metrics have them), and their limits.

    disk_gb, disk_floors: free disk below this, or below so many times [receiver] free_gb. Hours: age of the oldest case that
    waits for its analysis, that a destination is owed something of, and that is held.
    """

    webhook: str = ""
    webhook_header: str = "X-Duet-Secret"
    webhook_secret_file: str = ""
    webhook_secret_env: str = ""
    mail_host: str = ""
    mail_port: int = 587
    mail_starttls: bool = True
    mail_ca_file: str = ""
    mail_user: str = ""
    mail_password_file: str = ""
    mail_password_env: str = ""
    mail_from: str = ""
    mail_to: tuple[str, ...] = ()
    disk_gb: float = 0.0
    disk_floors: float = 2.0
    queue_h: float = 6.0
    undelivered_h: float = 24.0
    held_h: float = 72.0
    repeat_h: float = 24.0
    every_s: float = 30.0

    def __post_init__(self) -> None:
        check_not_negative(disk_gb=self.disk_gb, disk_floors=self.disk_floors, queue_h=self.queue_h)
        check_not_negative(undelivered_h=self.undelivered_h, held_h=self.held_h)
        check_positive(repeat_h=self.repeat_h, every_s=self.every_s)
        check_port("mail_port", self.mail_port)
        self._check_webhook()
        self._check_mail()

    def _check_webhook(self) -> None:
        parts = urllib.parse.urlsplit(self.webhook)
        if self.webhook and (parts.scheme not in ("http", "https") or not parts.hostname):
            raise ValueError("webhook is written https://host/path")
        if not HEADER_NAME.fullmatch(self.webhook_header):
            raise ValueError(f"webhook_header is the name of a header, not {self.webhook_header!r}")
        check_one("webhook_secret", self.webhook_secret_file, self.webhook_secret_env)

    def _check_mail(self) -> None:
        if bool(self.mail_host) != bool(self.mail_from and self.mail_to):
            raise ValueError("mail_host, mail_from and mail_to belong together")
        if any("@" not in each or plain(each) != each for each in (self.mail_from, *self.mail_to) if each):
            raise ValueError("mail_from and mail_to are addresses such as node@hospital.example")
        check_one("mail_password", self.mail_password_file, self.mail_password_env)
        if bool(self.mail_user) != bool(self.mail_password_file or self.mail_password_env):
            raise ValueError("mail_user and one of mail_password_file and mail_password_env belong together")
        if self.mail_user and not self.mail_starttls:
            raise ValueError("mail_user without mail_starttls would send the password for all to read")

    def uses(self, channel: str) -> bool:
        return bool(self.webhook if channel == "webhook" else self.mail_host)


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One alert on its way to one channel. event: begins, holds or ends; tries: in vain so far."""

    channel: str
    node: str
    alert: str
    about: str
    event: str
    sentence: str
    since: float
    at: float
    next_try_at: float
    tries: int = 0


def post(letter: Letter, settings: AlertSettings) -> str:
    """Send it; empty, or why it could not be sent."""
    try:
        _to_webhook(letter, settings) if letter.channel == "webhook" else _by_mail(letter, settings)
    except BadSettings as error:  # a secret whose file is away; it may come back
        return str(error)
    except urllib.error.HTTPError as error:
        error.close()
        return f"the webhook answers {error.code}"
    except smtplib.SMTPResponseException as error:
        return f"the mail server answers {error.smtp_code}"
    except (OSError, http.client.HTTPException, ValueError) as error:  # smtplib's others are OSErrors; a secret no header takes
        return type(error).__name__
    return ""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The secret goes to the address that is set, and to no other."""

    def redirect_request(self, *_args: Any) -> None:
        return None


def _to_webhook(letter: Letter, settings: AlertSettings) -> None:
    words = {
        "node": letter.node,
        "alert": letter.alert,
        "about": letter.about,
        "event": letter.event,
        "sentence": letter.sentence,
        "since": moment(letter.since),
        "at": moment(letter.at),
    }
    headers = {"Content-Type": "application/json"}
    if settings.webhook_secret_file or settings.webhook_secret_env:
        token = needed_secret("[alerts] webhook_secret", settings.webhook_secret_file, settings.webhook_secret_env)
        headers[settings.webhook_header] = token
    request = urllib.request.Request(settings.webhook, json.dumps(words).encode(), headers)  # noqa: S310  http or https
    opener = urllib.request.build_opener(_NoRedirect, urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=TIMEOUT_S) as answer:
        answer.read(1024)


def _by_mail(letter: Letter, settings: AlertSettings) -> None:
    words = {"begins": "ALERT", "holds": "STILL", "ends": "OVER"}[letter.event]
    mail = EmailMessage()
    mail["From"], mail["To"] = settings.mail_from, ", ".join(settings.mail_to)
    mail["Subject"] = f"[duet {letter.node}] {words}: {letter.alert} {letter.about}".strip()
    since = f"It began {moment(letter.since)}; this was written {moment(letter.at)}."
    mail.set_content(f"{letter.sentence}\n\n{since}\nThe node is {letter.node}. Research use only.\n")
    with smtplib.SMTP(settings.mail_host, settings.mail_port, timeout=TIMEOUT_S) as server:
        if settings.mail_starttls:
            server.starttls(context=ssl.create_default_context(cafile=settings.mail_ca_file or None))
        if settings.mail_user:
            file, variable = settings.mail_password_file, settings.mail_password_env
            server.login(settings.mail_user, needed_secret("[alerts] mail_password", file, variable))
        server.send_message(mail)
