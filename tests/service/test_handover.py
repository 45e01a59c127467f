"""A release that is cut off at any step leaves the held case or the released one, and is completed later."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cases import HOLD, Made
from pydicom import Dataset, dcmread

from service import handover, inbox
from service.handover import exchange, hand_over, put_all_back
from service.node import _clear_drafts
from service.releases import ReleaseRow

GIVEN = ReleaseRow(id=1, job_id=1, released_by="A. Operator", why="Looked at.", released_at=1.8e9, withdrawn_at=None)


class KilledError(BaseException):
    """The process ends here; nothing that follows is done."""


class Killer:
    """Counts the steps that change the disk, and ends the process before one of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
        self.left = at
        for owner, name in (
            (Path, "rename"),
            (Path, "mkdir"),
            (Path, "write_text"),
            (Dataset, "save_as"),
            (shutil, "copyfile"),
            (shutil, "copytree"),
            (shutil, "rmtree"),
            (handover, "sync_tree"),
            (handover, "sync_folder"),
        ):
            monkeypatch.setattr(owner, name, self._counted(getattr(owner, name)))

    def _counted(self, step: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **words: Any) -> Any:
            if self.left <= 0:
                raise KilledError
            self.left -= 1
            return step(*args, **words)

        return counted


@pytest.fixture(scope="module")
def reports(case: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two reports and the results alone, so that every step can be tried."""
    small = tmp_path_factory.mktemp("small")
    results = json.loads((case.folder / "results.json").read_text())
    results["objects"] = {name: entry for name, entry in results["objects"].items() if name in ("sr-fdg", "sr-pentixafor")}
    (small / "results.json").write_text(json.dumps(results))
    for name in results["objects"]:
        shutil.copyfile(case.folder / f"{name}.dcm", small / f"{name}.dcm")
    return small


def state_of(folder: Path) -> str:
    """ "held" or "released"; fails where results.json and the reports do not agree."""
    results = json.loads((folder / "results.json").read_text())
    for name, entry in results["objects"].items():
        assert dcmread(folder / f"{name}.dcm").SOPInstanceUID == entry["sop_instance_uid"]
    return "released" if "release" in results else "held"


def uids(folder: Path) -> list[str]:
    return [str(dcmread(path).SOPInstanceUID) for path in sorted(folder.glob("sr-*.dcm"))]


def test_a_kill_at_any_step_leaves_one_of_two_states_and_the_next_start_completes_it(
    reports: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = tmp_path / "expected"
    shutil.copytree(reports, expected)
    assert hand_over(expected, GIVEN) is not None
    seen = []
    for step in range(100):
        folder = tmp_path / f"{step}" / "cases" / "2.25.1"
        shutil.copytree(reports, folder)
        with monkeypatch.context() as patched:
            Killer(patched, step)
            try:
                hand_over(folder, GIVEN)
            except KilledError:
                pass
            else:
                break
        put_all_back(folder.parent)
        _clear_drafts(folder.parent)
        seen.append(state_of(folder))
        assert hand_over(folder, GIVEN) is not None
        assert uids(folder) == uids(expected)
        assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    assert len(seen) > 8
    assert set(seen) == {"held", "released"}
    assert seen == sorted(seen), "once released, always released"


def test_a_released_folder_is_delivered_in_order_and_bears_its_hold(reports: Path, tmp_path: Path) -> None:
    folder = tmp_path / "2.25.1"
    shutil.copytree(reports, folder)
    result = hand_over(folder, GIVEN)
    assert result is not None
    assert [path.stem for path in result.objects] == ["sr-fdg", "sr-pentixafor"]
    assert result.held == (HOLD,)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert hand_over(folder, GIVEN) == result
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_full_disk_leaves_the_held_case_and_nothing_half_written(
    reports: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cases" / "1.2"
    shutil.copytree(reports, folder)

    def full(self: Dataset, path: Path, **_: Any) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Dataset, "save_as", full)
        with pytest.raises(OSError, match="No space left"):
            hand_over(folder, GIVEN)
    assert [path.name for path in folder.parent.iterdir()] == ["1.2"]
    assert state_of(folder) == "held"
    assert hand_over(folder, GIVEN) is not None
    assert state_of(folder) == "released"


def test_without_the_results_nothing_is_released(tmp_path: Path) -> None:
    assert hand_over(tmp_path / "2.25.1", GIVEN) is None


def test_every_file_of_a_tree_is_brought_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c").write_text("")
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(Path(f"/proc/self/fd/{descriptor}").readlink()))
    inbox.sync_tree(tmp_path / "a")
    assert set(synced) == {tmp_path / "a", tmp_path / "a" / "b", tmp_path / "a" / "b" / "c"}


def test_where_the_draft_is_gone_the_folder_stays(tmp_path: Path) -> None:
    folder = tmp_path / "2.25.1"
    folder.mkdir()
    (folder / "results.json").write_text("{}")
    with pytest.raises(FileNotFoundError):
        exchange(tmp_path / ".2.25.1.draft", folder)
    assert [path.name for path in tmp_path.iterdir()] == ["2.25.1"]
    assert (folder / "results.json").read_text() == "{}"
