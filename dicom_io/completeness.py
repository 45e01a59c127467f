"""What the headers of a study say for its being whole: the counts that scanners write, and a CT that reaches over the PET."""

from __future__ import annotations

import math

from analysis.errors import IncompleteSeries
from dicom_io.elements import number
from dicom_io.slices import extent, normal, slice_grid
from dicom_io.studies import Series, TracerStudy

# How many times a series repeats its slices, by its kind (PS3.3 C.8.9.1).
_REPEATS = ("NumberOfTimeSlices", "NumberOfRRIntervals", "NumberOfTimeSlots")


def signs_of_completeness(study: TracerStudy) -> str:
    """Why no more slices need be awaited, in words; "" where the headers leave that open.

    Every PET of the study must hold as many slices as it announces, and the CT to be used must reach over the whole PET
    without a gap. A CT announces no number: what lies beyond the PET is not measured.
    """
    pets = [series for series in study.study.series if series.modality == "PT"]
    if not all(_holds_what_it_announces(series) for series in pets):
        return ""
    if not _reaches_over(study.ct, study.pet):
        return ""
    return "every PET holds the slices that it announces, and the CT reaches over the whole PET without a gap"


def _holds_what_it_announces(series: Series) -> bool:
    """A multi-frame object says what it holds; of single slices NumberOfSlices tells."""
    if all(instance.frame is not None for instance in series.instances):
        return _is_regular(series)
    slices = number(series.header, "NumberOfSlices")
    if not slices:
        return False
    repeats = math.prod(number(series.header, keyword) or 1.0 for keyword in _REPEATS)
    return len(series.instances) >= slices * repeats


def _reaches_over(ct: Series, pet: Series) -> bool:
    """Whether the CT holds the PET's axial range, but for at most one PET slice at each end."""
    along = normal(pet.instances[0])
    if along is None or not _is_regular(ct) or not _is_regular(pet):
        return False
    one, other = extent(ct, along), extent(pet, along)
    if one is None or other is None:
        return False
    slack = (other[1] - other[0]) / len(pet.instances)
    return one[0] <= other[0] + slack and one[1] >= other[1] - slack


def _is_regular(series: Series) -> bool:
    try:
        slice_grid(series)
    except IncompleteSeries:
        return False
    return True
