"""Archives of strangers: what is hostile is turned away whole, and of a model only nnU-Net's own files are taken out."""

from __future__ import annotations

import io
import stat
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from analysis.errors import ModelUnavailable
from service.unpack import unpack

ROOT = "Dataset221_X/nnUNetTrainer__nnUNetPlans__3d_fullres"
MODEL = {
    f"{ROOT}/plans.json": b"{}",
    f"{ROOT}/dataset.json": b"{}",
    f"{ROOT}/fold_0/checkpoint_final.pth": b"weights",
    f"{ROOT}/fold_1/checkpoint_final.pth": b"weights 1",
}


def archive(folder: Path, files: Mapping[str, bytes | zipfile.ZipInfo]) -> Path:
    path = folder / "model.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, data in files.items():
            if isinstance(data, zipfile.ZipInfo):
                zipped.writestr(data, "/etc/passwd")
            else:
                zipped.writestr(name, data)
    return path


def unpacked(path: Path, **more: int) -> dict[str, bytes]:
    out = path.parent / "out"
    unpack(path, out, configuration="3d_fullres", checkpoint="checkpoint_final.pth", **more)
    return {str(file.relative_to(out)): file.read_bytes() for file in out.rglob("*") if file.is_file()}


def test_only_the_models_own_files_are_taken_out(tmp_path: Path) -> None:
    more = {
        f"{ROOT}/fold_0/progress.png": b"picture",
        f"{ROOT}/fold_0/checkpoint_best.pth": b"other",
        f"{ROOT}/fold_0/validation/summary.json": b"{}",
        f"{ROOT}/duet-model.toml": b"a stranger's word",
        f"{ROOT}/evil.py": b"",
        f"{ROOT}/LICENSE": b"CC BY",
        "README.md": b"",
    }
    assert unpacked(archive(tmp_path, MODEL | more)) == {
        "plans.json": b"{}",
        "dataset.json": b"{}",
        "fold_0/checkpoint_final.pth": b"weights",
        "fold_1/checkpoint_final.pth": b"weights 1",
        "LICENSE": b"CC BY",
    }


def link() -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(f"{ROOT}/fold_2/checkpoint_final.pth")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"../../evil.pth": b""}, "a path that leaves it"),
        ({f"{ROOT}/../../../evil": b""}, "a path that leaves it"),
        ({"/etc/cron.d/evil": b""}, "a path that leaves it"),
        ({"C:\\evil": b""}, "a path that leaves it"),
        ({"..\\evil": b""}, "a path that leaves it"),
        ({"link": link()}, "a link"),
        ({f"{ROOT}/fold_3/checkpoint_final.pth": bytes(50_000_000)}, "more than can be packed so small"),
        (
            {
                "Dataset2/nnUNetTrainer__P__3d_fullres/plans.json": b"",
                "Dataset2/nnUNetTrainer__P__3d_fullres/dataset.json": b"",
            },
            "2",
        ),
    ],
)
def test_what_is_hostile_is_turned_away_whole(tmp_path: Path, more: dict[str, bytes], words: str) -> None:
    path = archive(tmp_path, MODEL | more)
    with pytest.raises(ModelUnavailable, match=rf"^model\.zip holds {words}"):
        unpacked(path)
    assert [each.name for each in tmp_path.iterdir()] == ["model.zip"]


def test_more_than_any_model_is_turned_away(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="more than any model"):
        unpacked(archive(tmp_path, MODEL), largest=10)


def test_of_several_models_the_configuration_tells_which(tmp_path: Path) -> None:
    other = {"Dataset221_X/nnUNetTrainer__nnUNetPlans__2d/" + name: b"other" for name in ("plans.json", "dataset.json")}
    assert unpacked(archive(tmp_path, other | MODEL))["plans.json"] == b"{}"


def test_a_member_that_is_longer_than_it_says_is_found_out(tmp_path: Path) -> None:
    """The archive's directory says 7 bytes where 4,000 are packed: zipfile itself stops at what the directory says."""
    path = archive(tmp_path, MODEL | {f"{ROOT}/fold_0/checkpoint_final.pth": bytes(range(256)) * 16})
    data = path.read_bytes()
    path.write_bytes(data.replace((4096).to_bytes(4, "little"), (7).to_bytes(4, "little")))
    with pytest.raises(ModelUnavailable, match="is damaged or no ZIP archive"):
        unpacked(path)


def test_what_is_no_archive_or_a_damaged_one_is_told(tmp_path: Path) -> None:
    path = archive(tmp_path, MODEL)
    data = bytearray(path.read_bytes())
    data[data.index(b"weights") if b"weights" in data else 60] ^= 0xFF
    for content in (b"no archive", bytes(data[:200])):
        path.write_bytes(content)
        with pytest.raises(ModelUnavailable, match=r"model\.zip is damaged or no ZIP archive"):
            unpacked(path)


def test_an_archive_without_a_model_is_told(tmp_path: Path) -> None:
    path = tmp_path / "model.zip"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zipped:
        zipped.writestr("readme", "nothing")
    path.write_bytes(buffer.getvalue())
    with pytest.raises(ModelUnavailable, match="holds 0 nnU-Net models"):
        unpacked(path)
