"""All objects of one version of a cohort's report, in the order in which they are sent."""

from __future__ import annotations

from collections.abc import Sequence

from pydicom import Dataset

from analysis.cohort.values import Estimate
from dicom_io.cohort_kos import write_superseded
from dicom_io.cohort_occasion import CohortKind, CohortOccasion, cohort_seed, content_digest
from dicom_io.cohort_sr import write_cohort_sr
from dicom_io.document import write_document


def cohort_objects(report_pdf: bytes, estimates: Sequence[Estimate], occasion: CohortOccasion) -> dict[str, Dataset]:
    """Name without ending > object: "report-pdf", "sr-cohort" and, where something is replaced, "kos-superseded" last.

    So no archive is without a report at any time. Same arguments, same bytes. Raises ValueError where the bytes are no PDF.
    """
    seed = cohort_seed(occasion, content_digest(report_pdf, estimates))
    document = write_document(report_pdf, occasion, seed)
    made = {CohortKind.PDF.stem: document, CohortKind.SR.stem: write_cohort_sr(estimates, occasion, seed, document)}
    if occasion.predecessors:
        made[CohortKind.SUPERSEDED.stem] = write_superseded(occasion, seed)
    return made
