"""Our objects as files, byte for byte as pydicom writes them, several times faster: what repeats is encoded once.

A report holds the same codes and types thousands of times. Values are encoded by pydicom; the items of sequences are framed
here (PS3.5 7.5, explicit lengths). Explicit little endian alone, the one syntax of our objects.
"""

from __future__ import annotations

import struct
from pathlib import Path

from pydicom import Dataset
from pydicom.charset import convert_encodings, default_encoding
from pydicom.dataelem import DataElement
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import correct_ambiguous_vr, dcmwrite, write_data_element

_ITEM = b"\xfe\xff\x00\xe0"
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
    content = _Encoder().dataset(correct_ambiguous_vr(ds, True), default_encoding)
    with path.open("wb") as stream:
        stream.write(head.getvalue()[: -len(body)])
        stream.write(content)


class _Encoder:
    """Encodes one object. Short texts that were met before are looked up."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, str, str, tuple[str, ...]], bytes] = {}

    def dataset(self, ds: Dataset, parent: Encodings) -> bytes:
        encodings = convert_encodings(ds.get("SpecificCharacterSet") or parent)
        elements = (ds[tag] for tag in sorted(ds.keys()) if not (tag.element == 0 and tag.group > 6))
        return b"".join([self._element(element, encodings) for element in elements])

    def _element(self, element: DataElement, encodings: list[str]) -> bytes:
        if element.VR == "SQ" and not element.is_undefined_length:
            return self._sequence(element, encodings)
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
        items = [self.dataset(item, encodings) for item in element.value]
        content = b"".join([part for item in items for part in (_ITEM, struct.pack("<L", len(item)), item)])
        tag = struct.pack("<HH", element.tag.group, element.tag.element)
        return tag + b"SQ\0\0" + struct.pack("<L", len(content)) + content


def _encoded(element: DataElement, encodings: list[str]) -> bytes:
    """As pydicom writes the element."""
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, False
    write_data_element(stream, element, encodings)
    return stream.getvalue()
