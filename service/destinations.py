"""Where results go and how often it is tried; what a destination says to an object, and what it is when it says nothing."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from service.bounds import check_ae_title, check_port, check_positive, dicom_address, unset_empty_paths
from service.secret import SecretError, check_one, secret, text_of
from service.tls import TlsSettings, Trust

_HEADER = re.compile(
    r"(?P<name>[!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(?P<value>[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)"
)  # RFC 9110 5
REMARK = "stored with the remark"  # how a warning begins; it is kept with the object


class UndeliveredError(Exception):
    """A destination could not be reached, or did not take an object."""


class BrokenError(UndeliveredError):
    """The association ended before an object was answered."""


class Commitment(StrEnum):
    """Whether a destination is asked for storage commitment. AUTO: where it offers that."""

    AUTO = "auto"
    NEVER = "never"
    REQUIRE = "require"


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """[[destination]]. url: dicom(s)://AE_TITLE@host:port, or http(s)://host/dicom-web (STOW-RS).

    For STOW-RS alone: user with a password from password_file or from the environment variable password_env; headers_file:
    a line `Name: value` for each further header. ca_file: the certificates that are trusted, as PEM, with dicoms and https.
    tls: the node's own section [tls].
    """

    name: str
    url: str
    commitment: Commitment = Commitment.AUTO
    user: str = ""
    password_file: Path | None = None
    password_env: str = ""
    headers_file: Path | None = None
    ca_file: Path | None = None
    tls: TlsSettings = field(default_factory=TlsSettings)

    def __post_init__(self) -> None:
        unset_empty_paths(self)
        if self.web:
            self._check_web()
            return
        dicom_address(self.url, ", or https://host/dicom-web for STOW-RS")
        if self.user or self.password_env or self.password_file or self.headers_file:
            raise ValueError("user, password_file, password_env and headers_file are for http(s) addresses")
        if self.ca_file and self.trust is None:
            raise ValueError("ca_file is for addresses with TLS, dicoms://AE_TITLE@host:port or https://host/dicom-web")

    def _check_web(self) -> None:
        parts = urllib.parse.urlsplit(self.url)
        if not parts.hostname or parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("url is written https://host/dicom-web, without user, password and query")
        if bool(self.user) != bool(self.password_file or self.password_env):
            raise ValueError("user and one of password_file and password_env belong together")
        check_one("password", self.password_file, self.password_env)
        if self.commitment is Commitment.REQUIRE:
            raise ValueError('commitment "require" is for dicom:// addresses: STOW-RS knows no storage commitment')

    @property
    def web(self) -> bool:
        """Whether objects go there by STOW-RS."""
        return self.url.startswith(("http://", "https://"))

    @property
    def address(self) -> tuple[str, str, int]:
        """(AE title, host, port) of a dicom:// address."""
        return dicom_address(self.url)

    @property
    def trust(self) -> Trust | None:
        """How it is called by TLS; None where it is called without."""
        return Trust(tls=self.tls, ca_file=self.ca_file) if self.url.startswith("dicoms://") else None

    @property
    def asked(self) -> bool:
        """Whether it is asked for storage commitment at all."""
        return not self.web and self.commitment is not Commitment.NEVER

    def password(self) -> str:
        """Raises UndeliveredError where it cannot be had, as it may be there the next time."""
        try:
            return secret("password", self.password_file, self.password_env)
        except SecretError as error:
            raise UndeliveredError(str(error)) from None

    def headers(self) -> Mapping[str, str]:
        """Further headers of each request. Raises UndeliveredError."""
        if self.headers_file is None:
            return {}
        try:
            lines = [line for line in text_of("headers_file", self.headers_file).splitlines() if line.strip()]
        except SecretError as error:
            raise UndeliveredError(str(error)) from None
        found = [_HEADER.fullmatch(line.strip()) for line in lines]
        if None in found:  # the line itself may hold a secret
            raise UndeliveredError(f"headers_file: line {found.index(None) + 1} of {self.headers_file} is not `Name: value`.")
        return {match["name"]: match["value"] for match in found if match is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverySettings:
    """[delivery]. Seconds before a refused object is tried again, doubled each time up to the longest.

    deliver_held: send also results that a quality check holds, unseen; their reports and pictures say so. False keeps each
    such case here until an operator releases it. commitment_patience_s: so long a destination has for its commitment before
    it is asked again.
    """

    first_retry_s: float = 5.0
    longest_retry_s: float = 3600.0
    deliver_held: bool = False
    commitment_patience_s: float = 14400.0

    def __post_init__(self) -> None:
        check_positive(
            first_retry_s=self.first_retry_s,
            longest_retry_s=self.longest_retry_s,
            commitment_patience_s=self.commitment_patience_s,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """[[sender]]. Where one who asks this node for storage commitment is called back. secure: by TLS, where ca_file names who
    vouches for its certificate; empty: that of [tls]. tls: the node's own section [tls]."""

    ae_title: str
    host: str
    port: int
    secure: bool = False
    ca_file: Path | None = None
    tls: TlsSettings = field(default_factory=TlsSettings)

    def __post_init__(self) -> None:
        unset_empty_paths(self)
        check_ae_title("ae_title", self.ae_title)
        check_port("port", self.port)
        if not self.host.strip():
            raise ValueError("host is empty")
        if self.ca_file and not self.secure:
            raise ValueError("ca_file is for a sender that is called by TLS: secure = true")

    @property
    def trust(self) -> Trust | None:
        """How it is called by TLS; None where it is called without."""
        return Trust(tls=self.tls, ca_file=self.ca_file) if self.secure else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One object by SOP class and instance."""

    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """A file to be sent. sent_as: what a report is sent as where the destination refuses its kind."""

    path: Path
    sent_as: Kept | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a destination said to one object. sentence: why it was refused, or a remark ("" as a rule); kind_refused: it takes
    no objects of this SOP class."""

    taken: bool
    sentence: str = ""
    kind_refused: bool = False
