"""When the tracer was given, and times with parts missing."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Any

import pytest

from analysis.errors import NotQuantifiable
from dicom_io.suv import suv_conversion
from dicom_io.suv_times import Nuclide, administered, average_count_time, started

SCAN = datetime(2026, 3, 10, 10)
F18, GA68, ZR89, CU64 = 6586.2, 4057.7, 282_240.0, 45_720.0


def tracer(half_life_s: float, exact: datetime | None = None, clock_h: float | None = None) -> Nuclide:
    clock = None if clock_h is None else timedelta(hours=clock_h)
    return Nuclide(half_life_s=half_life_s, dose_bq=3e8, administered_datetime=exact, administered_clock=clock)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (tracer(F18, SCAN - timedelta(hours=1)), 60),
        (tracer(F18, SCAN - timedelta(hours=1), 9), 60),
        (tracer(F18, None, 9), 60),
        (tracer(F18, None, 23), 660),  # the evening before
        (tracer(F18, datetime(1959, 3, 1, 9), 9), 60),  # a date that de-identification shifted, with and without StartTime
        (tracer(F18, datetime(1959, 3, 1, 9)), 60),
        (tracer(ZR89, SCAN - timedelta(days=3)), 4320),  # long-lived, with its date
    ],
)
def test_administered(given: Nuclide, expected: float) -> None:
    assert (SCAN - administered(given, SCAN)[0]).total_seconds() / 60 == expected


@pytest.mark.parametrize(
    ("given", "word"),
    [
        (tracer(F18), "Neither"),
        (tracer(F18, None, 11), "23.0 h"),
        (tracer(GA68, None, 5), "5.0 h"),
        (tracer(F18, datetime(1959, 3, 1, 8), 9), "can be believed"),  # neither date nor clock agree
        (tracer(F18, SCAN + timedelta(minutes=30)), "23.5 h"),
        (tracer(ZR89, None, 9), "alone does not tell the day"),
        (tracer(CU64, None, 9), "alone does not tell the day"),
        (tracer(ZR89, datetime(1959, 3, 1, 9)), "can be believed"),
        (tracer(109.8, None, 9), "half-life of 110 s"),  # minutes where seconds belong
    ],
)
def test_administration_that_cannot_be(given: Nuclide, word: str) -> None:
    with pytest.raises(NotQuantifiable, match=word):
        administered(given, SCAN)


def factor(scans: Any, **changes: Any) -> float:
    return suv_conversion(scans.series(scans.pet(2, **changes))).factor


@pytest.mark.parametrize(
    "changes",
    [
        {"AcquisitionDate": None},
        {"SeriesDate": None},
        {"SeriesDate": None, "AcquisitionDate": None},
        {"AcquisitionDate": None, "AcquisitionTime": None, "AcquisitionDateTime": "20260310100000.000000"},
        {
            "AcquisitionDate": None,
            "AcquisitionTime": None,
            "AcquisitionDateTime": "20260310090000+0000",
            "TimezoneOffsetFromUTC": "+0100",
        },
        {"SeriesTime": "100000.000 "},
        {"SeriesTime": "10:00:00"},
    ],
)
def test_missing_dates_and_other_ways_to_write_a_time(scans, changes: dict[str, Any]) -> None:
    assert factor(scans, **changes) == pytest.approx(70_000 / 3e8 * 2 ** (3600 / 6588), rel=1e-9)


def test_a_date_that_stands_for_another_is_told(scans) -> None:
    warnings = suv_conversion(scans.series(scans.pet(2, AcquisitionDate=None))).warnings
    assert any("AcquisitionDate is missing" in warning for warning in warnings)


def test_an_acquisition_without_a_date_after_midnight_is_the_next_days(scans) -> None:
    series = scans.series(scans.pet(2, SeriesTime="235500", AcquisitionTime="000500", AcquisitionDate=None))
    assert started(series) == datetime(2026, 3, 11, 0, 5)


def test_fractions_of_seconds_count(scans) -> None:
    changes = {"SeriesTime": "100000.500000", "AcquisitionTime": "100001"}
    assert factor(scans, **changes) == pytest.approx(70_000 / 3e8 * 2 ** (3600.5 / 6588), rel=1e-12)


def test_the_scan_and_the_injection_in_two_zones(scans) -> None:
    """Each with its own offset, as over a change to summer time: half an hour lies between them."""
    item = {"RadiopharmaceuticalStartTime": None, "RadiopharmaceuticalStartDateTime": "20260329013000+0100"}
    times = {
        f"{name}{part}": value
        for name in ("Series", "Acquisition")
        for part, value in (("Date", "20260329"), ("Time", "030000"))
    }
    found = suv_conversion(scans.series(scans.pet(2, item=item, TimezoneOffsetFromUTC="+0200", **times)))
    assert found.uptake_min == 30


def test_average_count_time() -> None:
    """Half a frame, less a little: the FrameReferenceTime of a real Siemens scan's first frame (calculate-suv's headers)."""
    assert average_count_time(math.log(2) / 6586.2, 120) == pytest.approx(59.936854672596, abs=1e-6)


def test_administration_needs_no_time(scans) -> None:
    """With DecayCorrection ADMIN the factor is weight over dose; what times there are must be possible."""
    found = suv_conversion(scans.series(scans.pet(2, DecayCorrection="ADMIN", item={"RadiopharmaceuticalStartTime": None})))
    assert (found.factor, found.uptake_min) == (pytest.approx(70_000 / 3e8), None)
    assert "Uptake time unknown" in found.warnings[0]
    with pytest.raises(NotQuantifiable, match=r"23\.0 h"):
        factor(scans, DecayCorrection="ADMIN", item={"RadiopharmaceuticalStartTime": "110000"})
