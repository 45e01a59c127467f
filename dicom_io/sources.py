"""The measured images as writers need them: headers that highdicom takes, and references to them."""

from __future__ import annotations

from pydicom import Dataset
from pydicom.dataelem import DataElement

from dicom_io.studies import Instance, Series

# Attributes that highdicom reads from a source image and that real sources lack; empty is allowed for each (type 2).
MAY_BE_EMPTY = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
)
_KEPT_GROUPS = {0x0008, 0x0010, 0x0012, 0x0018, 0x0020, 0x0028, 0x0032, 0x0038}
_IDENTITY = {"PatientID", "IssuerOfPatientID", "AccessionNumber", "StudyID"}
_LENGTHS = {"LO": 64, "SH": 16}


def copied(element: DataElement) -> DataElement:
    """An element of our own, as pydicom changes elements in place; text beyond its VR's length is cut, the identity never."""
    limit = None if element.keyword in _IDENTITY else _LENGTHS.get(element.VR)
    value = element.value[:limit] if isinstance(element.value, str) else element.value
    return DataElement(element.tag, element.VR, value)


def source(instance: Instance) -> Dataset:
    """The instance's header as highdicom wants it: no private elements, no character set, empty type 2 attributes added.

    Name and character set are put back by `finish`: highdicom writes unusual names into its warnings, which end in logs, and
    refuses some legal character sets, an empty first value for instance.
    """
    ds = Dataset()
    for tag in instance.header.keys():  # noqa: SIM118 - iterating a Dataset would decode every element
        if tag.group in _KEPT_GROUPS and not tag.is_private:
            ds.add(copied(instance.header[tag]))
    for keyword in MAY_BE_EMPTY:
        if keyword not in ds:
            setattr(ds, keyword, "")
    _drop_incomplete_trial(ds)
    ds.PatientName = ""
    if ds.PatientSex not in ("", "F", "M", "O"):
        ds.PatientSex = ""
    if "SpecificCharacterSet" in ds:
        del ds.SpecificCharacterSet
    ds.file_meta = instance.header.file_meta
    return ds


def _drop_incomplete_trial(ds: Dataset) -> None:
    """De-identified images often keep half a clinical trial module; ours is whole (PS3.3 C.7.1.3) or not there."""
    subject = ds.get("ClinicalTrialSubjectID") or ds.get("ClinicalTrialSubjectReadingID")
    if ds.get("ClinicalTrialSponsorName") and ds.get("ClinicalTrialProtocolID") and subject:
        return
    for element in [e for e in ds if e.keyword.startswith("ClinicalTrial")]:
        del ds[element.tag]


def sources(series: Series) -> list[Dataset]:
    """The headers of a series in slice order, each ready for highdicom."""
    return [source(x) for x in series.instances]


def reference(instance: Instance) -> Dataset:
    """What a reference to an instance needs."""
    ds = Dataset()
    for keyword in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        setattr(ds, keyword, str(instance.header[keyword].value))
    return ds
