"""What must be one and make sense in a PET series before it becomes SUV, and what is told of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

from pydicom import Dataset

from analysis.errors import NotQuantifiable
from analysis.values import Body
from dicom_io.elements import items, number, read_date, read_datetime, read_number, read_time, text, words
from dicom_io.studies import Instance, Series
from dicom_io.suv_body import written
from dicom_io.suv_makers import ge_net_dose_bq
from dicom_io.suv_times import Nuclide, dates_are_guessed

# Megabecquerel a kilogram: outside of _USUAL the user is told, outside of _POSSIBLE a unit or a digit is wrong. The widest in
# use are about 0.3 (long-lived labels) and 30 (rubidium-82, oxygen-15 water); an FDG scan has 2 to 8.
_USUAL, _POSSIBLE = (0.2, 20.0), (0.02, 200.0)
# The part of SUV above which a disagreement is told.
WARN_ABOVE = 0.01

_ONE_FOR_ALL = ("Units", "DecayCorrection", "PatientWeight")
_ONE_TRACER = (
    "RadionuclideTotalDose",
    "RadionuclideHalfLife",
    "RadiopharmaceuticalStartTime",
    "RadiopharmaceuticalStartDateTime",
)
# Half-lives in s of what PET is made with (ICRP Publication 107, for the nuclides of DICOM PS3.16 CID 4020): O-14, Rb-82, O-15,
# K-38, Cu-62, N-13, C-11, Mn-52m, Cu-60, Mn-51, Tc-94m, As-70, Ga-68, Br-75, F-18, Ti-45, Cu-61, Sc-43, Sc-44, Se-73, Fe-52,
# Zn-62, Ga-66, Cu-64, Nb-90, Y-86, Br-76, Tb-152, As-72, Br-77, Y-90, Zr-89, I-124, Mn-52, Ge-68, Na-22.
_HALF_LIVES = (
    *(70.6, 76.4, 122.2, 458.2, 580.4, 597.9, 1221.8, 1266.0, 1422.0, 2772.0, 3120.0, 3156.0, 4062.6, 5802.0, 6586.2, 11088.0),
    *(12013.2, 14007.6, 14292.0, 25740.0, 29790.0, 33067.0, 34164.0, 45720.0, 52560.0, 53064.0, 58320.0, 63000.0, 93600.0),
    *(205329.6, 230760.0, 282276.0, 360806.4, 483062.4, 2.3414e7, 8.213e7),
)
_SAME_NUCLIDE = 0.03  # scanners' tables differ by up to so much
# A slice in which one of these is missing is believed to be like the others.
_ONE_WHERE_GIVEN = ("PatientSize", "PatientSex", "SUVType", "SeriesTime", "SeriesDate")


def require_readable(series: Series) -> None:
    """Raises NotQuantifiable where what SUV rests on is written, but not in DICOM's way: it is not absent."""
    for instance in series.instances:
        _require_readable(instance.header, _WRITTEN)
        for item in items(instance.header, "RadiopharmaceuticalInformationSequence"):
            _require_readable(item, _TIMES_OF_TRACER)


def _require_readable(header: Dataset, readers: Mapping[str, Callable[[str], object]]) -> None:
    for keyword, read in readers.items():
        said = written(header, keyword)
        if said and (read(said) is None or read(text(header, keyword)) is None):  # the latter: as another kind of value
            raise NotQuantifiable(f"{keyword} is {said[:20]!r}, which cannot be read; correct the header at its source.")


def _read_moment(word: str) -> datetime | None:
    """A date-time; a date alone is readable, though it tells no time."""
    return read_datetime(word) or read_date(word)


def _read_span(word: str) -> float | None:
    """Milliseconds of a scan: at most a day."""
    found = read_number(word)
    return found if found is not None and abs(found) <= 86_400_000 else None


_WRITTEN: Mapping[str, Callable[[str], object]] = {
    "RescaleSlope": read_number,
    "RescaleIntercept": read_number,
    "SeriesDate": read_date,
    "SeriesTime": read_time,
    "AcquisitionDate": read_date,
    "AcquisitionTime": read_time,
    "AcquisitionDateTime": _read_moment,
    "DecayCorrectionDateTime": _read_moment,
    "FrameReferenceDateTime": _read_moment,
    "FrameReferenceTime": _read_span,
    "ActualFrameDuration": _read_span,
}
_TIMES_OF_TRACER: Mapping[str, Callable[[str], object]] = {
    "RadiopharmaceuticalStartTime": read_time,
    "RadiopharmaceuticalStartDateTime": _read_moment,
}


def require_one_kind(series: Series) -> None:
    """Raises NotQuantifiable where instances disagree in what must be one for a series, or a slope or intercept is unusable."""
    for keyword in _ONE_FOR_ALL:
        _require_one(keyword, [_comparable(text(i.header, keyword)) for i in series.instances])
    for keyword in _ONE_TRACER:
        _require_one(keyword, [_of_tracers(i, keyword) for i in series.instances])
    for keyword in _ONE_WHERE_GIVEN:
        _require_one(keyword, [_comparable(word) for i in series.instances if (word := text(i.header, keyword))])
    _require_one("CorrectedImage", [{"ATTN", "DECY"} & _corrections(i) for i in series.instances])
    bare = without_slopes(series)
    for instance in series.instances:
        _require_slope(instance, bare=bare)


def _require_one(keyword: str, found: Sequence[object]) -> None:
    if any(value != found[0] for value in found):
        raise NotQuantifiable(f"The instances disagree in {keyword}; send the series again.")


def _corrections(instance: Instance) -> set[str]:
    return {word.upper() for word in words(instance.header, "CorrectedImage")}


def _comparable(word: str) -> str | float:
    """Numbers as numbers: 70 and 70.0 are the same."""
    try:
        return float(word)
    except ValueError:
        return word.upper()


def _of_tracers(instance: Instance, keyword: str) -> tuple[str | float, ...]:
    return tuple(_comparable(text(item, keyword)) for item in items(instance.header, "RadiopharmaceuticalInformationSequence"))


def _require_slope(instance: Instance, *, bare: bool) -> None:
    if not bare and (number(instance.header, "RescaleSlope") or 0.0) <= 0:
        raise NotQuantifiable(
            f"Slice {text(instance.header, 'InstanceNumber') or instance.sop_instance_uid} has no RescaleSlope above 0; "
            "correct the header at its source."
        )
    _require_readable(instance.header, {"RescaleIntercept": read_number})
    if number(instance.header, "RescaleIntercept"):
        raise NotQuantifiable(
            f"RescaleIntercept of a PET slice is {number(instance.header, 'RescaleIntercept'):g} where it must be 0; "
            "the series was changed after reconstruction and cannot be measured."
        )


def without_slopes(series: Series) -> bool:
    """Whether no instance at all has a RescaleSlope, as in excerpts of headers: a factor exists, but no voxel can be read."""
    return not any("RescaleSlope" in instance.header for instance in series.instances)


def decay_notes(series: Series, correction: str) -> tuple[str, ...]:
    """A sentence where CorrectedImage says DECY and DecayCorrection NONE.

    Raises NotQuantifiable where it is the other way round: QIBA's rules for SUV ask for DECY in CorrectedImage.
    """
    corrected = _corrections(series.instances[0])
    if corrected and "DECY" not in corrected and correction in {"START", "ADMIN"}:
        raise NotQuantifiable(
            f"DecayCorrection is {correction}, but CorrectedImage does not list DECY; correct the header at its source."
        )
    if "DECY" in corrected and correction == "NONE":
        return ("CorrectedImage lists DECY, but DecayCorrection is NONE; the latter was followed.",)
    return ()


def tracer_notes(series: Series, tracer: Nuclide, patient: Body) -> tuple[str, ...]:
    """Sentences on the dose and how it was given. Raises NotQuantifiable: nobody is given such a dose."""
    _require_nuclide(tracer)
    return (*_dose_notes(tracer, patient), *_ge_notes(series, tracer), *_infusion_notes(tracer), *_date_notes(series))


def _require_nuclide(tracer: Nuclide) -> None:
    if not any(abs(tracer.half_life_s / known - 1) <= _SAME_NUCLIDE for known in _HALF_LIVES):
        raise NotQuantifiable(
            f"RadionuclideHalfLife is {tracer.half_life_s:g} s, which is that of no nuclide used in PET; "
            "correct the header at its source."
        )


def _dose_notes(tracer: Nuclide, patient: Body) -> tuple[str, ...]:
    amount, per_kg = f"{tracer.dose_bq / 1e6:.4g} MBq", tracer.dose_bq / 1e6 / patient.weight_kg
    if not _POSSIBLE[0] <= per_kg <= _POSSIBLE[1]:
        raise NotQuantifiable(
            f"RadionuclideTotalDose is {amount}, which is {per_kg:.2g} MBq/kg and can be no patient's dose; "
            "correct the header at its source."
        )
    notes = []
    if tracer.in_mbq:
        notes.append(f"RadionuclideTotalDose is below 100000 Bq and was taken as MBq ({amount}).")
    if not _USUAL[0] <= per_kg <= _USUAL[1]:
        notes.append(f"The dose is {amount}, {per_kg:.3g} MBq/kg, which is unusual; check dose and weight.")
    return tuple(notes)


def _ge_notes(series: Series, tracer: Nuclide) -> tuple[str, ...]:
    """RadionuclideTotalDose of a GE scanner is the activity drawn less that left over, both at the administration."""
    net = ge_net_dose_bq(series.header, tracer.decay_constant)
    if net is None or abs(net / tracer.dose_bq - 1) <= WARN_ABOVE:
        return ()
    return (
        f"GE's own record of the syringe gives {net / 1e6:.4g} MBq, RadionuclideTotalDose {tracer.dose_bq / 1e6:.4g} MBq; "
        "the latter was used.",
    )


def _infusion_notes(tracer: Nuclide) -> tuple[str, ...]:
    """By the middle of a slow infusion SUV would be lower. Stops long after are the scan's, not the infusion's."""
    if not timedelta(0) < tracer.infusion <= timedelta(hours=1):
        return ()
    minutes = tracer.infusion.total_seconds() / 60
    part = tracer.decay_constant * minutes * 60 / 2
    if part <= WARN_ABOVE:
        return ()
    return (f"The tracer was infused over {minutes:.0f} min; by the middle of it SUV would be {-part * 100:+.1f} %.",)


def _date_notes(series: Series) -> tuple[str, ...]:
    if not dates_are_guessed(series):
        return ()
    return ("SeriesDate or AcquisitionDate is missing; the header's other dates stand for it.",)
