"""What must hold of SUV factors whatever the numbers are."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_io.inspection import SuvReport
from dicom_io.suv import SuvConversion, suv_conversion

START = datetime(2026, 3, 10, 10)
some = settings(max_examples=15, deadline=None)
weights = st.floats(30, 150)
doses = st.floats(1e8, 6e8)
uptakes = st.integers(60, 4 * 3600)
shifts = st.integers(-40 * 86_400, 40 * 86_400)
corrections = st.sampled_from(["START", "ADMIN", "NONE"])


def conversion(scans: Any, *, uptake: int = 3600, begun: datetime = START, exact: bool = True, **changes: Any) -> SuvConversion:
    """Three beds of two minutes, the series written half an hour late, so that several rules have an answer."""
    given_at = begun - timedelta(seconds=uptake)
    item = {
        "RadionuclideTotalDose": f"{changes.pop('dose', 3e8):.6f}",
        "RadiopharmaceuticalStartTime": f"{given_at:%H%M%S}",
        **({"RadiopharmaceuticalStartDateTime": f"{given_at:%Y%m%d%H%M%S}"} if exact else {}),
    }
    slices = scans.pet(3, item=item, **changes)
    for bed, ds in enumerate(slices):
        at = begun + timedelta(minutes=2 * bed)
        ds.AcquisitionDate, ds.AcquisitionTime = f"{at:%Y%m%d}", f"{at:%H%M%S}"
        ds.FrameReferenceTime = str(60_000 + 120_000 * bed)
        written = begun + timedelta(minutes=30)
        ds.SeriesDate, ds.SeriesTime = f"{written:%Y%m%d}", f"{written:%H%M%S}"
    return suv_conversion(scans.series(slices))


@some
@given(weight=weights, dose=doses, uptake=uptakes, correction=corrections)
def test_twice_the_weight_or_half_the_dose_doubles_the_factor(
    scans, weight: float, dose: float, uptake: int, correction: str
) -> None:
    words = {
        "uptake": uptake,
        "DecayCorrection": correction,
        "CorrectedImage": ["ATTN"] if correction == "NONE" else ["ATTN", "DECY"],
    }
    one = conversion(scans, dose=dose, PatientWeight=f"{weight:.6f}", **words).factor
    assert conversion(scans, dose=dose, PatientWeight=f"{2 * weight:.6f}", **words).factor == pytest.approx(2 * one, rel=1e-6)
    assert conversion(scans, dose=dose / 2, PatientWeight=f"{weight:.6f}", **words).factor == pytest.approx(2 * one, rel=1e-6)


@some
@given(uptake=uptakes, shift=shifts, exact=st.booleans(), correction=corrections)
def test_shifting_all_times_changes_nothing(scans, uptake: int, shift: int, exact: bool, correction: str) -> None:
    """Also over midnight, and where only the clock of the administration is given."""
    words = {"DecayCorrection": correction, "CorrectedImage": ["ATTN"] if correction == "NONE" else ["ATTN", "DECY"]}
    here = conversion(scans, uptake=uptake, **words)
    there = conversion(scans, uptake=uptake, begun=START + timedelta(seconds=shift), exact=exact, **words)
    assert there.factors == pytest.approx(here.factors, rel=1e-12)
    assert there.uptake_min == pytest.approx(uptake / 60)
    for one, other in zip(here.alternatives, there.alternatives, strict=True):
        assert (other.rule, other.suv_factor) == (one.rule, pytest.approx(one.suv_factor, rel=1e-12))


@some
@given(uptake=uptakes, first=st.integers(0, 86_400 - 1))
def test_longer_uptake_never_lowers_the_factor(scans, uptake: int, first: int) -> None:
    begun = START.replace(hour=0) + timedelta(seconds=first)
    early = conversion(scans, uptake=uptake, begun=begun).factor
    assert conversion(scans, uptake=uptake + 60, begun=begun).factor > early


@some
@given(places=st.permutations(range(5)), times=st.lists(st.integers(0, 1200), min_size=5, max_size=5))
def test_order_of_instances_does_not_matter(scans, places: list[int], times: list[int]) -> None:
    slices = scans.pet(5, SeriesTime="120000", FrameReferenceTime="0")
    for ds, seconds in zip(slices, times, strict=True):
        ds.AcquisitionTime = f"{START + timedelta(seconds=seconds):%H%M%S}"
    one = suv_conversion(scans.series(slices))
    other = suv_conversion(scans.series([slices[k] for k in places]))
    assert (other.factors, other.rule, other.alternatives) == (one.factors, one.rule, one.alternatives)


@some
@given(uptake=uptakes, weight=weights, correction=corrections)
def test_json_round_trip(scans, uptake: int, weight: float, correction: str) -> None:
    corrected = ["ATTN"] if correction == "NONE" else ["ATTN", "DECY"]
    words = {"PatientWeight": f"{weight:.3f}", "DecayCorrection": correction, "CorrectedImage": corrected}
    found = conversion(scans, uptake=uptake, **words)
    report = SuvReport(pet=scans.series(scans.pet(1)), tracer=None, tracer_note="", conversion=found, warnings=found.warnings)
    told = report.as_dict()
    assert json.loads(json.dumps(told, allow_nan=False)) == told
