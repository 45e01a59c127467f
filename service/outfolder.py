"""A folder of results that a person named: written in a draft, then exchanged as a whole, or left as it was."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from analysis.errors import BadSettings
from dicom_io.results import is_result
from service.inbox import sync_folder

_EARLIER = ".earlier"


def require_writable(out: Path) -> None:
    """Raises BadSettings where `out` cannot be made or written to. Nothing is left behind."""
    place = _nearest(out)
    if not place.is_dir():
        raise BadSettings(f"The folder {out} cannot be made: {place} is no folder; name another one with --out.")
    try:
        Path(tempfile.mkdtemp(prefix=".duet-", dir=place)).rmdir()
    except OSError as error:
        why = error.strerror or error
        raise BadSettings(f"The folder {out} cannot be written to ({place}: {why}); name another one with --out.") from None


@contextmanager
def replaced(out: Path) -> Iterator[Path]:
    """A draft folder whose files take the place of an earlier run's in `out` when the block ends well.

    Until then `out` is not touched, nor made; files that duet did not write stay. Raises BadSettings where the disk or a
    file fails: `out` is then as it was before, and the draft is gone.
    """
    # Within `out` where that exists: it may be a disk of its own, and files are renamed only within one.
    draft = _nearest(out) / f".duet-{uuid.uuid4().hex}"
    try:
        yield draft
        _exchange(draft, out)
    except OSError as error:
        why = f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}"
        raise BadSettings(f"The results could not be written ({why}); {out} is as it was before.") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _nearest(out: Path) -> Path:
    """The folder, or the nearest above it of which there is anything."""
    path = out.absolute()
    return next((p for p in (path, *path.parents) if os.path.lexists(p)), path)


def _exchange(draft: Path, out: Path) -> None:
    """Moves earlier results into the draft and the new ones out of it; undone where any step fails."""
    # results.json goes first and comes last: where it lies, all others are of its pair.
    new = sorted((p.name for p in draft.iterdir()), key=lambda name: (name == "results.json", name))
    missing = [p for p in (out, *out.parents) if not p.exists()]
    (draft / _EARLIER).mkdir()
    out.mkdir(parents=True, exist_ok=True)
    old = sorted((p.name for p in out.iterdir() if is_result(p.name)), key=lambda name: (name != "results.json", name))
    steps = [(out / name, draft / _EARLIER / name) for name in old] + [(draft / name, out / name) for name in new]
    try:
        _move(steps)
    except OSError:
        for folder in missing:
            folder.rmdir()
        raise
    sync_folder(out)


def _move(steps: Sequence[tuple[Path, Path]]) -> None:
    done: list[tuple[Path, Path]] = []
    try:
        for source, target in steps:
            source.rename(target)
            done.append((source, target))
    except OSError:
        for source, target in reversed(done):
            target.rename(source)
        raise
