"""What a setting may be; each check raises ValueError with one sentence that names the key."""

from __future__ import annotations

import dataclasses
import ipaddress
import math
import re
import unicodedata
import urllib.parse
from pathlib import Path
from typing import Any

_URL = re.compile(r"dicoms?://(?P<ae>[^@/:]{1,16})@(?P<host>[A-Za-z0-9._-]+|\[[0-9a-fA-F:]+\]):(?P<port>[0-9]+)/?")
_SCHEDULER = re.compile(r"(tcp|tls)://([A-Za-z0-9._-]+|\[[0-9a-fA-F:]+\]):(?P<port>[0-9]{1,5})/?")
_AE_TITLE = re.compile(r"(?=.*[^ ])[ -\[\]-~]{1,16}")  # PS3.5 6.2: ASCII without backslash and control characters
HEADER_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")  # of HTTP


LARGEST = 1e9  # of any number; threads can wait no longer than 9e9 s


def oddity(value: Any) -> str:
    """What no setting may be, whatever its kind: a number without end, a control character. Empty where all is well."""
    if isinstance(value, list | tuple):
        return next(filter(None, map(oddity, value)), "")
    if isinstance(value, dict):
        return next(filter(None, map(oddity, value.values())), "")
    if isinstance(value, int | float) and not -LARGEST <= value <= LARGEST:
        return f"is to be a finite number, {LARGEST:.0f} at most, not {str(value)[:40]}"
    if isinstance(value, str) and any(unicodedata.category(c) in ("Cc", "Cs") for c in value):
        return "holds a control character"
    return ""


def check_ae_title(key: str, title: str) -> None:
    if not _AE_TITLE.fullmatch(title):
        raise ValueError(f"{key} has 1 to 16 characters, ASCII without backslash and control characters, not {title!r}")


def unset_empty_paths(settings: Any) -> None:
    """A path that is written as "" in duet.toml is None; for the __post_init__ of a frozen dataclass."""
    for each in dataclasses.fields(settings):
        if getattr(settings, each.name) == Path():
            object.__setattr__(settings, each.name, None)


def is_local(url: str) -> bool:
    """Whether a URL names this machine by its loopback address or as localhost."""
    return is_loopback(urllib.parse.urlsplit(url).hostname or "")


def is_loopback(host: str) -> bool:
    """Whether a host is this machine alone."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_port(key: str, port: int) -> None:
    if not 1 <= port <= 65535:
        raise ValueError(f"{key} is a TCP port from 1 to 65535, not {port}")


def check_positive(**values: float) -> None:
    """Each value is a finite number above 0."""
    for key, value in values.items():
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{key} is a finite number above 0, not {value}")


def check_not_negative(**values: float) -> None:
    """Each value is a finite number, 0 or more."""
    for key, value in values.items():
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{key} is a finite number, 0 or more, not {value}")


def dicom_address(url: str, otherwise: str = "") -> tuple[str, str, int]:
    """(AE title, host, port) of dicom(s)://AE_TITLE@host:port. otherwise: how else the url may be written, for the message."""
    match = _URL.fullmatch(url)
    if match is None:
        raise ValueError(f"url is written dicom://AE_TITLE@host:port{otherwise}")
    check_ae_title("the AE title in url", match["ae"])
    check_port("the port in url", int(match["port"]))
    return match["ae"], match["host"].strip("[]"), int(match["port"])


def check_scheduler(key: str, address: str) -> None:
    """tcp://host:port or tls://host:port."""
    match = _SCHEDULER.fullmatch(address)
    if match is None or not 1 <= int(match["port"]) <= 65535:
        raise ValueError(f"{key}{address!r} is no scheduler's address; it is written tcp://host:8786")
