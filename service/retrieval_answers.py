"""What an archive has, listed in whole: where it stops at a number of answers, the question is divided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta

from pydicom import Dataset

from service.retrieval import IMAGES, Contents, Found, Level, SeriesAnswer, StudyAnswer, Wanted
from service.retrieval_link import Answers, Link
from service.tallies import Count, SeriesCount

FIRST_DAY = date(1970, 1, 1)  # no PET/CT is older
MOST_QUERIES = 250  # into which one question about studies is divided
GAP = 20  # instance numbers without an object after which no more are asked for
LAST_NUMBER = 20000

# What is asked of each level; all of it comes back, and the patient's name is never among it.
KEYS = {
    Level.STUDY: ("StudyInstanceUID", "PatientID", "IssuerOfPatientID", "AccessionNumber", "StudyDate", "ModalitiesInStudy"),
    Level.SERIES: ("StudyInstanceUID", "SeriesInstanceUID", "Modality", "NumberOfSeriesRelatedInstances"),
    Level.IMAGE: ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "InstanceNumber"),
}


def studies(link: Link, wanted: Wanted) -> Found:
    """The studies that were asked for. Raises ArchiveError."""
    keys = _keys(Level.STUDY, _identifiers(wanted))
    windows: list[tuple[date | None, date | None]] = [(wanted.first, wanted.last)]
    told: dict[str, StudyAnswer] = {}
    queries, doubt = 0, ""
    while windows:
        first, last = windows.pop()
        answers = link.find(Level.STUDY, {**keys, "StudyDate": _range(first, last)})
        queries += 1
        told |= {study.study_uid: study for study in map(_study, answers.found) if study.study_uid}
        if _may_lack(link, answers) and not wanted.study_uid:
            halves = _halves(first, last)
            if halves and queries + len(windows) + len(halves) <= MOST_QUERIES:
                windows += halves
            else:
                doubt = f"{link.archive.name} stops answering before it has told all studies; narrow the dates."
    found = [study for study in told.values() if wanted.holds(study)]
    in_order = sorted(found, key=lambda study: (study.study_date, study.study_uid))
    return Found(studies=tuple(in_order), others=len(told) - len(found), doubt=doubt)


def _keys(level: Level, given: Mapping[str, str]) -> dict[str, str]:
    """The keys of a level: those given are matched, the others are returned."""
    return {**dict.fromkeys(KEYS[level], ""), **given}


def _may_lack(link: Link, answers: Answers) -> bool:
    return answers.cut_off or link.archive.suspects(len(answers.found))


def _halves(first: date | None, last: date | None) -> tuple[tuple[date, date], ...]:
    begin, end = first or FIRST_DAY, last or datetime.now(UTC).date() + timedelta(days=1)
    middle = begin + (end - begin) // 2
    return () if begin >= end else ((begin, middle), (middle + timedelta(days=1), end))


def _range(first: date | None, last: date | None) -> str:
    """As DICOM matches a date; empty for any."""
    begin, end = (f"{day:%Y%m%d}" if day is not None else "" for day in (first, last))
    return f"{begin}-{end}" if begin or end else ""


def _identifiers(wanted: Wanted) -> dict[str, str]:
    keys = {"PatientID": wanted.patient_id, "AccessionNumber": wanted.accession, "StudyInstanceUID": wanted.study_uid}
    return {keyword: word for keyword, word in keys.items() if word}


def _study(ds: Dataset) -> StudyAnswer:
    modalities = ds.get("ModalitiesInStudy") or ()
    return StudyAnswer(
        study_uid=_word(ds, "StudyInstanceUID"),
        patient_id=_word(ds, "PatientID"),
        issuer=_word(ds, "IssuerOfPatientID"),
        accession=_word(ds, "AccessionNumber"),
        study_date=_word(ds, "StudyDate"),
        modalities=(modalities,) if isinstance(modalities, str) else tuple(str(each) for each in modalities),
    )


def contents(link: Link, study_uid: str) -> Contents:
    """The PET and CT series of a study with all their objects. Raises ArchiveError."""
    images, lacking = _images(link, study_uid)
    return Contents(
        series=tuple(_series(link, study_uid, ds) for _, ds in sorted(images.items())),
        doubt=f"{link.archive.name} stops answering before it has told all series of the study." if lacking else "",
    )


def counts(link: Link, study_uid: str) -> Count:
    """How many objects an archive has of a study's PET and CT, without listing them. Raises ArchiveError."""
    images, _ = _images(link, study_uid)
    series = {
        uid: SeriesCount(modality=_word(ds, "Modality"), objects=_number(ds, "NumberOfSeriesRelatedInstances"))
        for uid, ds in images.items()
    }
    if not series or any(each.objects is not None for each in series.values()):
        return Count(series=series)
    keys = {"StudyInstanceUID": study_uid, "ModalitiesInStudy": "", "NumberOfStudyRelatedInstances": ""}
    answers = [ds for ds in link.find(Level.STUDY, keys).found if _word(ds, "StudyInstanceUID") == study_uid]
    # The number counts everything, so it can be compared only where PET and CT are everything.
    alone = [ds for ds in answers if (kinds := set(_study(ds).modalities)) and kinds <= set(IMAGES)]
    return Count(series=series, study=_number(alone[0], "NumberOfStudyRelatedInstances") if alone else None)


def _images(link: Link, study_uid: str) -> tuple[dict[str, Dataset], bool]:
    """The answers on a study's PET and CT series by UID, and whether some may be lacking."""
    keys = _keys(Level.SERIES, {"StudyInstanceUID": study_uid})
    answers = [link.find(Level.SERIES, keys)]
    if _may_lack(link, answers[0]):
        answers += [link.find(Level.SERIES, {**keys, "Modality": modality}) for modality in IMAGES]
    found = {_word(ds, "SeriesInstanceUID"): ds for each in answers for ds in each.found if _within(ds, study_uid)}
    lacking = any(_may_lack(link, each) for each in answers[1:])
    return {series: ds for series, ds in found.items() if series and _word(ds, "Modality") in IMAGES}, lacking


def _series(link: Link, study_uid: str, ds: Dataset) -> SeriesAnswer:
    series_uid, counted = _word(ds, "SeriesInstanceUID"), _number(ds, "NumberOfSeriesRelatedInstances")
    keys = _keys(Level.IMAGE, {"StudyInstanceUID": study_uid, "SeriesInstanceUID": series_uid})
    answers = link.find(Level.IMAGE, keys)
    objects = _objects(answers.found, series_uid)
    all_listed = len(objects) >= counted if counted is not None else not _may_lack(link, answers)
    if not all_listed:
        objects |= _by_number(link, keys, answers.found, counted)
    if counted is not None:
        unlisted = max(0, counted - len(objects))
    else:
        unlisted = int(answers.cut_off and len(objects) == len(answers.found))  # one at least, and nobody knows how many
    return SeriesAnswer(series_uid=series_uid, modality=_word(ds, "Modality"), objects=frozenset(objects), unlisted=unlisted)


def _by_number(link: Link, keys: Mapping[str, str], listed: Sequence[Dataset], counted: int | None) -> set[str]:
    """The objects of a series asked for number by number: InstanceNumber is the one key of theirs that archives must match."""
    numbers = [number for ds in listed if (number := _number(ds, "InstanceNumber")) is not None]
    objects = _objects(listed, keys["SeriesInstanceUID"])
    if not numbers or max(numbers) > LAST_NUMBER:
        return objects
    last, number = max(numbers), 0
    while number <= min(last + GAP, LAST_NUMBER) and (counted is None or len(objects) < counted):
        answers = link.find(Level.IMAGE, {**keys, "InstanceNumber": str(number)})
        new = _objects(answers.found, keys["SeriesInstanceUID"])
        last = max(last, number) if new - objects else last  # an archive may ignore the number
        objects |= new
        number += 1
    return objects


def _objects(found: Sequence[Dataset], series_uid: str) -> set[str]:
    inside = (ds for ds in found if _word(ds, "SeriesInstanceUID") in ("", series_uid))
    return {uid for ds in inside if (uid := _word(ds, "SOPInstanceUID"))}


def _within(ds: Dataset, study_uid: str) -> bool:
    return _word(ds, "StudyInstanceUID") in ("", study_uid)


def _word(ds: Dataset, keyword: str) -> str:
    return str(ds.get(keyword, "") or "").strip()


def _number(ds: Dataset, keyword: str) -> int | None:
    word = _word(ds, keyword)
    return int(word) if word.isascii() and word.isdigit() else None
