"""Which rule gives the reference time of DecayCorrection START, and why the others were not taken."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset

from analysis.errors import NotQuantifiable
from dicom_io.headers import read_folder
from dicom_io.studies import Series
from dicom_io.suv import SuvConversion, suv_conversion
from dicom_io.suv_alternatives import Alternative
from dicom_io.suv_reference import start_reference
from dicom_io.suv_times import nuclide

PER_BQ = 70_000 / 3e8  # the factory's patient: 70 kg, 300 MBq of F-18 at 9:00, series and acquisition at 10:00
LATE = {"SeriesTime": "113000"}


def decayed(seconds: float) -> float:
    return PER_BQ * 2 ** (seconds / 6588)


def with_time(slices: list[Dataset], group: int, creator: str, element: int, moment: str) -> list[Dataset]:
    for ds in slices:
        ds.private_block(group, creator, create=True).add_new(element, "DT", moment)
    return slices


def converted(scans: Any, slices: list[Dataset]) -> tuple[SuvConversion, dict[str, Alternative]]:
    found = suv_conversion(scans.series(slices))
    return found, {other.rule: other for other in found.alternatives}


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        # PHILIPS_BQML: FrameReferenceTime does not belong to the acquisition, and factors to SUV stand beside Bq/ml.
        (
            {
                "SeriesTime": "110155",
                "AcquisitionTime": "110156",
                "FrameReferenceTime": "1328700",
                "ActualFrameDuration": "120700",
                "PatientWeight": "64",
                "item": {
                    "RadionuclideTotalDose": "126000000",
                    "RadionuclideHalfLife": "6586.199707",
                    "RadiopharmaceuticalStartTime": "100058",
                    "RadiopharmaceuticalStartDateTime": "20260310100058",
                },
                "private": {0x00: "0.003515736 ", 0x09: "4.709921"},
            },
            0.0007463747013889488,
        ),
        # BQML_AC_DT_BEFORE_S_DT_SIEMENS: SeriesTime is 5 microseconds after the acquisition.
        (
            {
                "SeriesTime": "123515.000000",
                "AcquisitionTime": "123514.999995",
                "FrameReferenceTime": "59936.854672596",
                "ActualFrameDuration": "120000",
                "PatientWeight": "65",
                "item": {
                    "RadionuclideTotalDose": "225000000",
                    "RadionuclideHalfLife": "6586.2",
                    "RadiopharmaceuticalStartTime": "114100.000000",
                },
            },
            0.0004069156854009332,
        ),
        # PHILIPS_CNTS_AND_BQML_SUV: both factors.
        (
            {
                "Units": "CNTS",
                "SeriesTime": "093556",
                "AcquisitionTime": "095439",
                "PatientWeight": "54",
                "item": {"RadionuclideTotalDose": "238000000", "RadiopharmaceuticalStartTime": "083000"},
                "private": {0x00: "0.000551", 0x09: "1.602563"},
            },
            0.000551,
        ),
    ],
)
def test_more_vendor_headers(scans, header: dict[str, Any], expected: float) -> None:
    """The headers of cornerstonejs/calculate-suv (test/metadata) beside those of the shared data."""
    private = header.pop("private", {})
    slices = scans.pet(3, **header)
    for ds in slices:
        block = ds.private_block(0x7053, "Philips PET Private Group", create=True)
        for element, value in private.items():
            block.add_new(element, "DS", value)
    assert suv_conversion(scans.series(slices)).factor == pytest.approx(expected, rel=1e-6)


def test_decay_correction_time_comes_first(scans) -> None:
    """PS3.3 C.8.22.4: DecayCorrectionDateTime is the time that the image is corrected to."""
    found, others = converted(scans, scans.pet(2, DecayCorrectionDateTime="20260310095000.000", SeriesTime="095500"))
    assert found.factor == pytest.approx(decayed(3000), rel=1e-12)
    assert found.reference_rule == "DecayCorrectionDateTime (0018,9701)"
    assert others["SeriesTime"].why_not == "DecayCorrectionDateTime (0018,9701) comes first"
    assert others["SeriesTime"].difference_percent == pytest.approx((2 ** (300 / 6588) - 1) * 100)


def test_decay_correction_to_the_administration_is_possible(scans) -> None:
    found, _ = converted(scans, scans.pet(2, DecayCorrectionDateTime="20260310090000"))
    assert found.factor == pytest.approx(PER_BQ, rel=1e-12)


@pytest.mark.parametrize(
    ("moment", "why"),
    [
        ("19000101100000", "another session's"),
        ("20260310104500", "after the scan ended"),
        ("20260311020000", "another session's"),
    ],
)
def test_decay_correction_time_of_another_scan_does_not_count(scans, moment: str, why: str) -> None:
    found, others = converted(scans, scans.pet(2, DecayCorrectionDateTime=moment))
    assert found.reference_rule == "SeriesTime"
    assert why in others["DecayCorrectionDateTime (0018,9701)"].why_not


def test_siemens_time_comes_before_the_series_time(scans) -> None:
    """IBSI manual for SUV: the private Decay Correction DateTime of SIEMENS MED PT before anything else."""
    slices = with_time(scans.pet(2, **LATE), 0x0071, "SIEMENS MED PT", 0x22, "20260310095800.500000")
    found, others = converted(scans, slices)
    assert found.factor == pytest.approx(decayed(3480.5), rel=1e-12)
    assert others["SeriesTime"].why_not == "it is 90 min after the first acquisition (10:00:00)"


def test_orphaned_private_time_of_another_maker_does_not_count(scans) -> None:
    """(0009,100D) without a creator is GE's unless the header names another maker."""
    for maker, expected in (("GE MEDICAL SYSTEMS", decayed(3000)), ("", decayed(3000)), ("TOSHIBA", decayed(3600))):
        slices = with_time(scans.pet(2, Manufacturer=maker, **LATE), 0x0009, "GEMS_PETD_01", 0x0D, "20260310095000")
        for ds in slices:
            del ds[0x0009, 0x0010]
        assert suv_conversion(scans.series(slices)).factor == pytest.approx(expected, rel=1e-12), maker


def test_a_real_ge_header_counts_to_the_start_of_the_frame(shared_data: Path) -> None:
    """In a real Discovery ST scan DecayFactor is exp(decay over FrameReferenceTime) times the correction within the frame of
    300 s, so that GE's FrameReferenceTime ends where the frame begins; all beds bear the scan's start as AcquisitionTime."""
    headers = [i.header for i in read_folder(shared_data / "pair1" / "fdg" / "pet")[0]]
    constant = math.log(2) / 6588
    within = constant * 300 / (1 - math.exp(-constant * 300))
    for ds in headers:
        expected = math.exp(constant * float(ds.FrameReferenceTime) / 1000) * within
        assert float(ds.DecayFactor) == pytest.approx(expected, abs=1e-5)
    assert {ds.AcquisitionTime for ds in headers} == {"095947.00"}


def test_ge_beds_by_their_own_acquisition_time(scans) -> None:
    slices = scans.pet(2, Manufacturer="GE MEDICAL SYSTEMS", FrameReferenceTime="60000", AcquisitionTime="100100", **LATE)
    slices[1].AcquisitionTime, slices[1].FrameReferenceTime = "100300", "180000"
    found, _ = converted(scans, slices)
    assert found.factors == pytest.approx([decayed(3600)] * 2, rel=1e-12)
    assert found.reference_rule == "AcquisitionTime - FrameReferenceTime (GE)"


def test_ge_beds_that_share_the_scans_time_are_not_corrected_twice(scans) -> None:
    slices = scans.pet(2, Manufacturer="GE MEDICAL SYSTEMS", FrameReferenceTime="0", **LATE)
    slices[1].FrameReferenceTime = "303000"
    found, others = converted(scans, slices)
    assert found.factors == pytest.approx([decayed(3600)] * 2, rel=1e-12)
    assert "5 min 3 s" in others["AcquisitionTime - FrameReferenceTime (GE)"].why_not


def test_decay_factor_is_a_check(scans) -> None:
    x = math.log(2) / 6588 * 120
    within = x / (1 - math.exp(-x))
    _, others = converted(scans, scans.pet(2, DecayFactor=f"{within * 2 ** (600 / 6588):.7f}"))
    check = others["DecayFactor (0054,1321)"]
    assert check.reference_time == pytest.approx(datetime(2026, 3, 10, 9, 50), abs=timedelta(seconds=0.01))
    assert check.difference_percent == pytest.approx((2 ** (-600 / 6588) - 1) * 100, rel=1e-4)


def test_series_of_another_day_is_no_reference(scans) -> None:
    """De-identification that shifts one date and not the other must not give a factor. No series begins days before its scan;
    one that is made anew bears a later date."""
    with pytest.raises(NotQuantifiable, match=r"SeriesTime .* is 46089 days before the first acquisition"):
        suv_conversion(scans.series(scans.pet(2, SeriesDate="19000101")))
    found, others = converted(scans, scans.pet(2, SeriesDate="20991231"))
    assert found.reference_rule == "earliest AcquisitionTime"
    assert (others["SeriesTime"].suv_factor, others["SeriesTime"].why_not[-26:]) == (None, "is not the day of the scan")


def test_a_series_time_that_cannot_be_checked_is_refused(scans) -> None:
    """QIBA's rule takes SeriesTime only where it is not after the acquisition."""
    with pytest.raises(NotQuantifiable, match="AcquisitionTime is missing"):
        suv_conversion(scans.series(scans.pet(2, AcquisitionTime=None)))


def test_an_enhanced_frame_has_no_other_reference(scans) -> None:
    series = scans.series(scans.pet(2, DecayCorrectionDateTime="19000101100000"))
    frames = Series(instances=tuple(replace(i, frame=n) for n, i in enumerate(series.instances)))
    with pytest.raises(NotQuantifiable, match="DecayCorrectionDateTime cannot be used: 1900-01-01"):
        start_reference(frames, nuclide(frames))
