"""The frames of a segmentation in any transfer syntax, also those of packed bits that pydicom does not decode."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID, RLELossless

from analysis.errors import UnusableImage
from dicom_io.elements import MALFORMED, number

DEFLATED_IMAGE_FRAME = UID("1.2.840.10008.1.2.8.1")
_UNDECODABLE = (*MALFORMED, RuntimeError, StopIteration, zlib.error, MemoryError)


def read_frames(ds: Dataset) -> npt.NDArray[np.integer[Any]]:
    """(frames, rows, columns) of the stored values: bits, fractions or labels. Raises UnusableImage."""
    syntax = UID("")
    try:
        syntax = UID(ds.file_meta.TransferSyntaxUID) if hasattr(ds, "file_meta") else syntax
        shape = (int(number(ds, "NumberOfFrames") or 1), int(number(ds, "Rows") or 0), int(number(ds, "Columns") or 0))
        if syntax in _DECODERS and (ds.BitsAllocated == 1 or syntax == DEFLATED_IMAGE_FRAME):
            return _decoded(ds, shape, _DECODERS[syntax])
        # Bytes behind the last frame are padding.
        return np.asarray(pixel_array(ds, allow_excess_frames=False)).reshape(shape)
    except _UNDECODABLE as error:
        raise UnusableImage(f"The segmentation's pixels do not decode ({syntax.name}); export it uncompressed.") from error


def _decoded(ds: Dataset, shape: tuple[int, int, int], decode: Callable[[bytes], bytes]) -> npt.NDArray[np.integer[Any]]:
    """Each frame is compressed by itself; of bits the least significant comes first, padded to whole bytes."""
    count, rows, columns = shape
    frames = [decode(f) for f in generate_frames(ds.PixelData, number_of_frames=count)]
    if ds.BitsAllocated == 1:
        bits = [np.unpackbits(np.frombuffer(f, np.uint8), count=rows * columns, bitorder="little") for f in frames]
        return np.stack(bits).reshape(shape)
    kind = np.dtype("<u2") if ds.BitsAllocated == 16 else np.dtype(np.uint8)
    return np.stack([np.frombuffer(f, kind, count=rows * columns) for f in frames]).reshape(shape)


def _inflate(frame: bytes) -> bytes:
    """A raw deflate stream, as PS3.5 A.4.13 has it."""
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(frame)


def _unrun(frame: bytes) -> bytes:
    """PackBits of the only segment of an RLE frame (PS3.5 annex G)."""
    segments, start = struct.unpack_from("<2L", frame)
    if segments != 1:
        raise ValueError(f"{segments} RLE segments in a frame of bits")
    out, at = bytearray(), int(start)
    while at < len(frame) - 1:
        head = frame[at]
        if head < 128:
            out += frame[at + 1 : at + 2 + head]
            at += 2 + head
        else:
            out += frame[at + 1 : at + 2] * (257 - head if head > 128 else 0)
            at += 2 if head > 128 else 1
    return bytes(out)


_DECODERS: Mapping[UID, Callable[[bytes], bytes]] = {RLELossless: _unrun, DEFLATED_IMAGE_FRAME: _inflate}
