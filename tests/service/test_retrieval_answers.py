"""Whole answers of archives that stop at a number of them, that ignore keys, and that leave elements out."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import pytest
from archives import ScriptedArchive
from pydicom import Dataset

from service.retrieval import ArchiveError, Contents, StudyAnswer, Wanted
from service.retrieval_answers import contents, studies
from service.retrieval_link import Link


def many_studies(scan: Any, count: int, patient_id: str = "P1") -> list[Dataset]:
    """One PET slice each, three days apart from January 2020 on."""
    (slice_,) = scan(slices=1, modalities=("PT",)).datasets()
    made = []
    for number in range(count):
        ds = copy.deepcopy(slice_)
        ds.PatientID = patient_id
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID = f"1.2.{number}", f"1.3.{number}", f"1.4.{number}"
        ds.StudyDate = f"{date(2020, 1, 1) + timedelta(days=3 * number):%Y%m%d}"
        made.append(ds)
    return made


def found(archive: ScriptedArchive, wanted: Wanted, **settings: Any) -> tuple[tuple[StudyAnswer, ...], str]:
    with Link(archive.settings(**settings), "DUET") as link:
        told = studies(link, wanted)
    return told.studies, told.doubt


def listed(archive: ScriptedArchive, study: Sequence[Dataset], **settings: Any) -> Contents:
    with Link(archive.settings(**settings), "DUET") as link:
        return contents(link, str(study[0].StudyInstanceUID))


@pytest.mark.parametrize("status", [0x0000, 0xA700, 0xFE00, 0xB000])
def test_studies_beyond_the_cap_are_found_by_dividing_the_time(scan: Any, status: int) -> None:
    with ScriptedArchive(datasets=many_studies(scan, 23), cap=5, cap_status=status).running() as archive:
        answers, doubt = found(archive, Wanted(patient_id="P1"), cap=5 if status == 0 else 0)
    assert [study.study_uid for study in answers] == [f"1.2.{number}" for number in range(23)]
    assert doubt == ""


def test_a_round_number_of_answers_is_not_believed(scan: Any) -> None:
    """The archive stops at 100 of 130 and says Success."""
    with ScriptedArchive(datasets=many_studies(scan, 130), cap=100).running() as archive:
        answers, doubt = found(archive, Wanted(patient_id="P1"))
        assert len(archive.requests("FIND")) > 1
    assert (len(answers), doubt) == (130, "")


def test_where_one_day_has_more_than_the_cap_it_is_said(scan: Any) -> None:
    made = many_studies(scan, 6)
    for ds in made:
        ds.StudyDate = "20200101"
    with ScriptedArchive(datasets=made, cap=4).running() as archive:
        answers, doubt = found(archive, Wanted(patient_id="P1"), cap=4)
    assert len(answers) == 4
    assert "pacs stops answering before it has told all studies" in doubt


def test_an_archive_that_ignores_keys_yields_nobody_else(scan: Any) -> None:
    """No object of another patient may be moved because an archive did not match a key."""
    made = [*many_studies(scan, 2), *many_studies(scan, 3, patient_id="P2")]
    made[0].AccessionNumber = "A7"
    ignores = ("PatientID", "AccessionNumber", "StudyDate", "StudyInstanceUID")
    with ScriptedArchive(datasets=made[:2] + made[4:], ignores=ignores).running() as archive:
        assert [study.study_uid for study in found(archive, Wanted(patient_id="P1"))[0]] == ["1.2.0", "1.2.1"]
        assert [study.study_uid for study in found(archive, Wanted(accession="A7"))[0]] == ["1.2.0"]
        assert [study.study_uid for study in found(archive, Wanted(study_uid="1.2.1"))[0]] == ["1.2.1"]
        window = Wanted(patient_id="P1", first=date(2020, 1, 2), last=date(2020, 1, 4))
        assert [study.study_uid for study in found(archive, window)[0]] == ["1.2.1"]


def test_another_issuer_of_the_same_number_is_another_patient(scan: Any) -> None:
    made = many_studies(scan, 2)
    made[0].IssuerOfPatientID = "ELSEWHERE"
    with ScriptedArchive(datasets=made).running() as archive:
        assert [study.study_uid for study in found(archive, Wanted(patient_id="P1", issuer="HERE"))[0]] == ["1.2.1"]
        assert len(found(archive, Wanted(patient_id="P1"))[0]) == 2


@pytest.mark.parametrize("hides", [(), ("NumberOfSeriesRelatedInstances",)])
def test_a_series_longer_than_the_cap_is_listed_by_number(scan: Any, hides: tuple[str, ...]) -> None:
    datasets = scan(slices=12).datasets()
    with ScriptedArchive(datasets=datasets, cap=5, hides=hides).running() as archive:
        there = listed(archive, datasets, cap=5)
    assert there.objects == {str(ds.SOPInstanceUID) for ds in datasets}
    assert (there.unlisted, there.doubt) == (0, "")


def test_an_archive_that_ignores_the_number_is_not_asked_for_ever(scan: Any) -> None:
    datasets = scan(slices=12, modalities=("PT",)).datasets()
    with ScriptedArchive(datasets=datasets, cap=5, ignores=("InstanceNumber",)).running() as archive:
        assert (len(listed(archive, datasets, cap=5).objects), listed(archive, datasets, cap=5).unlisted) == (5, 7)


def test_more_series_than_the_cap_are_asked_for_by_modality(scan: Any) -> None:
    datasets = scan(slices=1).datasets()
    others = []
    for number in range(6):
        ds = copy.deepcopy(datasets[0])
        ds.Modality, ds.SeriesInstanceUID, ds.SOPInstanceUID = "SR", f"1.5.{number}", f"1.6.{number}"
        others.append(ds)
    with ScriptedArchive(datasets=[*others, *datasets], cap=5).running() as archive:
        there = listed(archive, datasets, cap=5)
    assert [each.modality for each in there.series].count("PT") == 1
    assert (len(there.series), there.doubt) == (2, "")


def test_silence_and_absence_are_told(scan: Any) -> None:
    with ScriptedArchive(datasets=many_studies(scan, 1), wait_s=2.5).running() as archive:
        with pytest.raises(ArchiveError, match=r"pacs was silent for \d s \(timeout_s\) and was given up"):
            found(archive, Wanted(patient_id="P1"), timeout_s=1.0, tries=1)
        assert len(found(archive, Wanted(patient_id="P1"), timeout_s=20.0)[0]) == 1
    with pytest.raises(ArchiveError, match=r"PACS at 127.0.0.1:\d+ cannot be reached"):
        found(archive, Wanted(patient_id="P1"))


def test_an_archive_that_breaks_each_association_is_asked_so_often(scan: Any) -> None:
    with ScriptedArchive(datasets=many_studies(scan, 1), drops=3).running() as archive:
        with pytest.raises(ArchiveError, match="pacs ended the association before it had answered"):
            found(archive, Wanted(patient_id="P1"), tries=3)
        assert len(archive.requests("FIND")) == 3
        assert len(found(archive, Wanted(patient_id="P1"))[0]) == 1
