"""Large files over HTTP: resumed where they were cut off, and kept only when their checksum is that of the record.

    name.part   what has arrived so far; a later try goes on there
    name        complete and checked, renamed from it

A server may cut, lie about ranges or send something else: nothing of that gets past the checksum.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from analysis.errors import ModelUnavailable

ZENODO = "https://zenodo.org/api/records/"
BLOCK = 1 << 20
TIMEOUT_S = 30.0
LONGEST_RECORD = 4_000_000
FREE_BYTES = 1_000_000_000  # left on the disk
LOCAL = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """A file of a record: where it is, how long, and its checksum ("md5" or "sha256" and the digits)."""

    url: str
    size: int
    algorithm: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """tries: without a byte of progress, before giving up; pause_s: before the second, doubled each time."""

    tries: int = 5
    pause_s: float = 1.0
    timeout_s: float = TIMEOUT_S


Told = Callable[[str, float], None]
PATIENT = Patience()


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows a redirection only to where the first address could have been."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        check_address(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def check_address(url: str) -> None:
    """Raises ModelUnavailable for an address that is neither HTTPS nor on this machine."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOCAL):
        raise ModelUnavailable(f"{url} is not fetched: only https addresses are.")


def remote_file(record: str, name: str, *, api: str = ZENODO, patience: Patience = PATIENT) -> RemoteFile:
    """Where a record's file lies and what its checksum is, as the record itself says. Raises ModelUnavailable."""
    url = api + urllib.parse.quote(record)
    try:
        with _open(url, {"Accept": "application/json"}, patience) as answer:
            listed = json.loads(answer.read(LONGEST_RECORD))["files"]
        files = {each["key"]: each for each in listed}
        found = files.get(name)
        if found is None:
            raise ModelUnavailable(f"Record {record} has no file {name}; it has {', '.join(sorted(files)) or 'none'}.")
        algorithm, _, digest = str(found["checksum"]).partition(":")
        address = str(found["links"]["self"])
        size = int(found["size"])
    except (KeyError, TypeError, ValueError):
        raise ModelUnavailable(f"Record {record} does not say what its files are ({url}).") from None
    except (OSError, http.client.HTTPException) as error:
        raise ModelUnavailable(f"Record {record} cannot be asked ({url}): {_words(error)}.") from None
    if algorithm not in ("md5", "sha256") or not re.fullmatch(r"[0-9a-f]{32,64}", digest) or size <= 0:
        raise ModelUnavailable(f"Record {record} gives no usable checksum of {name}.")
    check_address(address)
    return RemoteFile(url=address, size=size, algorithm=algorithm, digest=digest)


def download(remote: RemoteFile, target: Path, tell: Told, *, patience: Patience = PATIENT) -> None:
    """The file as `target`, whole and checked. Raises ModelUnavailable; what has arrived stays for the next try."""
    check_address(remote.url)
    part = target.with_name(f"{target.name}.part")
    target.parent.mkdir(parents=True, exist_ok=True)
    missing = remote.size - _size(part)
    if shutil.disk_usage(target.parent).free < missing + FREE_BYTES:
        raise ModelUnavailable(f"{target.name} needs {missing / 1e9:.1f} GB more in {target.parent}, and there is not so much.")
    resumed = _size(part) > 0
    _all_of(remote, part, tell, patience)
    if resumed and not _is(remote, part):  # the beginning may be another file's: once more from the start
        part.unlink()
        _all_of(remote, part, tell, patience)
    if not _is(remote, part):
        part.unlink()
        raise ModelUnavailable(
            f"{target.name} is not the file of the record: its {remote.algorithm} is another; it was deleted."
        )
    part.replace(target)
    tell(f"{target.name} is complete", 1.0)


def _all_of(remote: RemoteFile, part: Path, tell: Told, patience: Patience) -> None:
    """Bytes until the file is as long as it should be. Raises ModelUnavailable after several tries without progress."""
    failures, farthest = 0, _size(part)
    while _size(part) != remote.size:
        try:
            _more(remote, part, tell, patience)
            said = "the server ended too early"
        except (OSError, http.client.HTTPException) as error:
            said = _words(error)
            if isinstance(error, urllib.error.HTTPError) and error.code in (401, 403, 404, 410):
                raise ModelUnavailable(f"{remote.url} cannot be fetched: {said}.") from None
        if _size(part) == remote.size:
            return
        failures = 0 if _size(part) > farthest else failures + 1
        farthest = max(farthest, _size(part))
        if failures >= patience.tries:
            raise ModelUnavailable(f"{remote.url} cannot be fetched: {said}; the same command goes on where it stopped.")
        time.sleep(patience.pause_s * 2.0**failures)


def _more(remote: RemoteFile, part: Path, tell: Told, patience: Patience) -> None:
    """One request, from where the part ends; a part that the server does not go on with as asked is given up."""
    if _size(part) > remote.size:
        part.unlink()
    have = _size(part)
    with _open(remote.url, {"Range": f"bytes={have}-"} if have else {}, patience) as answer:
        partial = answer.status == http.client.PARTIAL_CONTENT
        if partial and not _goes_on(answer, have):
            part.unlink(missing_ok=True)
            raise OSError("the server sends another part of the file than it was asked for")
        with part.open("ab" if partial else "wb") as out:
            done = have if partial else 0
            while done <= remote.size and (block := answer.read(min(BLOCK, remote.size + 1 - done))):
                out.write(block)
                done += len(block)
                tell(f"{done / 1e6:.0f} of {remote.size / 1e6:.0f} MB", min(done / remote.size, 1.0))


def _goes_on(answer: http.client.HTTPResponse, byte: int) -> bool:
    """Whether the range that the server says it sends begins where it was asked to, and holds anything."""
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", ""))
    return found is not None and int(found.group(1)) == byte > 0 and answer.headers.get("Content-Length") != "0"


def _open(url: str, headers: dict[str, str], patience: Patience) -> http.client.HTTPResponse:
    check_address(url)
    request = urllib.request.Request(url, headers={"User-Agent": "duet", "Accept-Encoding": "identity", **headers})  # noqa: S310  checked
    opener = urllib.request.build_opener(_SafeRedirects)
    answer: http.client.HTTPResponse = opener.open(request, timeout=patience.timeout_s)
    return answer


def _is(remote: RemoteFile, part: Path) -> bool:
    if _size(part) != remote.size:
        return False
    digest = hashlib.new(remote.algorithm, usedforsecurity=False)  # against damage; what may be loaded is listed by SHA-256
    file: IO[bytes]
    with part.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest() == remote.digest


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _words(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answers {error.code}"
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    return str(reason).rstrip(".") or type(error).__name__
