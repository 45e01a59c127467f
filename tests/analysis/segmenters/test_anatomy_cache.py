"""Label maps on disk: what was put comes back, what is damaged goes, and the folder keeps its size."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from analysis.segmenters.anatomy_cache import AnatomyCache, cache_key
from analysis.values import Grid, Unit, Volume

NAMES = {1: "liver", 29: "vertebrae_L3"}
SHAPE = (20, 30, 40)


def labels(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 118, SHAPE).astype(np.uint8)


def test_what_was_put_comes_back(tmp_path: Path) -> None:
    cache = AnatomyCache(folder=tmp_path / "new")
    assert cache.get("a", SHAPE) is None
    cache.put("a", labels(), NAMES)
    found = cache.get("a", SHAPE)
    assert found is not None
    assert (found[0] == labels()).all()
    assert found[0].dtype == np.uint8
    assert found[1] == NAMES
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.npz"]


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "foreign", "shape"])
def test_a_damaged_file_is_thrown_away(tmp_path: Path, damage: str) -> None:
    cache = AnatomyCache(folder=tmp_path)
    cache.put("a", labels(), NAMES)
    path = tmp_path / "a.npz"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    changed = {"cut": bytes(data[: len(data) // 3]), "flip": bytes(data), "empty": b"", "foreign": b"no archive at all"}
    if damage == "shape":
        assert cache.get("a", (1, 2, 3)) is None
    else:
        path.write_bytes(changed[damage])
        assert cache.get("a", SHAPE) is None
    assert not path.exists()


def test_pickles_are_not_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", labels=np.array([{"run": "me"}], dtype=object), names=np.array("{}"))
    assert AnatomyCache(folder=tmp_path).get("a", SHAPE) is None


def test_the_oldest_in_use_go_first(tmp_path: Path) -> None:
    AnatomyCache(folder=tmp_path).put("x", labels(), NAMES)
    size = (tmp_path / "x.npz").stat().st_size / 1e6
    (tmp_path / "x.npz").unlink()
    cache = AnatomyCache(folder=tmp_path, most_mb=2.5 * size)
    for n, key in enumerate(("a", "b")):
        cache.put(key, labels(n), NAMES)
        os.utime(tmp_path / f"{key}.npz", (1000 + n, 1000 + n))
    assert cache.get("a", SHAPE) is not None  # used now, so b is the oldest
    cache.put("c", labels(2), NAMES)
    assert sorted(p.stem for p in tmp_path.iterdir()) == ["a", "c"]


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(OSError, match="no space"):
        AnatomyCache(folder=tmp_path).put("a", labels(), NAMES)
    assert list(tmp_path.iterdir()) == []


def test_the_key_changes_with_whatever_the_labels_depend_on() -> None:
    """A CT is told by its voxels and place as well as by its UID, which alone may lie."""
    affine = np.eye(4)[[2, 1, 0, 3]]
    values = np.zeros((3, 4, 5), dtype=np.float32)
    ct = Volume(grid=Grid(shape=values.shape, affine=affine), values=values, unit=Unit.HU)
    moved = affine.copy()
    moved[0, 3] = 1.0
    hu = values.astype(np.int16)
    other = hu.copy()
    other[1, 1, 1] = 1
    facts = {"ct": "1.2.3", "task": "total", "variant": "fast", "package": "2.18.0", "weights": "ab"}
    keys = [cache_key(ct, hu, facts), cache_key(ct, other, facts)]
    keys.append(cache_key(Volume(grid=Grid(shape=values.shape, affine=moved), values=values, unit=Unit.HU), hu, facts))
    keys += [cache_key(ct, hu, facts | {name: "x"}) for name in facts]
    assert len(set(keys)) == len(keys)
    assert cache_key(ct, hu.copy(), dict(facts)) == keys[0]
