"""Enhanced and legacy converted enhanced PET and CT: one multi-frame file as instances with headers in the classic form.

Each frame becomes an `Instance` of its own, which shares path and SOP instance UID with the others. Its header is what a
classic PET or CT slice would bear: functional groups (PS3.3 C.7.6.16) flattened, what legacy conversion left unassigned
put back, and the words of the enhanced PET (C.8.22) told in those of the classic one (C.8.9).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydicom import Dataset
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.tag import BaseTag
from pydicom.uid import (
    UID,
    EnhancedCTImageStorage,
    EnhancedPETImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
    LegacyConvertedEnhancedPETImageStorage,
)

from dicom_io.elements import MALFORMED, described, items, number, numbers, read_datetime, text, words
from dicom_io.enhanced_units import UnclearError, classic_units, scale
from dicom_io.studies import Instance

ENHANCED: dict[UID, str] = {
    EnhancedPETImageStorage: "an enhanced PET",
    LegacyConvertedEnhancedPETImageStorage: "a legacy converted enhanced PET",
    EnhancedCTImageStorage: "an enhanced CT",
    LegacyConvertedEnhancedCTImageStorage: "a legacy converted enhanced CT",
}
CONVERTED = {LegacyConvertedEnhancedPETImageStorage, LegacyConvertedEnhancedCTImageStorage}

_FRAME_ATTRIBUTES = {
    "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness"),
    "PlanePositionSequence": ("ImagePositionPatient",),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept", "RescaleType"),
    "FrameContentSequence": (
        "StackID",
        "InStackPositionNumber",
        "TemporalPositionIndex",
        "CardiacCyclePosition",
        "RespiratoryCyclePosition",
    ),
    "TemporalPositionSequence": ("TemporalPositionTimeOffset",),
    "CardiacSynchronizationSequence": ("NominalCardiacTriggerDelayTime", "NominalPercentageOfCardiacPhase"),
    "RespiratorySynchronizationSequence": ("NominalRespiratoryTriggerDelayTime", "NominalPercentageOfRespiratoryPhase"),
    "PETFrameCorrectionFactorsSequence": ("DecayFactor",),
    "PETFrameTypeSequence": ("VolumetricProperties", "VolumeBasedCalculationTechnique"),
    "CTImageFrameTypeSequence": ("VolumetricProperties", "VolumeBasedCalculationTechnique"),
    "CTXRayDetailsSequence": ("KVP",),
    "CTReconstructionSequence": ("ConvolutionKernel",),
}
_NEEDED = ("PixelMeasuresSequence", "PlanePositionSequence", "PlaneOrientationSequence")
_FRAME_TYPES = ("PETFrameTypeSequence", "CTImageFrameTypeSequence")
_UNASSIGNED = ("UnassignedSharedConvertedAttributesSequence", "UnassignedPerFrameConvertedAttributesSequence")
# What only a multi-frame object has.
_LEFT_OUT = (
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "NumberOfFrames",
    "DimensionOrganizationType",
    "DimensionOrganizationSequence",
    "DimensionIndexSequence",
)
_CORRECTIONS = {
    "DecayCorrected": "DECY",
    "AttenuationCorrected": "ATTN",
    "ScatterCorrected": "SCAT",
    "DeadTimeCorrected": "DTIM",
    "GantryMotionCorrected": "MOTN",
    "PatientMotionCorrected": "PMOT",
    "CountLossNormalizationCorrected": "CLN",
    "RandomsCorrected": "RAN",
    "NonUniformRadialSamplingCorrected": "RADL",
    "SensitivityCalibrated": "DCAL",
    "DetectorNormalizationCorrection": "NORM",
}

_DAY_MS = 86_400_000.0

Elements = dict[BaseTag, DataElement]
Groups = Mapping[str, tuple[Dataset, ...]]


def is_enhanced(header: Dataset) -> bool:
    """Whether the header is that of a multi-frame PET or CT object."""
    return text(header, "SOPClassUID") in ENHANCED


def frames(instance: Instance) -> tuple[Instance, ...]:
    """An enhanced object's frames as instances; any other instance as it is, and so one that cannot be taken apart."""
    if instance.frame is not None or not is_enhanced(instance.header):
        return (instance,)
    try:
        headers = list(_flattened(instance.header))
    except UnclearError:
        return (instance,)
    return tuple(Instance(path=instance.path, header=header, frame=n) for n, header in enumerate(headers))


def why_whole(instance: Instance) -> str:
    """Why an enhanced object could not be taken apart into frames; "" for what was, and for any other instance."""
    if instance.frame is not None or not is_enhanced(instance.header):
        return ""
    try:
        return "" if list(_flattened(instance.header)) else "it has no frames"
    except UnclearError as why:
        kind = ENHANCED[UID(text(instance.header, "SOPClassUID"))]
        return f"it is {kind} that {why}"


def _flattened(header: Dataset) -> Iterator[Dataset]:
    """One header in the classic form for each frame, in the order of the pixel data. Raises UnclearError."""
    per_frame = items(header, "PerFrameFunctionalGroupsSequence")
    announced = number(header, "NumberOfFrames")
    if not per_frame or announced != len(per_frame):
        raise UnclearError(
            f"announces {announced or 0:.0f} frames and describes {len(per_frame)} (PerFrameFunctionalGroupsSequence)"
        )
    if text(header, "DecayCorrected") == "YES" and read_datetime(text(header, "DecayCorrectionDateTime")) is None:
        raise UnclearError("was decay corrected to a time that it does not tell (DecayCorrectionDateTime)")
    common = _common(header)
    for count, item in enumerate(per_frame, start=1):
        own = _groups(item)
        groups = {**common.groups, **own}
        missing = [name for name in _NEEDED if name not in groups]
        if missing:
            raise UnclearError(f"has no {', '.join(missing)} for frame {count}")
        yield _classic(groups, next((own[name][0] for name in _UNASSIGNED if name in own), Dataset()), common)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Common:
    """What all frames of an object share. base: the header with what its conversion left unassigned put back; unassigned:
    the latter alone; agents: radiopharmaceutical items by their numbers, made once."""

    top: Dataset
    base: Elements
    unassigned: Dataset
    groups: Groups
    agents: dict[tuple[float, ...], DataElement]

    @property
    def is_pet(self) -> bool:
        return text(self.top, "Modality") == "PT"


def _common(header: Dataset) -> _Common:
    top = _dataset({tag: each for tag, each in _elements(header).items() if each.keyword not in _LEFT_OUT})
    top.file_meta = header.file_meta
    groups = _groups(next(iter(items(header, "SharedFunctionalGroupsSequence")), Dataset()))
    unassigned = next((groups[name][0] for name in _UNASSIGNED if name in groups), Dataset())
    base = _dataset(_elements(top))
    _put(base, unassigned)
    return _Common(top=top, base=_elements(base), unassigned=unassigned, groups=groups, agents={})


def _classic(groups: Groups, unassigned: Dataset, common: _Common) -> Dataset:
    """One frame's header. unassigned: of this frame. What conversion has kept outweighs what is told in other words."""
    told = {tag: each for tag, each in _elements(_told(groups, common)).items() if tag not in common.unassigned}
    ds = _dataset({**common.base, **told})
    _put(ds, unassigned)
    by_units = "Units" in common.unassigned or "Units" in unassigned
    ds.update(_own(groups, mapped=common.is_pet and not by_units))
    ds.file_meta = common.top.file_meta
    return ds


def _elements(ds: Dataset) -> Elements:
    """All elements that can be read."""
    found: Elements = {}
    for tag in ds.keys():  # noqa: SIM118 - iterating a Dataset would stop at a malformed element
        try:
            found[tag] = ds[tag]
        except MALFORMED:
            continue
    return found


def _dataset(elements: Elements) -> Dataset:
    """A dataset of its own, which shares the elements."""
    own: dict[BaseTag, DataElement | RawDataElement] = {**elements}
    return Dataset(own)


def _groups(item: Dataset) -> dict[str, tuple[Dataset, ...]]:
    """The functional groups of an item that are filled: keyword > items."""
    keywords = [each.keyword for each in _elements(item).values() if each.VR == "SQ"]
    return {keyword: found for keyword in keywords if (found := items(item, keyword))}


def _put(ds: Dataset, group: Dataset) -> None:
    """Puts a group's elements into a header; private ones into a block of their maker, which may have another number."""
    for tag, each in _elements(group).items():
        if not tag.is_private:
            ds[tag] = each
        elif not tag.is_private_creator and (creator := group.get(tag.private_creator)) is not None:
            block = ds.private_block(tag.group, str(creator.value), create=True)
            element = block.get_tag(tag.element & 0xFF)
            ds[element] = DataElement(element, each.VR, each.value)


def _own(groups: Groups, *, mapped: bool) -> Dataset:
    """What functional groups say in the same words as a classic slice.

    mapped: a value mapping stands for the slope. A converted PET means its slope by Units of its own.
    """
    found = Dataset()
    for name, keywords in _FRAME_ATTRIBUTES.items():
        for keyword in keywords if name in groups else ():
            if keyword in groups[name][0]:
                found[keyword] = _readable(groups[name][0], keyword)
    if not mapped:
        return found
    mapping = scale(groups.get("RealWorldValueMappingSequence", ()))
    if mapping is not None:
        _set(found, Units=mapping.units, RescaleSlope=mapping.slope, RescaleIntercept=mapping.intercept)
        if mapping.suv_type:
            _set(found, SUVType=mapping.suv_type)
    return found


def _readable(group: Dataset, keyword: str) -> DataElement:
    """The element; a malformed one as a word that is no value, so that it does not count as absent."""
    try:
        return group[keyword]
    except MALFORMED:
        return DataElement(keyword, "LO", "malformed")


def _told(groups: Groups, common: _Common) -> Dataset:
    """What functional groups and the enhanced modules say in other words than a classic slice."""
    top, found = common.top, Dataset()
    for name in _FRAME_TYPES:
        if name in groups and (kind := words(groups[name][0], "FrameType")):
            found.ImageType = list(kind)
    _set_times(found, groups, top)
    if common.is_pet:
        _set_units_by_type(found, groups, top)
        _set_corrections(found, top)
        _set_series_type(found, words(found, "ImageType") or words(top, "ImageType"))
        _set_radiopharmaceutical(found, groups, common)
        method = next(iter(groups.get("PETReconstructionSequence", ())), Dataset())
        found.ReconstructionMethod = " ".join(
            said for _, said in described(method, "ReconstructionType", "ReconstructionAlgorithm")
        )
    return found


def _set(ds: Dataset, **values: Any) -> None:
    """Sets elements anew: assigning to an attribute would change the element that another frame shares."""
    for keyword, value in values.items():
        ds.add_new(keyword, dictionary_VR(keyword), value)


def _set_times(ds: Dataset, groups: Groups, top: Dataset) -> None:
    """The frame's own start and duration. Without them the object's start stands where decay was corrected for."""
    content = next(iter(groups.get("FrameContentSequence", ())), Dataset())
    begun = read_datetime(text(content, "FrameAcquisitionDateTime"), text(top, "TimezoneOffsetFromUTC"))
    if begun is not None:
        _set(ds, AcquisitionDate=begun.strftime("%Y%m%d"), AcquisitionTime=begun.strftime("%H%M%S.%f"))
    elif text(top, "DecayCorrected") == "NO":
        _set(ds, AcquisitionDate="", AcquisitionTime="", AcquisitionDateTime="")
    if (representative := text(content, "FrameReferenceDateTime")) != "":
        _set(ds, FrameReferenceDateTime=representative)
    duration = number(content, "FrameAcquisitionDuration")
    if duration is not None and not 0 <= duration <= _DAY_MS:
        raise UnclearError(f"gives a frame a duration of {duration:.3g} ms (FrameAcquisitionDuration)")
    if duration is not None:
        ds.ActualFrameDuration = duration


def _set_units_by_type(ds: Dataset, groups: Groups, top: Dataset) -> None:
    """RescaleType as the unit, where neither a value mapping nor Units name one: some makers write it there."""
    transformation = next(iter(groups.get("PixelValueTransformationSequence", ())), Dataset())
    said = text(transformation, "RescaleType")
    units, suv_type, factor = classic_units(said)
    known = said.upper() in {"BQML", "GML", "CM2ML"} or (units != said and factor == 1.0)
    if known and not text(top, "Units"):
        ds.Units = units.upper()
        if suv_type:
            ds.SUVType = suv_type


def _set_corrections(ds: Dataset, top: Dataset) -> None:
    """CorrectedImage, AttenuationCorrectionMethod and DecayCorrection by the Enhanced PET Corrections module (C.8.22.7)."""
    said = {keyword: text(top, keyword).upper() for keyword in _CORRECTIONS}
    if any(said.values()):
        ds.CorrectedImage = [word for keyword, word in _CORRECTIONS.items() if said[keyword] == "YES"]
    if said["AttenuationCorrected"]:
        by = text(top, "AttenuationCorrectionSource") or "AttenuationCorrected"
        ds.AttenuationCorrectionMethod = by if said["AttenuationCorrected"] == "YES" else "NONE"
    if said["DecayCorrected"]:
        ds.DecayCorrection = {"YES": "START", "NO": "NONE"}.get(said["DecayCorrected"], said["DecayCorrected"][:16])


def _set_series_type(ds: Dataset, kind: tuple[str, ...]) -> None:
    """SeriesType by the third word of the frame type, where it is one that a classic PET would tell."""
    flavour = kind[2].upper() if len(kind) > 2 else ""
    if "GATED" in flavour:
        ds.SeriesType = ["GATED", "IMAGE"]
    elif flavour == "DYNAMIC":
        ds.SeriesType = ["DYNAMIC", "IMAGE"]


def _set_radiopharmaceutical(ds: Dataset, groups: Groups, common: _Common) -> None:
    """The agents that the frame shows, with the dose in Bq: the Enhanced PET Isotope module (C.8.22.4) has it in MBq."""
    used = tuple(n for item in groups.get("RadiopharmaceuticalUsageSequence", ()) for n in _agent(item))
    if used not in common.agents:
        given = items(common.top, "RadiopharmaceuticalInformationSequence")
        named = [item for item in given if set(_agent(item)) & set(used)]
        chosen = named if len(given) > 1 and named else given
        in_mbq = text(common.top, "SOPClassUID") == EnhancedPETImageStorage
        holder = Dataset()
        holder.RadiopharmaceuticalInformationSequence = [_in_bq(item) if in_mbq else item for item in chosen]
        common.agents[used] = holder["RadiopharmaceuticalInformationSequence"]
    if items(common.top, "RadiopharmaceuticalInformationSequence"):
        element = common.agents[used]
        ds[element.tag] = element


def _agent(item: Dataset) -> tuple[float, ...]:
    return numbers(item, "RadiopharmaceuticalAgentNumber")


def _in_bq(item: Dataset) -> Dataset:
    """A copy with the dose in Bq. Above 100 GBq nothing is given to a person: such a number was written in Bq."""
    found = _dataset(_elements(item))
    dose = number(item, "RadionuclideTotalDose")
    if dose is not None and 0 < dose < 1e5:
        _set(found, RadionuclideTotalDose=dose * 1e6)
    return found
