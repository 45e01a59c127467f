"""Frames decoded by our plugins against pydicom's own, for signed and unsigned samples of several depths; and damage."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, JPEGLSNearLossless, RLELossless

from dicom_io.decoders import NAME, plugin_for

OTHERS = {JPEGLSLossless: "pyjpegls", JPEG2000Lossless: "pylibjpeg"}


def compressed(syntax: UID, bits: int, signed: bool, allocated: int = 16) -> tuple[Dataset, np.ndarray]:
    """A slice of noise that uses all its bits, and its values."""
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1)) if signed else (0, 2**bits)
    values = np.random.default_rng(bits).integers(low, high, (40, 56)).astype(f"{'<i' if signed else '<u'}{allocated // 8}")
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "1.2.3"
    ds.Rows, ds.Columns = values.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = allocated, bits, bits - 1, int(signed)
    ds.PixelData = values.tobytes()
    ds["PixelData"].VR = "OW"
    ds.compress(syntax, generate_instance_uid=False)
    return ds, values


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(("bits", "allocated"), [(16, 16), (13, 16), (12, 16), (8, 8)])
@pytest.mark.parametrize("syntax", list(OTHERS), ids=lambda uid: uid.name)
def test_values_are_those_of_the_other_decoders(syntax: UID, bits: int, allocated: int, signed: bool) -> None:
    ds, values = compressed(syntax, bits, signed, allocated)
    ours = pixel_array(ds, decoding_plugin=plugin_for(syntax))
    theirs = pixel_array(ds, decoding_plugin=OTHERS[syntax])
    assert ours.dtype == theirs.dtype
    np.testing.assert_array_equal(ours, values)
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("syntax", list(OTHERS), ids=lambda uid: uid.name)
def test_a_stream_that_stops_early_is_an_error(syntax: UID) -> None:
    """CharLS 2.4 never came back from a JPEG-LS stream that was cut off."""
    ds, _ = compressed(syntax, 12, signed=False)
    ds.PixelData = ds.PixelData[:-400] + b"\xfe\xff\xdd\xe0\x00\x00\x00\x00"
    with pytest.raises((RuntimeError, ValueError, EOFError)):
        pixel_array(ds, decoding_plugin=plugin_for(syntax))


def test_what_is_left_to_pydicom() -> None:
    assert plugin_for(RLELossless) == ""
    assert plugin_for(JPEGLSNearLossless) == NAME
