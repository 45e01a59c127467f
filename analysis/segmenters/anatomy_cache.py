"""Label maps kept on disk, so that a CT is not segmented twice: one compressed file each, whole or not at all.

The file's name is a hash of everything that the labels depend on. A file that cannot be read is thrown away.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis.values import LabelArray, Volume

_DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnatomyCache:
    """A folder of label maps of at most most_mb megabytes (10^6 bytes) in all; the ones that were not used longest go first."""

    folder: Path
    most_mb: float = 2000.0

    def get(self, key: str, shape: tuple[int, int, int]) -> tuple[LabelArray, dict[int, str]] | None:
        """The label map of this key, uint8 of this shape, and the names of its labels; None where there is none."""
        path = self._path(key)
        try:
            with np.load(path, allow_pickle=False) as stored:
                labels, names = stored["labels"], json.loads(str(stored["names"]))
            if labels.shape != shape or labels.dtype != np.uint8:
                raise ValueError("not the label map that was kept")
            os.utime(path)
        except FileNotFoundError:
            return None
        except _DAMAGED:
            path.unlink(missing_ok=True)
            return None
        return labels, {int(label): str(name) for label, name in names.items()}

    def put(self, key: str, labels: LabelArray, names: Mapping[int, str]) -> None:
        """Keeps a label map, and makes room. Raises OSError where the folder cannot be written."""
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary = self.folder / f".{key}.{os.getpid()}.part"
        try:
            with temporary.open("wb") as stream:
                np.savez_compressed(stream, labels=labels.astype(np.uint8), names=np.array(json.dumps(dict(names))))
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(self._path(key))
        finally:
            temporary.unlink(missing_ok=True)
        self._make_room()

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.npz"

    def _make_room(self) -> None:
        kept = []
        for path in self.folder.glob("*.npz"):
            try:
                stat = path.stat()
            except FileNotFoundError:  # another process made room as well
                continue
            kept.append((stat.st_mtime_ns, path.name, stat.st_size))
        size = sum(each[2] for each in kept)
        for _, name, bytes_ in sorted(kept):
            if size <= self.most_mb * 1e6:
                return
            (self.folder / name).unlink(missing_ok=True)
            size -= bytes_


def cache_key(ct: Volume, hu: LabelArray, facts: Mapping[str, object]) -> str:
    """SHA-256 of the CT's voxels as they are segmented, of their place, and of the facts (series, task, versions, weights)."""
    digest = hashlib.sha256(json.dumps(dict(facts), sort_keys=True, default=str).encode())
    digest.update(json.dumps([ct.grid.shape, np.round(ct.grid.affine, 6).tolist()]).encode())
    digest.update(np.ascontiguousarray(hu).tobytes())
    return digest.hexdigest()
