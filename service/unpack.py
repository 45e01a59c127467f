"""A downloaded archive becomes a model's folder: only nnU-Net's own files are taken out, and nothing gets beside it.

An archive is a stranger's: a path that leaves the folder, a link, a name twice, or contents that are longer than they say
or than any model is turn the whole archive away before a byte is written where models lie.
"""

from __future__ import annotations

import re
import stat
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from analysis.errors import ModelUnavailable

LARGEST = 40_000_000_000  # bytes of all files together
MOST = 20_000  # members
DENSEST = 1000.0  # times smaller than its contents a member may be
BLOCK = 1 << 20
WANTED = re.compile(r"(plans\.json|dataset\.json|LICEN[CS]E[^/]*|fold_(\d+|all)/checkpoint_[A-Za-z0-9]+\.pth)")


def unpack(archive: Path, folder: Path, *, configuration: str, checkpoint: str, largest: int = LARGEST) -> None:
    """The one model of the archive as `folder` (which is made). Raises ModelUnavailable."""
    try:
        with zipfile.ZipFile(archive) as zipped:
            members = _checked(zipped, archive.name, largest)
            root = _root(members, archive.name, configuration)
            files = {path: member for name, member in members.items() if (path := _within(root, name))}
            for path, member in files.items():
                if WANTED.fullmatch(path) and (not path.endswith(".pth") or path.endswith(f"/{checkpoint}")):
                    _extract(zipped, member, folder / path)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ModelUnavailable(f"{archive.name} is damaged or no ZIP archive ({error}).") from None


def _checked(zipped: zipfile.ZipFile, name: str, largest: int) -> Mapping[str, zipfile.ZipInfo]:
    """The archive's files by path. Raises ModelUnavailable for an archive that is not to be trusted."""
    infos = zipped.infolist()
    files = {info.filename: info for info in infos if not info.is_dir()}
    faults = {
        "a path that leaves it": any(not _stays(info.filename) for info in infos),
        "a link": any(stat.S_ISLNK(info.external_attr >> 16) for info in infos),
        "a name twice": len(files) != sum(not info.is_dir() for info in infos),
        "too many files": len(infos) > MOST,
        "more than any model": sum(info.file_size for info in infos) > largest,
        "more than can be packed so small": any(i.file_size > DENSEST * max(i.compress_size, 1024) for i in infos),
        "what is encrypted": any(info.flag_bits & 1 for info in infos),
    }
    for words, holds in faults.items():
        if holds:
            raise ModelUnavailable(f"{name} holds {words} and is not unpacked.")
    return files


def _stays(path: str) -> bool:
    pure = PurePosixPath(path)
    plain = "\\" not in path and ":" not in path and all(c.isprintable() for c in path)
    return plain and not pure.is_absolute() and ".." not in pure.parts and bool(pure.parts)


def _root(members: Mapping[str, zipfile.ZipInfo], name: str, configuration: str) -> PurePosixPath:
    """The folder within the archive that has plans.json and dataset.json; of several that of the configuration."""
    paths = [PurePosixPath(path) for path in members]
    roots = {path.parent for path in paths if path.name == "plans.json"} & {p.parent for p in paths if p.name == "dataset.json"}
    named = {root for root in roots if root.name.endswith(f"__{configuration}")}
    chosen = roots if len(roots) == 1 else named
    if len(chosen) != 1:
        raise ModelUnavailable(f"{name} holds {len(roots)} nnU-Net models, and it is not to be told which is meant.")
    return chosen.pop()


def _within(root: PurePosixPath, name: str) -> str | None:
    path = PurePosixPath(name)
    return str(path.relative_to(root)) if path.is_relative_to(root) else None


def _extract(zipped: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    """One file, not a byte longer than the archive says it is."""
    target.parent.mkdir(parents=True, exist_ok=True)
    left = member.file_size
    with zipped.open(member) as packed, target.open("xb") as out:
        while block := packed.read(BLOCK):
            left -= len(block)
            if left < 0:
                raise zipfile.BadZipFile(f"{member.filename} is longer than it says")
            out.write(block)
