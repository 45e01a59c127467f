"""A tracer whose lesions could not be segmented: everything says so, and nowhere stands an empty result or a zero."""

from __future__ import annotations

import csv
import json
import math
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import srtree
from factories import make_case
from pydicom import dcmread

from analysis.patient.features import patient_features
from analysis.patient.matching import match
from analysis.patient.measures import MeasurementSettings
from analysis.patient.quality import check
from analysis.patient.quality_settings import QualitySettings
from analysis.values import Concordance, LesionSet, Model, PatientAnalysis, Tracer, Verdict
from dicom_io.panel import measures
from dicom_io.results import write_case
from service.folders import summary
from service.worker import case_result

WHY = "Model mine is not there: no folder [models] folder/mine; see: duet models list."
SAID = f"Lesions were not segmented on FDG: {WHY}"
HOW = MeasurementSettings()


def without_fdg(analysis: PatientAnalysis) -> PatientAnalysis:
    """The same pair where nothing looked for FDG lesions; all that follows is computed anew."""
    found = analysis.lesions[Tracer.FDG]
    model = Model(name="mine (not run)", version="unknown", manufacturer="unknown")
    blank = replace(found.labelmap, labels=0 * found.labelmap.labels, names={})
    fdg = LesionSet(tracer=Tracer.FDG, labelmap=blank, lesions=(), model=model, not_run=WHY)
    lesions = {Tracer.FDG: fdg, Tracer.PENTIXAFOR: analysis.lesions[Tracer.PENTIXAFOR]}
    matches = match(analysis.aligned, lesions, HOW)
    features = patient_features(analysis.aligned, analysis.anatomy, lesions, matches, HOW)
    findings = check(analysis.aligned, analysis.anatomy, lesions, matches, QualitySettings(), HOW)
    return replace(analysis, lesions=lesions, matches=matches, features=features, findings=findings)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> tuple[PatientAnalysis, Path]:
    folder = tmp_path_factory.mktemp("not_run")
    pair, analysis = make_case(folder / "in")
    changed = without_fdg(analysis)
    write_case(folder / "out", pair, changed, nifti=True)
    assert summary(pair, changed).startswith("FDG lesions NOT RUN, 2 PentixaFor lesions; 0 sites on both tracers;")
    return changed, folder / "out"


@pytest.fixture(scope="module")
def results(case: tuple[PatientAnalysis, Path]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((case[1] / "results.json").read_text())
    return found


def test_the_other_tracers_lesions_are_not_comparable(case: tuple[PatientAnalysis, Path]) -> None:
    analysis, _ = case
    assert dict(analysis.not_run) == {Tracer.FDG: WHY}
    assert len(analysis.matches) == len(analysis.lesions[Tracer.PENTIXAFOR].lesions)
    assert {m.concordance for m in analysis.matches} == {Concordance.NOT_COMPARABLE}


def test_features_are_undefined_also_sums_and_counts(case: tuple[PatientAnalysis, Path], results: dict[str, Any]) -> None:
    features = results["features"]
    known = {name for name, value in features.items() if value is not None}
    assert not {name for name in known if "cordant" in name or "[FDG" in name}
    assert {"sDmax[CXCR4]", "Count[CXCR4 not comparable]"} <= known
    assert features["Count[CXCR4 not comparable]"] == len(case[0].lesions[Tracer.PENTIXAFOR].lesions)
    row = next(csv.DictReader((case[1] / "features.csv").open()))
    assert (row["MTV[FDG medullary concordant]"], row["Count[CXCR4 medullary discordant]"]) == ("", "")


def test_results_and_tables_name_the_reason(case: tuple[PatientAnalysis, Path], results: dict[str, Any]) -> None:
    assert results["not_run"] == {"FDG": WHY}
    assert results["thresholds"]["FDG"] is None
    assert {lesion["tracer"] for lesion in results["lesions"]} == {"PentixaFor"}
    for lesion in results["lesions"]:
        assert (lesion["concordance"], lesion["overlap"], lesion["overlap_low"]) == (None, None, None)
    first, *rest = csv.DictReader((case[1] / "lesions.csv").open())
    assert (first["tracer"], first["not_run"], first["id"], first["volume_ml"]) == ("FDG", WHY, "", "")
    assert {row["not_run"] for row in rest} == {""}


def test_the_case_is_on_hold_and_the_hold_says_why(case: tuple[PatientAnalysis, Path]) -> None:
    analysis, folder = case
    model = next(f for f in analysis.findings if f.name == "FDG lesion model")
    assert (model.verdict, model.value, WHY in model.message) == (Verdict.HOLD, "not run", True)
    for name in ("FDG lesion count", "FDG lesion volume", "FDG lesions in organs"):
        found = next(f for f in analysis.findings if f.name == name)
        assert (found.value, found.verdict) == (None, Verdict.WARN)
    field = next(f for f in analysis.findings if f.name == "common field of view")
    assert "none were segmented on FDG" in field.message
    assert any(WHY in sentence for sentence in case_result(folder).held)


def test_no_seg_and_no_totals_and_a_sentence_in_both_reports(case: tuple[PatientAnalysis, Path]) -> None:
    _, folder = case
    assert not {"seg-fdg.dcm", "lesions-fdg.nii.gz"} & {path.name for path in folder.iterdir()}
    assert {"seg-pentixafor.dcm", "lesions-pentixafor.nii.gz"} <= {path.name for path in folder.iterdir()}
    for name in ("sr-fdg", "sr-pair"):
        report = dcmread(folder / f"{name}.dcm")
        groups = srtree.groups(report)
        assert "FDG all lesions" not in groups
        said = [item for item in srtree.walk(report) if item.ValueType == "TEXT"]
        assert SAID in {item.TextValue for item in said}
        assert not any("0 lesions" in item.TextValue for item in said)
        subset = groups["FDG medullary concordant"]
        assert subset.value("Metabolic Volume", "Total") is None
    assert "CXCR4 all lesions" in srtree.groups(dcmread(folder / "sr-pair.dcm"))


def test_the_picture_says_not_run(case: tuple[PatientAnalysis, Path]) -> None:
    lines = {line.name: line for line in measures(case[0])}
    assert (lines["lesions"].fdg, lines["volume, ml"].fdg, lines["TLG / TLC, g"].fdg) == ("not run", "-", "-")
    assert lines["lesions"].pentixafor == str(len(case[0].lesions[Tracer.PENTIXAFOR].lesions))
    assert not math.isnan(float(lines["volume, ml"].pentixafor))


@pytest.mark.peer("dciodvfy")
@pytest.mark.peer("dcmqi")
def test_the_reports_are_valid(case: tuple[PatientAnalysis, Path], program: Callable[[str], str], tmp_path: Path) -> None:
    for path in case[1].glob("sr-*.dcm"):
        said = subprocess.run([program("dciodvfy"), str(path)], capture_output=True, text=True, check=False)
        assert not [line for line in said.stderr.splitlines() if line.startswith("Error")], path.name
        command = [program("tid1500reader"), "--inputDICOM", str(path), "--outputMetadata", str(tmp_path / path.stem)]
        subprocess.run(command, capture_output=True, check=True)
