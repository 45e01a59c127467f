"""Results take the place of earlier ones as a whole, or not at all."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from analysis.errors import BadSettings, NotQuantifiable
from dicom_io.results import is_result
from service.outfolder import replaced, require_writable

EARLIER = {"results.json": "old", "suv-fdg.nii.gz": "old", "seg-fdg-2.dcm": "old", "letter.txt": "mine", "suv-fdg.csv": "mine"}


def filled(folder: Path) -> Path:
    folder.mkdir()
    for name, content in EARLIER.items():
        (folder / name).write_text(content)
    return folder


def found(folder: Path) -> dict[str, str]:
    return {p.name: p.read_text() for p in folder.iterdir()}


def write(draft: Path, **extra: str) -> None:
    draft.mkdir()
    for name, content in {"results.json": "new", "sr-fdg.dcm": "new", **extra}.items():
        (draft / name).write_text(content)


def test_new_results_replace_all_earlier_ones_and_nothing_else(tmp_path: Path) -> None:
    out = filled(tmp_path / "out")
    with replaced(out) as draft:
        write(draft)
        assert (out / "results.json").read_text() == "old"
    assert found(out) == {"results.json": "new", "sr-fdg.dcm": "new", "letter.txt": "mine", "suv-fdg.csv": "mine"}
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def fail(out: Path, error: Exception) -> None:
    with replaced(out) as draft:
        write(draft)
        raise error


@pytest.mark.parametrize("error", [NotQuantifiable("no slope."), OSError(errno.ENOSPC, "No space left on device")])
def test_a_failure_leaves_earlier_results_and_no_draft(tmp_path: Path, error: Exception) -> None:
    out = filled(tmp_path / "out")
    with pytest.raises((NotQuantifiable, BadSettings)):
        fail(out, error)
    assert found(out) == EARLIER
    with pytest.raises((NotQuantifiable, BadSettings)):
        fail(tmp_path / "a" / "b", error)
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_failure_while_files_are_exchanged_is_undone(tmp_path: Path) -> None:
    out = filled(tmp_path / "out")
    (out / "report.txt").mkdir()  # no file can take the name of a folder
    with pytest.raises(BadSettings, match=r"is as it was before\.$"), replaced(out) as draft:
        write(draft, **{"report.txt": "new"})
    (out / "report.txt").rmdir()
    assert found(out) == EARLIER


def test_a_new_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    out = tmp_path / "a" / "b"
    require_writable(out)
    assert list(tmp_path.iterdir()) == []
    with replaced(out) as draft:
        write(draft)
    assert set(found(out)) == {"results.json", "sr-fdg.dcm"}
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_folder_that_cannot_be_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for out in (tmp_path / "file" / "below", tmp_path / "dangling", Path("/proc/duet")):
        with pytest.raises(BadSettings, match=r"--out\.$"):
            require_writable(out)


def test_names_of_results() -> None:
    ours = ("sr-pair.dcm", "fusion.png", "anatomy.json", "lesions-fdg.nii.gz", "transform-pentixafor-to-fdg.h5")
    assert all(map(is_result, ours))
    assert not any(map(is_result, ("seg-mine.nrrd", "results.json.bak", "fusion.pptx", "mylesions.csv")))
