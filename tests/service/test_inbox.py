"""Files in the inbox are whole or not there, and one content is one file."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.inbox import Inbox, Received, seal, write_durably


def received(dataset: bytes, uid: str = "1.2.3", syntax: str = "1.2.840.10008.1.2.1") -> Received:
    return Received(sop_class_uid="1.2", sop_instance_uid=uid, transfer_syntax_uid=syntax, meta=b"meta", dataset=dataset)


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    made = Inbox(tmp_path)
    made.prepare()
    return made


def test_the_same_object_twice_is_one_file(inbox: Inbox) -> None:
    one = received(b"pixels")
    assert inbox.keep(one) == inbox.keep(one)
    assert len(list(inbox.files())) == 1


def test_another_content_or_another_object_is_another_file(inbox: Inbox) -> None:
    for each in (received(b"a"), received(b"b"), received(b"a", uid="1.2.4"), received(b"a", syntax="1.2.840.10008.1.2")):
        inbox.keep(each)
    assert len(list(inbox.files())) == 4


def test_bytes_are_kept_as_they_came(inbox: Inbox) -> None:
    one = received(b"\x00\xffpixels")
    assert (inbox.data / inbox.keep(one)).read_bytes() == b"meta\x00\xffpixels"


def test_an_object_cannot_choose_its_place(inbox: Inbox) -> None:
    evil = received(b"a", uid="../../../outside")
    assert (inbox.data / inbox.keep(evil)).resolve().is_relative_to(inbox.root.resolve())


def test_half_written_files_are_neither_listed_nor_kept(inbox: Inbox) -> None:
    (inbox.root / "00" / "x.dcm.abc.part").write_bytes(b"half")
    assert list(inbox.files()) == []
    inbox.prepare()
    assert list(inbox.root.glob("*/*")) == []


def test_a_write_that_fails_leaves_no_file(tmp_path: Path) -> None:
    def broken() -> object:
        yield b"first"
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="space"):
        write_durably(tmp_path / "file", broken())  # type: ignore[arg-type]
    assert not (tmp_path / "file").exists()


def test_sealing_keeps_the_folder_that_was_finished_first(tmp_path: Path) -> None:
    for name, content in (("draft1", "first"), ("draft2", "second")):
        (tmp_path / name / "sub").mkdir(parents=True)
        (tmp_path / name / "sub" / "file").write_text(content)
        seal(tmp_path / name, tmp_path / "case")
    assert (tmp_path / "case" / "sub" / "file").read_text() == "first"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["case"]


def test_a_file_that_is_taken_away_before_its_row_is_written_can_be_put_back(inbox: Inbox) -> None:
    one = received(b"pixels" * 1000)
    draft = inbox.draft(one)
    draft.write(one.dataset)
    path = draft.keep()
    (inbox.data / path).unlink()
    draft.put_back(path)
    draft.close()
    assert (inbox.data / path).read_bytes() == one.meta + one.dataset
    assert list(inbox.files()) == [path]
