"""Frames of compressed slices, decoded without holding Python's lock, so that one slice is decoded beside another.

Plugins for pydicom, which does everything around them: it finds the frame, corrects signs and shapes the result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
from pydicom.pixels.decoders.base import Decoder, DecodeRunner, get_decoder
from pydicom.uid import JPEG2000, UID, JPEG2000Lossless, JPEGLSLossless, JPEGLSNearLossless

NAME = "duet"
DECODER_DEPENDENCIES = dict.fromkeys((JPEGLSLossless, JPEGLSNearLossless, JPEG2000Lossless, JPEG2000), ("imagecodecs",))
_END_OF_IMAGE = b"\xff\xd9"


def is_available(uid: str) -> bool:
    """What pydicom asks of a plugin."""
    return uid in DECODER_DEPENDENCIES


def plugin_for(syntax: UID) -> str:
    """The name of the plugin that decodes the transfer syntax fastest; "": whichever pydicom takes."""
    return NAME if is_available(syntax) else ""


def decode_jpegls(src: bytes, runner: DecodeRunner) -> bytes:
    """One frame of JPEG-LS. Raises ValueError: it stops before its end, and CharLS would go on for ever."""
    if _END_OF_IMAGE not in src[-4:]:
        raise ValueError("the JPEG-LS stream has no end")
    return _bytes(imagecodecs.jpegls_decode(src), runner)


def decode_jpeg2000(src: bytes, runner: DecodeRunner) -> bytes:
    """One frame of JPEG 2000."""
    return _bytes(imagecodecs.jpeg2k_decode(src), runner)


def _bytes(frame: npt.NDArray[np.integer[Any]], runner: DecodeRunner) -> bytes:
    """The frame as pydicom takes it; the runner is told how many bits a sample takes."""
    runner.set_option("bits_allocated", 8 * frame.dtype.itemsize)
    return frame.tobytes()


def _offer(decoder: Decoder, decode: Callable[[bytes, DecodeRunner], bytes]) -> None:
    if NAME not in decoder.available_plugins:
        decoder.add_plugin(NAME, (__name__, decode.__name__))


for _syntax in (JPEGLSLossless, JPEGLSNearLossless):
    _offer(get_decoder(_syntax), decode_jpegls)
for _syntax in (JPEG2000Lossless, JPEG2000):
    _offer(get_decoder(_syntax), decode_jpeg2000)
