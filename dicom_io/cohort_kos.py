"""kos-superseded.dcm: the rejection note for a cohort report that a new version replaces, as IHE IOCM has it.

A Key Object Selection (TID 2010) of its document and its report. Of IOCM's four titles (113001, 113037, 113038, 113039 DCM)
none says "replaced"; 113001 Rejected for Quality Reasons alone lets an archive keep and show what was rejected. The modifiers
of CID 7011 name faults of images, so none is given, and the description says why.
"""

from __future__ import annotations

from highdicom.ko import KeyObjectSelection
from pydicom import Dataset

from analysis.values import require
from dicom_io import codes
from dicom_io.cohort_occasion import (
    CohortKind,
    CohortOccasion,
    Predecessor,
    cohort_object,
    cohort_observer,
    reference_items,
)


def write_superseded(occasion: CohortOccasion, seed: str) -> Dataset:
    """The note that the occasion's predecessors are replaced; it must have some, else ValueError."""
    require(bool(occasion.predecessors), "cohort: the first version replaces none")
    content = KeyObjectSelection(
        codes.REJECTED_FOR_QUALITY,
        [_named(older) for older in occasion.predecessors],
        observer_device_context=cohort_observer(occasion),
        description=f"Replaced by version {occasion.version} of the cohort report in the same study.",
    )
    ds = cohort_object(occasion, CohortKind.SUPERSEDED, seed)
    ds.ReferencedPerformedProcedureStepSequence = []
    ds.CurrentRequestedProcedureEvidenceSequence = reference_items(occasion.predecessors)
    ds.update(content[0])
    return ds


def _named(older: Predecessor) -> Dataset:
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = older.sop_class_uid, older.sop_instance_uid
    return ds
