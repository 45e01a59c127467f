"""Our objects as files, byte for byte as pydicom writes them, several times faster: what repeats is encoded once.

A report holds the same codes and types thousands of times. Values are encoded by pydicom; the items of sequences are framed
here (PS3.5 7.5, explicit lengths). Explicit little endian alone, the one syntax of our objects.
"""

from __future__ import annotations

import struct
from pathlib import Path

from pydicom import Dataset
from pydicom.charset import convert_encodings, default_encoding
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import correct_ambiguous_vr, correct_ambiguous_vr_element, dcmwrite, write_data_element
from pydicom.valuerep import AMBIGUOUS_VR

_ITEM = b"\xfe\xff\x00\xe0"
_CHARACTER_SET = 0x00080005
_REPEATED_AT_MOST = 64  # characters: longer texts are hardly said twice

Encodings = str | list[str]


def save(ds: Dataset, path: Path) -> None:
    """As ds.save_as(path, enforce_file_format=True)."""
    # The preamble, and the meta information with its length.
    meta = Dataset()
    meta.file_meta = ds.file_meta
    meta.SOPClassUID, meta.SOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    head = DicomBytesIO()
    dcmwrite(head, meta, enforce_file_format=True)
    body = _Encoder().dataset(meta, default_encoding)
    content = _content(ds)
    with path.open("wb") as stream:
        stream.write(head.getvalue()[: -len(body)])
        stream.write(content)


class _AmbiguousVrError(Exception):
    """An item holds an element whose VR depends on others."""


def _content(ds: Dataset) -> bytes:
    """All elements. What may be ambiguous stands on the first level as a rule, so the tree is searched only where needed."""
    for element in ds:
        if element.VR in AMBIGUOUS_VR:
            correct_ambiguous_vr_element(element, ds, True, [ds])
    try:
        return _Encoder(strict=True).dataset(ds, default_encoding)
    except _AmbiguousVrError:
        return _Encoder().dataset(correct_ambiguous_vr(ds, True), default_encoding)


class _Encoder:
    """Encodes one object. Short texts and items that were met before are looked up. strict: raises _AmbiguousVrError."""

    def __init__(self, *, strict: bool = False) -> None:
        self._strict = strict
        self._known: dict[tuple[int, str, str, tuple[str, ...]], bytes] = {}
        self._items: dict[tuple[int, tuple[str, ...]], bytes] = {}

    def dataset(self, ds: Dataset, parent: Encodings) -> bytes:
        own = ds.get("SpecificCharacterSet") if _CHARACTER_SET in ds.keys() else None  # noqa: SIM118 - a set of numbers
        encodings = convert_encodings(own or parent) if own or isinstance(parent, str) else parent
        elements = sorted(((int(tag), element) for tag, element in ds.items()), key=_tag)
        return b"".join([self._element(_decoded(ds, x), encodings) for tag, x in elements if tag & 0xFFFF or tag < 0x70000])

    def _item(self, ds: Dataset, encodings: list[str]) -> bytes:
        """An item that several sequences share is encoded once; all items live as long as the object does."""
        key = (id(ds), tuple(encodings))
        found = self._items.get(key)
        if found is None:
            found = self._items[key] = self.dataset(ds, encodings)
        return found

    def _element(self, element: DataElement, encodings: list[str]) -> bytes:
        if element.VR == "SQ" and not element.is_undefined_length:
            return self._sequence(element, encodings)
        if self._strict and element.VR in AMBIGUOUS_VR:
            raise _AmbiguousVrError
        value = element.value
        if not isinstance(value, str) or len(value) > _REPEATED_AT_MOST:
            return _encoded(element, encodings)
        key = (int(element.tag), element.VR, value, tuple(encodings))
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = _encoded(element, encodings)
        return found

    def _sequence(self, element: DataElement, encodings: list[str]) -> bytes:
        if any(item.is_undefined_length_sequence_item for item in element.value):
            return _encoded(element, encodings)
        items = [self._item(item, encodings) for item in element.value]
        content = b"".join([part for item in items for part in (_ITEM, struct.pack("<L", len(item)), item)])
        tag = struct.pack("<HH", element.tag.group, element.tag.element)
        return tag + b"SQ\0\0" + struct.pack("<L", len(content)) + content


def _tag(element: tuple[int, DataElement | RawDataElement]) -> int:
    return element[0]


def _decoded(ds: Dataset, element: DataElement | RawDataElement) -> DataElement:
    return ds[element.tag] if isinstance(element, RawDataElement) else element


def _encoded(element: DataElement, encodings: list[str]) -> bytes:
    """As pydicom writes the element."""
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, False
    write_data_element(stream, element, encodings)
    return stream.getvalue()
