"""Which PET of a study is to be measured and which CT belongs to it, among all its series."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from analysis.errors import IncompleteSeries, NoUsableCt, NoUsablePet
from analysis.values import FloatArray
from dicom_io.correction import is_projection, why_not_corrected, why_not_frames, why_not_static, why_several_phases
from dicom_io.elements import moment, number, text, words
from dicom_io.enhanced import CONVERTED
from dicom_io.slices import extent, normal, slice_grid
from dicom_io.studies import Series, Study

MEASURABLE_UNITS = {"BQML", "GML", "CM2ML", "CNTS"}
# A CT must hold at least this part of the PET's axial range.
LEAST_COVERAGE = 0.9
# Series whose coverage differs by less than this part cover the same; something else decides between them.
SAME_COVERAGE = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A series, sentences on why it was taken where there was a choice, and the others that fit as well."""

    series: Series
    remarks: tuple[str, ...] = ()
    others: tuple[Series, ...] = ()


def choose_pet(study: Study) -> Chosen:
    """The attenuation-corrected static PET to be measured.

    Among several: originals before derived ones, those that name an AttenuationCorrectionMethod before those that do not
    (an uncorrected series may claim ATTN, but has no method to name), then the longest axial range (ranges within 2 %
    count as equal), complete before incomplete, the most voxels, the newest. Raises NoUsablePet, which says of each PET
    why it is none.
    """
    pets = [s for s in study.series if _is_pet(s)]
    if not pets:
        raise NoUsablePet("The study holds no PET series; send its PET, or name another study.")
    reasons = {id(s): _why_no_pet(s) for s in pets}
    usable = [s for s in pets if not reasons[id(s)]]
    originals = [s for s in usable if _image_type(s, 0) != "DERIVED"]
    if not usable:
        listed = "; ".join(f"{name(s)}: {reasons[id(s)]}" for s in pets)
        raise NoUsablePet(f"The study holds no attenuation-corrected static PET ({listed}); send the corrected series.")
    candidates = originals or usable
    named = [s for s in candidates if text(s.header, "AttenuationCorrectionMethod")]
    best = max(_longest(named or candidates), key=_pet_rank)
    remarks = []
    if not originals:
        remarks.append(f"{name(best)} is a derived image; no original PET is in the study.")
    others = [s for s in usable if s is not best]
    if others:
        remarks.append(
            f"Of {len(usable)} attenuation-corrected PET series, {name(best)} was taken (longest axial range, then most "
            f"voxels, then newest); not measured: {', '.join(name(s) for s in others)}."
        )
    return Chosen(series=best, remarks=tuple(remarks), others=tuple(others))


def choose_ct(study: Study, pet: Series) -> Chosen:
    """The CT that belongs to a PET: same frame of reference, axial, over at least 90 % of the PET's axial range.

    Among several: complete before incomplete, the largest coverage (within 2 % equal), the finest slices, originals, the
    most voxels, the newest. Raises NoUsableCt, which says of each CT why it is none.
    """
    if not pet.frame_of_reference_uid:
        raise NoUsableCt(
            f"{name(pet)} has no FrameOfReferenceUID, so no CT can be told to lie with it; correct it at its source."
        )
    cts = [_without_localizers(s) for s in study.series if s.modality == "CT"]
    if not cts:
        raise NoUsableCt("The study holds no CT series; the CT of the same session is needed.")
    reasons = {id(s): _why_no_ct(s, pet) for s in cts}
    usable = [s for s in cts if not reasons[id(s)]]
    if not usable:
        listed = "; ".join(f"{name(s)}: {reasons[id(s)]}" for s in cts)
        raise NoUsableCt(f"The study holds no CT that belongs to {name(pet)} ({listed}); send the CT of the same session.")
    complete = [s for s in usable if _is_complete(s)] or usable
    most = max(_coverage(s, pet) for s in complete)
    best = max((s for s in complete if _coverage(s, pet) >= most - SAME_COVERAGE), key=_ct_rank)
    others = [s for s in usable if s is not best]
    if not others:
        return Chosen(series=best)
    remark = (
        f"Of {len(usable)} CT series that fit, {name(best)} was taken (largest coverage, then finest slices); "
        f"not used: {', '.join(name(s) for s in others)}."
    )
    return Chosen(series=best, remarks=(remark,), others=tuple(others))


def name(series: Series) -> str:
    """How a person finds the series: description, else number, else UID."""
    number_of = text(series.header, "SeriesNumber")
    label = series.description[:64] or (f"number {number_of}" if number_of else series.series_instance_uid)
    return f"{series.modality} {label!r}"


def _is_pet(series: Series) -> bool:
    return series.modality == "PT"


def _image_type(series: Series, place: int) -> str:
    types = words(series.header, "ImageType")
    return types[place].upper() if len(types) > place else ""


def _why_no_pet(series: Series) -> str:
    """Why a PET series is not one to be measured; "" where it is."""
    secondary = _image_type(series, 0) == "DERIVED" and _image_type(series, 1) == "SECONDARY"
    units = text(series.header, "Units").upper()
    shape = "it has a single image" if len(series.instances) < 2 else _why_not_axial(series)
    return (
        why_not_static(series)
        or ("it is a derived secondary image" if secondary else "")
        or why_not_corrected(series)
        or ("" if units in MEASURABLE_UNITS else f"its Units are {units or 'not given'}")
        or shape
    )


def _why_not_axial(series: Series) -> str:
    direction = next((n for i in series.instances if (n := normal(i)) is not None), None)
    if direction is None:
        return "its images have no orientation"
    return "" if abs(float(direction[2])) > 0.7 else "its slices are not axial"


def _is_complete(series: Series) -> bool:
    try:
        slice_grid(series)
    except IncompleteSeries:
        return False
    return True


def _length(series: Series) -> float:
    """Axial range in mm."""
    reach = extent(series, _head())
    return 0.0 if reach is None else reach[1] - reach[0]


def _head() -> FloatArray:
    return np.array([0.0, 0.0, 1.0])


def _longest(pets: Sequence[Series]) -> list[Series]:
    """Those whose axial range is within 2 % of the longest; of them the complete ones, where there are any.

    An incomplete torso is not given up for complete legs: it is waited for.
    """
    longest = max(_length(s) for s in pets)
    long = [s for s in pets if _length(s) >= (1 - SAME_COVERAGE) * longest]
    return [s for s in long if _is_complete(s)] or long


def _voxels(series: Series) -> float:
    return (number(series.header, "Rows") or 0) * (number(series.header, "Columns") or 0) * len(series.instances)


def _made(series: Series) -> datetime:
    """When the series was made; the far past where the header is silent."""
    known = (moment(series.header, kind) for kind in ("InstanceCreation", "Content", "Series"))
    return next((at for at in known if at is not None), datetime(1, 1, 1))


def _converted(series: Series) -> bool:
    """Whether an archive made it of classic images, which may stand beside it."""
    return text(series.header, "SOPClassUID") in CONVERTED


def _pet_rank(series: Series) -> tuple[float, bool, datetime, float, str]:
    return (
        _voxels(series),
        not _converted(series),
        _made(series),
        number(series.header, "SeriesNumber") or 0.0,
        series.series_instance_uid,
    )


def _without_localizers(series: Series) -> Series:
    """The series without the scout that some scanners put into it."""
    axial = tuple(i for i in series.instances if "LOCALIZER" not in {w.upper() for w in words(i.header, "ImageType")})
    return Series(instances=axial) if axial and len(axial) < len(series.instances) else series


def _why_no_ct(series: Series, pet: Series) -> str:
    """Why a CT series does not belong to the PET; "" where it does."""
    if why := why_not_frames(series) or _why_not_hounsfield(series) or why_several_phases(series):
        return why
    if not pet.frame_of_reference_uid or series.frame_of_reference_uid != pet.frame_of_reference_uid:
        return "it is in another frame of reference"
    if len(series.instances) < 2:
        return "it has a single image"
    if is_projection(series):
        return "it is a projection"
    if why := _why_not_axial(series):
        return why
    covered = _coverage(series, pet)
    return (
        ""
        if covered >= LEAST_COVERAGE
        else f"it covers {covered * 100:.0f} % of the PET's axial range, {LEAST_COVERAGE * 100:.0f} % are needed"
    )


def _why_not_hounsfield(series: Series) -> str:
    """Spectral CTs store other quantities in the same form (PS3.3 C.11.1.1.2); US is what older scanners write for HU."""
    if "LOCALIZER" in {word.upper() for word in words(series.header, "ImageType")}:
        return "it is a localizer"
    kind = text(series.header, "RescaleType").upper()
    return "" if kind in {"", "HU", "US"} else f"its values are {kind[:16]}, not HU"


def _coverage(ct: Series, pet: Series) -> float:
    """Part of the PET's axial range that the CT's holds, 0..1."""
    one, other = extent(ct, _head()), extent(pet, _head())
    if one is None or other is None or other[1] <= other[0]:
        return 0.0
    return max(0.0, min(one[1], other[1]) - max(one[0], other[0])) / (other[1] - other[0])


def _ct_rank(series: Series) -> tuple[float, bool, float, bool, datetime, str]:
    gap = _length(series) / len(series.instances)
    original = _image_type(series, 0) != "DERIVED"
    # Rounded, so that two reconstructions of one spacing are told apart by what follows.
    return -round(gap, 1), original, _voxels(series), not _converted(series), _made(series), series.series_instance_uid
