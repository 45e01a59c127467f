"""What `duet suv` prints for a person."""

from __future__ import annotations

from typing import Any

import pytest

from service.suv_text import SuvText


def facts(**changes: Any) -> dict[str, Any]:
    other = {
        "rule": "SeriesTime",
        "reference_time": "2026-03-10T11:30:00",
        "suv_factor": 3.357e-4,
        "difference_percent": 20.86,
        "why_not": "it is 90 min after the first acquisition (10:00:00)",
    }
    silent = {
        **other,
        "rule": "GE scan time (0009,100D)",
        "reference_time": None,
        "suv_factor": None,
        "difference_percent": None,
    }
    return {
        "series_description": "PET AC " * 20,
        "instances": 3,
        "manufacturer": "GE MEDICAL SYSTEMS",
        "model": "",
        "tracer": "FDG",
        "tracer_note": "F-18 by its half-life of 6588 s, " * 5,
        "units": "BQML",
        "decay_correction": "START",
        "suv_factor": 2.7778e-4,
        "suv_factor_min": 2.7e-4,
        "suv_factor_max": 2.8e-4,
        "rule": "decay corrected to start: AcquisitionTime - FrameReferenceTime + average count time",
        "reference_rule": "AcquisitionTime - FrameReferenceTime + average count time",
        "reference_time": "2026-03-10T09:59:59.905592",
        "administered": "2026-03-10T09:00:00",
        "scan_started": "2026-03-10T10:00:00",
        "uptake_min": 60.0,
        "dose_bq": 3e8,
        "half_life_s": 6588.0,
        "weight_kg": 70.0,
        "height_m": 1.7,
        "sex": "F",
        "alternatives": [other, silent],
        "warnings": ["By SeriesTime SUV would be +20.9 %. " * 4],
        **changes,
    }


def test_the_table_tells_rule_time_factor_difference_and_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    lines = SuvText(facts=facts()).as_text().splitlines()
    rows = {line[2:60].strip(): line[60:].split() for line in lines}
    assert rows["AcquisitionTime - FrameReferenceTime + average count time"] == ["2026-03-10", "10:00:00", "0.0002778", "used"]
    assert rows["SeriesTime"] == ["2026-03-10", "11:30:00", "0.0003357", "+20.86", "%"]
    assert rows["GE scan time (0009,100D)"] == ["-", "-", "-"]
    assert (
        lines[lines.index(next(line for line in lines if line.startswith("  SeriesTime"))) + 1]
        .strip()
        .startswith("not used: it is 90")
    )
    assert lines[-1] == "Research use only."
    assert max(len(line) for line in lines) <= 100


def test_what_the_header_lacks_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    lacking = dict.fromkeys(
        ("tracer", "dose_bq", "half_life_s", "administered", "scan_started", "uptake_min", "height_m", "sex")
    )
    lacking |= dict.fromkeys(("reference_time", "reference_rule"))
    told = SuvText(facts=facts(**lacking, rule="stored as SUVbw", alternatives=[], warnings=[], decay_correction="")).as_text()
    for words in ("height not given, sex not given", "dose       not given", "injected   not known", "> stored as SUVbw"):
        assert words in told
