"""The encapsulated PDF: byte for byte the report, and legal to others."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cohort_occasions import made, next_version, occasion, pdf, saved
from objects import errors
from pydicom import dcmread

from dicom_io.document import write_document


@pytest.mark.parametrize("odd", [False, True])
@pytest.mark.peer("dciodvfy")
@pytest.mark.peer("dcm2pdf")
def test_dcmtk_gets_the_same_bytes_back(tmp_path: Path, program: Callable[[str], str], odd: bool) -> None:
    given = pdf(odd=odd)
    assert len(given) % 2 == odd
    path = saved(tmp_path, {"report-pdf": write_document(given, occasion(), "seed")})["report-pdf"]
    assert errors(path) == []
    subprocess.run([program("dcm2pdf"), path, tmp_path / "back.pdf"], check=True)
    assert (tmp_path / "back.pdf").read_bytes() == given


@pytest.mark.parametrize("odd", [False, True])
def test_the_length_is_that_of_the_report_and_the_element_is_even(tmp_path: Path, odd: bool) -> None:
    given = pdf(odd=odd)
    path = saved(tmp_path, {"report-pdf": write_document(given, occasion(), "seed")})["report-pdf"]
    ds = dcmread(path)
    assert ds.EncapsulatedDocumentLength == len(given)
    assert len(ds.EncapsulatedDocument) % 2 == 0
    assert ds.EncapsulatedDocument[: ds.EncapsulatedDocumentLength] == given


def test_it_says_what_it_is() -> None:
    ds = made()["report-pdf"]
    assert ds.SOPClassUID == "1.2.840.10008.5.1.4.1.1.104.1"
    assert (ds.Modality, ds.MIMETypeOfEncapsulatedDocument) == ("DOC", "application/pdf")
    assert ds.DocumentTitle == "duet cohort report, research use only"
    assert ds.ConceptNameCodeSequence[0].CodeMeaning == "Cohort report"
    assert ds.CodingSchemeIdentificationSequence[0].CodingSchemeDesignator == "99DUET"
    assert ds.VerificationFlag == "UNVERIFIED"
    assert ds.BurnedInAnnotation == "YES"
    assert "PredecessorDocumentsSequence" not in ds


def test_a_new_version_names_the_older_document_alone() -> None:
    older = made()
    (study,) = next_version(older)["report-pdf"].PredecessorDocumentsSequence
    (series,) = study.ReferencedSeriesSequence
    (instance,) = series.ReferencedSOPSequence
    document = older["report-pdf"]
    assert study.StudyInstanceUID == document.StudyInstanceUID
    assert series.SeriesInstanceUID == document.SeriesInstanceUID
    assert instance.ReferencedSOPInstanceUID == document.SOPInstanceUID


def test_what_is_no_pdf_is_refused() -> None:
    with pytest.raises(ValueError, match="no PDF"):
        write_document(b"<html>", occasion(), "seed")
