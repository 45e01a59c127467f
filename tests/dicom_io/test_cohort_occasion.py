"""Whom a cohort's objects belong to, when they were made, and what their UIDs depend on."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest
from cohort_occasions import ESTIMATES, MADE_AT, NAME, made, next_version, occasion, pdf

from analysis.cohort.values import Estimate
from dicom_io.cohort_occasion import CohortKind, Predecessor, cohort_seed, content_digest, predecessors


def test_the_pseudo_patient_and_the_study_are_those_of_every_object_and_version() -> None:
    first = made()
    objects = [*first.values(), *next_version(first).values()]
    assert {(str(ds.PatientID), str(ds.PatientName)) for ds in objects} == {("DUET-COHORT", NAME)}
    assert {ds.SpecificCharacterSet for ds in objects} == {"ISO_IR 192"}
    assert len({ds.StudyInstanceUID for ds in objects}) == 1
    assert {(ds.StudyDate, ds.StudyTime) for ds in objects} == {("20260228", "233000")}
    assert made(patient_id="DUET-OTHER")["report-pdf"].StudyInstanceUID != objects[0].StudyInstanceUID
    assert all("research use only" in ds.SeriesDescription and len(ds.SeriesDescription) <= 64 for ds in objects)
    assert all(ds.ContentQualification == "RESEARCH" for ds in objects)


def test_each_object_has_a_series_of_its_own() -> None:
    first = made()
    objects = [*first.values(), *next_version(first).values()]
    assert len({ds.SeriesDescription for ds in objects}) == 5
    assert len({ds.SeriesInstanceUID for ds in objects}) == len({ds.SOPInstanceUID for ds in objects}) == 5
    assert all(ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID for ds in objects)


def test_times_are_utc_and_say_so() -> None:
    ds = made()["sr-cohort"]
    assert (ds.ContentDate, ds.ContentTime, ds.TimezoneOffsetFromUTC) == ("20260228", "233000", "+0000")


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"made_at": MADE_AT + timedelta(seconds=1)},
        {"patients": 23},
        {"cycles": 25},
        {"software": "0.2.0"},
        {"title": "Another title"},
        {"patient_name": "Kohorte^Wurzburg"},
        {"patient_id": "DUET-OTHER"},
        {"predecessors": predecessors(made().values())},
    ],
)
def test_what_changes_the_bytes_changes_the_uids(changes: dict[str, Any]) -> None:
    assert cohort_seed(occasion(**changes), "x") != cohort_seed(occasion(), "x")


@pytest.mark.parametrize("change", [{"value": math.nan}, {"high": math.inf}, {"high": math.nan}, {"n": 23}, {"unit": "a"}])
def test_the_content_is_told_apart_by_every_field_of_an_estimate(change: dict[str, Any]) -> None:
    changed = (replace(ESTIMATES[0], **change), *ESTIMATES[1:])
    assert len({content_digest(pdf(), ESTIMATES), content_digest(pdf(), changed), content_digest(pdf("b"), ESTIMATES)}) == 3
    assert content_digest(pdf(), list(ESTIMATES)) == content_digest(pdf(), ESTIMATES)


def test_the_same_number_of_another_type_is_the_same_content() -> None:
    one = [Estimate(name="a", value=0.5, n=3)]
    other = [Estimate(name="a", value=np.float64(0.5), n=np.int64(3))]
    assert content_digest(b"", one) == content_digest(b"", other)


@pytest.mark.parametrize(
    "changes",
    [
        {"patient_id": ""},
        {"patient_id": "  "},
        {"patient_id": "x" * 65},
        {"patient_id": "a\\b"},
        {"patient_id": "a\nb"},
        {"patient_name": "x" * 65},
        {"patient_name": "a=b"},
        {"version": 0},
        {"made_at": datetime(2026, 3, 1)},
        {"patient_id": "DUET-OTHER", "predecessors": predecessors(made().values())},
        {"predecessors": (Predecessor.of(next_version(made())["kos-superseded"]),)},
    ],
)
def test_an_occasion_that_cannot_be_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="cohort: "):
        occasion(**changes)


def test_predecessors_are_the_document_and_the_report_of_a_version() -> None:
    second = next_version(made())
    found = predecessors(second.values())
    assert [x.sop_class_uid for x in found] == [CohortKind.PDF.sop_class_uid, CohortKind.SR.sop_class_uid]
    assert [x.sop_instance_uid for x in found] == [second[name].SOPInstanceUID for name in ("report-pdf", "sr-cohort")]
