"""Where received files lie, and how a file or a folder gets onto the disk so that it stays there.

A file is written under a temporary name, and gets its own when it is whole; what was acknowledged survives a power cut. Its
name follows from its SOP instance UID and its content, so the same object sent twice is one file, and an object that came
with two contents is two.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from io import FileIO
from pathlib import Path

PART = ".part"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # what a full disk says
# ext4's journal is written up to the last change of a file that is synced, and the change that named it is one of these: fsync
# of a new file brings its name to disk, too (test_recovery.py cuts the power). POSIX promises that to nobody, so elsewhere the
# folder is synced as well.
_NAMES_WITH_FILES = ("ext4",)
_COPIED = 1 << 20  # bytes at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What the network says of an object before it comes."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    meta: bytes  # preamble and file meta information


@dataclass(frozen=True, slots=True, kw_only=True)
class Received(Header):
    """One object as it came, undecoded."""

    dataset: bytes

    @property
    def digest(self) -> str:
        return content_digest(self.transfer_syntax_uid, self.dataset)


class Draft:
    """An object on its way in, below a temporary name; nothing is held in memory."""

    def __init__(self, inbox: Inbox, stem: str, header: Header) -> None:
        """stem: its path below the data folder as far as it is known now."""
        self._data, self._stem, self._sync_folder = inbox.data, stem, inbox.sync_name
        self._part = f"{inbox.data}/{stem}.{uuid.uuid4().hex}{PART}"  # no Path: each object has a dozen uses of it
        self._file = FileIO(self._part, "x+")
        self._hash = hashlib.sha256(header.transfer_syntax_uid.encode() + b"\0")
        self._put(header.meta)

    @property
    def digest(self) -> str:
        """That of content_digest."""
        return self._hash.hexdigest()

    def write(self, piece: bytes | memoryview) -> None:
        """The next bytes of the dataset. Raises OSError; then there is no file any more."""
        self._hash.update(piece)
        self._put(piece)

    def _put(self, piece: bytes | memoryview) -> None:
        try:
            while piece:
                piece = memoryview(piece)[self._file.write(piece) :]
        except OSError:
            self.discard()
            raise

    def keep(self) -> str:
        """Make it a file for good; returns its path. Raises OSError."""
        path = f"{self._stem}-{self.digest[:16]}.dcm"
        try:
            self._settle(f"{self._data}/{path}")
        except OSError:
            self.discard()
            raise
        return path

    def _settle(self, path: str) -> None:
        """A new file gets its name first, so that one sync brings both to disk. A power cut in between leaves a name with
        half a file, which nobody was told of (recovery.py knows it by the digest in its name). A file of that name that is
        there already may have been acknowledged: it is replaced by nothing that is not on disk."""
        try:
            os.link(self._part, path)
        except OSError:  # it is there, or the file system has no links
            os.fsync(self._file.fileno())
            os.rename(self._part, path)
            sync_folder(Path(path).parent)
            return
        os.unlink(self._part)
        os.fsync(self._file.fileno())
        self._sync_folder(path)

    def put_back(self, path: str) -> None:
        """Write the file once more where somebody has taken it away meanwhile. Raises OSError."""
        self._file.seek(0)
        write_durably(self._data / path, iter(partial(self._file.read, _COPIED), b""))

    def close(self) -> None:
        self._file.close()

    def discard(self) -> None:
        self._file.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._part)


class Inbox:
    """The folder of received files below `data`; paths are given relative to `data`."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.root = data / "inbox"
        self._file_system = ""

    def sync_name(self, path: str) -> None:
        """What a file needs besides its own sync, so that its name survives a power cut."""
        self._file_system = self._file_system or file_system(self.root)
        if self._file_system not in _NAMES_WITH_FILES:
            sync_folder(Path(path).parent)

    def prepare(self) -> None:
        """Make the folders and clear what a killed node left half written (it was never acknowledged)."""
        self.make_folders()
        for part in self.root.glob(f"*/*{PART}"):
            part.unlink(missing_ok=True)

    def make_folders(self) -> None:
        """The folders alone, also beside a node that is writing."""
        for shard in range(256):
            (self.root / f"{shard:02x}").mkdir(parents=True, exist_ok=True)
        for folder in (self.root, self.data, self.data.parent):
            sync_folder(folder)

    def free_bytes(self) -> int:
        found = os.statvfs(self.root)
        return found.f_bavail * found.f_frsize

    def draft(self, header: Header) -> Draft:
        """An object that begins to come. Raises OSError."""
        owner = hashlib.sha256(header.sop_instance_uid.encode()).hexdigest()
        return Draft(self, f"{self.root.name}/{owner[:2]}/{owner[:24]}", header)

    def keep(self, received: Received) -> str:
        """Write a whole object for good; returns its path."""
        draft = self.draft(received)
        draft.write(received.dataset)
        path = draft.keep()
        draft.close()
        return path

    def files(self) -> Iterator[str]:
        """Every finished file."""
        for path in self.root.glob("*/*"):
            if path.suffix != PART and path.is_file():
                yield str(path.relative_to(self.data))


def content_digest(transfer_syntax_uid: str, dataset: bytes) -> str:
    """What two copies of an object must share to be the same; the file meta information may differ."""
    return hashlib.sha256(transfer_syntax_uid.encode() + b"\0" + dataset).hexdigest()


def write_durably(path: Path, chunks: Iterable[bytes]) -> None:
    """The chunks as a file that is there as a whole or not at all; replaces an older one of that name."""
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}{PART}")
    with part.open("wb") as file:
        for chunk in chunks:
            file.write(chunk)
    move_durably(part, path)


def move_durably(part: Path, path: Path) -> None:
    """A file that is written takes its name; both are on disk when this returns."""
    _sync(part)
    part.rename(path)
    _sync(path.parent)


def seal(draft: Path, folder: Path) -> None:
    """Turn a written draft folder into `folder` for good; where `folder` is there already, that one stays."""
    sync_tree(draft)
    try:
        draft.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
        shutil.rmtree(draft, ignore_errors=True)
    sync_folder(folder.parent)


def sync_tree(folder: Path) -> None:
    """Make everything in a folder survive a power cut."""
    for path in [*folder.rglob("*"), folder]:
        _sync(path)


def sync_file(path: Path) -> None:
    """Make a file that is there, and its name, survive a power cut."""
    _sync(path)
    _sync(path.parent)


def file_system(folder: Path) -> str:
    """Its kind, as Linux names it; "?" where that is not told."""
    device = folder.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            mount, _, kind = line.partition(" - ")
            if mount.split()[2] == wanted:
                return kind.split()[0]
    return "?"


def sync_folder(folder: Path) -> None:
    """Make a folder's entries (new and renamed files) survive a power cut."""
    _sync(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
