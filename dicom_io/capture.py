"""fusion.dcm: the rotating view as a multi-frame true colour secondary capture, which every viewer shows; and fusion.png."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.sr.coding import Code
from pydicom.uid import PYDICOM_IMPLEMENTATION_UID, ExplicitVRLittleEndian, MultiFrameTrueColorSecondaryCaptureImageStorage

from analysis.values import PatientAnalysis, Tracer
from dicom_io import codes
from dicom_io.derived import (
    RESEARCH,
    RESEARCH_SENTENCE,
    Case,
    Kind,
    coding_scheme,
    contributing_equipment,
    description,
    finish,
    reference,
    source,
)
from dicom_io.fusion import build_scene
from dicom_io.picture import frames, still
from dicom_io.studies import DualTracerPair, Instance

FRAMES = 24
FRAME_TIME_MS = 125.0

# Patient and study: what the modules of those levels hold and a PET header may carry.
_COPIED = (
    "SpecificCharacterSet PatientName PatientID IssuerOfPatientID PatientBirthDate PatientSex PatientAge PatientSize PatientWeight "
    "PatientIdentityRemoved DeidentificationMethod DeidentificationMethodCodeSequence StudyInstanceUID StudyDate StudyTime StudyID "
    "StudyDescription AccessionNumber ReferringPhysicianName"
).split()


def write_fusion(pair: DualTracerPair, analysis: PatientAnalysis) -> tuple[Dataset, bytes]:
    """The rotating view in the PentixaFor study, and the still picture as PNG."""
    scene = build_scene(analysis)
    picture = still(scene, analysis, pair.gap_days)
    return capture(Case(pair=pair, analysis=analysis), frames(scene, FRAMES)), picture


def capture(case: Case, pixels: npt.NDArray[np.uint8]) -> Dataset:
    """pixels: (frames, rows, columns, 3), RGB."""
    study = case.pair.pentixafor
    first = source(study.pet.instances[0])
    ds = Dataset()
    for keyword in _COPIED:
        if keyword in first:
            ds.add(first[keyword])
    _identify(ds, case)
    _describe_pixels(ds, pixels)
    images = [i for t in (Tracer.PENTIXAFOR, Tracer.FDG) for i in case.pair.study(t).pet.instances]
    ds.SourceImageSequence = [_source_item(x) for x in images]
    ds.ContributingEquipmentSequence = list(contributing_equipment(case.analysis, Tracer))
    return finish(ds, study)


def _identify(ds: Dataset, case: Case) -> None:
    """Series, equipment, content and file meta information."""
    words = description(case, Kind.FUSION, [case.pair.fdg, case.pair.pentixafor])
    keywords = {
        "SeriesInstanceUID": "series_instance_uid",
        "SeriesNumber": "series_number",
        "SOPInstanceUID": "sop_instance_uid",
        "InstanceNumber": "instance_number",
        "Manufacturer": "manufacturer",
        "ManufacturerModelName": "manufacturer_model_name",
        "SoftwareVersions": "software_versions",
        "DeviceSerialNumber": "device_serial_number",
        "ContentDate": "content_date",
        "ContentTime": "content_time",
        "SeriesDate": "series_date",
        "SeriesTime": "series_time",
        "ContentQualification": "content_qualification",
        "SeriesDescription": "series_description",
    }
    for keyword, word in keywords.items():
        setattr(ds, keyword, words[word])
    ds.CodingSchemeIdentificationSequence = [coding_scheme()]
    ds.SOPClassUID = MultiFrameTrueColorSecondaryCaptureImageStorage
    ds.Modality = "OT"
    ds.BodyPartExamined = "WHOLEBODY"
    ds.ConversionType = "WSD"
    ds.ImageType = ["DERIVED", "SECONDARY", "MIP"]
    ds.ImageComments = RESEARCH_SENTENCE
    ds.DerivationDescription = f"FDG red, PentixaFor green, maximum intensity; FDG warped to PentixaFor; {RESEARCH}"
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.file_meta.ImplementationClassUID = PYDICOM_IMPLEMENTATION_UID


def _describe_pixels(ds: Dataset, pixels: npt.NDArray[np.uint8]) -> None:
    count, rows, columns, samples = pixels.shape
    values: dict[str, Any] = {
        "SamplesPerPixel": samples,
        "PhotometricInterpretation": "RGB",
        "PlanarConfiguration": 0,
        "NumberOfFrames": count,
        "Rows": rows,
        "Columns": columns,
        "BitsAllocated": 8,
        "BitsStored": 8,
        "HighBit": 7,
        "PixelRepresentation": 0,
        "BurnedInAnnotation": "NO",  # sides, scales and "research use only": nothing that identifies the patient
        "LossyImageCompression": "00",
        "FrameIncrementPointer": 0x00181063,
        "FrameTime": FRAME_TIME_MS,
        "RecommendedDisplayFrameRate": round(1000 / FRAME_TIME_MS),
        "PatientOrientation": "",
    }
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    data = pixels.tobytes()
    ds.PixelData = data + b"\x00" * (len(data) % 2)
    ds["PixelData"].VR = "OB"


def _source_item(instance: Instance) -> Dataset:
    given, item = reference(instance), Dataset()
    item.ReferencedSOPClassUID = given.SOPClassUID
    item.ReferencedSOPInstanceUID = given.SOPInstanceUID
    item.PurposeOfReferenceCodeSequence = [_coded(codes.SOURCE_IMAGE)]
    return item


def _coded(code: Code) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme_designator, code.meaning
    return item
