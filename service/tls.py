"""[tls]: this node's certificate, whom it trusts, and the TLS that it speaks (PS3.15 B.12: BCP 195, RFC 8996 and 9325).

TLS 1.2 and 1.3 alone, every suite with forward secrecy and authenticated encryption, no renegotiation, no compression.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from service.bounds import check_port, unset_empty_paths
from service.secret import SecretError, check_one, secret

# RFC 9325 4.2: elliptic curves and AEAD; level 2 of OpenSSL refuses keys below 112 bits of strength and SHA-1 signatures.
SUITES = "ECDHE+AESGCM:ECDHE+CHACHA20:@SECLEVEL=2"
WARN_DAYS = 30
_UTC_TIME = 0x17  # tag of a time whose year has two digits, RFC 5280 4.1.2.5
_EXPLICIT_0 = 0xA0


class TlsError(Exception):
    """A certificate, key or list of authorities cannot be used; the message is a sentence."""


class ClientCertificates(StrEnum):
    """Whether a caller at the TLS door must show a certificate that ca_file vouches for."""

    REQUIRE = "require"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    """[tls]. port: of the TLS door, 2762 by custom; 0: no TLS door. host: the address that it opens on.

    certificate_file, key_file: this node's certificate with its chain, and its key, as PEM; it is shown at the door and to
    peers that ask for it. An empty key_file: the key stands in certificate_file, too. The key's password comes from
    key_password_file or the environment variable key_password_env. ca_file: who vouches for callers, and for peers that have
    no ca_file of their own. match_ae_title: a caller's AE title must be a name in its certificate (CN, or a DNS name).
    """

    port: int = 0
    host: str = "0.0.0.0"  # noqa: S104  as [receiver] host
    certificate_file: Path | None = None
    key_file: Path | None = None
    key_password_file: Path | None = None
    key_password_env: str = ""
    ca_file: Path | None = None
    client_certificates: ClientCertificates = ClientCertificates.REQUIRE
    match_ae_title: bool = False

    def __post_init__(self) -> None:
        unset_empty_paths(self)
        if self.port:
            check_port("port", self.port)
        check_one("key_password", self.key_password_file, self.key_password_env)
        if self.port and self.certificate_file is None:
            raise ValueError("port opens a TLS door, which needs a certificate_file")
        if self.port and self.client_certificates is ClientCertificates.REQUIRE and self.ca_file is None:
            raise ValueError('client_certificates "require" needs a ca_file: the authorities that vouch for callers')
        if self.match_ae_title and self.client_certificates is ClientCertificates.NONE:
            raise ValueError('match_ae_title needs client_certificates "require"')
        if self.key_file and self.certificate_file is None:
            raise ValueError("key_file needs a certificate_file")

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that the settings name."""
        named = (self.certificate_file, self.key_file, self.key_password_file, self.ca_file)
        return tuple(path for path in named if path is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """How a peer is called: by whom its certificate must be vouched for, and what this node shows. ca_file: of this peer
    alone. any_name: its certificate may bear another name than its address, as this node's own does on loopback."""

    tls: TlsSettings = field(default_factory=TlsSettings)
    ca_file: Path | None = None
    any_name: bool = False

    def context(self) -> CallingContext:
        """For one association, so that renewed files are taken up by the next one. Raises TlsError."""
        context = CallingContext(ssl.PROTOCOL_TLS_CLIENT)
        restrict(context)
        context.check_hostname = not self.any_name
        authorities = self.ca_file or self.tls.ca_file
        if authorities is None:
            context.load_default_certs()
        else:
            trust_those_in(context, authorities)
        if self.tls.certificate_file is not None:
            load_own(context, self.tls)
        return context


class CallingContext(ssl.SSLContext):
    """Remembers why its one handshake failed, which pynetdicom does not tell."""

    failure: str = ""

    def __new__(cls, *args: Any, **options: Any) -> CallingContext:
        context = super().__new__(cls, *args, **options)
        context.sslsocket_class = _CallingSocket
        return context


class _CallingSocket(ssl.SSLSocket):
    """With TLS 1.3 a peer refuses this node's certificate after the handshake, in place of its first answer."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except OSError as error:
            self._note(error)
            raise

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        try:
            return super().recv(buflen, flags)
        except ssl.SSLError as error:
            self._note(error)
            raise

    def _note(self, error: OSError) -> None:
        if isinstance(self.context, CallingContext):
            self.context.failure = why(error)


def failure_of(assoc: Any) -> str:
    """Why the TLS of an association that this node requested was not had; empty where it was, or is not spoken."""
    arguments = getattr(assoc.dul.socket, "tls_args", None)
    return arguments[0].failure if arguments and isinstance(arguments[0], CallingContext) else ""


def restrict(context: ssl.SSLContext) -> None:
    """The protocol versions, suites and options of this node, for either side."""
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(SUITES)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE | ssl.OP_SINGLE_ECDH_USE


def trust_those_in(context: ssl.SSLContext, authorities: Path) -> None:
    """Raises TlsError."""
    try:
        context.load_verify_locations(authorities)
    except ssl.SSLError:
        raise TlsError(f"[tls] ca_file: {authorities} holds no certificates as PEM.") from None
    except OSError as error:
        raise TlsError(f"[tls] ca_file: {authorities} cannot be read: {error.strerror}.") from None


def load_own(context: ssl.SSLContext, tls: TlsSettings) -> None:
    """This node's certificate and key. Raises TlsError, also for one that has ended or has not begun."""
    certificate = tls.certificate_file
    if certificate is None:
        raise TlsError("[tls] certificate_file is not set.")
    key = tls.key_file or certificate
    begins, ends = lifetime(certificate)
    now = datetime.now(UTC)
    if now >= ends or now < begins:
        verb, day = ("ended", ends) if now >= ends else ("is not valid before", begins)
        raise TlsError(f"[tls] certificate_file: {certificate} {verb} on {day:%Y-%m-%d}; renew it.")
    for path in (certificate, key):
        _check_readable(path)
    try:
        context.load_cert_chain(certificate, key, password=lambda: _password(tls))
    except SecretError as error:
        raise TlsError(f"[tls] {error}") from None
    except ssl.SSLError as error:
        raise TlsError(_why_not_loaded(error, certificate, key)) from None


def _password(tls: TlsSettings) -> str:
    """Asked for by OpenSSL only where the key is encrypted. Raises SecretError."""
    if not (tls.key_password_file or tls.key_password_env):
        raise SecretError(f"key_file: {tls.key_file or tls.certificate_file} has a password; name key_password_file.")
    return secret("key_password", tls.key_password_file, tls.key_password_env)


def _check_readable(path: Path) -> None:
    try:
        path.open("rb").close()
    except OSError as error:
        raise TlsError(f"[tls] {path} cannot be read: {error.strerror}.") from None


def _why_not_loaded(error: ssl.SSLError, certificate: Path, key: Path) -> str:
    if error.reason == "KEY_VALUES_MISMATCH":
        return f"[tls] key_file: {key} is not the key of {certificate}."
    if error.reason and error.reason.endswith(("TOO_SMALL", "TOO_WEAK")):
        return f"[tls] certificate_file: {certificate} is too weak; RSA keys need 2048 bits or more, signatures SHA-256."
    return f"[tls] key_file: {key} holds no private key as PEM that its password opens."


def lifetime(certificate: Path) -> tuple[datetime, datetime]:
    """From when to when the first certificate in a PEM file is valid (RFC 5280 4.1.2.5). Raises TlsError."""
    try:
        text = certificate.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise TlsError(f"[tls] certificate_file: {certificate} cannot be read: {error.strerror}.") from None
    try:
        block = ssl.PEM_HEADER + text.split(ssl.PEM_HEADER)[1].split(ssl.PEM_FOOTER)[0] + ssl.PEM_FOOTER
        whole = list(_elements(ssl.PEM_cert_to_DER_cert(block)))
        signed = list(_elements(next(_elements(whole[0][1]))[1]))
        validity = signed[4 if signed[0][0] == _EXPLICIT_0 else 3]
        begins, ends = (_time(tag, content) for tag, content in _elements(validity[1]))
    except (ValueError, IndexError, StopIteration):
        raise TlsError(f"[tls] certificate_file: {certificate} holds no certificate as PEM.") from None
    return begins, ends


def _elements(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each element of a DER sequence (X.690 8.1)."""
    at = 0
    while at < len(der):
        tag, length, at = der[at], der[at + 1], at + 2
        if length & 0x80:
            more = length & 0x7F
            length, at = int.from_bytes(der[at : at + more], "big"), at + more
        yield tag, der[at : at + length]
        at += length


def _time(tag: int, content: bytes) -> datetime:
    text = content.decode("ascii")
    if tag == _UTC_TIME:
        text = ("19" if int(text[:2]) >= 50 else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


def days_left(certificate: Path) -> int:
    """Whole days until a certificate ends; negative after it. Raises TlsError."""
    return (lifetime(certificate)[1] - datetime.now(UTC)).days


def names_in(certificate: dict[str, Any] | None) -> Sequence[str]:
    """CN and DNS names of a certificate as Python's ssl tells it."""
    if not certificate:
        return ()
    subject = [value for group in certificate.get("subject", ()) for key, value in group if key == "commonName"]
    return (*subject, *(value for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"))


def why(error: OSError) -> str:
    """What went wrong in a handshake, in our words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted ({error.verify_message})"
    if isinstance(error, TimeoutError):
        return "it did not finish the TLS handshake in time"
    if isinstance(error, ssl.SSLError) and error.reason:
        return _REASONS.get(error.reason, f"TLS failed ({error.reason.lower().replace('_', ' ')})")
    return "it ended the connection within the TLS handshake"


_REASONS = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "it shows no certificate",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "it demands a certificate of this node, and [tls] certificate_file is not set",
    "TLSV1_ALERT_UNKNOWN_CA": "it does not trust the authority of this node's certificate",
    "SSLV3_ALERT_BAD_CERTIFICATE": "it does not accept this node's certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "it says that this node's certificate has ended",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "it shares no TLS version or suite with this node, or demands a certificate",
    "UNSUPPORTED_PROTOCOL": "it speaks no TLS 1.2 or 1.3",
    "UNEXPECTED_EOF_WHILE_READING": "it ended the connection within the TLS handshake",
    "NO_SHARED_CIPHER": "it offers no suite with forward secrecy and authenticated encryption",
    "HTTP_REQUEST": "it speaks HTTP, not DICOM by TLS",
    "WRONG_VERSION_NUMBER": "it does not speak TLS",
    "BAD_KEY_SHARE": "its key share cannot be used",
}
