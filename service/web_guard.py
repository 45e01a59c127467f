"""Who is let in to the pages, and the headers of every answer: the first thing that a request meets, and the last.

Only GET and HEAD are answered and nothing a page does changes anything, so that there is nothing to forge. What is refused
is refused in a few words that say nothing of what lies behind.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import threading
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from service.web_audit import turned_away
from service.web_settings import Keyhole, WebSettings, networks

CSP = "Content-Security-Policy"
STRICT = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
# A report is one file with its own styles and drawings; without scripts, and apart from the pages.
OWN_DOCUMENT = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; frame-ancestors 'none'; sandbox"
HEADERS = {
    CSP: STRICT,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
OPEN_PAGES = ("/healthz", "/style.css")  # nothing of a patient: for anybody who reaches the port
METRICS = "/metrics"
FREE_FAILURES = 5
LONGEST_PAUSE_S = 60.0
REMEMBERED = 1024  # addresses that have failed
LONGEST_PATH = 1024
_FORWARDING = ("forwarded", "x-forwarded-for", "x-real-ip", "via")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An answer that lets nobody in. headers: beside those that every answer has."""

    status: int
    words: str
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks. address: as the socket says it; headers: by their names in lower case, each as often as it came."""

    address: str
    path: str
    method: str
    headers: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, scope: Scope) -> Caller:
        headers = tuple((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"])
        client = scope.get("client") or ("", 0)
        return cls(address=str(client[0]), path=str(scope["path"]), method=str(scope["method"]), headers=headers)

    def all(self, name: str) -> list[str]:
        return [value for known, value in self.headers if known == name.lower()]

    def within(self, listed: tuple[Any, ...]) -> bool:
        ip = _ip(self.address)
        return ip is not None and any(ip in network for network in listed)

    @property
    def forwarded(self) -> bool:
        """Whether a proxy speaks for somebody else."""
        return any(name in _FORWARDING for name, _ in self.headers)

    @property
    def local(self) -> bool:
        """Whether it is somebody at this machine, and not a proxy on it."""
        ip = _ip(self.address)
        return ip is not None and ip.is_loopback and not self.forwarded


def _ip(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return None
    return getattr(ip, "ipv4_mapped", None) or ip


class Patience:
    """After some failures an address waits longer after each; what is tried meanwhile is not even looked at."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._guard = clock, threading.Lock()
        self._failed: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def pause(self, address: str) -> float:
        """Seconds that the address still has to wait."""
        with self._guard:
            _, until = self._failed.get(_neighbours(address), (0, 0.0))
        return max(0.0, until - self._clock())

    def failed(self, address: str) -> None:
        key = _neighbours(address)
        with self._guard:
            failures = self._failed.pop(key, (0, 0.0))[0] + 1
            pause = min(LONGEST_PAUSE_S, 2.0 ** (failures - FREE_FAILURES)) if failures >= FREE_FAILURES else 0.0
            self._failed[key] = (failures, self._clock() + pause)
            while len(self._failed) > REMEMBERED:
                self._failed.popitem(last=False)

    def succeeded(self, address: str) -> None:
        with self._guard:
            self._failed.pop(_neighbours(address), None)


def _neighbours(address: str) -> str:
    """Whoever has one IPv6 address has 2 to the 64 of them."""
    ip = _ip(address)
    return str(ipaddress.ip_network((ip, 64), strict=False)) if isinstance(ip, ipaddress.IPv6Address) else str(ip)


class Guard:
    """Stands before the pages (ASGI). The user's name is handed on as scope["state"]["user"]."""

    def __init__(self, app: App, settings: WebSettings, keyhole: Keyhole | None, patience: Patience | None = None) -> None:
        self._app, self._settings, self._keyhole = app, settings, keyhole
        self._patience = patience or Patience()
        self._proxies = networks("trusted_proxies", settings.trusted_proxies)
        self._scrapers = networks("metrics_networks", settings.metrics_networks)
        self._hosts = {"localhost", settings.host.lower(), *(host.lower() for host in settings.hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        answer = self._with_headers(send)
        caller = Caller.of(scope)
        known = self._ill_formed(caller) or self._user(caller)
        if isinstance(known, Refusal):
            await _refuse(known, answer)
            return
        scope.setdefault("state", {})["user"] = known
        await self._app(scope, receive, answer)

    def _with_headers(self, send: Send) -> Send:
        async def sending(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                own = {name.lower() for name, _ in message.get("headers", ())}
                wanted = [(name.lower().encode(), value.encode()) for name, value in self._headers.items()]
                message["headers"] = [*message.get("headers", ()), *(each for each in wanted if each[0] not in own)]
            await send(message)

        return sending

    @property
    def _headers(self) -> dict[str, str]:
        strict = {"Strict-Transport-Security": "max-age=31536000"} if self._settings.encrypted else {}
        return HEADERS | strict

    def _ill_formed(self, caller: Caller) -> Refusal | None:
        if not self._called_by_name(caller):
            return Refusal(status=421, words="This name is not served here; see [web] hosts.")
        if caller.method not in ("GET", "HEAD"):
            return Refusal(status=405, words="Nothing can be changed here.", headers=(("Allow", "GET, HEAD"),))
        if caller.all("transfer-encoding") or any(value != "0" for value in caller.all("content-length")):
            return Refusal(status=413, words="A request has no content here.", headers=(("Connection", "close"),))
        if len(caller.path) > LONGEST_PATH:
            return Refusal(status=414, words="No page has so long a name.")
        return None

    def _called_by_name(self, caller: Caller) -> bool:
        """Against pages elsewhere that let their own name point to this machine: only known names, and numbers, are served."""
        hosts = caller.all("host")
        if len(hosts) != 1:
            return False
        name = hosts[0].lower()
        name = name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]
        return name in self._hosts or _ip(name) is not None

    def _user(self, caller: Caller) -> str | Refusal:
        """The user's name, empty where none is asked for."""
        if caller.path in OPEN_PAGES:
            return ""
        if caller.path == METRICS and (caller.local or (caller.within(self._scrapers) and not caller.forwarded)):
            return ""
        if self._settings.proxy_header and caller.within(self._proxies):
            return self._named_by_proxy(caller)
        if self._keyhole is not None:
            return self._by_password(caller, self._keyhole)
        if self._settings.local and not self._settings.proxy_header and not caller.forwarded:
            return "local"
        turned_away(caller.address, "neither a trusted proxy nor a password")
        return Refusal(status=403, words="This is reached through its proxy, which names the user; see [web] in duet.toml.")

    def _named_by_proxy(self, caller: Caller) -> str | Refusal:
        names = caller.all(self._settings.proxy_header)
        if len(names) != 1 or not names[0].strip():
            turned_away(caller.address, "the proxy has named no user")
            return Refusal(status=401, words="The proxy has named no user.")
        return names[0].strip()[:64]

    def _by_password(self, caller: Caller, keyhole: Keyhole) -> str | Refusal:
        pause = self._patience.pause(caller.address)
        if pause > 0:
            return Refusal(status=429, words="Too many failures; wait.", headers=(("Retry-After", str(int(pause) + 1)),))
        given = caller.all("authorization")
        user, password = _basic(given[0]) if len(given) == 1 else ("", "")
        if keyhole.fits(user, password):
            self._patience.succeeded(caller.address)
            return user
        if given:
            self._patience.failed(caller.address)
            turned_away(caller.address, "wrong user or password")
        ask = ("WWW-Authenticate", 'Basic realm="duet", charset="UTF-8"')
        return Refusal(status=401, words="A user and a password are needed.", headers=(ask,))


def _basic(header: str) -> tuple[str, str]:
    """User and password of HTTP Basic (RFC 7617); empty where it is none."""
    scheme, _, coded = header.partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        user, _, password = base64.b64decode(coded.strip(), validate=True).decode("utf-8").partition(":")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return "", ""
    return user, password


async def _refuse(refusal: Refusal, send: Send) -> None:
    content = f"{refusal.words}\n".encode()
    headers = (("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(content))), *refusal.headers)
    coded = [(name.lower().encode(), value.encode()) for name, value in headers]
    await send({"type": "http.response.start", "status": refusal.status, "headers": coded})
    await send({"type": "http.response.body", "body": content})
