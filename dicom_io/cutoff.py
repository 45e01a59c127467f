"""Whether a file still holds all of its pixel data, told from lengths alone."""

from __future__ import annotations

import struct
from typing import BinaryIO

from pydicom import Dataset
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from dicom_io.elements import number, text
from dicom_io.frugal import PIXEL_TAGS

_ITEM, _DELIMITER = 0xFFFEE000, 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF


def holds_all_pixels(stream: BinaryIO, header: Dataset) -> bool:
    """stream: stands where the pixel data element should begin. True as well for objects that are no images.

    A deflated file cannot be judged so; where it was cut off it failed to inflate.
    """
    syntax = UID(text(header.file_meta, "TransferSyntaxUID"))
    image = "Rows" in header or UID(text(header, "SOPClassUID")).name.endswith("Image Storage")
    if not image or syntax == DeflatedExplicitVRLittleEndian:
        return True
    start = stream.tell()
    left = stream.seek(0, 2) - start
    stream.seek(start)
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    length = _element_length(stream, order, implicit=syntax == ImplicitVRLittleEndian)
    if length is None:
        return False
    if length == _UNDEFINED:
        return _fragments_complete(stream, left)
    return length <= left - (stream.tell() - start) and length >= _needed_bytes(header)


def _element_length(stream: BinaryIO, order: str, *, implicit: bool) -> int | None:
    """Length field of the pixel data element; None where no such element begins here."""
    head = stream.read(8)
    if len(head) < 8:
        return None
    group, element = struct.unpack(order + "HH", head[:4])
    if group << 16 | element not in PIXEL_TAGS:
        return None
    if implicit:
        return int(struct.unpack(order + "L", head[4:])[0])
    tail = stream.read(4)
    return int(struct.unpack(order + "L", tail)[0]) if len(tail) == 4 else None


def _fragments_complete(stream: BinaryIO, left: int) -> bool:
    """Walks the items of encapsulated pixel data up to the delimiter. left: bytes of the file from the element on."""
    end = stream.tell() - 12 + left
    items = 0
    while len(head := stream.read(8)) == 8:
        group, element, length = struct.unpack("<HHL", head)
        tag = group << 16 | element
        if tag == _DELIMITER:
            return True
        if tag != _ITEM or stream.tell() + length > end:
            return False
        stream.seek(length, 1)
        items += 1
    # Some archives leave the delimiter out; what ends with the last byte of an item is whole.
    return items > 1 and stream.tell() == end


def _needed_bytes(header: Dataset) -> int:
    """Bytes that the header announces for native pixel data."""
    shape = [number(header, keyword) for keyword in ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "NumberOfFrames")]
    rows, columns, samples, bits, frames = (1 if size is None else int(size) for size in shape)
    if text(header, "PhotometricInterpretation").startswith("YBR_FULL_4"):
        return 0
    return rows * columns * samples * frames * bits // 8 if bits > 1 else 0
