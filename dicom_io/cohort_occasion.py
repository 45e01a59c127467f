"""When and for whom a cohort is reported, and what all objects of a cohort share.

They lie under a pseudo-patient in a study of their own, never in a real patient's. Nothing is taken from the clock: the same
occasion with the same content gives the same bytes, so sending twice is harmless.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum

import highdicom
from highdicom.sr import DeviceObserverIdentifyingAttributes, ObserverContext
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.sr.codedict import codes as standard
from pydicom.uid import (
    UID,
    EncapsulatedPDFStorage,
    EnhancedSRStorage,
    ExplicitVRLittleEndian,
    KeyObjectSelectionDocumentStorage,
)

from analysis.cohort.values import Estimate
from analysis.values import Model, require
from dicom_io import codes
from dicom_io.derived import MANUFACTURER, RESEARCH, ascii_text, coding_scheme, device_uid
from dicom_io.elements import text
from dicom_io.studies import stable_uid

UNICODE = "ISO_IR 192"
COHORT_SENTENCE = (
    "Research use only: not a medical device, not for diagnosis or treatment. These are estimates of a cohort, which generate "
    "hypotheses; they are no prediction for a patient."
)


class CohortKind(Enum):
    """The objects of a cohort: file name without ending, series number, series description, modality, SOP class."""

    PDF = ("report-pdf", 7101, "duet cohort report", "DOC", EncapsulatedPDFStorage)
    SR = ("sr-cohort", 7102, "duet cohort estimates", "SR", EnhancedSRStorage)
    SUPERSEDED = ("kos-superseded", 7103, "duet cohort report replaced by", "KO", KeyObjectSelectionDocumentStorage)

    @property
    def stem(self) -> str:
        return self.value[0]

    @property
    def series_number(self) -> int:
        return self.value[1]

    def description(self, version: int) -> str:
        """As SeriesDescription. Few viewers heed a rejection note, so it tells the versions apart."""
        return f"{self.value[2]} {version}, {RESEARCH}"

    @property
    def modality(self) -> str:
        return self.value[3]

    @property
    def sop_class_uid(self) -> UID:
        return self.value[4]


_REPLACED = (CohortKind.PDF.sop_class_uid, CohortKind.SR.sop_class_uid)


@dataclass(frozen=True, slots=True, kw_only=True)
class Predecessor:
    """An object of the version that is replaced, as it was sent. study_date, study_time: as DICOM writes them."""

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str
    study_date: str
    study_time: str

    @classmethod
    def of(cls, ds: Dataset) -> Predecessor:
        """As the object says itself; the dataset may be a header alone."""
        return cls(
            sop_class_uid=text(ds, "SOPClassUID"),
            sop_instance_uid=text(ds, "SOPInstanceUID"),
            series_instance_uid=text(ds, "SeriesInstanceUID"),
            study_instance_uid=text(ds, "StudyInstanceUID"),
            study_date=text(ds, "StudyDate"),
            study_time=text(ds, "StudyTime"),
        )


def predecessors(objects: Iterable[Dataset]) -> tuple[Predecessor, ...]:
    """Of all objects of a version those that the next one replaces; its note on the version before is none of them."""
    return tuple(Predecessor.of(ds) for ds in objects if text(ds, "SOPClassUID") in _REPLACED)


@dataclass(frozen=True, slots=True, kw_only=True)
class CohortOccasion:
    """One version of a cohort's report. made_at: aware; patients, cycles: of the cohort; software: duet's version.

    predecessors: document and report of the version before (see `predecessors`); empty for the first. All versions share
    one study, which begins with the first. A pseudo-patient of another number has another study: nothing is replaced there.
    """

    patient_id: str
    patient_name: str
    version: int
    made_at: datetime
    patients: int
    cycles: int
    software: str
    predecessors: tuple[Predecessor, ...] = ()
    title: str = f"duet cohort report, {RESEARCH}"

    def __post_init__(self) -> None:
        require(_is_identity(self.patient_id) and bool(self.patient_id.strip()), "cohort: PatientID has 1 to 64 characters")
        require(_is_identity(self.patient_name), "cohort: PatientName has at most 64 characters")
        require(self.made_at.tzinfo is not None, "cohort: the time has no zone")
        require(self.version >= 1, "cohort: versions count from 1")
        require(all(x.study_instance_uid == self.study_uid for x in self.predecessors), "cohort: replaced in another study")
        require(all(x.sop_class_uid in _REPLACED for x in self.predecessors), "cohort: only document and report are replaced")

    @property
    def study_uid(self) -> str:
        return study_of(self.patient_id)

    @property
    def moment(self) -> tuple[str, str]:
        """DICOM's date and time, in UTC."""
        at = self.made_at.astimezone(UTC)
        return f"{at:%Y%m%d}", f"{at:%H%M%S}"

    @property
    def study_moment(self) -> tuple[str, str]:
        """When the first version was made: one study has one date."""
        first = self.predecessors[0] if self.predecessors else None
        return (first.study_date, first.study_time) if first else self.moment

    @property
    def model(self) -> Model:
        return Model(name="duet cohort analysis", version=self.software, manufacturer=MANUFACTURER)

    def plain(self) -> list[object]:
        """All that enters the objects, for their UIDs."""
        named = (self.patient_id, self.patient_name, self.version, self.patients, self.cycles, self.software, self.title)
        older = [x.sop_instance_uid for x in self.predecessors]
        return [*named, *self.moment, *self.study_moment, *older]


def study_of(patient_id: str) -> str:
    """The one study of a pseudo-patient, which all versions of its report lie in."""
    return stable_uid("cohort", "study", patient_id)


def _is_identity(value: str) -> bool:
    """PatientID or PatientName as DICOM allows them, in a single form."""
    return len(value) <= 64 and value.isprintable() and not set(value) & {"\\", "="}


def content_digest(report_pdf: bytes, estimates: Iterable[Estimate]) -> str:
    """SHA-256 of what is reported, without when and for whom: where it is that of the last version, nothing is new."""
    rows = [[x.name, float(x.value), float(x.low), float(x.high), float(x.p), int(x.n), x.unit, x.method] for x in estimates]
    return hashlib.sha256(json.dumps([hashlib.sha256(report_pdf).hexdigest(), rows]).encode()).hexdigest()


def cohort_seed(occasion: CohortOccasion, content: str) -> str:
    """What the UIDs of a version's objects are derived from: everything that its bytes depend on. content: content_digest."""
    return hashlib.sha256(json.dumps([*occasion.plain(), content]).encode()).hexdigest()


def cohort_object(occasion: CohortOccasion, kind: CohortKind, seed: str) -> Dataset:
    """An object under the pseudo-patient: patient, study, series, equipment and file meta information; no content."""
    ds = Dataset()
    date, time = occasion.moment
    study_date, study_time = occasion.study_moment
    ds.SpecificCharacterSet = UNICODE
    ds.TimezoneOffsetFromUTC = "+0000"
    ds.PatientID, ds.PatientName = occasion.patient_id, occasion.patient_name
    ds.PatientBirthDate = ds.PatientSex = ds.AccessionNumber = ds.ReferringPhysicianName = ""
    ds.StudyInstanceUID, ds.StudyDate, ds.StudyTime, ds.StudyID = occasion.study_uid, study_date, study_time, "COHORT"
    ds.StudyDescription = f"duet cohort, {RESEARCH}"
    ds.SeriesInstanceUID = stable_uid(seed, "series", kind.stem)
    ds.SeriesNumber, ds.SeriesDescription, ds.Modality = kind.series_number, kind.description(occasion.version), kind.modality
    ds.SeriesDate = ds.ContentDate = date
    ds.SeriesTime = ds.ContentTime = time
    ds.SOPClassUID, ds.SOPInstanceUID = kind.sop_class_uid, stable_uid(seed, "instance", kind.stem)
    ds.InstanceNumber = occasion.version
    ds.ContentQualification = "RESEARCH"
    _describe_equipment(ds, occasion)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    return ds


def _describe_equipment(ds: Dataset, occasion: CohortOccasion) -> None:
    version = ascii_text(occasion.software)
    ds.Manufacturer, ds.ManufacturerModelName, ds.SoftwareVersions = MANUFACTURER, "duet", version
    ds.DeviceSerialNumber = ascii_text(f"duet-{occasion.software}")
    item = highdicom.ContributingEquipment(
        MANUFACTURER,
        codes.PROCESSING_EQUIPMENT,
        manufacturer_model_name=occasion.model.name,
        software_versions=version,
        contribution_description="statistics of the cohort",
    )
    item.DeviceUID = device_uid(occasion.model)
    ds.ContributingEquipmentSequence = [item]
    ds.CodingSchemeIdentificationSequence = [coding_scheme()]


def cohort_observer(occasion: CohortOccasion) -> ObserverContext:
    """duet as the observing device, with what it is for."""
    device = DeviceObserverIdentifyingAttributes(
        device_uid(occasion.model),
        name=f"duet, {RESEARCH}",
        manufacturer_name=MANUFACTURER,
        model_name=occasion.model.name,
        serial_number=ascii_text(f"duet-{occasion.software}"),
    )
    return ObserverContext(standard.DCM.Device, device)


def reference_items(objects: Sequence[Predecessor]) -> list[Dataset]:
    """References by study, series and instance, as predecessor and evidence sequences hold them; one or more, of one study."""
    study = Dataset()
    study.ReferencedSeriesSequence = [_series_item(x) for x in objects]
    study.StudyInstanceUID = objects[0].study_instance_uid
    return [study]


def _series_item(given: Predecessor) -> Dataset:
    instance = Dataset()
    instance.ReferencedSOPClassUID, instance.ReferencedSOPInstanceUID = given.sop_class_uid, given.sop_instance_uid
    series = Dataset()
    series.ReferencedSOPSequence = [instance]
    series.SeriesInstanceUID = given.series_instance_uid
    return series
