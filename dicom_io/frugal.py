"""A header read with bounded memory: a small file may inflate to gigabytes, or hold millions of empty items."""

from __future__ import annotations

import io
import zlib
from typing import BinaryIO

from pydicom.dataset import FileDataset
from pydicom.filereader import read_dataset, read_partial
from pydicom.tag import BaseTag

from analysis.errors import NotDicom

PIXEL_TAGS = (0x7FE00010, 0x7FE00009, 0x7FE00008)
MOST_BYTES = 256 << 20  # of a header; the functional groups of some ten thousand frames take less
MOST_READS = 2_000_000  # of its elements and items, two or three reads each
MOST_INFLATED = 1 << 30  # bytes of a deflated object
_CHUNK = 1 << 20
_EMPTY = b"\x03\x00"  # nothing at all, deflated


class _Counted:
    """A stream that gives no more than a header may take, and none of a deflated dataset, whose place it notes."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._bytes, self._reads = stream, MOST_BYTES, MOST_READS
        self.deflated_at: int | None = None
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, size: int = -1) -> bytes:
        if size < 0:  # pydicom reads so only what it is about to inflate
            self.deflated_at = self._stream.tell()
            return _EMPTY
        content = self._stream.read(min(size, self._bytes + 1))  # a damaged length may be any
        self._bytes -= len(content)
        self._reads -= 1
        if self._bytes < 0 or self._reads < 0:
            raise NotDicom("The header is larger than that of any image; the file is damaged, or was made to do harm.")
        return content


def read_header(stream: BinaryIO) -> FileDataset:
    """All elements before the pixel data, with or without preamble and meta information; the stream stands behind them.

    Raises NotDicom: the header is larger than any. Raises headers.UNREADABLE: it is damaged.
    """
    counted = _Counted(stream)
    header = read_partial(counted, stop_when=_at_bulk, force=True)  # type: ignore[arg-type]
    if counted.deflated_at is not None:
        stream.seek(counted.deflated_at)
        inflated = _Counted(_inflated(stream))
        header.update(read_dataset(inflated, False, True, stop_when=_at_bulk))  # type: ignore[arg-type]
    header.buffer = None  # else each header would keep its stream
    return header


def _at_bulk(tag: BaseTag, _vr: str | None, length: int) -> bool:
    """At the pixels, or at what no image has: raw data of a scanner behind their place."""
    return tag in PIXEL_TAGS or (tag >> 16 > 0x7FE0 and length > _CHUNK)


def _inflated(stream: BinaryIO) -> BinaryIO:
    """The beginning of a deflated dataset, as long as a header may be; all of it was inflated once. Raises NotDicom."""
    inflater, kept, size = zlib.decompressobj(-zlib.MAX_WBITS), io.BytesIO(), 0
    while not inflater.eof and (deflated := inflater.unconsumed_tail or stream.read(_CHUNK)):
        part = inflater.decompress(deflated, _CHUNK)
        size += len(part)
        if size <= MOST_BYTES:
            kept.write(part)
        if size > MOST_INFLATED:
            raise NotDicom(f"The file is deflated and inflates to more than {MOST_INFLATED >> 20} MB; send it plain.")
    if not inflater.eof:
        raise zlib.error("the deflated dataset is cut off")
    kept.seek(0)
    return kept
