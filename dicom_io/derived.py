"""What all written objects share: patient and study modules, references, equipment and stable UIDs.

The same pair analysed by the same software with the same settings gives the same bytes: UIDs are derived, and dates are
those of the images, never of the clock. So a run that was cut off can be repeated, and sending twice is harmless.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Any

import highdicom
import numpy as np
from highdicom.coding_schemes import CodingSchemeIdentificationItem
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.sr.coding import Code
from pydicom.uid import ExplicitVRLittleEndian

from analysis.values import Lesion, Model, PatientAnalysis, Tracer
from dicom_io import codes
from dicom_io.legal import copied, word
from dicom_io.sources import MAY_BE_EMPTY, name_as_stored, source
from dicom_io.studies import DualTracerPair, TracerStudy, stable_uid

MANUFACTURER = "duet"
RESEARCH = "research use only"
RESEARCH_SENTENCE = (
    "Research use only: not a medical device, not for diagnosis or treatment. Lesions were found by software and were not "
    "verified by a reader."
)

# What else the patient, study and clinical trial modules hold and a PET header may carry.
COPIED = (
    *MAY_BE_EMPTY,
    "StudyInstanceUID",
    "StudyDescription",
    "IssuerOfPatientID",
    "OtherPatientIDsSequence",
    "EthnicGroup",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    "ClinicalTrialSponsorName",
    "ClinicalTrialProtocolID",
    "ClinicalTrialProtocolName",
    "ClinicalTrialSiteID",
    "ClinicalTrialSiteName",
    "ClinicalTrialSubjectID",
    "ClinicalTrialSubjectReadingID",
    "ClinicalTrialTimePointID",
    "ClinicalTrialTimePointDescription",
)
_KEYWORDS = {
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
    "CodingSchemeIdentificationSequence": "coding_schemes",
    "SeriesDescription": "series_description",
}


class SegForm(StrEnum):
    """How a segmentation holds its pixels."""

    BINARY = "binary"
    LABELMAP = "labelmap"


class SrForm(StrEnum):
    """As which kind of structured report a report is written."""

    COMPREHENSIVE_3D = "comprehensive3d"
    ENHANCED = "enhanced"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectSettings:
    """[objects]. seg: labelmap is misread by viewers and archives of before 2025; sr: enhanced where 3D SR is refused."""

    seg: SegForm = SegForm.BINARY
    sr: SrForm = SrForm.COMPREHENSIVE_3D


STANDARD_OBJECTS = ObjectSettings()


class Kind(Enum):
    """The written objects: file name without ending, series number and series description."""

    SEG_FDG = ("seg-fdg", 7001, "duet FDG lesions")
    SEG_PENTIXAFOR = ("seg-pentixafor", 7002, "duet PentixaFor lesions")
    SR_FDG = ("sr-fdg", 7011, "duet FDG report")
    SR_PENTIXAFOR = ("sr-pentixafor", 7012, "duet PentixaFor report")
    SR_PAIR = ("sr-pair", 7013, "duet dual-tracer report")
    FUSION = ("fusion", 7021, "duet FDG and PentixaFor rotating view")

    @property
    def stem(self) -> str:
        return self.value[0]

    @property
    def series_number(self) -> int:
        return self.value[1]

    @property
    def description(self) -> str:
        """At most 64 characters, as SeriesDescription."""
        return f"{self.value[2]}, {RESEARCH}"

    @classmethod
    def seg(cls, tracer: Tracer) -> Kind:
        return cls.SEG_FDG if tracer is Tracer.FDG else cls.SEG_PENTIXAFOR

    @classmethod
    def sr(cls, tracer: Tracer) -> Kind:
        return cls.SR_FDG if tracer is Tracer.FDG else cls.SR_PENTIXAFOR


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Case:
    """One pair with its analysis: what every writer is given. seed: what all UIDs are derived from."""

    pair: DualTracerPair
    analysis: PatientAnalysis
    objects: ObjectSettings = STANDARD_OBJECTS
    seed: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "seed", (self.pair.uid, digest(self.analysis), self.objects.seg, self.objects.sr))

    @property
    def version(self) -> str:
        return version_of(self.analysis)

    def uid(self, *parts: str) -> str:
        """A UID that depends on the images, the settings and versions, and the given words."""
        return stable_uid(*self.seed, *parts)

    def series_uid(self, kind: Kind, part: int = 1) -> str:
        return self.uid("series", kind.stem, str(part))

    def sop_uid(self, kind: Kind, part: int = 1) -> str:
        return self.uid("instance", kind.stem, str(part))

    def tracking_uid(self, lesion: Lesion) -> str:
        """The lesion's UID, the same in SEG, SR, results.json and lesions.csv."""
        return self.uid("lesion", lesion.id)


def version_of(analysis: PatientAnalysis) -> str:
    """Our own version, as the analysis recorded it."""
    return analysis.software.get("duet-node", "unknown")


def plain(value: Any) -> Any:
    """Any value of settings and results as JSON knows it; NaN and infinity become null."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    return _plain_composite(value)


def _plain_composite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(plain(k)): plain(v) for k, v in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted((plain(v) for v in value), key=str)
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    return str(value)


def models(analysis: PatientAnalysis, tracers: Iterable[Tracer] = tuple(Tracer)) -> dict[str, Model]:
    """What contributed to the result: the role, as shown to the reader > the algorithm."""
    found: dict[str, Model] = {}
    for tracer in tracers:
        found[f"{tracer} lesion segmentation"] = analysis.lesions[tracer].model
        found[f"{tracer} anatomy"] = analysis.anatomy[tracer].model
    method = analysis.aligned.quality.method
    found["registration of the CTs"] = Model(name=f"registration {method}", version=version_of(analysis))
    return found


def digest(analysis: PatientAnalysis) -> str:
    """SHA-256 of everything that decides a result beside the images: settings, versions and models."""
    parts = [analysis.settings, analysis.software, models(analysis)]
    return hashlib.sha256(json.dumps(plain(parts), sort_keys=True).encode()).hexdigest()


def device_uid(model: Model) -> str:
    """Changes with the version and with the weights."""
    return stable_uid("device", model.manufacturer, model.name, model.version, model.weights_sha256)


def printable(text: str, length: int = 64) -> str:
    """Text that every VR can carry, at most `length` long: no control characters, no backslash."""
    return "".join(c if c.isprintable() else " " for c in text.replace("\\", "/"))[:length]


def ascii_text(text: str, length: int = 64) -> str:
    """Text that every character set and VR can carry, at most `length` long."""
    return printable(text, length).encode("ascii", "replace").decode()


def contributing_equipment(analysis: PatientAnalysis, tracers: Iterable[Tracer]) -> list[highdicom.ContributingEquipment]:
    """One item for each algorithm, with manufacturer, model, version and DeviceUID."""
    items = []
    for role, model in models(analysis, tracers).items():
        item = highdicom.ContributingEquipment(
            ascii_text(model.manufacturer),
            codes.PROCESSING_EQUIPMENT,
            manufacturer_model_name=ascii_text(model.name),
            software_versions=ascii_text(model.version),
            contribution_description=ascii_text(role, 1024),
        )
        item.DeviceUID = device_uid(model)
        items.append(item)
    return items


def coding_scheme() -> CodingSchemeIdentificationItem:
    """Declares the codes that are our own."""
    return CodingSchemeIdentificationItem(
        codes.OWN_SCHEME, name="duet dual-tracer PET/CT concepts", version="1", responsible_organization="duet"
    )


def content_moment(studies: Iterable[TracerStudy]) -> tuple[str, str]:
    """ContentDate and ContentTime of an object made from these studies: when the latest PET was acquired."""
    moments = []
    for study in studies:
        header = study.pet.header
        fallback = study.study.started
        date = word(header, "SeriesDate") or f"{fallback:%Y%m%d}"
        time = word(header, "SeriesTime") or f"{fallback:%H%M%S}"
        moments.append((date, time))
    return max(moments)


def description(case: Case, kind: Kind, studies: Iterable[TracerStudy], part: int = 1) -> dict[str, Any]:
    """The arguments that highdicom's objects have in common."""
    date, time = content_moment(studies)
    return {
        "series_instance_uid": case.series_uid(kind, part),
        "series_number": kind.series_number + 100 * (part - 1),
        "sop_instance_uid": case.sop_uid(kind, part),
        "instance_number": 1,
        "manufacturer": MANUFACTURER,
        "manufacturer_model_name": "duet",
        "software_versions": ascii_text(case.version),
        "device_serial_number": ascii_text(f"duet-{case.version}"),
        "content_date": date,
        "content_time": time,
        "series_date": date,
        "series_time": time,
        "content_qualification": "RESEARCH",
        "coding_schemes": [coding_scheme()],
        "series_description": kind.description,
    }


def new_object(case: Case, kind: Kind, tracers: Sequence[Tracer], sop_class_uid: str, modality: str) -> Dataset:
    """An object in the study of the first tracer: patient, study, series, equipment and file meta information; no content."""
    studies = [case.pair.study(t) for t in tracers]
    first = source(studies[0].pet.instances[0])
    ds = Dataset()
    for keyword in COPIED:
        if keyword in first:
            ds.add(first[keyword])
    words = description(case, kind, studies)
    for keyword, name in _KEYWORDS.items():
        setattr(ds, keyword, words[name])
    ds.SOPClassUID, ds.Modality = sop_class_uid, modality
    ds.ContributingEquipmentSequence = contributing_equipment(case.analysis, tracers)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    return finish(ds, studies[0])


def coded(code: Code) -> Dataset:
    """A code as a sequence item."""
    return highdicom.sr.CodedConcept.from_code(code)


def finish(ds: Dataset, study: TracerStudy) -> Dataset:
    """Puts back the source's character set and name, and takes out what the clock has written."""
    header = study.pet.header
    if "SpecificCharacterSet" in header:
        ds.add(copied(header["SpecificCharacterSet"]))
    for keyword in ("PatientName", "ReferringPhysicianName"):
        if keyword in header:
            ds.add(name_as_stored(study.pet.instances[0], keyword))
    for keyword in ("InstanceCreationDate", "InstanceCreationTime"):
        if keyword in ds:
            delattr(ds, keyword)
    for item in ds.get("ContributingEquipmentSequence", []):
        if item.get("ManufacturerModelName") == "highdicom" and "ContributionDateTime" in item:
            del item.ContributionDateTime
    return ds
