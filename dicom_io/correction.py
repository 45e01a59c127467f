"""What a PET series' header says of its kind: attenuation corrected or not, static or not. Shared by the choice and the SUV."""

from __future__ import annotations

import re

from dicom_io.elements import number, private, text, words
from dicom_io.studies import Series

PET_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.128"
UNSUPPORTED_PET = {
    "1.2.840.10008.5.1.4.1.1.128.1": "a legacy converted enhanced PET",
    "1.2.840.10008.5.1.4.1.1.130": "an enhanced PET",
}
GE_CREATOR = "GEMS_PETD_01"

_NOT_CORRECTED = re.compile(
    r"(?<![a-z])(pet)?n[ -]?ac(?![a-z])|\bno[nt]?[ .-]*(ac|atte?n?|corr?|attenuation|corrected)\b|\bnatt?\b|un-?corr"
    r"|(without|w/?o)[ -]*(ac|att|corr)|ohne[ -]*(ac|schw|korr)|unkorr|nicht[ -]*(schw|korr)",
    re.IGNORECASE,
)
_NO_METHOD = {"NONE", "NO", "NOT CORRECTED", "OFF", "FALSE", "0"}


def why_not_corrected(series: Series) -> str:
    """Why the series is not, or not clearly, attenuation corrected; "" where it is.

    CorrectedImage alone is not believed: some scanners write ATTN into series that were not corrected.
    """
    header = series.header
    method = text(header, "AttenuationCorrectionMethod")
    corrected = {word.upper() for word in words(header, "CorrectedImage")}
    if method.upper() in _NO_METHOD:
        return f"AttenuationCorrectionMethod is {method}"
    if private(header, GE_CREATOR, (0x0009, 0x8C)) == 0:
        return "the scanner's private element (0009,108C) says that attenuation was not corrected"
    if corrected and "ATTN" not in corrected:
        return "CorrectedImage does not list ATTN"
    if not corrected and not method:
        return "neither CorrectedImage nor AttenuationCorrectionMethod speaks of attenuation"
    for keyword in ("SeriesDescription", "ImageType"):
        if _NOT_CORRECTED.search(re.sub(r"[\\_]", " ", text(header, keyword))):
            return f"{keyword} calls it not corrected"
    return ""


def why_not_static(series: Series) -> str:
    """Why the series is no static volume of slices; "" where it is."""
    if (kind := UNSUPPORTED_PET.get(text(series.header, "SOPClassUID"))) is not None:
        return f"it is {kind}, which is not supported; send the classic PET images"
    types = {word.upper() for word in words(series.header, "SeriesType")}
    unusual = sorted(types & {"DYNAMIC", "GATED", "REPROJECTION"})
    if unusual:
        return f"SeriesType is {', '.join(unusual)}"
    if (number(series.header, "NumberOfFrames") or 1) > 1:
        return "its images have several frames"
    return ""
