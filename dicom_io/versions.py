"""Two files that bear one SOP Instance UID: whether they are the same image for the analysis, or in what they differ."""

from __future__ import annotations

import numpy as np
from pydicom import Dataset

from analysis.errors import IncompleteSeries
from dicom_io.correction import GE_CREATOR
from dicom_io.elements import codes, items, numbers, private, text
from dicom_io.enhanced import frames
from dicom_io.headers import differences, identity, same_content
from dicom_io.pixels import stored_slices
from dicom_io.studies import Instance, Series
from dicom_io.suv_makers import PHILIPS_CREATOR

PIXELS = "pixel data"

# Compared as they are written: digits with leading zeros are another name.
_WORDS = (
    "SOPClassUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
    "Modality",
    "ImageType",
    "Units",
    "SUVType",
    "DecayCorrection",
    "CorrectedImage",
    "AttenuationCorrectionMethod",
    "SeriesType",
    "TimezoneOffsetFromUTC",
)
# Compared by their value: another writer may pad a number or a time.
_NUMBERS = (
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "NumberOfSlices",
    "RescaleSlope",
    "RescaleIntercept",
    "PixelPaddingValue",
    "PatientWeight",
    "PatientSize",
    "DecayFactor",
    "FrameReferenceTime",
    "ActualFrameDuration",
    "StudyDate",
    "StudyTime",
    "SeriesDate",
    "SeriesTime",
    "AcquisitionDate",
    "AcquisitionTime",
    "AcquisitionDateTime",
)
_INJECTION = (
    "RadionuclideTotalDose",
    "RadionuclideHalfLife",
    "RadiopharmaceuticalStartTime",
    "RadiopharmaceuticalStartDateTime",
    "Radiopharmaceutical",
)
_PRIVATE = (
    (GE_CREATOR, (0x0009, 0x0D)),
    (GE_CREATOR, (0x0009, 0x36)),
    (GE_CREATOR, (0x0009, 0x8C)),
    (PHILIPS_CREATOR, (0x7053, 0x00)),
    (PHILIPS_CREATOR, (0x7053, 0x09)),
)


def differing(one: Instance, other: Instance) -> tuple[str, ...]:
    """In which elements that the analysis uses the two differ; () where they are the same image in two forms.

    Pixels are decoded only where bytes differ and all else agrees; those that cannot be decoded count as differing.
    """
    if same_content(one.path, other.path):
        return ()
    ones, others = frames(one), frames(other)
    if len(ones) != len(others):
        return ("NumberOfFrames",)
    each = (differing_headers(x.header, y.header) for x, y in zip(ones, others, strict=True))
    found = tuple(dict.fromkeys(element for elements in each for element in elements))
    return found or (() if _same_pixels(ones, others) else (PIXELS,))


def differing_headers(one: Dataset, other: Dataset) -> tuple[str, ...]:
    """The elements that the analysis uses and in which two headers differ; no values, for they may name a patient."""
    found = [keyword for keyword in _WORDS if text(one, keyword) != text(other, keyword)]
    found += [keyword for keyword in _NUMBERS if _amount(one, keyword) != _amount(other, keyword)]
    if "name" in differences(identity(one), identity(other)):
        found.append("PatientName")
    if _injections(one) != _injections(other):
        found.append("RadiopharmaceuticalInformationSequence")
    found += [
        f"private element of {creator}" for creator, tag in _PRIVATE if _maker(one, creator, tag) != _maker(other, creator, tag)
    ]
    return tuple(dict.fromkeys(found))


def _amount(header: Dataset, keyword: str) -> tuple[float, ...] | str:
    return numbers(header, keyword) or text(header, keyword)


def _injections(header: Dataset) -> list[tuple[object, ...]]:
    return [
        (
            *(_amount(item, keyword) for keyword in _INJECTION),
            codes(item, "RadionuclideCodeSequence"),
            codes(item, "RadiopharmaceuticalCodeSequence"),
        )
        for item in items(header, "RadiopharmaceuticalInformationSequence")
    ]


def _maker(header: Dataset, creator: str, tag: tuple[int, int]) -> float | str:
    """A private value, which comes as bytes where the transfer syntax does not tell its kind.

    Where the creator was lost in de-identification, what stands in its first block counts.
    """
    orphan = header.get((tag[0], 0x1000 + tag[1]))
    found = private(header, creator, tag) or (None if orphan is None else orphan.value)
    word = (found.decode("latin-1") if isinstance(found, bytes) else str(found)).strip(" \0")
    try:
        return float(word)
    except ValueError:
        return word


def _same_pixels(ones: tuple[Instance, ...], others: tuple[Instance, ...]) -> bool:
    try:
        both = zip(stored_slices(Series(instances=ones)), stored_slices(Series(instances=others)), strict=True)
        return all(np.array_equal(one, other) for (_, one), (_, other) in both)
    except IncompleteSeries:
        return False
