"""The same report as Enhanced SR, for an archive that refuses Comprehensive 3D SR: another class and other UIDs, nothing else.

The tree that duet writes is legal in both (sr.py). The result depends on the report alone, so it may be made anew each time
that it is sent.
"""

from __future__ import annotations

import copy

from pydicom import Dataset
from pydicom.uid import UID, Comprehensive3DSRStorage, EnhancedSRStorage

from dicom_io.studies import stable_uid

_UNKNOWN_TO_ENHANCED = ("SCOORD3D", "TABLE")  # value types, PS3.3 A.35.2.3.1.1


def enhanced_uid(sop_instance_uid: str) -> str:
    """The UID under which the report with this one is known as Enhanced SR."""
    return stable_uid(sop_instance_uid, "as enhanced")


def as_enhanced(report: Dataset) -> Dataset:
    """A copy of a Comprehensive 3D SR as Enhanced SR, in a series of its own.

    Raises ValueError where the report is of another class, or holds what Enhanced SR cannot.
    """
    if report.get("SOPClassUID") != Comprehensive3DSRStorage:
        raise ValueError("it is no Comprehensive 3D SR")
    if any(element.keyword == "ValueType" and element.value in _UNKNOWN_TO_ENHANCED for element in report.iterall()):
        raise ValueError("it holds coordinates or tables, which Enhanced SR cannot hold")
    ds = copy.deepcopy(report)
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = EnhancedSRStorage
    ds.SOPInstanceUID = enhanced_uid(str(report.SOPInstanceUID))
    ds.file_meta.MediaStorageSOPInstanceUID = UID(str(ds.SOPInstanceUID))
    ds.SeriesInstanceUID = enhanced_uid(str(report.SeriesInstanceUID))
    return ds
