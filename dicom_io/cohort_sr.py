"""sr-cohort.dcm: the estimates of a cohort as numbers, an Enhanced SR under the pseudo-patient beside the document.

No standard template describes a cohort (TID 1500 measures a patient's images), so the tree is plain: containers, numbers and
texts. What lies below a number is not shown by most viewers, so limits and p value stand beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from highdicom.sr import CompositeContentItem, ContainerContentItem, RelationshipTypeValues
from pydicom import Dataset
from pydicom.sr.coding import Code

from analysis.cohort.values import Estimate
from dicom_io import codes
from dicom_io.cohort_occasion import (
    COHORT_SENTENCE,
    CohortKind,
    CohortOccasion,
    Predecessor,
    cohort_object,
    cohort_observer,
    reference_items,
)
from dicom_io.derived import printable
from dicom_io.sr_items import container, like, number, text, unicode_text
from dicom_io.sr_text import legible

_UNITS = {code.value: code for code in codes.standard_codes() if code.scheme_designator == "UCUM"}


def write_cohort_sr(estimates: Sequence[Estimate], occasion: CohortOccasion, seed: str, document: Dataset) -> Dataset:
    """The report of the estimates; document: the encapsulated PDF of the same occasion, which it refers to."""
    items = [
        text(codes.INTENDED_USE, COHORT_SENTENCE),
        text(codes.COHORT_VERSION, str(occasion.version)),
        number(codes.PATIENT_COUNT, float(occasion.patients), codes.PATIENTS),
        number(codes.CYCLE_COUNT, float(occasion.cycles), codes.CYCLES),
        _reference(document),
        container(codes.ESTIMATES, _estimates(estimates)),
    ]
    root = ContainerContentItem(codes.COHORT_REPORT, is_content_continuous=False)
    report = like(root, ContentSequence=[*cohort_observer(occasion), *items])
    legible(report)
    ds = cohort_object(occasion, CohortKind.SR, seed)
    ds.CompletionFlag, ds.VerificationFlag, ds.PreliminaryFlag = "COMPLETE", "UNVERIFIED", "PRELIMINARY"
    ds.PerformedProcedureCodeSequence = []
    ds.ReferencedPerformedProcedureStepSequence = []
    ds.CurrentRequestedProcedureEvidenceSequence = reference_items([Predecessor.of(document)])
    older = [x for x in occasion.predecessors if x.sop_class_uid == CohortKind.SR.sop_class_uid]
    if older:
        ds.PredecessorDocumentsSequence = reference_items(older)
    ds.update(report)
    return ds


def _reference(document: Dataset) -> Dataset:
    return CompositeContentItem(
        codes.COHORT_DOCUMENT, document.SOPClassUID, document.SOPInstanceUID, relationship_type=RelationshipTypeValues.CONTAINS
    )


def _estimates(estimates: Sequence[Estimate]) -> list[Dataset]:
    if not estimates:
        return [text(codes.COMMENT, "No estimate could be made.")]
    return [container(codes.ESTIMATE, _estimate(estimate)) for estimate in estimates]


def _estimate(estimate: Estimate) -> list[Dataset]:
    """Name, value, limits, p value, rows and method; what is undefined is left out, what is infinite stands as text."""
    name, unit = estimate.name, unit_code(estimate.unit)
    measured = codes.named_code(name, printable(name))
    items = [
        unicode_text(codes.ESTIMATE_NAME, name),
        *_number(measured, estimate.value, unit, what="the value"),
        *_number(codes.LOWER_LIMIT, estimate.low, unit, what="the lower limit of the 95 % interval"),
        *_number(codes.UPPER_LIMIT, estimate.high, unit, what="the upper limit of the 95 % interval"),
        *_number(codes.P_VALUE, estimate.p, codes.NO_UNITS, what="the p value"),
        *([number(codes.CYCLE_COUNT, float(estimate.n), codes.CYCLES)] if estimate.n else []),
    ]
    if estimate.method:
        items.append(unicode_text(codes.ESTIMATE_METHOD, estimate.method))
    if math.isnan(estimate.value):
        items.append(unicode_text(codes.UNDEFINED, f"{name} is undefined."))
    return [*items, unicode_text(codes.COMMENT, sentence(estimate))]


def _number(name: Code, value: float, unit: Code, *, what: str) -> list[Dataset]:
    if math.isnan(value):
        return []
    if math.isinf(value):
        return [text(codes.INFINITE, f"{what} is {_spoken(value)}.")]
    return [number(name, float(value), unit)]


def unit_code(unit: str) -> Code:
    """UCUM's code of a unit; with the meaning of our table where it stands there."""
    return _UNITS.get(unit or "1") or Code(unit, "UCUM", printable(unit))


def sentence(estimate: Estimate) -> str:
    """The estimate as a reader says it: `rate ratio of X: 3.9 (95 % interval 1.4 to 11.7), p 0.008, n 24`."""
    unit = "" if estimate.unit in ("", "1") else f" {estimate.unit.partition('{')[0]}".rstrip()
    value = "undefined" if math.isnan(estimate.value) else f"{_spoken(estimate.value)}{unit}"
    limits = [f"{_spoken(x)}" for x in (estimate.low, estimate.high)]
    interval = "" if math.isnan(estimate.low) and math.isnan(estimate.high) else f" (95 % interval {' to '.join(limits)})"
    p = "" if math.isnan(estimate.p) else f", p {_spoken(estimate.p)}"
    n = f", n {estimate.n}" if estimate.n else ""
    return f"{estimate.name}: {value}{interval}{p}{n}"


def _spoken(value: float) -> str:
    if math.isnan(value):
        return "undefined"
    return f"{value:.4g}" if math.isfinite(value) else ("infinite" if value > 0 else "minus infinite")
