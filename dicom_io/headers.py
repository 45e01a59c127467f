"""One file's header without its pixels, and loose instances grouped into series and studies."""

from __future__ import annotations

import itertools
import os
import re
import struct
import unicodedata
import zlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from analysis.errors import IdentityConflict, IncompleteSeries, NotDicom
from dicom_io.cutoff import holds_all_pixels
from dicom_io.elements import MALFORMED, moment, number, read_date, require_content_fault, text
from dicom_io.enhanced import frames
from dicom_io.frugal import read_header
from dicom_io.slices import order
from dicom_io.studies import Instance, PatientIdentity, Series, Study

MEDIA_STORAGE_DIRECTORY = "1.2.840.10008.1.3.10"
NEEDED = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
# Scanners write UIDs with leading zeros, which the standard forbids; they still name their object.
_UID_LIKE = re.compile(r"\d+(\.\d+)+")
UNREADABLE = (*MALFORMED, InvalidDicomError, zlib.error, MemoryError)


def read_instance(path: Path, *, header_alone: bool = False) -> Instance:
    """The instance in a file, with or without preamble and meta information; its pixels are not read, but must be there.

    header_alone: a file that ends where its pixel data would begin counts too, as headers are kept and published.
    Raises NotDicom: the file is empty, no DICOM, an index (DICOMDIR), damaged or cut off. Raises OSError: it cannot be opened.
    """
    with path.open("rb") as stream:
        _check_beginning(stream.read(132))
        stream.seek(0)
        header = _parse(stream)
        _check_header(header)
        place = stream.tell()
        if not holds_all_pixels(stream, header) and not (header_alone and _ends_at(stream, place)):
            raise NotDicom("The file is cut off: its pixel data are missing or end too early; it must be sent again.")
    return Instance(path=path, header=header, pixels_at=place)


def _ends_at(stream: BinaryIO, place: int) -> bool:
    """Whether nothing follows."""
    stream.seek(place)
    return not stream.read(1)


def read_folder(folder: Path, *, headers_alone: bool = False) -> tuple[list[Instance], list[tuple[Path, str]]]:
    """Every instance below a folder, in order of path, and (path, sentence) for each file that cannot be used.

    headers_alone: see read_instance.
    """
    instances: list[Instance] = []
    unusable: list[tuple[Path, str]] = []
    for path in _files(folder):
        try:
            instances.append(read_instance(path, header_alone=headers_alone))
        except NotDicom as error:
            unusable.append((path, str(error)))
        except OSError as error:
            unusable.append(
                (path, f"The file cannot be read ({error.strerror or 'input/output error'}); check its permissions.")
            )
    return instances, unusable


def read_object(given: Dataset | Path) -> Dataset:
    """A whole object of any kind; one that was read already is given back. Raises NotDicom: the file cannot be read, or would
    take more memory than any object does."""
    if isinstance(given, Dataset):
        return given
    try:
        with given.open("rb") as stream:
            read_header(stream)
        return dcmread(given)
    except UNREADABLE as error:
        require_content_fault(error)
        raise NotDicom(f"{given.name} is no readable DICOM object; send it again.") from error


def _files(folder: Path) -> list[Path]:
    """Every file below a folder, by path; links to folders are followed, each folder once."""
    found: list[Path] = []
    seen: set[Path] = set()
    for name, inner, files in os.walk(folder, followlinks=True):
        place = Path(name)
        if place.resolve() in seen:
            inner.clear()
            continue
        seen.add(place.resolve())
        found += [path for file in files if (path := place / file).is_file()]
    return sorted(found)


def _check_beginning(head: bytes) -> None:
    """Raises NotDicom for what cannot be DICOM, before any of it is parsed: such a file may be huge."""
    if not head:
        raise NotDicom("The file is empty; it must be sent again.")
    bare = head[:2] in {b"\x02\x00", b"\x04\x00", b"\x08\x00", b"\x00\x08"}
    if head[128:132] != b"DICM" and not bare:
        raise NotDicom("The file is no DICOM object.")


def _parse(stream: BinaryIO) -> Dataset:
    try:
        header: Dataset = read_header(stream)
    except UNREADABLE as error:
        require_content_fault(error)
        raise NotDicom("The file is no readable DICOM object: it is of another kind, damaged or cut off.") from None
    if text(header.file_meta, "MediaStorageSOPClassUID") == MEDIA_STORAGE_DIRECTORY or "DirectoryRecordSequence" in header:
        raise NotDicom("The file is a DICOMDIR, an index of other files, and holds no image.")
    return header


def _check_header(header: Dataset) -> None:
    missing = [keyword for keyword in NEEDED if not _UID_LIKE.fullmatch(text(header, keyword))]
    if len(missing) == len(NEEDED):
        raise NotDicom("The file is no DICOM object.")
    if missing:
        raise NotDicom(
            f"The DICOM header has no valid {', '.join(missing)}; the file is damaged or cut off and must be sent again."
        )
    if not text(header.file_meta, "TransferSyntaxUID"):
        header.file_meta = _meta(header)


def _meta(header: Dataset) -> FileMetaDataset:
    """The meta information of a dataset that came without, so that its pixels can be decoded later."""
    implicit, little = header.original_encoding
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(text(header, "SOPClassUID"))
    meta.MediaStorageSOPInstanceUID = UID(text(header, "SOPInstanceUID"))
    explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
    meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    return meta


def group(instances: Iterable[Instance]) -> list[Study]:
    """Loose instances as studies, by study date and UID; their series by number and UID.

    An instance that came twice with equal content is kept once; a multi-frame PET or CT becomes its frames.
    Raises IncompleteSeries: one SOP instance UID, two contents. Raises IdentityConflict: one PatientID (and issuer), two
    people.
    """
    kept = [frame for instance in once(instances) for frame in frames(instance)]
    by_study = _by(kept, "StudyInstanceUID")
    studies = sorted(
        (_study(members) for members in by_study.values()), key=lambda study: (study.started, study.study_instance_uid)
    )
    _require_one_person(studies)
    return studies


def once(instances: Iterable[Instance]) -> list[Instance]:
    """Each SOP instance once, in the order of first sight. Raises IncompleteSeries where two contents bear one UID."""
    kept: dict[str, Instance] = {}
    for instance in instances:
        first = kept.setdefault(instance.sop_instance_uid, instance)
        if first is not instance and not same_content(first.path, instance.path):
            series = text(instance.header, "SeriesInstanceUID")
            raise IncompleteSeries(
                f"The SOP instance {instance.sop_instance_uid} of series {series} came twice with different content; "
                "find out which is right and remove the other."
            )
    return list(kept.values())


def same_content(one: Path, other: Path) -> bool:
    """Whether two files hold the same bytes after the meta information, which each receiver writes anew."""
    return one == other or _dataset_bytes(one) == _dataset_bytes(other)


def _dataset_bytes(path: Path) -> bytes:
    content = path.read_bytes()
    if content[128:132] != b"DICM" or content[132:136] != b"\x02\x00\x00\x00":
        return content
    length = struct.unpack("<L", content[140:144])[0]
    return content[144 + length :]


def _by(instances: Iterable[Instance], keyword: str) -> dict[str, list[Instance]]:
    groups: dict[str, list[Instance]] = {}
    for instance in instances:
        groups.setdefault(text(instance.header, keyword), []).append(instance)
    return groups


def _study(instances: Sequence[Instance]) -> Study:
    series = [Series(instances=order(members)) for members in _by(instances, "SeriesInstanceUID").values()]
    series.sort(key=lambda s: (number(s.header, "SeriesNumber") or 0.0, s.series_instance_uid))
    patients = [identity(i.header) for i in instances]
    reference = max(patients, key=lambda p: (p.patient_id != "", _filled(p)))
    for patient in patients:
        if patient.patient_id and patient.patient_id != reference.patient_id:
            raise IdentityConflict(
                f"The study {text(instances[0].header, 'StudyInstanceUID')} holds images with two PatientIDs; "
                "it must be corrected at its source."
            )
    return Study(patient=reference, series=tuple(series), started=_started(instances))


def _filled(patient: PatientIdentity) -> int:
    return sum(bool(word) for word in (patient.issuer, patient.name, patient.birth_date, patient.sex))


def _started(instances: Sequence[Instance]) -> datetime:
    """Study date and time, else the earliest of what the series say, else the earliest date there is."""
    for name in ("Study", "Series", "Acquisition", "Content"):
        found = [at for i in instances if (at := moment(i.header, name)) is not None]
        if found:
            return min(found)
    dates = [day for i in instances if (day := read_date(text(i.header, "StudyDate"))) is not None]
    return min(dates, default=datetime(1, 1, 1))


def identity(header: Dataset) -> PatientIdentity:
    """Who the header says it is."""
    sex = text(header, "PatientSex").upper()
    return PatientIdentity(
        patient_id=text(header, "PatientID"),
        issuer=text(header, "IssuerOfPatientID"),
        name=text(header, "PatientName"),
        birth_date=day.strftime("%Y%m%d") if (day := read_date(text(header, "PatientBirthDate"))) else "",
        sex="" if sex == "U" else sex,
    )


def differences(one: PatientIdentity, other: PatientIdentity) -> tuple[str, ...]:
    """Which of birth date, sex and name speak of two people; an empty field speaks of nobody."""
    found = []
    if one.birth_date and other.birth_date and one.birth_date != other.birth_date:
        found.append("birth date")
    if one.sex and other.sex and one.sex != other.sex:
        found.append("sex")
    if not _same_name(one.name, other.name):
        found.append("name")
    return tuple(found)


def same_patient_id(one: PatientIdentity, other: PatientIdentity) -> bool:
    """Whether both bear one PatientID of one issuer; an issuer that is not given may be any."""
    issuers = {one.issuer.casefold(), other.issuer.casefold()} - {""}
    return one.patient_id != "" and one.patient_id == other.patient_id and len(issuers) < 2


def _require_one_person(studies: Sequence[Study]) -> None:
    by_id: dict[str, dict[PatientIdentity, Study]] = {}
    for study in studies:
        for series in study.series:
            who = identity(series.header)
            by_id.setdefault(who.patient_id, {}).setdefault(who, study)
    for people in by_id.values():
        for (one, first), (other, second) in itertools.combinations(people.items(), 2):
            if same_patient_id(one, other) and (differing := differences(one, other)):
                raise IdentityConflict(conflict_sentence(differing, first, second))


def conflict_sentence(differing: Sequence[str], first: Study, second: Study) -> str:
    """Says that two studies bear one PatientID and describe two people, without naming either."""
    uids = sorted({first.study_instance_uid, second.study_instance_uid})
    where = f"The studies {uids[0]} and {uids[1]} bear" if len(uids) == 2 else f"The series of study {uids[0]} bear"
    what = " and ".join(differing)
    return f"{where} one PatientID but differ in {what}: two people may be mixed up; correct them at their source."


# Letters that are written in two ways where accents are not at hand.
_TRANSLITERATIONS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "å": "aa", "æ": "ae", "ø": "oe"})


def _same_name(one: str, other: str) -> bool:
    """Compares family, given and middle name; case, accents, padding and components that one side leaves out do not count."""
    pairs = itertools.zip_longest(_components(one), _components(other), fillvalue="")
    return all(not a or not b or _spellings(a) & _spellings(b) for a, b in pairs)


def _components(name: str) -> list[str]:
    alphabetic = next((part for part in name.split("=") if part.strip("^ ")), "")
    return [" ".join(re.split(r"[\s.,'-]+", part)).strip() for part in alphabetic.split("^")[:3]]


def _spellings(component: str) -> set[str]:
    lower = unicodedata.normalize("NFC", component).casefold()
    return {
        _without_accents(lower),
        _without_accents(unicodedata.normalize("NFC", component).lower().translate(_TRANSLITERATIONS)),
    }


def _without_accents(word: str) -> str:
    return "".join(letter for letter in unicodedata.normalize("NFKD", word) if not unicodedata.combining(letter))
