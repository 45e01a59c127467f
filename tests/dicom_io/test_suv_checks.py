"""What must be one in a series, and what is told of dose, decay and infusion."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread

from analysis.errors import NotQuantifiable
from dicom_io.headers import read_folder
from dicom_io.studies import Series
from dicom_io.suv import suv_conversion


def warnings(scans: Any, slices: list[Dataset]) -> str:
    return " ".join(suv_conversion(scans.series(slices)).warnings)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PatientWeight", "71"),
        ("PatientSize", "1.8"),
        ("PatientSex", "M"),
        ("Units", "GML"),
        ("DecayCorrection", "ADMIN"),
        ("SeriesTime", "095900"),
        ("CorrectedImage", ["ATTN"]),
    ],
)
def test_slices_that_disagree_are_refused(scans, keyword: str, value: Any) -> None:
    """calculate-suv: every instance must have identical values for series-level metadata."""
    slices = scans.pet(3)
    setattr(slices[2], keyword, value)
    with pytest.raises(NotQuantifiable, match=f"disagree in {keyword}"):
        suv_conversion(scans.series(slices))


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("RadionuclideHalfLife", "6589"), ("RadionuclideTotalDose", "3e7"), ("RadiopharmaceuticalStartTime", "093000")],
)
def test_tracers_that_disagree_are_refused(scans, keyword: str, value: str) -> None:
    slices = scans.pet(2) + scans.pet(3, item={keyword: value})[2:]
    with pytest.raises(NotQuantifiable, match=f"disagree in {keyword}"):
        suv_conversion(scans.series(slices))


def test_one_number_written_in_two_ways_is_one(scans) -> None:
    slices = scans.pet(3)
    slices[2].PatientWeight, slices[1].SeriesTime = "70.000", "100000.00"
    assert suv_conversion(scans.series(slices)).factors == suv_conversion(scans.series(scans.pet(3))).factors


@pytest.mark.parametrize("keyword", ["SeriesTime", "AcquisitionTime", "AcquisitionDate", "SeriesDate", "FrameReferenceTime"])
def test_a_garbled_time_is_not_an_absent_one(scans, tmp_path: Path, keyword: str) -> None:
    """Otherwise the next rule would answer, and nobody would know."""
    path = scans.write(tmp_path, scans.pet(2, FrameReferenceTime="60000"))[1]
    place = {"SeriesTime": b"1x0000", "AcquisitionTime": b"1x0000", "FrameReferenceTime": b"6x000"}.get(keyword, b"2026x310")
    raw = dcmread(path)
    element = struct.pack("<HH", raw[keyword].tag.group, raw[keyword].tag.element)
    content = path.read_bytes()
    at = content.index(element) + 8
    path.write_bytes(content[:at] + place + content[at + len(place) :])
    with pytest.raises(NotQuantifiable, match=f"{keyword} is '.*x.*', which cannot be read|disagree in {keyword}"):
        suv_conversion(Series(instances=tuple(read_folder(tmp_path)[0])))


def test_decy_and_decay_correction(scans) -> None:
    """QIBA's vendor-neutral rules ask for DECY in CorrectedImage."""
    with pytest.raises(NotQuantifiable, match="does not list DECY"):
        suv_conversion(scans.series(scans.pet(2, CorrectedImage=["ATTN"])))
    assert "CorrectedImage lists DECY" in warnings(scans, scans.pet(2, DecayCorrection="NONE"))


@pytest.mark.parametrize(
    ("dose", "word"), [("350", "taken as MBq (350 MBq)"), ("5000000000", "71.4 MBq/kg"), ("5000000", "0.0714")]
)
def test_unusual_doses_are_told(scans, dose: str, word: str) -> None:
    assert word in warnings(scans, scans.pet(2, item={"RadionuclideTotalDose": dose}))


@pytest.mark.parametrize("dose", ["0.9", "370000", "9e10"])
def test_impossible_doses_are_refused(scans, dose: str) -> None:
    with pytest.raises(NotQuantifiable, match="no patient's dose"):
        suv_conversion(scans.series(scans.pet(2, item={"RadionuclideTotalDose": dose})))


def ge_syringe(slices: list[Dataset], rest: float) -> list[Dataset]:
    """The record of a real Discovery ST: 597.18 MBq drawn at 9:00, the rest measured a minute later."""
    for ds in slices:
        block = ds.private_block(0x0009, "GEMS_PETD_01", create=True)
        block.add_new(0x38, "FL", 597.17999)
        block.add_new(0x39, "DT", "20260310090000.00")
        block.add_new(0x3B, "DT", "20260310090000.00")
        block.add_new(0x3C, "FL", rest)
        block.add_new(0x3D, "DT", "20260310090100.00")
    return slices


def test_ge_dose_is_what_was_drawn_less_what_was_left(scans) -> None:
    """That scan's RadionuclideTotalDose was 588802304 Bq with 8.325 MBq left."""
    item = {"RadionuclideTotalDose": "588802304.0"}
    assert "GE's own record" not in warnings(scans, ge_syringe(scans.pet(2, item=item), 8.325))
    assert "GE's own record of the syringe gives 496.5 MBq" in warnings(scans, ge_syringe(scans.pet(2, item=item), 100.0))


def test_a_slow_infusion_is_told(scans) -> None:
    assert "infused over 10 min; by the middle of it SUV would be -3.2 %" in warnings(
        scans, scans.pet(2, item={"RadiopharmaceuticalStopTime": "091000"})
    )
    for stop in ("090000", "090130", "103000"):  # a bolus, two minutes, the end of the scan
        assert "infused" not in warnings(scans, scans.pet(2, item={"RadiopharmaceuticalStopTime": stop}))
