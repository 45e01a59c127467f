"""The nouns of retrieval: what is wanted, and what is believed of an archive's answers."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from service.retrieval import Archive, Contents, SeriesAnswer, StudyAnswer, Wanted, dicom_date

MARCH = {"first": date(2026, 3, 1), "last": date(2026, 3, 31)}


@pytest.mark.parametrize(
    ("wanted", "answer", "holds"),
    [
        ({"patient_id": "P1"}, {"patient_id": "P1"}, True),
        ({"patient_id": "P1"}, {"patient_id": "P10"}, False),
        ({"patient_id": "P1"}, {"patient_id": ""}, False),
        ({"patient_id": "P1", "issuer": "A"}, {"patient_id": "P1", "issuer": "B"}, False),
        ({"patient_id": "P1", "issuer": "A"}, {"patient_id": "P1", "issuer": ""}, True),
        ({"patient_id": "P1", "accession": "7"}, {"patient_id": "P1", "accession": "8"}, False),
        ({"accession": "7"}, {"patient_id": "P1", "accession": "7"}, True),
        ({"study_uid": "1.2"}, {"study_uid": "1.2"}, True),
        ({"study_uid": "1.2"}, {"study_uid": "1.2.1"}, False),
        ({"patient_id": "P1", **MARCH}, {"patient_id": "P1", "study_date": "20260301"}, True),
        ({"patient_id": "P1", **MARCH}, {"patient_id": "P1", "study_date": "20260401"}, False),
        ({"patient_id": "P1", **MARCH}, {"patient_id": "P1", "study_date": ""}, False),
        ({"patient_id": "P1", "first": date(2026, 3, 1)}, {"patient_id": "P1", "study_date": "20991231"}, True),
        ({"patient_id": "P1", "last": date(2026, 3, 1)}, {"patient_id": "P1", "study_date": "20260302"}, False),
    ],
)
def test_an_answer_must_bear_what_was_asked_for(wanted: dict[str, Any], answer: dict[str, str], holds: bool) -> None:
    assert Wanted(**wanted).holds(StudyAnswer(**{"study_uid": "1", **answer})) is holds


@pytest.mark.parametrize(
    ("cap", "answers", "suspected"),
    [(0, 99, 0), (0, 50, 0), (0, 100, 1), (0, 500, 1), (0, 501, 0), (3, 3, 1), (3, 2, 0), (3, 4, 1)],
)
def test_so_many_answers_may_not_be_all(cap: int, answers: int, suspected: int) -> None:
    assert Archive(name="a", url="dicom://A@h:104", cap=cap).suspects(answers) is bool(suspected)


def test_a_row_says_what_it_asks_for() -> None:
    assert Wanted(patient_id="P1", accession="7").label == "P1, accession 7"
    assert Wanted(study_uid="1.2").label == "study 1.2"


def test_a_date_is_a_date_or_none() -> None:
    assert dicom_date("20240229") == date(2024, 2, 29)
    assert [dicom_date(word) for word in ("20230229", "2024", "", "2024022a", "٢٠٢٤٠٢٢٩")] == [None] * 5


def test_contents_add_up() -> None:
    pet = SeriesAnswer(series_uid="1", modality="PT", objects=frozenset({"a", "b"}), unlisted=3)
    ct = SeriesAnswer(series_uid="2", modality="CT", objects=frozenset({"c"}))
    there = Contents(series=(pet, ct))
    assert (there.objects, there.unlisted, there.has_pet) == (frozenset("abc"), 3, True)
    assert not Contents(series=(ct,)).has_pet
