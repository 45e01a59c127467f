"""A small SMTP server in a thread (RFC 5321, STARTTLS of RFC 3207, AUTH PLAIN of RFC 4954), which keeps what it is sent."""

from __future__ import annotations

import base64
import contextlib
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any


@dataclass(kw_only=True)
class Mailbox:
    """What has come. refuse: a code and words that each mail is answered with instead; logins: (user, password, encrypted)."""

    port: int = 0
    mails: list[EmailMessage] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    logins: list[tuple[str, str, bool]] = field(default_factory=list)
    refuse: str = ""


@contextlib.contextmanager
def smtp_server(certificate: tuple[str, str] | None = None) -> Iterator[Mailbox]:
    """A server on loopback; certificate: PEM and key, with which it offers STARTTLS."""
    box = Mailbox()

    class Talk(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            _Session(self, box, certificate).run()

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True

    with Server(("127.0.0.1", 0), Talk) as server:
        box.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield box
        finally:
            server.shutdown()
            thread.join(timeout=10)


class _Session:
    def __init__(self, talk: Any, box: Mailbox, certificate: tuple[str, str] | None) -> None:
        self._socket, self._file, self._box, self._certificate = talk.request, talk.rfile, box, certificate
        self._encrypted = False

    def run(self) -> None:
        self._say("220 test")
        while line := self._file.readline():
            word, _, rest = line.decode().strip().partition(" ")
            if not self._answer(word.upper(), rest):
                return

    def _say(self, words: str) -> None:
        self._socket.sendall(f"{words}\r\n".encode())

    def _answer(self, word: str, rest: str) -> bool:
        if word == "EHLO":
            offers = ["test", *(["STARTTLS"] if self._certificate and not self._encrypted else []), "AUTH PLAIN"]
            for number, offer in enumerate(offers):
                self._say(f"250{' ' if number == len(offers) - 1 else '-'}{offer}")
        elif word == "STARTTLS":
            self._encrypt()
        elif word == "AUTH":
            _, user, password = base64.b64decode(rest.split()[1]).decode().split("\0")
            self._box.logins.append((user, password, self._encrypted))
            self._say("235 ok")
        elif word == "RCPT":
            self._box.recipients.append(rest)
            self._say("250 ok")
        elif word == "DATA":
            self._take()
        else:
            self._say("221 bye" if word == "QUIT" else "250 ok")
        return word != "QUIT"

    def _encrypt(self) -> None:
        assert self._certificate is not None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self._certificate)
        self._say("220 go on")
        self._socket: socket.socket = context.wrap_socket(self._socket, server_side=True)
        self._file, self._encrypted = self._socket.makefile("rb"), True

    def _take(self) -> None:
        self._say("354 go on")
        lines = []
        while (line := self._file.readline()) not in (b".\r\n", b""):
            lines.append(line.removeprefix(b".") if line.startswith(b"..") else line)
        if self._box.refuse:
            self._say(self._box.refuse)
            return
        self._box.mails.append(message_from_bytes(b"".join(lines), policy=policy.default))  # type: ignore[arg-type]
        self._say("250 ok")
