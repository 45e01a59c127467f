"""fusion.dcm: the rotating view as a multi-frame true colour secondary capture, which every viewer shows; and fusion.png."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from pydicom.uid import MultiFrameTrueColorSecondaryCaptureImageStorage

from analysis.values import PatientAnalysis, Tracer
from dicom_io import codes
from dicom_io.derived import RESEARCH, RESEARCH_SENTENCE, Case, Kind, coded, new_object
from dicom_io.page import frames, png, still_page
from dicom_io.scene import build_scene
from dicom_io.sources import references
from dicom_io.studies import DualTracerPair

FRAMES = 24
FRAME_TIME_MS = 125.0


def write_fusion(pair: DualTracerPair, analysis: PatientAnalysis) -> tuple[Dataset, bytes]:
    """The rotating view in the PentixaFor study, and the still picture as PNG."""
    scene = build_scene(analysis)
    picture = png(still_page(scene, analysis, pair.gap_days))
    return capture(Case(pair=pair, analysis=analysis), frames(scene, analysis, pair.gap_days, FRAMES)), picture


def capture(case: Case, pixels: npt.NDArray[np.uint8]) -> Dataset:
    """pixels: (frames, rows, columns, 3), RGB."""
    order = [Tracer.PENTIXAFOR, Tracer.FDG]
    ds = new_object(case, Kind.FUSION, order, MultiFrameTrueColorSecondaryCaptureImageStorage, "OT")
    ds.BodyPartExamined = "WHOLEBODY"
    ds.ConversionType = "WSD"
    ds.ImageType = ["DERIVED", "SECONDARY", "MIP"]
    ds.ImageComments = RESEARCH_SENTENCE
    ds.DerivationDescription = f"FDG red, PentixaFor green, maximum intensity; FDG warped to PentixaFor; {RESEARCH}"
    ds.SourceImageSequence = [_source_item(x) for t in order for x in references(case.pair.study(t).pet)]
    _describe_pixels(ds, pixels)
    return ds


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
        "BurnedInAnnotation": "NO",  # sides, scales, measures and "research use only": nothing that identifies the patient
        "LossyImageCompression": "00",
        "FrameIncrementPointer": 0x00181063,
        "FrameTime": FRAME_TIME_MS,
        "RecommendedDisplayFrameRate": round(1000 / FRAME_TIME_MS),
        "CineRate": round(1000 / FRAME_TIME_MS),
        "PreferredPlaybackSequencing": 0,  # round and round
        "PatientOrientation": "",
    }
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    data = pixels.tobytes()
    ds.PixelData = data + b"\x00" * (len(data) % 2)
    ds["PixelData"].VR = "OB"


def _source_item(given: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = given.SOPClassUID
    item.ReferencedSOPInstanceUID = given.SOPInstanceUID
    item.PurposeOfReferenceCodeSequence = [coded(codes.SOURCE_IMAGE)]
    return item
