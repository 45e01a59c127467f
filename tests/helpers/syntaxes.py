"""A file in another transfer syntax."""

from __future__ import annotations

from pathlib import Path

import gdcm
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

LOSSLESS = (
    ImplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
    RLELossless,
    JPEGLSLossless,
    JPEG2000Lossless,
    JPEGLosslessSV1,
)


def rewritten(path: Path, syntax: str) -> None:
    """The file in another transfer syntax, its pixels unchanged."""
    ds = dcmread(path)
    if syntax in {RLELossless, JPEGLSLossless, JPEG2000Lossless}:
        ds.compress(syntax, generate_instance_uid=False)
        dcmwrite(path, ds, enforce_file_format=True)
    elif syntax == JPEGLosslessSV1:
        _to_lossless_jpeg(path)
    else:
        _to_native(ds, path, syntax)


def _to_native(ds: Dataset, path: Path, syntax: str) -> None:
    if syntax == ExplicitVRBigEndian:
        ds.PixelData = ds.pixel_array.astype(">i2").tobytes()
        ds["PixelData"].VR = "OW"
    ds.file_meta.TransferSyntaxUID = syntax
    dcmwrite(path, ds, enforce_file_format=True)


def _to_lossless_jpeg(path: Path) -> None:
    """The pixels as gdcm compresses them; the header stays as it was."""
    ds = dcmread(path)
    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(path))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    ds.PixelData, ds.file_meta.TransferSyntaxUID = dcmread(path).PixelData, JPEGLosslessSV1
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    dcmwrite(path, ds, enforce_file_format=True)
