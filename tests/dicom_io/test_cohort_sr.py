"""The cohort's estimates as a report: each number exactly, nothing undefined, and legible to others."""

from __future__ import annotations

import math
from pathlib import Path

import highdicom
import numpy as np
import pytest
import srtree
from cohort_occasions import ESTIMATES, LONG_NAME, made, next_version, occasion, pdf, saved, told
from objects import dsrdump, errors
from pydicom import Dataset, dcmread

from analysis.cohort.values import Estimate
from dicom_io.cohort_objects import cohort_objects
from dicom_io.cohort_sr import sentence, unit_code

LOW, HIGH, CYCLES = "Lower limit of the 95 % interval", "Upper limit of the 95 % interval", "Number of treatment cycles"


def written(folder: Path, *estimates: Estimate) -> tuple[Dataset, Path]:
    """The report as it comes back from the disk."""
    path = saved(folder, {"sr-cohort": cohort_objects(pdf(), estimates, occasion())["sr-cohort"]})["sr-cohort"]
    return dcmread(path), path


def test_every_number_comes_back_exactly(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    numbers = [*(rng.normal(0, 1, 40) * 10.0 ** rng.integers(-12, 12, 40)), 1 / 3, -1e-300, 5e-324, 1.7e308, 1e16 + 2, 0.0]
    given = [Estimate(name=f"estimate {k}", value=x, low=-abs(x), high=2 + abs(x) / 7, p=k / 97, n=k + 1)
             for k, x in enumerate(numbers)]  # fmt: skip
    found = list(told(written(tmp_path, *given)[0]))
    assert [x["What is estimated"] for x in found] == [x.name for x in given]
    for one, back in zip(given, found, strict=True):
        assert (back["value"], back[LOW], back[HIGH]) == (one.value, one.low, one.high)
        assert (back["p value"], back[CYCLES]) == (one.p, one.n)


def test_units_are_ucum_of_value_and_limits_and_p_has_none(tmp_path: Path) -> None:
    units = ("g/ml{SUVbw}", "d", "1", "", "mg/dL/(1.73.m2).h")
    given = [Estimate(name=f"of {unit}", value=1.0, low=0.5, high=2.0, p=0.5, n=3, unit=unit) for unit in units]
    for unit, back in zip(units, told(written(tmp_path, *given)[0]), strict=True):
        assert {back[f"unit of {name}"] for name in ("value", LOW, HIGH)} == {unit or "1"}
        assert back["unit of p value"] == "1"
        assert back[f"unit of {CYCLES}"] == "{cycles}"
    assert unit_code("g/ml{SUVbw}").meaning == "Standardized Uptake Value body weight"


def test_what_is_undefined_is_left_out_and_said(tmp_path: Path) -> None:
    ds, _ = written(
        tmp_path,
        Estimate(name="a", value=math.nan),
        Estimate(name="b", value=1.0, low=0.2),
        Estimate(name="c", value=2.0, p=0.1),
    )
    nothing, half, bare = told(ds)
    assert set(nothing) == {"What is estimated", "Value that is undefined", "Comment"}
    assert half[LOW] == 0.2
    assert HIGH not in half
    assert half["Comment"] == "b: 1 (95 % interval 0.2 to undefined)"
    assert not {LOW, HIGH, CYCLES, "Value that is undefined"} & set(bare)
    assert bare["Comment"] == "c: 2, p 0.1"


def test_an_infinite_limit_stands_as_text_and_not_as_a_number(tmp_path: Path) -> None:
    (back,) = told(written(tmp_path, Estimate(name="rate ratio", value=4.0, low=1.2, high=math.inf, p=0.02, n=24))[0])
    assert HIGH not in back
    assert back["Value that is infinite"] == "the upper limit of the 95 % interval is infinite."
    assert back["Comment"] == "rate ratio: 4 (95 % interval 1.2 to infinite), p 0.02, n 24"
    assert sentence(Estimate(name="x", value=-math.inf)) == "x: minus infinite"


def test_a_long_name_is_whole_in_a_text_and_its_code_fits(tmp_path: Path) -> None:
    ds, _ = written(tmp_path, *ESTIMATES)
    assert next(told(ds))["What is estimated"] == LONG_NAME
    for item in srtree.walk(ds):
        for code in item.get("ConceptNameCodeSequence", []):
            assert len(code.CodeMeaning) <= 64
            assert len(code.CodeValue) <= 16


def test_names_that_differ_have_codes_that_differ(tmp_path: Path) -> None:
    names = [*(f"{LONG_NAME}, {k}" for k in range(50)), "OK", "SITE", "β2-Mikroglobulin", "a\\b"]
    ds, _ = written(tmp_path, *(Estimate(name=name, value=1.0) for name in names))
    values = [x.ConceptNameCodeSequence[0].CodeValue for x in srtree.walk(ds) if x.ValueType == "NUM"][2:]
    assert len(set(values)) == len(names)
    assert all(value.isascii() and value.startswith("F") for value in values)


def test_signs_of_any_alphabet_are_kept(tmp_path: Path) -> None:
    name, method = "β2-Mikroglobulin ≥ 3,5 mg/l", "Kaplan–Meier, 95 % „log-log“"
    (back,) = told(written(tmp_path, Estimate(name=name, value=1.0, method=method))[0])
    assert (back["What is estimated"], back["How it is estimated"]) == (name, method)


def test_it_says_first_what_it_is_for_and_how_many_it_rests_on() -> None:
    ds = made()["sr-cohort"]
    items = [x for x in srtree.children(ds) if x.RelationshipType == "CONTAINS"]
    assert srtree.concept(items[0]) == "Intended use"
    assert "no prediction for a patient" in items[0].TextValue
    counts = {srtree.concept(x): float(x.MeasuredValueSequence[0].NumericValue) for x in items if x.ValueType == "NUM"}
    assert counts == {"Number of patients": 22, CYCLES: 24}
    assert (ds.CompletionFlag, ds.VerificationFlag, ds.PreliminaryFlag) == ("COMPLETE", "UNVERIFIED", "PRELIMINARY")


def test_it_refers_to_the_document_of_its_own_version() -> None:
    objects = next_version(made())
    ds, document = objects["sr-cohort"], objects["report-pdf"]
    (item,) = (x for x in srtree.children(ds) if x.ValueType == "COMPOSITE")
    assert item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == document.SOPInstanceUID
    assert srtree.references(ds) == {document.StudyInstanceUID: {document.SOPInstanceUID}}


def test_a_new_version_names_the_older_report_alone() -> None:
    older = made()
    (study,) = next_version(older)["sr-cohort"].PredecessorDocumentsSequence
    (series,) = study.ReferencedSeriesSequence
    assert series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == older["sr-cohort"].SOPInstanceUID


def test_without_estimates_it_says_so(tmp_path: Path) -> None:
    ds, _ = written(tmp_path)
    assert list(told(ds)) == [{}]
    assert any(x.get("TextValue") == "No estimate could be made." for x in srtree.walk(ds))


ODD = (
    Estimate(name="rate ratio", value=4.0, low=1.2, high=math.inf, p=0.02, n=24),
    Estimate(name="β2-Mikroglobulin ≥ 3,5", value=math.nan, n=3),
    Estimate(name="x" * 2000, value=1e-300, unit="mg/dL/(1.73.m2).h", method="y" * 2000),
)


@pytest.mark.parametrize("estimates", [(), ESTIMATES, ODD], ids=["none", "usual", "odd"])
@pytest.mark.peer("dciodvfy")
@pytest.mark.peer("dsrdump")
def test_others_read_it(tmp_path: Path, estimates: tuple[Estimate, ...]) -> None:
    ds, path = written(tmp_path, *estimates)
    assert errors(path) == []
    shown, warned = dsrdump(path)
    assert shown.count('"Estimate of the cohort")') == len(estimates)
    assert [line for line in warned.splitlines() if line.startswith("E:")] == []
    report = highdicom.sr.srread(path)
    assert isinstance(report, highdicom.sr.EnhancedSR)
    assert report.SOPInstanceUID == ds.SOPInstanceUID
