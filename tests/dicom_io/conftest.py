"""Scans of any maker for the tests of reading: headers in memory, or files on disk. Each test changes what it is about."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, PositronEmissionTomographyImageStorage, generate_uid

from dicom_io.headers import group, read_folder
from dicom_io.slices import order
from dicom_io.studies import Instance, Series, TracerStudy
from dicom_io.tracers import recognise

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


def uid(*words: object) -> str:
    return generate_uid(entropy_srcs=[str(w) for w in words])


class Scans:
    """Builds PET and CT slices. A keyword given to a method replaces the element (None removes it)."""

    def pet(self, slices: int = 6, tracer: str = "FDG", item: dict[str, Any] | None = None, **changes: Any) -> list[Dataset]:
        radiopharmaceutical = {**TRACERS[tracer], "RadiopharmaceuticalStartTime": "090000", **(item or {})}
        words = {
            "Modality": "PT",
            "SOPClassUID": PositronEmissionTomographyImageStorage,
            "ImageType": ["ORIGINAL", "PRIMARY"],
            "SeriesDescription": "PET AC",
            "SeriesType": ["STATIC", "IMAGE"],
            "Units": "BQML",
            "DecayCorrection": "START",
            "CorrectedImage": ["DECY", "ATTN", "SCAT"],
            "FrameReferenceTime": "0",
            "ActualFrameDuration": "120000",
            "RescaleSlope": "0.5",
            "RescaleIntercept": "0",
            "NumberOfSlices": slices,
            "RadiopharmaceuticalInformationSequence": Sequence([self._dataset(radiopharmaceutical)]),
        }
        return self._slices(slices, {**words, **changes})

    def ct(self, slices: int = 6, **changes: Any) -> list[Dataset]:
        words = {
            "Modality": "CT",
            "SOPClassUID": CTImageStorage,
            "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
            "SeriesDescription": "CT",
            "RescaleSlope": "1",
            "RescaleIntercept": "-1024",
        }
        return self._slices(slices, {**words, **changes})

    def series(self, slices: Iterable[Dataset]) -> Series:
        """The slices as one series, in memory alone."""
        return Series(instances=order(Instance(path=Path(f"{n}.dcm"), header=ds) for n, ds in enumerate(slices)))

    def write(self, folder: Path, slices: Iterable[Dataset]) -> list[Path]:
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for ds in slices:
            path = folder / f"{len(list(folder.iterdir())):03d}.dcm"
            dcmwrite(path, ds, enforce_file_format=True)
            paths.append(path)
        return paths

    def edited(self, path: Path, change: Callable[[Dataset], None]) -> None:
        """Changes a file in place."""
        ds = dcmread(path)
        change(ds)
        buffer = io.BytesIO()
        dcmwrite(buffer, ds, enforce_file_format=True)
        path.write_bytes(buffer.getvalue())

    def _slices(self, count: int, words: dict[str, Any]) -> list[Dataset]:
        base = {
            "PatientID": "P1",
            "PatientName": "Muster^Maria",
            "PatientBirthDate": "19600101",
            "PatientSex": "F",
            "PatientWeight": "70",
            "PatientSize": "1.7",
            "StudyInstanceUID": uid("study"),
            "StudyDate": "20260310",
            "StudyTime": "095500",
            "SeriesDate": "20260310",
            "SeriesTime": "100000",
            "AcquisitionDate": "20260310",
            "AcquisitionTime": "100000",
            "FrameOfReferenceUID": uid("frame"),
            "Manufacturer": "tests",
            "spacing": 4.0,
            "first": -10.0,
            **words,
        }
        base.setdefault("SeriesInstanceUID", uid(base["StudyInstanceUID"], base["SeriesDescription"]))
        return [self._slice(k, dict(base)) for k in range(count)]

    def _slice(self, k: int, words: dict[str, Any]) -> Dataset:
        place = words.pop("first") + k * words.pop("spacing")
        geometry = {
            "SOPInstanceUID": uid(words["SeriesInstanceUID"], k),
            "InstanceNumber": str(k + 1),
            "ImagePositionPatient": [-20.0, -30.0, place],
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
        pixels = words.pop("pixels", None)
        ds = self._dataset({**geometry, **words})
        ds.PixelData = (np.full((ds.Rows, ds.Columns), k + 1, np.int16) if pixels is None else pixels[k]).tobytes()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        return ds

    def _dataset(self, words: dict[str, Any]) -> Dataset:
        ds = Dataset()
        for keyword, value in words.items():
            if value is not None:
                setattr(ds, keyword, value)
        return ds


@pytest.fixture(scope="session")
def real_studies(shared_data: Path) -> list[TracerStudy]:
    """Both studies of pair1, FDG first."""
    return [recognise(study) for study in group(read_folder(shared_data / "pair1")[0])]


@pytest.fixture(scope="session")
def scans() -> Scans:
    return Scans()
