"""Broken headers on purpose: seeded changes of elements at any level, and of the bytes of a file.

The same seed always breaks the same things. Elements are written raw, so that no writer repairs what was broken.
"""

from __future__ import annotations

import io
import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from pydicom import Dataset, dcmread, dcmwrite
from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag, Tag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from dicom_io.elements import MALFORMED as CANNOT

# Elements on which tracer, SUV, geometry, pixels or grouping rest: two thirds of all changes hit one of these.
WEIGHTY = [
    'Units', 'DecayCorrection', 'CorrectedImage', 'AttenuationCorrectionMethod', 'SeriesType', 'ImageType',
    'PatientWeight', 'PatientSize', 'PatientSex', 'SUVType', 'RadiopharmaceuticalInformationSequence',
    'RadionuclideTotalDose', 'RadionuclideHalfLife', 'RadiopharmaceuticalStartTime', 'RadiopharmaceuticalStartDateTime',
    'RadionuclideCodeSequence', 'RadiopharmaceuticalCodeSequence', 'Radiopharmaceutical', 'CodeValue', 'SeriesDate',
    'SeriesTime', 'AcquisitionDate', 'AcquisitionTime', 'AcquisitionDateTime', 'StudyDate', 'StudyTime',
    'FrameReferenceTime', 'ActualFrameDuration', 'DecayFactor', 'TimezoneOffsetFromUTC', 'RescaleSlope',
    'RescaleIntercept', 'Modality', 'SOPClassUID', 'SOPInstanceUID', 'SeriesInstanceUID', 'StudyInstanceUID',
    'FrameOfReferenceUID', 'PatientID', 'PatientName', 'PatientBirthDate', 'SpecificCharacterSet', 'ImagePositionPatient',
    'ImageOrientationPatient', 'PixelSpacing', 'SliceThickness', 'NumberOfSlices', 'NumberOfFrames', 'Rows', 'Columns',
    'BitsAllocated', 'BitsStored', 'HighBit', 'PixelRepresentation', 'SamplesPerPixel', 'PhotometricInterpretation',
    'PixelPaddingValue', 'InstanceNumber', 'SeriesNumber', 'SeriesDescription', 'StudyDescription', 'Manufacturer',
    'SegmentSequence', 'SegmentNumber', 'ReferencedSegmentNumber', 'SegmentationType', 'PerFrameFunctionalGroupsSequence',
    'SharedFunctionalGroupsSequence', 'ReferencedSeriesSequence', 'ContentSequence', 'NumericValue',
    'MeasuredValueSequence', 'ConceptNameCodeSequence', 'ValueType', 'DecayCorrectionDateTime', 'IssuerOfPatientID',
]  # fmt: skip
NUMBERS = [
    '0', '-1', '1', '2', '3', '7', '70', '70.5', '1e-300', '1e300', '1e400', '-1e9', '999999999999', 'NaN', 'nan', 'inf',
    '-inf', '1_000', '0x10', '7O', '70,5', '70\\80', "''", '.', '+', '1e', '65535', '65536', '2147483648', '368.08',
    '6586.2', '4062.6', '1220', '109.77', '65862', '100000', '99999', '1000', '1001', '500', '501', '0.01', '180', '1.8',
    '2.9', '+5', '5.', '.5', '٧٠', '７０', '1e5', '3e8',
]  # fmt: skip
DATES = [
    '20260310', '2026.03.10', '2026-03-10', '20269999', '00000000', '19000101', '99991231', '2026031', '202603100',
    'today', '20260229', '1', "''", '20260309',
]  # fmt: skip
TIMES = [
    '100000', '10:00:00', '1000', '10', '250000', '096100', '235959.999999', '000000', '100000.5', '100000.1234567',
    'noon', '-100000', '1000000', "''", '095959', '110000', '100000-0500', '10000',
]  # fmt: skip
DATETIMES = [
    '20260310090000', '20260310090000.00', '20260310', '20260310090000+0100', '20260310090000-9999', '20260310250000',
    '20360310090000', '20260309233000', '202603', 'now', "''", '20260310090000.1234567', '20260310', '090000',
]  # fmt: skip
TEXTS = [
    'FDG', 'PSMA', 'PentixaFor', 'CXCR4', 'Solution', 'F-18', 'Ga-68', 'NONE', 'START', 'ADMIN', 'BQML', 'GML', 'CNTS',
    'CM2ML', 'PROPCNTS', '1CM', 'BW', 'LBM', 'IBW', 'BSA', 'LBMJANMA', 'DYNAMIC', 'GATED', 'STATIC', 'DERIVED',
    'LOCALIZER', 'PT', 'CT', 'SEG', 'SR', 'MR', 'M', 'F', 'O', 'ISO_IR_100', 'ISO_IR_192', 'ISO_2022_IR_87', 'GB18030',
    '\\', 'a\\b\\c', '../../etc/passwd', '%s%n', '{0}', '<b>', "'", '"', ';', '☃', 'Ünïcödé', '山田', '\x1b$B', '\x00',
    'BINARY', 'FRACTIONAL', 'LABELMAP', 'CONTAINER', 'NUM', 'C-B1031', 'C-111A1', 'ATTN', 'DECY',
]  # fmt: skip
UIDS = [
    '1.2.840.10008.5.1.4.1.1.128', '1.2.840.10008.5.1.4.1.1.2', '1.2.840.10008.5.1.4.1.1.130', '1.2', '1', '.', '1..2',
    '1.2.3.04', 'x', '2.25.0',
]  # fmt: skip
SYNTAXES = (
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
    JPEGLSLossless,
    JPEG2000Lossless,
    RLELossless,
    UID("1.2.840.10008.1.2.4.102"),
    UID("1.2.3"),
    UID(""),
)
_POOLS = {"DA": DATES, "TM": TIMES, "DT": DATETIMES, "UI": UIDS}
_NUMERIC = {"DS", "IS", "FD", "FL", "US", "SS", "UL", "SL"}
_BINARY = {"US": "<H", "SS": "<h", "UL": "<L", "SL": "<l", "FD": "<d", "FL": "<f"}


@dataclass(frozen=True, kw_only=True)
class Broken:
    """A changed file. changes: "Keyword: what", with the path of items before nested keywords; "bytes: what" for the file."""

    content: bytes
    changes: tuple[str, ...]

    @property
    def keywords(self) -> set[str]:
        """Every keyword on the path of a change; "bytes" where the change cannot be told so."""
        return {word for change in self.changes for word in change.partition(":")[0].split(">")}


def broken(content: bytes, seed: str) -> Broken:
    """The file with one to four changes that follow from the seed."""
    rng = random.Random(seed)
    count = rng.choices((1, 2, 3, 4), (70, 18, 8, 4))[0]
    if rng.random() < 0.12:
        return _bytes_broken(content, rng, count)
    ds = dcmread(io.BytesIO(content), force=True)
    try:
        changes = [_break_element(ds, rng) for _ in range(count)]
        if rng.random() < 0.05:
            ds.file_meta.TransferSyntaxUID = rng.choice(SYNTAXES)
            return _with_syntax(ds, changes)
        return Broken(content=_written(ds), changes=tuple(changes))
    except CANNOT:  # what not even the writer can write
        return _bytes_broken(content, rng, count)


def _bytes_broken(content: bytes, rng: random.Random, count: int) -> Broken:
    changes = []
    for _ in range(count):
        content, said = _break_bytes(content, rng)
        changes.append(f"bytes: {said}")
    return Broken(content=content, changes=tuple(changes))


def _with_syntax(ds: Dataset, changes: list[str]) -> Broken:
    """The dataset's bytes stay as they are, and the meta information says another transfer syntax."""
    named = ds.file_meta.TransferSyntaxUID
    ds.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if ds.original_encoding[0] else ExplicitVRLittleEndian
    if ds.get("PixelData") is not None and len(ds.PixelData) % 2:
        del ds.PixelData
    right = str(ds.file_meta.TransferSyntaxUID).encode()
    content = _written(ds)
    wrong = str(named).encode()[: len(right)].ljust(len(right), b"\0")
    return Broken(content=content.replace(right, wrong, 1), changes=(*changes, f"bytes: transfer syntax is {named}"))


def _written(ds: Dataset) -> bytes:
    buffer = io.BytesIO()
    implicit, little = ds.original_encoding
    syntax = ds.file_meta.get("TransferSyntaxUID")
    known = syntax is not None and UID(syntax).is_valid and not UID(syntax).is_private
    with_syntax = {} if known else {"implicit_vr": bool(implicit), "little_endian": little is not False}
    dcmwrite(buffer, ds, enforce_file_format=known, **with_syntax)
    return buffer.getvalue()


# Elements


def _places(ds: Dataset, path: str = "") -> Iterator[tuple[Dataset, BaseTag, str]]:
    """(dataset, tag, path of keywords) of every element at every level, the pixels left out."""
    for tag in list(ds.keys()):
        if tag.group == 0x7FE0:
            continue
        here = path + (keyword_for_tag(tag) or f"{tag:08x}")
        yield ds, tag, here
        try:
            value = ds[tag].value if ds[tag].VR == "SQ" else ()
        except CANNOT:
            continue  # broken by an earlier change
        for item in list(value or ()):
            yield from _places(item, f"{here}>")


def _break_element(ds: Dataset, rng: random.Random) -> str:
    places = list(_places(ds))
    wanted = rng.choice(WEIGHTY[:30] if rng.random() < 0.4 else WEIGHTY)  # SUV rests on the first
    if rng.random() < 0.66:
        places = [p for p in places if p[2].rpartition(">")[2] == wanted] or _absent(ds, wanted) or places
    holder, tag, path = rng.choice(places)
    what = rng.choice(_OPERATIONS)
    return f"{path}: {what(holder, tag, rng)}"


def _absent(ds: Dataset, keyword: str) -> list[tuple[Dataset, BaseTag, str]]:
    tag = tag_for_keyword(keyword)
    return [] if tag is None else [(ds, Tag(tag), keyword)]


def _vr(holder: Dataset, tag: BaseTag) -> str:
    element = holder.get_item(tag)
    vr = getattr(element, "VR", None)
    try:
        return str(vr or dictionary_VR(tag)).split(" ")[0]
    except KeyError:
        return "UN"


def _put(holder: Dataset, tag: BaseTag, vr: str, content: bytes) -> None:
    padded = content + (b"\0" if vr in {"UI", "OB", "UN"} else b" ") * (len(content) % 2)
    vr = vr if vr != "SQ" else "UN"
    holder[tag] = RawDataElement(tag, vr, len(padded), padded, 0, False, True)


def _delete(holder: Dataset, tag: BaseTag, rng: random.Random) -> str:
    if tag in holder:
        del holder[tag]
    return "deleted"


def _empty(holder: Dataset, tag: BaseTag, rng: random.Random) -> str:
    if _vr(holder, tag) == "SQ":
        holder[tag] = _sequence(tag, [])
    else:
        _put(holder, tag, _vr(holder, tag), b"")
    return "emptied"


def _sequence(tag: BaseTag, items: list[Dataset]) -> DataElement:
    return DataElement(tag, "SQ", Sequence(items))


def _replaced(holder: Dataset, tag: BaseTag, rng: random.Random) -> str:
    """Another value of its kind, good or bad."""
    vr = _vr(holder, tag)
    if vr == "SQ":
        return _doubled(holder, tag, rng)
    word = rng.choice(NUMBERS if vr in _NUMERIC else _POOLS.get(vr, TEXTS)).replace("''", "")
    if vr in _BINARY:
        number = rng.choice((0, 1, 2, 3, 5, 8, 10, 12, 16, 32, 255, 32767, 65535))
        _put(holder, tag, vr, struct.pack(_BINARY[vr], min(number, 32767) if vr == "SS" else number))
        return f"is {number}"
    _put(holder, tag, vr, word.encode("utf-8"))
    return f"is {word!r}"


def _scaled(holder: Dataset, tag: BaseTag, rng: random.Random) -> str:
    """A number times something; times and dates shifted in a digit."""
    vr = _vr(holder, tag)
    try:
        old = str(holder[tag].value)
        if vr in {"DS", "IS"} and "[" not in old:
            by = rng.choice((0.5, 0.99, 1.01, 2, 10, 1000, 1e6, 1e-6, -1))
            word = f"{float(old) * by:.12g}"
        else:
            at = rng.randrange(len(old))
            word = old[:at] + rng.choice("0123456789") + old[at + 1 :]
    except CANNOT:
        return _replaced(holder, tag, rng)
    if vr in _BINARY or vr == "SQ":
        return _replaced(holder, tag, rng)
    _put(holder, tag, vr, word[:1024].encode("utf-8", "replace"))
    return f"{old[:40]!r} becomes {word[:40]!r}"


def _garbled(holder: Dataset, tag: BaseTag, rng: random.Random) -> str:
    content = rng.randbytes(rng.choice((1, 2, 7, 16, 64, 300)))
    _put(holder, tag, _vr(holder, tag), content)
    return f"{len(content)} random bytes"


def _of_another_kind(holder: Dataset, tag: BaseTag, rng: random.Random) -> str:
    vr = rng.choice(("US", "FD", "OB", "UN", "LO", "DS", "UI", "SQ", "AT", "PN", "UT", "XX", "??"))
    if vr == "SQ":
        holder[tag] = _sequence(tag, [Dataset()])
        return "an empty item"
    _put(holder, tag, vr, rng.choice((b"12345678", b"\x01\x00", b"\xff" * 8, b"abc", b"1.2.3")))
    return f"of kind {vr}"


def _several(holder: Dataset, tag: BaseTag, rng: random.Random) -> str:
    if _vr(holder, tag) == "SQ":
        return _doubled(holder, tag, rng)
    try:
        old = str(holder[tag].value)
    except CANNOT:
        old = "1"
    count = rng.choice((2, 3, 200))
    _put(holder, tag, "UT" if count == 200 else _vr(holder, tag), "\\".join([old[:40]] * (count - 1) + ["2"]).encode("utf-8"))
    return f"{count} values"


def _doubled(holder: Dataset, tag: BaseTag, rng: random.Random) -> str:
    """A sequence with its items twice, with a foreign item, or within itself."""
    try:
        items = list(holder[tag].value or ())
    except CANNOT:
        items = []
    if not all(isinstance(item, Dataset) for item in items):
        items = []
    how = rng.choice(("twice", "with an empty item", "within itself", "deep"))
    if how == "twice":
        items = items + items
    elif how == "with an empty item":
        items = [Dataset(), *items]
    elif how == "within itself":
        outer = Dataset()
        outer[tag] = _sequence(tag, items)
        items = [outer]
    else:
        return _deep(holder, tag, rng.choice((40, 400, 20_000)))
    holder[tag] = _sequence(tag, items)
    return how


def _deep(holder: Dataset, tag: BaseTag, levels: int) -> str:
    """Items within items of undefined length, never closed; written raw, as no writer gets that deep."""
    item = struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)
    within = struct.pack("<HH2sHL", tag.group, tag.element, b"SQ", 0, 0xFFFFFFFF) + item
    content = item + within * levels
    holder[tag] = RawDataElement(tag, "SQ", len(content), content, 0, False, True)
    return f"{levels} levels deep"


def _private(holder: Dataset, tag: BaseTag, rng: random.Random) -> str:
    """A maker's private block lost, doubled or given to another."""
    creators = [t for t in list(holder.keys()) if t.is_private_creator]
    if not creators:
        return _delete(holder, tag, rng)
    creator = rng.choice(creators)
    how = rng.choice(("creator lost", "creator changed", "block doubled"))
    if how == "creator lost":
        del holder[creator]
    elif how == "creator changed":
        _put(holder, creator, "LO", b"SOMEBODY ELSE")
    else:
        free = Tag(creator.group, creator.element + 1)
        holder[free] = RawDataElement(free, "LO", 0, holder[creator].value.encode(), 0, False, True)
    return f"{how} ({creator.group:04x},{creator.element:04x})"


_OPERATIONS = (
    *(_replaced,) * 6,
    *(_delete,) * 4,
    *(_scaled,) * 4,
    *(_empty,) * 2,
    *(_garbled,) * 2,
    *(_of_another_kind,) * 2,
    *(_several,) * 2,
    _doubled,
    _private,
)


# Bytes


def _break_bytes(content: bytes, rng: random.Random) -> tuple[bytes, str]:
    data = bytearray(content)
    head = min(len(data), 6000)
    how = rng.choice(("cut", "flip", "flip", "insert", "blank", "preamble", "length", "remove", "tail", "swap"))
    at = rng.randrange(max(head, 1))
    if how == "cut":
        del data[rng.randrange(len(data)) :]
    elif how == "flip":
        for _ in range(rng.choice((1, 4, 32))):
            place = rng.randrange(len(data)) if rng.random() < 0.3 else rng.randrange(max(head, 1))
            data[place] ^= 1 << rng.randrange(8)
    elif how == "insert":
        data[at:at] = rng.randbytes(rng.choice((1, 2, 8, 100)))
    elif how == "blank":
        data[at : at + 40] = bytes(len(data[at : at + 40]))
    elif how == "preamble":
        data[:132] = rng.choice((b"", b"\0" * 132, b"GIF89a" * 22, data[:128] + b"DICX"))
    elif how == "length":
        data[at : at + 4] = rng.choice((b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\0"))
    elif how == "remove":
        del data[at : at + rng.choice((1, 2, 8, 100))]
    elif how == "tail":
        data += rng.randbytes(rng.choice((1, 2, 128, 5000)))
    else:
        data[at : at + 8] = data[at : at + 8][::-1]
    return bytes(data), how
