"""The door: what is acknowledged is on disk and in the journal, and everything else gets a failure status."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from nodes import until
from pydicom import Dataset, dcmread
from pydicom.uid import JPEGLSLossless
from pynetdicom import AE
from pynetdicom.sop_class import CTImageStorage, PositronEmissionTomographyImageStorage, Verification
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from analysis.errors import BadSettings
from service import entries, registrar
from service.inbox import Draft
from service.receiver import Receiver, ReceiverSettings, admitted

RESOURCES, FAILURE = 0xA700, 0x0110


@contextmanager
def door(folder: Any, port: int, **settings: Any) -> Iterator[Receiver]:
    opened = Receiver("DUET", ReceiverSettings(host="127.0.0.1", port=port, **settings), folder.inbox, folder.journal)
    opened.start()
    try:
        yield opened
    finally:
        opened.stop()


def associate(port: int, syntax: str | None = None, ae_title: str = "SENDER", called: str = "DUET") -> Any:
    ae = AE(ae_title=ae_title)
    ae.add_requested_context(Verification)
    for sop_class in (CTImageStorage, PositronEmissionTomographyImageStorage):
        ae.add_requested_context(sop_class, syntax) if syntax else ae.add_requested_context(sop_class)
    return ae.associate("127.0.0.1", port, ae_title=called)


def send(port: int, datasets: list[Dataset], **options: Any) -> list[int]:
    assoc = associate(port, **options)
    assert assoc.is_established
    statuses = [assoc.send_c_store(ds).Status for ds in datasets]
    assoc.release()
    return statuses


def rows(folder: Any, query: str) -> list[Any]:
    with sqlite3.connect(folder.data / "journal.sqlite") as check:
        return check.execute(query).fetchall()


def test_what_is_acknowledged_is_on_disk_and_in_the_journal(folder: Any, scan: Any, port: int) -> None:
    datasets = scan().datasets()
    with door(folder, port):
        assert send(port, datasets) == [0] * 10
        until(lambda: rows(folder, "SELECT count(*) FROM instances") == [(10,)], "the rows are written")
        stored = dict(rows(folder, "SELECT sop_instance_uid, path FROM instances"))
        assert set(stored) == {str(ds.SOPInstanceUID) for ds in datasets}
        for ds in datasets:
            kept = dcmread(folder.data / stored[str(ds.SOPInstanceUID)])
            assert kept == ds
            assert kept.file_meta.SourceApplicationEntityTitle == "SENDER"
    assert rows(folder, "SELECT calling_ae, ending FROM associations") == [("SENDER", "released")]


def test_echo_is_answered_and_leaves_no_row(folder: Any, port: int) -> None:
    with door(folder, port):
        assoc = associate(port)
        assert assoc.send_c_echo().Status == 0
        assoc.release()
    assert rows(folder, "SELECT * FROM associations") == []


def test_compressed_pixels_are_taken_as_they_are(folder: Any, scan: Any, port: int) -> None:
    ds = scan().datasets()[0]
    ds.compress(JPEGLSLossless)
    with door(folder, port):
        assert send(port, [ds], syntax=JPEGLSLossless) == [0]
    kept = dcmread(folder.data / rows(folder, "SELECT path FROM instances")[0][0])
    assert kept.file_meta.TransferSyntaxUID == JPEGLSLossless
    assert kept.PixelData == ds.PixelData


def test_an_object_sent_twice_is_one_row_and_two_contents_are_two(folder: Any, scan: Any, port: int) -> None:
    one, changed = scan().datasets()[0], scan().datasets()[0]
    changed.SeriesDescription = "changed on the way"
    with door(folder, port):
        assert send(port, [one, one, changed]) == [0, 0, 0]
    assert len(rows(folder, "SELECT * FROM instances")) == 2
    assert len(list(folder.inbox.files())) == 2


def test_a_file_that_was_lost_is_written_again(folder: Any, scan: Any, port: int) -> None:
    one = scan().datasets()[0]
    with door(folder, port):
        send(port, [one])
        until(lambda: rows(folder, "SELECT count(*) FROM instances") == [(1,)], "the row is written")
        (path,) = folder.inbox.files()
        (folder.data / path).unlink()
        assert send(port, [one]) == [0]
        assert (folder.data / path).is_file()


@pytest.mark.parametrize("still_there", [True, False])
def test_an_object_that_an_operator_has_moved_is_one_file(folder: Any, scan: Any, port: int, still_there: bool) -> None:
    one = scan().datasets()[0]
    with door(folder, port):
        send(port, [one])
        until(lambda: rows(folder, "SELECT count(*) FROM instances") == [(1,)], "the row is written")
        (path,) = folder.inbox.files()
        elsewhere = "inbox/00/by-hand.dcm"
        (folder.data / path).rename(folder.data / elsewhere)
        with sqlite3.connect(folder.data / "journal.sqlite") as journal:
            journal.execute("UPDATE instances SET path = ?", [elsewhere])
        if not still_there:
            (folder.data / elsewhere).unlink()
        assert send(port, [one]) == [0]
        assert list(folder.inbox.files()) == [elsewhere if still_there else path]
        assert rows(folder, "SELECT path FROM instances") == [(elsewhere if still_there else path,)]


def test_below_the_disk_floor_nothing_is_taken(folder: Any, scan: Any, port: int) -> None:
    with door(folder, port, free_gb=1e9):
        assert send(port, scan().datasets()[:1]) == [RESOURCES]
    assert list(folder.inbox.files()) == []


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (OSError(errno.ENOSPC, "full"), RESOURCES),
        (OSError(errno.EDQUOT, "quota"), RESOURCES),
        (OSError(errno.EIO, "disk"), FAILURE),
    ],
)
def test_a_write_that_fails_is_never_a_success(
    folder: Any, scan: Any, port: int, monkeypatch: pytest.MonkeyPatch, error: OSError, status: int
) -> None:
    def fail(*_: Any) -> str:
        raise error

    monkeypatch.setattr(Draft, "keep", fail)
    with door(folder, port):
        assert send(port, scan().datasets()[:1]) == [status]


def test_an_object_whose_row_is_known_and_cannot_be_written_is_never_a_success(
    folder: Any, scan: Any, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OperationalError("insert", {}, Exception("database is locked"))

    one = scan().datasets()[:1]
    with door(folder, port):
        assert send(port, one) == [0]
        until(lambda: rows(folder, "SELECT ending FROM associations") == [("released",)], "all is written")
        monkeypatch.setattr(registrar, "PATIENCE_S", 0.2)
        monkeypatch.setattr(entries, "write", fail)
        assert send(port, one) == [FAILURE]


def test_an_unforeseen_error_is_never_a_success(folder: Any, scan: Any, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Draft, "keep", lambda *_: 1 / 0)
    with door(folder, port):
        assoc = associate(port)
        assert "Status" not in assoc.send_c_store(scan().datasets()[0])
    assert rows(folder, "SELECT * FROM instances") == []


def test_a_broken_association_is_remembered_as_such(folder: Any, scan: Any, port: int) -> None:
    with door(folder, port):
        assoc = associate(port)
        assoc.send_c_store(scan().datasets()[0])
        assoc.abort()
        until(lambda: rows(folder, "SELECT ending FROM associations") == [("broken",)], "its end is noted", 10)
    assert rows(folder, "SELECT ending FROM associations") == [("broken",)]


def test_a_stranger_is_refused(folder: Any, port: int) -> None:
    with door(folder, port, allow=("PACS",)):
        assoc = associate(port, ae_title="STRANGER")
        assert assoc.is_rejected
        assoc = associate(port, ae_title="PACS")
        assert assoc.is_established
        assoc.release()


@pytest.mark.parametrize("called", ["PACS", "ANY-SCP", "duet", "DUET2"])
def test_who_calls_another_node_is_refused_by_name(folder: Any, port: int, called: str) -> None:
    with capture_logs() as lines, door(folder, port):
        assoc = associate(port, called=called)
        assert assoc.is_rejected
        answer = assoc.acceptor.primitive
        assert (answer.result, answer.result_source, answer.diagnostic) == (0x01, 0x01, 0x07)  # PS3.8 9.3.4
    assert [(line["event"], line["called_ae"]) for line in lines] == [("caller refused: it called another AE title", called)]


def test_other_titles_are_answered_where_they_are_named_or_all_are(folder: Any, port: int) -> None:
    with door(folder, port, also_called=("DUET2",)):
        assert associate(port, called="DUET2").is_established
        assert associate(port, called="PACS").is_rejected
    with door(folder, port, require_called_ae=False):
        assert associate(port, called="PACS").is_established


def test_a_port_that_is_taken_is_said(folder: Any, port: int) -> None:
    with door(folder, port), pytest.raises(BadSettings, match=str(port)), door(folder, port):
        pass


@pytest.mark.parametrize(
    ("allow", "calling", "address", "expected"),
    [
        ((), "ANY", "127.0.0.1", True),
        ((), "ANY", "::1", True),
        ((), "ANY", "10.1.2.3", False),
        (("PACS",), "PACS", "10.1.2.3", True),
        (("PACS",), "pacs", "10.1.2.3", False),
        (("10.1.0.0/16",), "ANY", "10.1.2.3", True),
        (("10.1.0.0/16",), "ANY", "::ffff:10.1.2.3", True),
        (("10.1.0.0/16",), "ANY", "10.2.2.3", False),
        (("PACS@10.1.2.3",), "PACS", "10.1.2.3", True),
        (("PACS@10.1.2.3",), "PACS", "10.1.2.4", False),
        (("PACS@10.1.2.3",), "OTHER", "10.1.2.3", False),
        (("PACS",), "ANY", "127.0.0.1", False),
    ],
)
def test_who_is_admitted(allow: tuple[str, ...], calling: str, address: str, expected: bool) -> None:
    assert admitted(allow, calling, address) is expected
