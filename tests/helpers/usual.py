"""What every small scan of the tests is made of: elements of a usual PET and CT slice, and datasets of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, PositronEmissionTomographyImageStorage

# The radiopharmaceutical item by the tracer's name (analysis.values.Tracer is such a name).
TRACERS = {
    "FDG": {
        "Radiopharmaceutical": "FDG -- fluorodeoxyglucose",
        "RadionuclideHalfLife": "6588",
        "RadionuclideTotalDose": "300000000",
    },
    "PentixaFor": {
        "Radiopharmaceutical": "68Ga-PentixaFor",
        "RadionuclideHalfLife": "4062.6",
        "RadionuclideTotalDose": "120000000",
    },
}
PATIENT = {
    "PatientID": "P1",
    "PatientName": "Muster^Maria",
    "PatientBirthDate": "19600101",
    "PatientSex": "F",
    "PatientWeight": "70",
}
CT = {
    "Modality": "CT",
    "SOPClassUID": CTImageStorage,
    "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
    "RescaleSlope": "1",
    "RescaleIntercept": "-1024",
}


def pet(slices: int, tracer: str, item: Mapping[str, Any]) -> dict[str, Any]:
    """A static, corrected PET in Bq/ml; item: elements of its radiopharmaceutical in place of the usual ones."""
    injected = {**TRACERS[tracer], "RadiopharmaceuticalStartTime": "090000", **item}
    return {
        "Modality": "PT",
        "SOPClassUID": PositronEmissionTomographyImageStorage,
        "ImageType": ["ORIGINAL", "PRIMARY"],
        "SeriesType": ["STATIC", "IMAGE"],
        "Units": "BQML",
        "DecayCorrection": "START",
        "CorrectedImage": ["DECY", "ATTN", "SCAT"],
        "FrameReferenceTime": "0",
        "ActualFrameDuration": "120000",
        "RescaleSlope": "0.5",
        "RescaleIntercept": "0",
        "NumberOfSlices": slices,
        "RadiopharmaceuticalInformationSequence": Sequence([elements(injected)]),
    }


def geometry(k: int, z: float) -> dict[str, Any]:
    """Slice k at height z in mm: 8 rows of 4 mm, 10 columns of 5 mm."""
    return {
        "InstanceNumber": str(k + 1),
        "ImagePositionPatient": [-20.0, -30.0, z],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelSpacing": [4, 5],
        "SliceThickness": "4",
        "Rows": 8,
        "Columns": 10,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 1,
    }


def elements(words: Mapping[str, Any]) -> Dataset:
    """A dataset of these keywords; None leaves one out."""
    ds = Dataset()
    for keyword, value in words.items():
        if value is not None:
            setattr(ds, keyword, value)
    return ds


def image(words: Mapping[str, Any], pixels: np.ndarray) -> Dataset:
    """A slice with its pixels, ready to be written."""
    ds = elements(words)
    ds.PixelData = pixels.tobytes()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return ds
