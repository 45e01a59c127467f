"""What headers alone say of a pair: identity, units, frames, image type; and that nobody is named."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from analysis.values import Finding, Tracer, Verdict
from dicom_io.header_findings import header_findings
from dicom_io.pairing import one_pair
from dicom_io.studies import DualTracerPair, PatientIdentity, Study, TracerStudy

WHO = {"patient_id": "P1", "name": "Müller^Änne", "birth_date": "19600101", "sex": "F"}


def study(scans: Any, tracer: Tracer, who: dict[str, str], pet: dict[str, Any], ct: dict[str, Any]) -> TracerStudy:
    series = scans.series(scans.pet(2, tracer.value, **pet)), scans.series(scans.ct(2, **ct))
    day = datetime(2026, 3, 10, 10)
    whole = Study(patient=PatientIdentity(**{**WHO, **who}), series=series, started=day)
    return TracerStudy(study=whole, tracer=tracer, injected=day, pet=series[0], ct=series[1])


def told(scans: Any, *, who: Any = None, pet: Any = None, ct: Any = None) -> dict[str, Finding]:
    """The findings of a pair; what is given changes the PentixaFor study."""
    pair = DualTracerPair(
        fdg=study(scans, Tracer.FDG, {}, {}, {}),
        pentixafor=study(scans, Tracer.PENTIXAFOR, who or {}, pet or {}, ct or {}),
    )
    found = header_findings(pair)
    names = [f.name for f in found]
    assert len(set(names)) == len(names) == 7
    shown = " ".join(f"{f.value} {f.limit} {f.message}" for f in found)
    assert not [word for word in ("Müller", "Mueller", "Änne", "1960", "1961", "P1") if word in shown]
    assert all(f.message.endswith(".") for f in found)
    return {f.name: f for f in found}


def test_a_pair_without_fault(scans: Any) -> None:
    found = told(scans)
    assert {f.verdict for f in found.values()} == {Verdict.OK}
    assert found["same patient"].value == "name, birth date, sex"


@pytest.mark.parametrize(
    ("who", "value", "verdict", "word"),
    [
        ({"name": "MUELLER^AENNE"}, "birth date, sex", Verdict.WARN, "spelt differently in name"),
        ({"name": "Müller^"}, "birth date, sex", Verdict.WARN, "spelt differently in name"),
        ({"birth_date": ""}, "name, sex", Verdict.WARN, "silent on birth date"),
        ({"birth_date": "", "sex": "", "name": ""}, "none", Verdict.WARN, "silent on name, birth date, sex"),
        ({"birth_date": "19610101"}, "name, sex", Verdict.HOLD, "two people by birth date"),
        ({"sex": "M"}, "name, birth date", Verdict.HOLD, "two people by sex"),
        ({"patient_id": "P2"}, "name, birth date, sex", Verdict.HOLD, "the same in name, birth date, sex"),
    ],
)
def test_same_patient(scans: Any, who: dict[str, str], value: str, verdict: Verdict, word: str) -> None:
    found = told(scans, who=who)["same patient"]
    assert (found.value, found.verdict, word in found.message) == (value, verdict, True), found.message


@pytest.mark.parametrize(
    ("units", "verdict"),
    [
        ("BQML", Verdict.OK),
        ("GML", Verdict.OK),
        ("CM2ML", Verdict.OK),
        ("CNTS", Verdict.OK),
        ("1CM", Verdict.HOLD),
        (None, Verdict.HOLD),
    ],
)
def test_units(scans: Any, units: str | None, verdict: Verdict) -> None:
    found = told(scans, pet={"Units": units})["PentixaFor units"]
    assert (found.value, found.verdict) == (units, verdict)
    assert ("private factor" in found.message) == (units not in ("BQML", "GML", "CM2ML"))


@pytest.mark.parametrize(("frame", "value", "verdict"), [("1.2.3", "different", Verdict.HOLD), (None, None, Verdict.WARN)])
def test_frames_of_pet_and_ct(scans: Any, frame: str | None, value: str | None, verdict: Verdict) -> None:
    found = told(scans, ct={"FrameOfReferenceUID": frame})["PentixaFor frame of reference"]
    assert (found.value, found.verdict) == (value, verdict)


@pytest.mark.parametrize("kind", [["DERIVED", "PRIMARY"], None])
def test_a_derived_pet_is_no_original(scans: Any, kind: list[str] | None) -> None:
    found = told(scans, pet={"ImageType": kind})["PentixaFor image type"]
    assert (found.value, found.verdict) == ("DERIVED" if kind else None, Verdict.WARN)


def test_the_real_pair(real_studies: list[TracerStudy]) -> None:
    """pair1: the same patient by all three, GE's and "Siemens'" Bq/ml, PET and CT in one frame each."""
    found = {f.name: f for f in header_findings(one_pair(*([s] for s in real_studies)))}
    assert found["same patient"].verdict in (Verdict.OK, Verdict.WARN)
    assert {found[f"{t} {what}"].verdict for t in Tracer for what in ("units", "frame of reference")} == {Verdict.OK}
