"""SEGs as other makers write them: highdicom's own writer, dcmqi's, and what their files lack or do differently."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import SimpleITK as sitk
from highdicom.seg import Segmentation, SegmentationTypeValues, SegmentDescription
from pydicom import Dataset, dcmread
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid

from dicom_io.studies import Instance

SHAPE = (9, 14, 11)
SPACING = (3.27, 2.0, 2.5)
ORIGIN = (-20.0, -35.5, 410.25)


def rotation(degrees: float) -> np.ndarray:
    """About x and then y, so that no axis of the patient is kept."""
    a, b = np.radians(degrees), np.radians(degrees / 2)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    return np.asarray(about_y @ about_x)


def images(degrees: float = 0.0, heights: np.ndarray | None = None) -> list[Dataset]:
    """A CT series; degrees: how far it is tilted; heights: slice positions along the normal in mm."""
    turn = rotation(degrees)
    levels = np.arange(SHAPE[0]) * SPACING[0] if heights is None else heights
    return [_image(k, float(level), turn) for k, level in enumerate(levels)]


def _image(k: int, level: float, turn: np.ndarray) -> Dataset:
    ds = Dataset()
    words: dict[str, Any] = {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2",
        "SOPInstanceUID": generate_uid(entropy_srcs=["makers", str(k)]),
        "Modality": "CT",
        "StudyInstanceUID": generate_uid(entropy_srcs=["makers study"]),
        "SeriesInstanceUID": generate_uid(entropy_srcs=["makers series"]),
        "FrameOfReferenceUID": generate_uid(entropy_srcs=["makers frame"]),
        **dict.fromkeys(("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyID", "AccessionNumber"), ""),
        **dict.fromkeys(("StudyDate", "StudyTime", "ReferringPhysicianName", "PositionReferenceIndicator"), ""),
        "InstanceNumber": k + 1,
        "ImagePositionPatient": [round(float(x), 5) for x in np.array(ORIGIN) + turn[:, 2] * level],
        "ImageOrientationPatient": [round(float(x), 9) for x in [*turn[:, 0], *turn[:, 1]]],
        "PixelSpacing": [SPACING[1], SPACING[2]],
        "SliceThickness": SPACING[0],
        "Rows": SHAPE[1],
        "Columns": SHAPE[2],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 0,
        "PixelData": bytes(2 * SHAPE[1] * SHAPE[2]),
    }
    for keyword, value in words.items():
        setattr(ds, keyword, value)
    ds.file_meta = highdicom.base.Dataset()  # type: ignore[attr-defined]
    ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    return ds


def labels() -> np.ndarray:
    """Three segments; the second has a hole of four slices, the third one voxel."""
    found = np.zeros(SHAPE, np.uint8)
    found[1:4, 2:5, 3:9] = 1
    found[2, 8:12, 1:4] = 2
    found[7, 9:13, 5:7] = 2
    found[8, 13, 10] = 3
    return found


def described(number: int) -> SegmentDescription:
    algorithm = highdicom.AlgorithmIdentificationSequence("total", codes.DCM.ArtificialIntelligence, "2")
    return SegmentDescription(
        number,
        f"segment {number}",
        codes.SCT.AnatomicalStructure,
        codes.SCT.Organ,
        highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm,
    )


def highdicom_seg(
    series: list[Dataset], pixels: np.ndarray, numbers: tuple[int, ...] = (1, 2, 3), kind: str = "BINARY", **more: Any
) -> Dataset:
    return Segmentation(
        series,
        pixels,
        SegmentationTypeValues(kind),
        [described(n) for n in numbers],
        generate_uid(),
        1,
        generate_uid(),
        1,
        "highdicom",
        "model",
        "1",
        "1",
        **more,
    )


def world(series: list[Dataset], pixels: np.ndarray, number: int) -> np.ndarray:
    """Where a segment's voxels lie in the patient, by each slice's own position, sorted."""
    places = []
    for k, j, i in np.argwhere(pixels == number):
        along_i, along_j = np.array(series[k].ImageOrientationPatient, float).reshape(2, 3)
        places.append(np.array(series[k].ImagePositionPatient, float) + along_i * SPACING[2] * i + along_j * SPACING[1] * j)
    return by_place(np.array(places))


def by_place(points: np.ndarray) -> np.ndarray:
    return np.asarray(points[np.lexsort(np.round(points, 2).T)])


def dcmqi_seg(folder: Path, series: list[Dataset], pixels: np.ndarray, program: str) -> Path:
    """What Slicer exports: dcmqi's itkimage2segimage, one label image."""
    folder.mkdir(parents=True)
    for k, ds in enumerate(series):
        ds.save_as(folder / f"{k}.dcm", enforce_file_format=True)
    first = series[0]
    image = sitk.GetImageFromArray(pixels.astype(np.int16))
    along_i, along_j = np.array(first.ImageOrientationPatient, float).reshape(2, 3)
    image.SetSpacing((SPACING[2], SPACING[1], SPACING[0]))
    image.SetOrigin([float(x) for x in first.ImagePositionPatient])
    image.SetDirection(np.array([along_i, along_j, np.cross(along_i, along_j)]).T.ravel().tolist())
    sitk.WriteImage(image, str(folder / "labels.nrrd"))
    attributes = [
        {
            "labelID": n,
            "SegmentLabel": f"segment {n}",
            "SegmentDescription": f"segment {n}",
            "SegmentAlgorithmType": "MANUAL",
            "SegmentedPropertyCategoryCodeSequence": _code("49755003", "Morphologically Altered Structure"),
            "SegmentedPropertyTypeCodeSequence": _code("52988006", "Lesion"),
            "recommendedDisplayRGBValue": [200, 10, 10],
        }
        for n in range(1, int(pixels.max()) + 1)
    ]
    words = {"ContentCreatorName": "Reader", "SeriesDescription": "corrected", "SeriesNumber": "300", "InstanceNumber": "1"}
    (folder / "meta.json").write_text(json.dumps({**words, "segmentAttributes": [attributes]}))
    command = [program, "--inputImageList", folder / "labels.nrrd", "--inputDICOMDirectory", folder]
    command += ["--inputMetadata", folder / "meta.json", "--outputDICOM", folder / "seg.dcm", "--skip"]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "seg.dcm"


def _code(value: str, meaning: str) -> dict[str, str]:
    return {"CodeValue": value, "CodingSchemeDesignator": "SCT", "CodeMeaning": meaning}


def instances(series: list[Dataset]) -> list[Instance]:
    return [Instance(path=Path(f"{k}.dcm"), header=ds) for k, ds in enumerate(series)]


def reopened(ds: Dataset, path: Path) -> Dataset:
    ds.save_as(path, enforce_file_format=True)
    return dcmread(path)
