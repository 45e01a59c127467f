"""A node's pages served on a real port, and a client that sends what it is told to, byte by byte where that matters."""

from __future__ import annotations

import contextlib
import http.client
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nodes import free_port

from service.counts import Counts
from service.journal import Journal
from service.watched import Watched
from service.web import Web
from service.web_pages import Material
from service.web_settings import WebSettings


@dataclass(frozen=True, kw_only=True)
class Answer:
    """headers: names in lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def text(self) -> str:
        return self.content.decode()


@dataclass(kw_only=True)
class Site:
    """Pages that are served. broken: what the health page is to find."""

    port: int
    watched: Watched
    parts: dict[str, str] = field(default_factory=dict)
    door: dict[str, bool] = field(default_factory=dict)

    def get(self, path: str, method: str = "GET", **headers: str) -> Answer:
        """One request; an underscore in a header's name stands for a hyphen."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        with contextlib.closing(connection):
            connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            named = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(status=answer.status, headers=named, content=answer.read())


@contextlib.contextmanager
def served(journal: Journal, data: Path, **settings: Any) -> Iterator[Site]:
    """The pages of this journal and data folder; settings: of [web], beside the port."""
    parts: dict[str, str] = {"intake": "", "engine": ""}
    door = {"open": True}
    watched = Watched(
        journal=journal,
        data=data,
        floor_gb=settings.pop("floor_gb", 0.0),
        door=lambda: door["open"],
        parts=lambda: dict(parts),
        counts=settings.pop("counts", Counts()),
    )
    port = free_port()
    web = Web(WebSettings(port=port, **settings))
    web.open()
    material = Material(journal=journal, data=data, ae_title="DUET")
    thread = threading.Thread(target=web.serve, args=(watched, material), daemon=True)
    thread.start()
    try:
        yield Site(port=port, watched=watched, parts=parts, door=door)
    finally:
        web.stop()
        thread.join(timeout=20)
        assert not thread.is_alive()
