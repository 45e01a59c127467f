"""The frames of a binary segmentation in any transfer syntax, also those of packed bits that pydicom does not decode."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from pydicom.encaps import generate_frames
from pydicom.uid import UID, RLELossless

from analysis.errors import UnusableImage

DEFLATED_IMAGE_FRAME = UID("1.2.840.10008.1.2.8.1")


def read_frames(ds: Dataset) -> npt.NDArray[np.bool_]:
    """(frames, rows, columns) of a BINARY segmentation. Raises UnusableImage where the pixels do not decode."""
    shape = (int(ds.get("NumberOfFrames", 1)), int(ds.Rows), int(ds.Columns))
    syntax = UID(ds.file_meta.TransferSyntaxUID) if hasattr(ds, "file_meta") else UID("")
    try:
        if syntax in _BIT_DECODERS:
            return _unpacked(ds, shape, _BIT_DECODERS[syntax])
        return np.asarray(ds.pixel_array).reshape(shape) > 0
    except (AttributeError, ValueError, RuntimeError, NotImplementedError, struct.error, zlib.error) as error:
        raise UnusableImage(f"The segmentation's pixels do not decode ({syntax.name}); export it uncompressed.") from error


def _unpacked(ds: Dataset, shape: tuple[int, int, int], decode: Callable[[bytes], bytes]) -> npt.NDArray[np.bool_]:
    """Each frame is compressed by itself: its bits, least significant first, padded to whole bytes."""
    count, rows, columns = shape
    frames = generate_frames(ds.PixelData, number_of_frames=count)
    bits = [np.unpackbits(np.frombuffer(decode(f), np.uint8), count=rows * columns, bitorder="little") for f in frames]
    return np.stack(bits).reshape(shape).astype(np.bool_)


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


_BIT_DECODERS: Mapping[UID, Callable[[bytes], bytes]] = {RLELossless: _unrun, DEFLATED_IMAGE_FRAME: _inflate}
