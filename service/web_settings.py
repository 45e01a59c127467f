"""[web]: where the pages are served, who may see them, and the socket that is opened before anything else is."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass

from analysis.errors import BadSettings
from service.bounds import HEADER_NAME, check_port, check_positive, is_loopback
from service.secret import check_one, needed_secret

SHORTEST_PASSWORD = 12

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSettings:
    """[web]. On an address other than loopback, a password or a proxy that names the user is demanded.

    hosts: the names by which browsers may call the pages, beside localhost and numbers. proxy_header: the header in which a
    reverse proxy names the user, believed from trusted_proxies alone. metrics_networks: who may read /metrics without a user.
    certificate_file, key_file: PEM, for https. connections: at once, each for at most connection_s.
    """

    enabled: bool = True
    host: str = "127.0.0.1"
    port: int = 8080
    hosts: tuple[str, ...] = ()
    user: str = "duet"
    password_file: str = ""
    password_env: str = ""
    proxy_header: str = ""
    trusted_proxies: tuple[str, ...] = ()
    metrics_networks: tuple[str, ...] = ()
    certificate_file: str = ""
    key_file: str = ""
    connections: int = 40
    connection_s: float = 60.0

    def __post_init__(self) -> None:
        check_port("port", self.port)
        check_positive(connections=self.connections, connection_s=self.connection_s)
        networks("trusted_proxies", self.trusted_proxies)
        networks("metrics_networks", self.metrics_networks)
        self._check_users()
        if bool(self.certificate_file) != bool(self.key_file):
            raise ValueError("certificate_file and key_file belong together")

    def _check_users(self) -> None:
        check_one("password", self.password_file, self.password_env)
        if self.password and (not self.user or ":" in self.user):
            raise ValueError("user is empty or has a colon, which a browser cannot send")
        if self.proxy_header and not HEADER_NAME.fullmatch(self.proxy_header):
            raise ValueError(f"proxy_header is the name of a header such as X-Remote-User, not {self.proxy_header!r}")
        if bool(self.proxy_header) != bool(self.trusted_proxies):
            raise ValueError("proxy_header and trusted_proxies belong together: anybody else could name any user")
        if self.enabled and not self.local and not self.password and not self.proxy_header:
            raise ValueError(
                f'others reach host {self.host!r}: set password_file, password_env or proxy_header, or host = "127.0.0.1"'
            )

    @property
    def local(self) -> bool:
        """Whether only this machine reaches the pages."""
        return is_loopback(self.host)

    @property
    def password(self) -> bool:
        return bool(self.password_file or self.password_env)

    @property
    def encrypted(self) -> bool:
        return bool(self.certificate_file)

    @property
    def address(self) -> str:
        """As one writes it into a browser."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.encrypted else 'http'}://{host}:{self.port}/"


def networks(key: str, entries: Sequence[str]) -> tuple[Network, ...]:
    """Raises ValueError with the key."""
    try:
        return tuple(ipaddress.ip_network(entry, strict=False) for entry in entries)
    except ValueError:
        raise ValueError(f"{key} holds addresses and networks such as 10.1.0.0/16, not {list(entries)!r}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyhole:
    """A user and password as digests, which are compared in a time that tells nothing of them."""

    digest: bytes

    @classmethod
    def of(cls, user: str, password: str) -> Keyhole:
        return cls(digest=_digest(user, password))

    def fits(self, user: str, password: str) -> bool:
        return hmac.compare_digest(self.digest, _digest(user, password))


def _digest(user: str, password: str) -> bytes:
    return hashlib.sha256(f"{user}\0{password}".encode()).digest()


def keyhole(settings: WebSettings) -> Keyhole | None:
    """What a password must fit; None where none is asked for. Raises BadSettings."""
    if not settings.password:
        return None
    password = needed_secret("[web] password", settings.password_file, settings.password_env)
    if len(password) < SHORTEST_PASSWORD:
        raise BadSettings(f"[web] password has {len(password)} characters; at least {SHORTEST_PASSWORD} are wanted.")
    return Keyhole.of(settings.user, password)


def check_certificate(settings: WebSettings) -> None:
    """Raises BadSettings where certificate and key cannot be read or do not belong together."""
    if not settings.encrypted:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(settings.certificate_file, settings.key_file)
    except OSError as error:  # ssl's errors are of this kind, too
        said = error.strerror or type(error).__name__
        raise BadSettings(
            f"[web] certificate_file {settings.certificate_file} and key_file {settings.key_file} cannot be used: {said}."
        ) from None


def listener(settings: WebSettings) -> socket.socket:
    """The open socket of the pages. Raises BadSettings where the address is taken."""
    check_certificate(settings)
    try:
        family, kind, proto, _, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        opened = socket.socket(family, kind, proto)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            opened.bind(address)
            opened.listen(settings.connections)
        except OSError:
            opened.close()
            raise
    except OSError as error:
        raise BadSettings(
            f"[web] {settings.host}:{settings.port} cannot be opened ({error.strerror}); take another port, or enabled = false."
        ) from None
    return opened
