"""A real HTTP server in a thread that keeps every POST."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass(kw_only=True)
class Hook:
    """What has come: (headers in lower case, JSON). status: what each is answered; location: with a redirect."""

    address: str = ""
    posts: list[tuple[dict[str, str], Any]] = field(default_factory=list)
    status: int = 200
    location: str = ""

    @property
    def events(self) -> list[tuple[str, str]]:
        """(alert, event) in the order of their coming."""
        return [(words["alert"], words["event"]) for _, words in self.posts]


@contextlib.contextmanager
def webhook() -> Iterator[Hook]:
    """On loopback, until the block is left."""
    hook = Hook()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            words = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if hook.status == 200:
                hook.posts.append(({name.lower(): value for name, value in self.headers.items()}, words))
            self.send_response(hook.status)
            if hook.location:
                self.send_header("Location", hook.location)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hook.address = f"http://127.0.0.1:{server.server_address[1]}/hook"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield hook
        finally:
            server.shutdown()
            thread.join(timeout=10)
