"""Single elements as makers write them: strict numbers, one line of text, and nothing malformed becomes an error."""

from __future__ import annotations

import errno
import struct
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.sequence import Sequence
from pydicom.tag import Tag

from dicom_io.elements import items, moment, number, numbers, require_content_fault, text, words


def header(keyword: str, vr: str, content: bytes) -> Dataset:
    """A header with one element, raw, as it comes from a file."""
    ds = Dataset()
    tag = Tag(keyword)
    ds[tag] = RawDataElement(tag, vr, len(content), content, 0, False, True)
    return ds


@pytest.mark.parametrize(
    ("written", "value"),
    [
        (b"70.5 ", 70.5),
        (b" +7.05e+1", 70.5),
        (b"5.", 5.0),
        (b".5", 0.5),
        (b"70\\70.0", 70.0),
        (b"70\\80", None),
        (b"1_000", None),
        ("٧٠".encode(), None),
        (b"70,5", None),
        (b"1e400", None),
        (b"nan", None),
        (b"-inf", None),
        (b"0x10", None),
        (b"7 0", None),
        (b"", None),
    ],
)
def test_a_number_is_what_dicom_writes(written: bytes, value: float | None) -> None:
    """DICOM PS3.5 6.2, VR DS; of several values nobody knows which is meant."""
    assert number(header("PatientWeight", "DS", written), "PatientWeight") == value


def test_several_numbers_are_all_or_none() -> None:
    assert numbers(header("PixelSpacing", "DS", b"4\\4.07"), "PixelSpacing") == (4.0, 4.07)
    assert numbers(header("PixelSpacing", "DS", b"4\\x"), "PixelSpacing") == ()


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_text_is_one_line() -> None:
    """A sentence that quotes it stays one, and a log line too."""
    ds = header("SeriesDescription", "LO", b"PET\r\nAC \x1b[31m\x00WB\x85")
    assert text(ds, "SeriesDescription") == "PET AC  [31m WB"


MALFORMED = {
    "a float of 2 bytes": ("FD", b"\x01\x00"),
    "items that end too early": ("SQ", struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF) + b"\x18\x00"),
    "items without end": ("SQ", struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF) * 3),
    "an unknown representation": ("??", b"1234"),
    "bytes": ("OB", b"\xff\xfe"),
}


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
@pytest.mark.parametrize("kind", MALFORMED)
@pytest.mark.parametrize(
    "keyword", ["PatientWeight", "SeriesTime", "SeriesDescription", "RadiopharmaceuticalInformationSequence"]
)
def test_nothing_malformed_is_an_error(keyword: str, kind: str) -> None:
    ds = header(keyword, *MALFORMED[kind])
    assert number(ds, keyword) is None
    assert isinstance(text(ds, keyword), str)
    assert isinstance(items(ds, keyword), tuple)
    assert moment(ds, "Series") is None


def test_a_sequence_in_place_of_a_text_is_no_text() -> None:
    ds = Dataset()
    ds.add(DataElement("PatientID", "SQ", Sequence([Dataset()])))
    assert (words(ds, "PatientID"), text(ds, "PatientID")) == ((), "")


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), PermissionError(errno.EACCES, "no")])
def test_a_fault_of_the_disk_is_not_taken_for_one_of_the_file(error: OSError) -> None:
    """It is retried; a broken file is refused for good. pydicom's own OSError bears no number."""
    with pytest.raises(OSError, match=r"error|no"):
        require_content_fault(error)


@pytest.mark.parametrize("error", [OSError("No tag to read at file position 328"), ValueError("x")])
def test_what_pydicom_says_of_content_is_no_fault_of_the_disk(error: Any) -> None:
    require_content_fault(error)
