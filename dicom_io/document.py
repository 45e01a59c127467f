"""report-pdf.dcm: the cohort's report as an Encapsulated PDF, byte for byte, under the pseudo-patient."""

from __future__ import annotations

from pydicom import Dataset

from analysis.values import require
from dicom_io import codes
from dicom_io.cohort_occasion import CohortKind, CohortOccasion, cohort_object, reference_items
from dicom_io.derived import coded

MIME_TYPE = "application/pdf"


def write_document(report_pdf: bytes, occasion: CohortOccasion, seed: str) -> Dataset:
    """The document; seed: what UIDs are derived from (cohort_seed). Raises ValueError where the bytes are no PDF."""
    require(report_pdf.startswith(b"%PDF-"), "cohort: the report is no PDF")
    ds = cohort_object(occasion, CohortKind.PDF, seed)
    ds.ConversionType = "WSD"
    ds.AcquisitionDateTime = ""
    ds.DocumentTitle = occasion.title
    ds.ConceptNameCodeSequence = [coded(codes.COHORT_REPORT)]
    ds.VerificationFlag = "UNVERIFIED"
    # A cohort's pages may bear dates and codes of patients. Who takes identities out shall not pass them by.
    ds.BurnedInAnnotation = "YES"
    ds.MIMETypeOfEncapsulatedDocument = MIME_TYPE
    ds.EncapsulatedDocumentLength = len(report_pdf)
    ds.EncapsulatedDocument = report_pdf + b"\0" * (len(report_pdf) % 2)
    older = [x for x in occasion.predecessors if x.sop_class_uid == CohortKind.PDF.sop_class_uid]
    if older:
        ds.PredecessorDocumentsSequence = reference_items(older)
    return ds
