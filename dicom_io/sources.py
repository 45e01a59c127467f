"""The measured images as writers need them: headers that highdicom takes, and references to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pydicom import Dataset, dcmread
from pydicom.charset import convert_encodings
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.tag import BaseTag, Tag
from pydicom.uid import CTImageStorage, PositronEmissionTomographyImageStorage
from pydicom.valuerep import PersonName

from dicom_io.legal import copied, legal
from dicom_io.studies import Instance, Series, stable_uid

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
_REFERENCE = [Tag(x) for x in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")]
# What highdicom and we read of every slice; the rest is read of the first, as a header's many elements take their time.
_PLACE = ("FrameOfReferenceUID", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns")
_OF_EVERY_SLICE = [
    *_REFERENCE,
    *(Tag(x) for x in (*_PLACE, "Modality", "SliceThickness", "SpacingBetweenSlices", "SliceLocation", "InstanceNumber")),
]
_KEPT_GROUPS = {0x0008, 0x0010, 0x0012, 0x0018, 0x0020, 0x0028, 0x0032, 0x0038}


def name_as_stored(instance: Instance, keyword: str) -> DataElement:
    """A person's name in the very bytes of the source, also where these are not what its character set allows.

    The file is asked, since pydicom forgets the bytes of a name once it was looked at.
    """
    try:
        stored = dcmread(instance.path, specific_tags=[keyword], stop_before_pixels=True, force=True).get_item(keyword)
    except OSError:
        stored = None
    if not isinstance(stored, RawDataElement) or not isinstance(stored.value, bytes):
        return copied(instance.header[keyword])
    encodings = convert_encodings(instance.header.get("SpecificCharacterSet") or "")
    return DataElement(stored.tag, "PN", PersonName(stored.value, encodings))


def source(instance: Instance) -> Dataset:
    """The instance's header as highdicom wants it: no private elements, no character set, empty type 2 attributes added.

    Name and character set are put back by `finish`: highdicom writes unusual names into its warnings, which end in logs, and
    refuses some legal character sets, an empty first value for instance.
    """
    kept = [tag for tag in instance.header.keys() if tag.group in _KEPT_GROUPS and not tag.is_private]  # noqa: SIM118
    ds = _legal(instance, kept)
    for keyword in MAY_BE_EMPTY:
        if keyword not in ds:
            setattr(ds, keyword, "")
    _drop_incomplete_trial(ds)
    ds.PatientName = ""
    if ds.PatientSex not in ("", "F", "M", "O"):
        ds.PatientSex = ""
    if "SpecificCharacterSet" in ds:
        del ds.SpecificCharacterSet
    return ds


def _place(instance: Instance) -> Dataset:
    """Of the header what says which slice it is and where it lies: of patient, study and acquisition nothing."""
    return _legal(instance, [tag for tag in _OF_EVERY_SLICE if tag in instance.header.keys()])  # noqa: SIM118


def _legal(instance: Instance, tags: Iterable[BaseTag]) -> Dataset:
    """These elements, as far as they are legal, with a frame of reference; a frame of several has a UID of its own."""
    ds = Dataset()
    for tag in tags:
        element = legal(instance.header, tag)
        if element is not None:
            ds.add(element)
    if not ds.get("FrameOfReferenceUID"):  # type 1 of our objects: a frame of the series' own
        ds.FrameOfReferenceUID = stable_uid("frame of reference", str(ds.SeriesInstanceUID))
    ds.file_meta = instance.header.file_meta
    if instance.frame is not None:
        ds.SOPInstanceUID = _frame_uid(instance)
        ds.SOPClassUID = PositronEmissionTomographyImageStorage if ds.Modality == "PT" else CTImageStorage
    return ds


def _frame_uid(instance: Instance) -> str:
    """Stands for a frame of a multi-frame object until `refer_to_frames` names it as DICOM does.

    highdicom takes one multi-frame object as its source, and a series may hold several; so it is given classic slices.
    """
    return stable_uid("frame", instance.sop_instance_uid, str(instance.frame))


def refer_to_frames(ds: Dataset, series: Series) -> None:
    """Names frames of multi-frame sources in an object made of `sources(series)` by SOP instance and ReferencedFrameNumber.

    A list of sources of the object as a whole names each SOP instance once, without frames.
    """
    frames = {_frame_uid(i): i for i in series.instances if i.frame is not None}
    if not frames:
        return
    for item in ds.get("PerFrameFunctionalGroupsSequence", []):
        for derivation in item.get("DerivationImageSequence", []):
            for source_item in derivation.get("SourceImageSequence", []):
                _name_frame(source_item, frames, numbered=True)
    for holder, keyword in ((ds, "SourceImageSequence"), *((s, "ReferencedInstanceSequence") for s in _series_items(ds))):
        for item in holder.get(keyword, []):
            _name_frame(item, frames, numbered=False)
        once = {str(item.ReferencedSOPInstanceUID): item for item in reversed(holder.get(keyword, []))}
        if once:
            setattr(holder, keyword, list(reversed(once.values())))


def _series_items(ds: Dataset) -> list[Dataset]:
    return list(ds.get("ReferencedSeriesSequence", []))


def _name_frame(item: Dataset, frames: Mapping[str, Instance], *, numbered: bool) -> None:
    instance = frames.get(str(item.ReferencedSOPInstanceUID))
    if instance is None or instance.frame is None:
        return
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = instance.sop_class_uid, instance.sop_instance_uid
    if numbered:
        item.ReferencedFrameNumber = instance.frame + 1


def _drop_incomplete_trial(ds: Dataset) -> None:
    """De-identified images often keep half a clinical trial module; ours is whole (PS3.3 C.7.1.3) or not there."""
    subject = ds.get("ClinicalTrialSubjectID") or ds.get("ClinicalTrialSubjectReadingID")
    if ds.get("ClinicalTrialSponsorName") and ds.get("ClinicalTrialProtocolID") and subject:
        return
    for element in [e for e in ds if e.keyword.startswith("ClinicalTrial")]:
        del ds[element.tag]


def sources(series: Series) -> list[Dataset]:
    """The headers of a series in slice order, ready for highdicom, the first one whole; what is made of them goes to
    `refer_to_frames`."""
    return [_place(x) if k else source(x) for k, x in enumerate(series.instances)]


def references(series: Series) -> list[Dataset]:
    """What references to a series' SOP instances need, each once, in slice order."""
    return [reference(x) for x in {i.sop_instance_uid: i for i in reversed(series.instances)}.values()][::-1]


def reference(instance: Instance) -> Dataset:
    """What a reference to an instance needs."""
    ds = Dataset()
    for tag in _REFERENCE:
        ds.add(DataElement(tag, "UI", str(instance.header[tag].value)))
    return ds
