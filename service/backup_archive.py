"""A backup as one tar file: written so that it is there as a whole or not at all, and read with every digest checked.

Its last member, manifest.json, names every other one with size and SHA-256. Members are plain files below a few known names.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tarfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO

from analysis.errors import BadSettings
from service.inbox import PART, move_durably

FORMAT = 1
MANIFEST = "manifest.json"
FILES = ("journal.sqlite", "journal.pgdump", "duet.toml")
FOLDERS = ("cases", "cohort", "inbox")
CHUNK = 1 << 20
_REVISION = re.compile(r"[0-9]{4}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a backup holds. made_at: when its journal was copied, seconds since 1970; members: name > (size, SHA-256)."""

    duet: str
    revision: str
    made_at: float
    images: bool
    members: dict[str, tuple[int, str]]
    format: int = FORMAT

    @property
    def size(self) -> int:
        return sum(size for size, _ in self.members.values())

    def count(self, folder: str) -> int:
        """How many files of a folder; of cases and versions of the cohort's report the folders."""
        names = {PurePosixPath(name).parts for name in self.members}
        inside = [parts for parts in names if parts[0] == folder]
        return len(inside) if folder == "inbox" else len({parts[1] for parts in inside})


@dataclass(slots=True)
class Writer:
    """Adds files to a backup that is being written."""

    tar: tarfile.TarFile
    members: dict[str, tuple[int, str]] = field(default_factory=dict)

    def add(self, name: str, file: IO[bytes]) -> int:
        """A file's content as it is now; returns its size. Raises OSError where it is cut short meanwhile."""
        size = os.fstat(file.fileno()).st_size
        reading = _Digesting(file)
        self.tar.addfile(_entry(name, size), reading)
        self.members[name] = (size, reading.digest.hexdigest())
        return size

    def add_bytes(self, name: str, content: bytes) -> None:
        self.tar.addfile(_entry(name, len(content)), io.BytesIO(content))
        self.members[name] = (len(content), hashlib.sha256(content).hexdigest())


class _Digesting:
    """A file that digests what is read of it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.digest = file, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        content = self._file.read(size)
        self.digest.update(content)
        return content


def _entry(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mtime, entry.mode = size, int(time.time()), 0o600
    return entry


@contextmanager
def written(target: Path, manifest: Callable[[Writer], Manifest]) -> Iterator[Writer]:
    """A writer; when the block is left without an error the backup is at `target`, on disk. Raises OSError."""
    part = target.with_name(f"{target.name}.{uuid.uuid4().hex}{PART}")
    try:
        with part.open("xb") as file:
            part.chmod(0o600)  # patients' data
            with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
                writer = Writer(tar)
                yield writer
                whole = manifest(writer)
                writer.add_bytes(MANIFEST, json.dumps(asdict(whole), indent=1).encode())
        move_durably(part, target)
    except OSError as error:
        error.filename = error.filename or str(target)  # of a full disk
        raise
    finally:
        part.unlink(missing_ok=True)


Keep = Callable[[str], IO[bytes]]


def read(backup: Path, keep: Keep | None = None, tell: Callable[[int], None] = lambda _size: None) -> Manifest:
    """The manifest, after every member was read and its digest compared; keep: where a member's content goes.

    Raises BadSettings where anything is missing, different, or not what a backup may hold.
    """
    found: dict[str, tuple[int, str]] = {}
    try:
        with tarfile.open(backup, mode="r:") as tar:
            for entry in tar:
                content = tar.extractfile(entry) if _allowed(entry) and entry.name not in found else None
                if content is None:
                    raise BadSettings(f"{backup}: {entry.name!r} does not belong into a backup; nothing was restored.")
                if entry.name == MANIFEST:
                    return _compared(backup, content.read(), found)
                found[entry.name] = _through(content, keep and keep(entry.name), tell)
    except (tarfile.TarError, EOFError) as error:
        raise BadSettings(f"{backup} is no backup of duet, or is damaged or cut off ({error}).") from None
    raise BadSettings(f"{backup} is no backup of duet, or is damaged or cut off: it has no {MANIFEST}.")


def _through(content: IO[bytes], out: IO[bytes] | None, tell: Callable[[int], None]) -> tuple[int, str]:
    """(size, SHA-256) of a member, on its way to where it is kept."""
    digest, size = hashlib.sha256(), 0
    try:
        while chunk := content.read(CHUNK):
            digest.update(chunk)
            size += len(chunk)
            tell(len(chunk))
            if out is not None:
                out.write(chunk)
    finally:
        if out is not None:
            out.close()
    return size, digest.hexdigest()


def _allowed(entry: tarfile.TarInfo) -> bool:
    """A plain file, of a name that a backup has: nothing that could lead out of the folder."""
    parts = PurePosixPath(entry.name).parts
    known = entry.name in (*FILES, MANIFEST) or (len(parts) > 1 and parts[0] in FOLDERS)
    plain = entry.name == "/".join(parts) and ".." not in parts and "\0" not in entry.name
    return entry.isreg() and known and plain


def _compared(backup: Path, content: bytes, found: dict[str, tuple[int, str]]) -> Manifest:
    try:
        facts = json.loads(content)
        members = {name: (int(size), str(digest)) for name, (size, digest) in facts.pop("members").items()}
        manifest = Manifest(**facts, members=members)
        known = manifest.format == FORMAT and _REVISION.fullmatch(manifest.revision) and float(manifest.made_at)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise BadSettings(f"{backup}: its {MANIFEST} cannot be read; it is no backup of duet, or damaged.") from None
    if not known:
        raise BadSettings(f"{backup} was made by another duet ({manifest.duet}) in a form that this one does not know.")
    wrong = sorted(name for name in found.keys() | members.keys() if found.get(name) != members.get(name))
    if wrong:
        raise BadSettings(f"{backup} is damaged: {len(wrong)} of its files are not what was written, the first is {wrong[0]}.")
    return manifest
