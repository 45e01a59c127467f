"""An HTTP session for STOW-RS: each exchange ends in bounded time and memory, whatever the server does, and at its address."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPResponse, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import DecodeError, HTTPError

ENDS_S = 120.0  # an answer, from the last byte of the request to its own last byte
SLOWEST = 20_000  # bytes a second that a server takes of a request
LONGEST_MB = 1  # of an answer, unpacked; one on one object has some hundred bytes
_PIECE = 1 << 16


class AnswerError(Exception):
    """An answer that does not end, or cannot be read; in words that go into a sentence."""


class _Bounded(HTTPConnection):
    """Has read the whole answer, or has given it up, when it hands it on."""

    silence_s: float

    def send(self, data: Any) -> None:
        """In pieces: Python allows the time of the connection's timeout for each call, however much there is to send."""
        if not isinstance(data, bytes) or len(data) <= _PIECE:
            super().send(data)
            return
        self.sock.settimeout(self.silence_s)
        view = memoryview(data)
        with self._ending(ENDS_S + len(data) / SLOWEST, "it did not take the object in time"):
            for start in range(0, len(data), _PIECE):
                super().send(view[start : start + _PIECE])

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        with self._ending(ENDS_S, f"its answer did not end within {ENDS_S:g} s"):
            answer = super().getresponse()
            try:
                body = _body(answer)
            except DecodeError as error:
                raise AnswerError(f"its answer cannot be read ({type(error).__name__})") from None
            except (HTTPError, OSError) as error:
                raise AnswerError("its answer was cut off") from error
        headers = {name: value for name, value in answer.headers.items() if name.lower() not in _OF_THE_WAY}
        whole: dict[str, Any] = {"headers": headers, "status": answer.status, "reason": answer.reason}
        return HTTPResponse(io.BytesIO(body), **whole, version=answer.version, preload_content=False)

    @contextmanager
    def _ending(self, seconds: float, told: str) -> Iterator[None]:
        """Cuts the connection when the time is over: a server that sends a byte now and then never makes a read time out."""
        over, connection = threading.Event(), self.sock

        def cut() -> None:
            over.set()
            try:
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
            except OSError:  # closed in this moment
                return

        timer = threading.Timer(seconds, cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            if over.is_set():  # what was cut looks like an end, or like any error
                raise AnswerError(told) from None


_OF_THE_WAY = ("content-encoding", "content-length", "transfer-encoding")  # what was so is over


def _body(answer: HTTPResponse) -> bytes:
    """Raises AnswerError, HTTPError."""
    found = io.BytesIO()
    while piece := answer.read1(_PIECE, decode_content=True):
        found.write(piece)
        if found.tell() > LONGEST_MB << 20:
            raise AnswerError(f"its answer is longer than {LONGEST_MB} MB")
    return found.getvalue()


class Session(requests.Session):
    """silence_s: so long a server may be silent."""

    def __init__(self, silence_s: float) -> None:
        super().__init__()
        self.trust_env = False  # no proxy and no password of the environment's own
        for scheme in ("http://", "https://"):
            self.mount(scheme, _Adapter(silence_s))

    def get_redirect_target(self, resp: requests.Response) -> None:
        """No patient's data go where the settings do not say."""


class _Adapter(HTTPAdapter):
    def __init__(self, silence_s: float) -> None:
        self._silence_s = silence_s
        super().__init__()

    def init_poolmanager(self, *words: Any, **named: Any) -> None:
        super().init_poolmanager(*words, **named)
        plain = type("_Plain", (_Bounded,), {"silence_s": self._silence_s})
        secure = type("_Secure", (_Bounded, HTTPSConnection), {"silence_s": self._silence_s})
        self.poolmanager.pool_classes_by_scheme = {
            "http": type("_Pool", (HTTPConnectionPool,), {"ConnectionCls": plain}),
            "https": type("_SecurePool", (HTTPSConnectionPool,), {"ConnectionCls": secure}),
        }
