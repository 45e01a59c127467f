"""What a PET series' header says of its kind: attenuation corrected or not, static or not. Shared by the choice and the SUV."""

from __future__ import annotations

import re

from dicom_io.elements import number, private, text, words
from dicom_io.enhanced import why_whole
from dicom_io.slices import position
from dicom_io.studies import Instance, Series

GE_CREATOR = "GEMS_PETD_01"

_NOT_CORRECTED = re.compile(
    r"(?<![a-z])(pet)?n[ -]?ac(?![a-z])|\bno[nt]?[ .-]*(ct|mr)?(ac|atte?n?|corr?|attenuation|corrected)\b|\bnattn?\b|un-?corr"
    r"|(without|w/?o|sans|sin)[ -]*(ct|mr)?(ac\b|att|aten|corr)|\bnon?[ -]*corr[ie]g"
    r"|ohne[ -]*(ac|schw|korr)|unkorr|nicht[ -]*(schw|korr)",
    re.IGNORECASE,
)
_PHASES = {
    "CardiacCyclePosition": "several cardiac phases",
    "NominalCardiacTriggerDelayTime": "several cardiac phases",
    "NominalPercentageOfCardiacPhase": "several cardiac phases",
    "RespiratoryCyclePosition": "several respiratory phases",
    "NominalRespiratoryTriggerDelayTime": "several respiratory phases",
    "NominalPercentageOfRespiratoryPhase": "several respiratory phases",
    "TemporalPositionIndex": "several time points",
    "TemporalPositionTimeOffset": "several time points",
    "AcquisitionTime": "several time points",
}
_PROJECTION = re.compile(r"\bmips?\b|max(?:imum)?[ _](?:intensity|ip)\b|\bprojection|\brotating", re.IGNORECASE)
# Secondary Capture Image Storage, single and multi-frame (PS3.4 B.5).
_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_NO_METHOD = {"NONE", "NO", "NOT CORRECTED", "OFF", "FALSE", "0"}


def why_not_corrected(series: Series) -> str:
    """Why the series is not, or not clearly, attenuation corrected; "" where it is.

    CorrectedImage alone is not believed: some scanners write ATTN into series that were not corrected.
    """
    header = series.header
    method = text(header, "AttenuationCorrectionMethod")
    corrected = {word.upper() for word in words(header, "CorrectedImage")}
    if method.upper() in _NO_METHOD or _NOT_CORRECTED.search(method):
        enhanced = text(header, "AttenuationCorrected").upper() == "NO"
        return "AttenuationCorrected is NO" if enhanced else f"AttenuationCorrectionMethod is {method}"
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
    if why := why_not_frames(series) or _why_picture(series):
        return why
    types = {word.upper() for word in words(series.header, "SeriesType")}
    unusual = sorted(types & {"DYNAMIC", "GATED", "REPROJECTION"})
    if unusual:
        return f"SeriesType is {', '.join(unusual)}"
    technique = text(series.header, "VolumeBasedCalculationTechnique").upper()
    if technique not in {"", "NONE"}:
        return f"it was calculated from a volume (VolumeBasedCalculationTechnique {technique[:16]})"
    if (number(series.header, "NumberOfFrames") or 1) > 1:
        return "its images have several frames"
    return why_several_phases(series)


def _why_picture(series: Series) -> str:
    if series.instances[0].sop_class_uid.startswith(_CAPTURE) and not text(series.header, "Units"):
        return "it is a secondary capture, a picture of a screen"
    return "it is a projection (ImageType or SeriesDescription says so)" if is_projection(series) else ""


def is_projection(series: Series) -> bool:
    """Whether its ImageType or SeriesDescription calls it a maximum intensity or another projection."""
    described = " ".join((*words(series.header, "ImageType"), series.description)).replace("_", " ")
    return bool(_PROJECTION.search(described))


def why_not_frames(series: Series) -> str:
    """Why a multi-frame object of the series could not be taken apart into frames; "" where there is none such."""
    return next((why for instance in series.instances if (why := why_whole(instance))), "")


def why_several_phases(series: Series) -> str:
    """Why a multi-frame series shows the same places several times: what differs among the frames of one place."""
    places: dict[tuple[float, ...], list[Instance]] = {}
    for instance in series.instances:
        if instance.frame is not None and (point := position(instance)) is not None:
            places.setdefault(tuple(float(x) for x in point.round(1)), []).append(instance)
    repeated = [instances for instances in places.values() if len(instances) > 1]
    for keyword, what in _PHASES.items() if repeated else ():
        if any(len({text(i.header, keyword) for i in instances}) > 1 for instances in repeated):
            return f"its frames show {what} ({keyword})"
    return ""
