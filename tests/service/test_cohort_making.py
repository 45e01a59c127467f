"""A version of the cohort's report in its folder, and the objects of it."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
from cohort_cases import KnownCohort, known_cohort
from pydicom import dcmread

from analysis.errors import BadSettings
from service import postings
from service.cohort_keeper import Shelf, make_now
from service.cohort_making import OCCASION, make_version


def silent(_message: str, _part: float) -> None:
    """Nobody is told."""


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> KnownCohort:
    return known_cohort(tmp_path_factory.mktemp("cohort"))


@pytest.fixture(scope="module")
def first(cohort: KnownCohort) -> Path:
    shelf = Shelf(data=cohort.data, section=cohort.section, destinations=["pacs", "second"])
    row, new = make_now(cohort.journal, shelf, silent)
    assert new
    assert (row.version, row.cycles) == (1, 24)
    return cohort.data / row.folder


def test_the_folder_holds_the_report_its_tables_and_objects(first: Path) -> None:
    names = {str(path.relative_to(first)) for path in first.rglob("*") if path.is_file()}
    assert names >= {"report.html", "report.pdf", "methods.txt", "report-pdf.dcm", "sr-cohort.dcm", OCCASION}
    assert names >= {f"tables/{name}.csv" for name in ("cycles", "response", "survival", "trees", "models", "robustness")}
    assert "kos-superseded.dcm" not in names
    assert any(name.startswith("figures/") and name.endswith(".svg") for name in names)


# The columns that DESIGN promises, word by word.
PROMISED = {
    "response": "feature,test,n_responder,n_nonresponder,mean_responder,mean_nonresponder,difference,difference_low,"
    "difference_high,p,q,hedges_g,g_low,g_high,odds_ratio,or_low,or_high",
    "survival": "feature,endpoint,cut,n_high,n_low,events_high,events_low,rate_ratio,rate_ratio_low,rate_ratio_high,"
    "logrank_chi2,logrank_p,q,cox_hr,cox_low,cox_high,cox_p,firth_hr,firth_low,firth_high",
    "trees": "endpoint,folds,feature,mean_abs_shap,rank,sign,sign_agreement,folds_used,null_p",
    "models": "endpoint,folds,auc,auc_low,auc_high,null_p,balanced_accuracy",
}


@pytest.mark.parametrize("name", PROMISED)
def test_the_tables_begin_with_the_promised_columns(first: Path, name: str) -> None:
    head = (first / "tables" / f"{name}.csv").read_text(encoding="utf-8-sig").splitlines()[0]
    assert head.split(",")[: len(PROMISED[name].split(","))] == PROMISED[name].split(",")


def test_the_objects_lie_under_the_pseudo_patient_and_hold_the_report(first: Path) -> None:
    document, report = (dcmread(first / f"{name}.dcm") for name in ("report-pdf", "sr-cohort"))
    assert {document.PatientID, report.PatientID} == {"DUET-COHORT"}
    assert document.StudyInstanceUID == report.StudyInstanceUID
    assert bytes(document.EncapsulatedDocument).rstrip(b"\0") == (first / "report.pdf").read_bytes().rstrip(b"\0")


def test_every_object_is_on_its_way_to_every_destination(cohort: KnownCohort, first: Path) -> None:
    for name in ("pacs", "second"):
        rows = postings.due(cohort.journal, name, 1e12)
        assert [Path(row.path).name for row in rows] == ["report-pdf.dcm", "sr-cohort.dcm"]
        assert all((cohort.data / row.path).parent == first for row in rows)


def test_the_same_inputs_make_no_second_version(cohort: KnownCohort, first: Path) -> None:
    shelf = Shelf(data=cohort.data, section=cohort.section, destinations=["pacs"])
    row, new = make_now(cohort.journal, shelf, silent)
    assert not new
    assert cohort.data / row.folder == first


def test_a_folder_that_was_finished_before_a_crash_is_found_again(cohort: KnownCohort, first: Path) -> None:
    shelf = Shelf(data=cohort.data, section=replace(cohort.section, seed=2), destinations=["pacs"])
    job = shelf.job(cohort.journal, ["2.25.1"], "mark", 1_700_000_000.0)
    job.folder.mkdir()
    (job.folder / OCCASION).write_text((first / OCCASION).read_text())
    assert make_version(job, silent).number == 1  # as that folder says; nothing was computed


def test_another_setting_makes_a_version_that_replaces_the_older(cohort: KnownCohort, first: Path) -> None:
    section = replace(cohort.section, preset="paper")
    row, new = make_now(cohort.journal, Shelf(data=cohort.data, section=section, destinations=["pacs"]), silent)
    assert new
    assert row.version == 2
    note = dcmread(cohort.data / row.folder / "kos-superseded.dcm")
    older = {str(dcmread(first / f"{name}.dcm").SOPInstanceUID) for name in ("report-pdf", "sr-cohort")}
    named = {
        str(instance.ReferencedSOPInstanceUID)
        for study in note.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for instance in series.ReferencedSOPSequence
    }
    assert named == older
    due = {Path(row.path).parent.name for name in ("pacs", "second") for row in postings.due(cohort.journal, name, 1e12)}
    assert due == {(cohort.data / row.folder).name}, "what the older version still owed is owed no more"


def test_a_wrong_table_leaves_nothing_behind(cohort: KnownCohort, tmp_path: Path) -> None:
    (tmp_path / "clinical.csv").write_text("patient_id,therapy_date\nCOHORT-001,2022-13-01\n")
    section = replace(cohort.section, clinical=tmp_path / "clinical.csv")
    before = sorted((cohort.data / "cohort").iterdir())
    with pytest.raises(BadSettings, match="row 2, column therapy_date"):
        make_now(cohort.journal, Shelf(data=cohort.data, section=section, destinations=[]), silent)
    assert sorted((cohort.data / "cohort").iterdir()) == before


def test_the_cycles_table_has_a_row_for_each_cycle(first: Path) -> None:
    with (first / "tables" / "cycles.csv").open(encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 24
    assert json.loads((first / OCCASION).read_text())["patients"] == 22
