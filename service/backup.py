"""`duet backup`: journal, cases, the cohort's reports, settings and, if wished, received images of a node, running or not.

The journal is copied first. A case is on disk before the journal calls it done, so every case that the copy calls done is
there; one that was finished after is found again by its folder. An image that came after the copy is entered at the next
start. A case folder never changes but is exchanged as a whole by a release: all its files are taken from one of the two.
"""

from __future__ import annotations

import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from analysis.errors import BadSettings
from analysis.ports import Progress
from service.backup_archive import Manifest, Writer, read, written
from service.config import Settings
from service.inbox import Inbox
from service.journal import Journal, journal_url, named, telling_errors
from service.journal_copy import CopyError, copy_journal, ending

_ASIDE = ".aside"  # a case folder while a release takes its place, see handover.py
_TRIES, _PAUSE_S = 50, 0.1
_PASSWORD = re.compile(r"(://[^:/@\s\"']*):[^@\s\"']*@")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is to be backed up. target: the file, or a folder in which it gets a name; images: also what was received."""

    target: Path
    images: bool = False


def back_up(settings: Settings, wish: Wish, progress: Progress) -> tuple[Path, Manifest]:
    """The backup and what it holds. Raises BadSettings, OSError; then nothing is there under the name."""
    url = _journal_of(settings)
    target = _target(wish.target, settings.node.ae_title)
    data = settings.node.data.absolute()
    size = _size(data, images=wish.images)
    _require_room(target.parent, size)
    made: list[Manifest] = []

    def manifest(writer: Writer) -> Manifest:
        facts = {"duet": version("duet-node"), "revision": revision, "made_at": made_at, "images": wish.images}
        made.append(Manifest(**facts, members=dict(writer.members)))  # type: ignore[arg-type]
        return made[0]

    copy = target.with_name(f".{target.name}.{uuid.uuid4().hex}{ending(url)}")
    try:
        progress("Copying the journal", 0.0)
        made_at = time.time()
        revision = _copied(url, copy)
        with written(target, manifest) as writer:
            tell = _Tell(progress, size)
            _add_state(writer, copy, settings, tell)
            if wish.images:
                _add_images(writer, data, tell)
    finally:
        copy.unlink(missing_ok=True)
    progress("Done", 1.0)
    return target, made[0]


class _Tell:
    """Says how much of all bytes is written."""

    def __init__(self, progress: Progress, whole: int) -> None:
        self._progress, self._whole, self._done = progress, max(whole, 1), 0

    def __call__(self, what: str, size: int) -> None:
        self._done += size
        self._progress(what, min(self._done / self._whole, 0.99))


def verify(backup: Path, progress: Progress) -> Manifest:
    """Every member's digest compared. Raises BadSettings."""
    whole, done = max(backup.stat().st_size, 1), [0]

    def tell(size: int) -> None:
        done[0] += size
        progress("Checking digests", min(done[0] / whole, 0.99))

    return read(backup, tell=tell)


def _journal_of(settings: Settings) -> str:
    """Its address. Raises BadSettings where there is none."""
    node = settings.node
    if not node.journal and not (node.data / "journal.sqlite").exists():
        raise BadSettings(
            f"No node has run on {node.data} yet, so there is nothing to back up; name its settings with --config."
        )
    return journal_url(node.journal, node.data)


def _target(wanted: Path, ae_title: str) -> Path:
    """The file's name. Raises BadSettings where there is one already, or no folder for it."""
    if wanted.is_dir():
        safe = re.sub(r"[^A-Za-z0-9_-]", "_", ae_title)
        wanted = wanted / f"duet-{safe}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.tar"
    if wanted.exists():
        raise BadSettings(f"{wanted} exists; a backup never takes another one's place.")
    if not wanted.parent.is_dir():
        raise BadSettings(f"There is no folder {wanted.parent} for the backup.")
    return wanted


def _require_room(folder: Path, size: int) -> None:
    """Raises BadSettings where the disk has no room for it: it is not filled in vain, for the node may need it, too."""
    free = shutil.disk_usage(folder).free
    if free < size:
        raise BadSettings(
            f"{folder} has {free / 1e6:.0f} MB free, and the backup takes {size / 1e6:.0f} MB without the journal; nothing was "
            "written."
        )


def _copied(url: str, copy: Path) -> str:
    """The journal's revision, after it was copied. Raises BadSettings."""
    with telling_errors(url):
        journal = Journal(url)
        revision = journal.revision()
        journal.close()
    if revision is None:
        raise BadSettings(f"The journal {named(url)} is empty: no node has run on it yet.")
    try:
        copy_journal(url, copy)
    except CopyError as error:
        raise BadSettings(f"The journal {named(url)} cannot be backed up: {error}.") from None
    return revision


def _add_state(writer: Writer, copy: Path, settings: Settings, tell: Callable[[str, int], None]) -> None:
    with copy.open("rb") as file:
        tell("Journal", writer.add(f"journal{copy.suffix}", file))
    if settings.source != Settings().source:
        text = Path(settings.source).read_text(encoding="utf-8")
        writer.add_bytes("duet.toml", _PASSWORD.sub(r"\1:PASSWORD@", text).encode())
    for name in ("cases", "cohort"):
        for folder in _folders(settings.node.data.absolute() / name):
            tell("Cases and reports", _add_folder(writer, folder, f"{name}/{folder.name}"))


def _folders(parent: Path) -> list[Path]:
    """Finished ones; one that is just being exchanged goes by its name."""
    if not parent.is_dir():
        return []
    names = {path.name.removesuffix(_ASIDE) for path in parent.iterdir() if path.is_dir() and not path.name.startswith(".")}
    return [parent / name for name in sorted(names)]


def _add_folder(writer: Writer, folder: Path, name: str) -> int:
    """All files of the folder as it is at one moment; returns their size. One that was withdrawn meanwhile is left out."""
    for _ in range(_TRIES):
        with ExitStack() as stack:
            try:
                files = [(path, stack.enter_context(os.fdopen(descriptor, "rb"))) for path, descriptor in _opened(folder)]
            except FileNotFoundError:  # exchanged in between: once more
                time.sleep(_PAUSE_S)
                continue
            return sum(writer.add(f"{name}/{path}", file) for path, file in files)
    return 0


def _opened(folder: Path) -> Iterator[tuple[str, int]]:
    """(path, descriptor) of each file, all of one folder also where another one takes its name. Raises FileNotFoundError."""
    top = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for root, _, names, within in os.fwalk(".", dir_fd=top, onerror=_raise):
            for name in sorted(names):
                yield os.path.normpath(f"{root}/{name}"), os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=within)
        # One that has lost its name is being deleted, and a part of it may have gone before it was listed.
        if not os.path.samestat(os.fstat(top), folder.stat()):
            raise FileNotFoundError(folder)
    finally:
        os.close(top)


def _raise(error: OSError) -> None:
    raise error


def _add_images(writer: Writer, data: Path, tell: Callable[[str, int], None]) -> None:
    for path in sorted(Inbox(data).files()):
        try:
            with (data / path).open("rb") as file:
                tell("Received images", writer.add(path, file))
        except FileNotFoundError:  # [retention] let it go meanwhile
            continue


def _size(data: Path, *, images: bool) -> int:
    """Bytes of what is written, about: a node may be at work."""
    folders = ("cases", "cohort", "inbox") if images else ("cases", "cohort")
    walks = (walk for name in folders for walk in os.walk(data / name))
    return sum(_bytes(Path(root, name)) for root, _, names in walks for name in names)


def _bytes(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0


def summary(backup: Path, manifest: Manifest) -> str:
    """What a backup holds, in one sentence."""
    images = f"{manifest.count('inbox')} received images" if manifest.images else "no received images"
    return (
        f"{backup}: the journal (revision {manifest.revision}) as of "
        f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(manifest.made_at))}, {manifest.count('cases')} cases, "
        f"{manifest.count('cohort')} cohort reports, {images}; {manifest.size / 1e6:.1f} MB."
    )
