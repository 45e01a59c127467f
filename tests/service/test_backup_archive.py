"""A backup that was damaged, cut off or forged is refused as a whole."""

from __future__ import annotations

import errno
import io
import json
import tarfile
from pathlib import Path

import pytest

from analysis.errors import BadSettings
from service.backup_archive import Manifest, Writer, read, written


def made(path: Path) -> Path:
    with written(path, _manifest) as writer:
        writer.add_bytes("journal.sqlite", b"journal" * 1000)
        writer.add_bytes("cases/1/sr.dcm", b"report" * 1000)
    return path


def _manifest(writer: Writer) -> Manifest:
    return Manifest(duet="1.0", revision="0006", made_at=1.0, images=False, members=dict(writer.members))


def test_a_whole_one_is_read(tmp_path: Path) -> None:
    manifest = read(made(tmp_path / "b.tar"))
    assert manifest.size == 13_000
    assert set(manifest.members) == {"journal.sqlite", "cases/1/sr.dcm"}


@pytest.mark.parametrize("place", [600, 8000, 9000])
def test_one_wrong_byte_is_found(tmp_path: Path, place: int) -> None:
    path = made(tmp_path / "b.tar")
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(BadSettings, match="damaged"):
        read(path)


@pytest.mark.parametrize("size", [0, 300, 5000, 14_000, 14_500, 14_900])
def test_one_that_was_cut_off_is_refused(tmp_path: Path, size: int) -> None:
    path = made(tmp_path / "b.tar")
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(BadSettings, match="is no backup of duet"):
        read(path)


def test_another_file_is_no_backup(tmp_path: Path) -> None:
    path = tmp_path / "b.tar"
    path.write_text("something else" * 1000)
    with pytest.raises(BadSettings, match="is no backup of duet"):
        read(path)


def _entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, link
    return entry


@pytest.mark.parametrize(
    "entry",
    [
        _entry("../evil"),
        _entry("/etc/evil"),
        _entry("cases/../../evil"),
        _entry("cases/./a"),
        _entry("cases//a"),
        _entry("node.lock"),
        _entry("logs/a"),
        _entry("cases"),
        _entry("cases/a", tarfile.SYMTYPE, "/etc/passwd"),
        _entry("cases/a", tarfile.LNKTYPE, "journal.sqlite"),
        _entry("cases/a", tarfile.DIRTYPE),
        _entry("cases/a", tarfile.FIFOTYPE),
        _entry("cases/a", tarfile.CHRTYPE),
    ],
    ids=lambda entry: f"{entry.name} {entry.type.decode()}",
)
def test_what_does_not_belong_into_a_backup_is_refused_before_anything_is_kept(tmp_path: Path, entry: tarfile.TarInfo) -> None:
    path = tmp_path / "b.tar"
    with tarfile.open(path, "w") as tar:
        tar.addfile(entry, io.BytesIO())
    kept: list[str] = []
    with pytest.raises(BadSettings, match="does not belong into a backup"):
        read(path, lambda name: kept.append(name) or io.BytesIO())  # type: ignore[func-returns-value]
    assert kept == []


def test_a_member_that_comes_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "b.tar"
    with tarfile.open(path, "w") as tar:
        for _ in range(2):
            tar.addfile(_entry("cases/a"), io.BytesIO())
    with pytest.raises(BadSettings, match="does not belong"):
        read(path)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"format": 2}, "in a form that this one does not know"),
        ({"revision": "x"}, "in a form that this one does not know"),
        ({"members": []}, "cannot be read"),
        ({"more": 1}, "cannot be read"),
        ({"members": {"cases/a": [0, "0"]}}, "damaged: 1 of its files"),
    ],
)
def test_a_manifest_that_is_not_understood_is_refused(tmp_path: Path, change: dict[str, object], told: str) -> None:
    path = tmp_path / "b.tar"
    facts = {"duet": "1", "revision": "0006", "made_at": 1.0, "images": False, "members": {}, "format": 1, **change}
    content = json.dumps(facts).encode()
    entry = _entry("manifest.json")
    entry.size = len(content)
    with tarfile.open(path, "w") as tar:
        tar.addfile(entry, io.BytesIO(content))
    with pytest.raises(BadSettings, match=told):
        read(path)


def test_what_fails_while_it_is_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="away"), written(tmp_path / "b.tar", _manifest):
        raise OSError(errno.EIO, "away")
    assert list(tmp_path.iterdir()) == []
