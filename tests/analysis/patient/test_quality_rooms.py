"""Each finding by itself: what makes it ok, warn and, where it can, hold (the limits of docs/METHOD.md 5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from bodies import ball, bare_study, body_anatomy, body_case, body_pair, grid_of, header_facts, seen

from analysis.patient.quality import CHECKS
from analysis.patient.quality_acquisition import acquisition, patient
from analysis.patient.quality_balance import balance
from analysis.patient.quality_case import QualityCase
from analysis.patient.quality_geometry import geometry
from analysis.patient.quality_lesions import lesion_load, models
from analysis.patient.quality_organs import organs
from analysis.patient.quality_registration import registration
from analysis.patient.quality_settings import QualitySettings
from analysis.values import Body, Finding, LesionSet, Model, Tracer, Verdict, Volume

SETTINGS = QualitySettings()
FDG, CXCR4 = Tracer.FDG, Tracer.PENTIXAFOR
OK, WARN, HOLD = Verdict.OK, Verdict.WARN, Verdict.HOLD


def told(room: Callable[..., Any], case: QualityCase, settings: QualitySettings = SETTINGS) -> dict[str, Finding]:
    found = list(room(case, settings))
    assert len({f.name for f in found}) == len(found)
    assert all(f.message.endswith(".") and f.message[0].isupper() for f in found)
    return {f.name: f for f in found}


def of_facts(**changed: Any) -> QualityCase:
    return body_case(fdg=bare_study(FDG, facts=header_facts(FDG, **changed)))


def test_a_usual_case_is_fine_in_every_room() -> None:
    rooms = (acquisition, patient, balance, geometry, registration, lesion_load, models)
    for room in rooms:
        assert {f.verdict for f in told(room, body_case()).values()} == {OK}, room.__name__
    assert set(rooms) <= set(CHECKS)


@pytest.mark.parametrize(
    ("mbq", "weight", "total", "per_kg"),
    [
        (250, 70, OK, OK),
        (40, 35, WARN, OK),  # a sparing dose for a small person
        (800, 150, WARN, OK),
        (400, 39, OK, WARN),
        (60, 70, OK, WARN),
        (9, 70, HOLD, HOLD),  # 9 mCi read as MBq
        (250e3, 70, HOLD, HOLD),  # kBq for Bq
        (9250, 70, HOLD, HOLD),  # 250 taken as mCi
    ],
)
def test_dose(mbq: float, weight: float, total: Verdict, per_kg: Verdict) -> None:
    study = bare_study(FDG, facts=header_facts(FDG, dose_bq=mbq * 1e6), body=Body(weight_kg=weight, height_m=1.75))
    found = told(acquisition, body_case(fdg=study))
    assert (found["FDG dose"].verdict, found["FDG dose per kg"].verdict) == (total, per_kg)
    assert found["FDG dose"].value == mbq
    assert found["FDG dose per kg"].value == pytest.approx(mbq / weight, rel=1e-3)


def test_doses_of_pentixafor_have_their_own_range() -> None:
    study = bare_study(CXCR4, facts=header_facts(CXCR4, dose_bq=500e6))
    found = told(acquisition, body_case(pentixafor=study))
    assert (found["PentixaFor dose"].verdict, found["PentixaFor dose per kg"].verdict) == (WARN, WARN)
    usual = bare_study(CXCR4, facts=header_facts(CXCR4, dose_bq=100e6))
    assert told(acquisition, body_case(pentixafor=usual))["PentixaFor dose"].verdict is OK


def test_an_unknown_dose_is_said_and_no_header_says_nothing() -> None:
    found = told(acquisition, of_facts(dose_bq=None))
    assert (found["FDG dose"].value, found["FDG dose"].verdict) == (None, WARN)
    silent = body_case(fdg=bare_study(FDG, facts={}), pentixafor=bare_study(CXCR4, facts={}))
    assert set(told(acquisition, silent)) == {"FDG uptake time", "PentixaFor uptake time", "uptake time difference"}


@pytest.mark.parametrize(("seconds", "verdict"), [(6586.2, OK), (6588, OK), (4062.6, HOLD), (7200, HOLD)])
def test_half_life(seconds: float, verdict: Verdict) -> None:
    assert told(acquisition, of_facts(half_life_s=seconds))["FDG half-life"].verdict is verdict


@pytest.mark.parametrize(
    ("minutes", "verdict", "difference"),
    [(60, OK, OK), (45, WARN, OK), (90, WARN, WARN), (25, HOLD, WARN), (160, HOLD, WARN), (None, WARN, None)],
)
def test_uptake_time(minutes: float | None, verdict: Verdict, difference: Verdict | None) -> None:
    found = told(acquisition, body_case(fdg=bare_study(FDG, uptake_min=minutes)))
    assert found["FDG uptake time"].verdict is verdict
    between = found.get("uptake time difference")
    assert (between and between.verdict) is difference


@pytest.mark.parametrize(
    ("ct", "value", "verdict"),
    [("2026-03-10T09:58:00", 7.0, OK), ("2026-03-10T08:00:00", 125.0, WARN), (None, None, WARN)],
)
def test_time_between_ct_and_pet(ct: str | None, value: float | None, verdict: Verdict) -> None:
    found = told(acquisition, of_facts(ct_started=ct))["FDG PET to CT time"]
    assert (found.value, found.verdict) == (value, verdict)


@pytest.mark.parametrize(("date", "days", "verdict"), [("2026-03-08", 2, OK), ("2026-02-08", 30, OK), ("2026-02-07", 31, WARN)])
def test_days_between_the_studies(date: str, days: int, verdict: Verdict) -> None:
    found = told(acquisition, of_facts(study_started=f"{date}T23:50:00"))["days between studies"]
    assert (found.value, found.verdict) == (days, verdict)


def test_doubts_about_suv_stand_one_by_one() -> None:
    found = told(acquisition, of_facts(suv_warnings=("Two rules differ by 3 %.", "The dose was in MBq.")))
    assert [found[n].message for n in ("FDG SUV", "FDG SUV (2)")] == ["Two rules differ by 3 %.", "The dose was in MBq."]
    assert {found[n].verdict for n in ("FDG SUV", "FDG SUV (2)")} == {WARN}
    fine = told(acquisition, body_case())["FDG SUV"]
    assert (fine.verdict, fine.value) == (OK, "decay corrected to start: SeriesTime")


@pytest.mark.parametrize(
    ("body", "name", "verdict"),
    [
        (Body(weight_kg=30.0, height_m=1.75), "FDG weight", WARN),
        (Body(weight_kg=181.0, height_m=1.9), "FDG weight", WARN),
        (Body(weight_kg=180.0, height_m=1.9), "FDG weight", OK),
        (Body(weight_kg=70.0, height_m=1.2), "FDG height", WARN),
        (Body(weight_kg=70.0), "FDG height", WARN),
        (Body(weight_kg=40.0, height_m=1.75), "FDG body mass index", WARN),
        (Body(weight_kg=40.0, height_m=1.55), "FDG body mass index", OK),
        (Body(weight_kg=63.0, height_m=1.75), "weight change", WARN),
        (Body(weight_kg=64.0, height_m=1.75), "weight change", OK),
        (Body(weight_kg=70.0, height_m=1.69), "height change", WARN),
        (Body(weight_kg=70.0, height_m=1.70), "height change", OK),
    ],
)
def test_weight_and_height(body: Body, name: str, verdict: Verdict) -> None:
    assert told(patient, body_case(fdg=bare_study(FDG, body=body)))[name].verdict is verdict


@pytest.mark.parametrize(
    ("changed", "name", "verdict"),
    [
        ({"mass_kg": 84.0, "activity_kg": 60.0}, "FDG mass in field", WARN),
        ({"mass_kg": 105.0, "activity_kg": 60.0}, "FDG mass in field", HOLD),
        ({"activity_kg": 71.0}, "FDG activity in field", WARN),
        ({"activity_kg": 78.0}, "FDG activity in field", HOLD),
        ({"activity_kg": 26.0}, "FDG activity balance", WARN),
        ({"activity_kg": 27.0}, "FDG activity balance", OK),
        ({"mass_kg": 20.0, "activity_kg": 31.0}, "FDG activity balance", WARN),
        ({"activity_kg": 10.0}, "FDG activity balance", HOLD),
        ({"mass_kg": 10.0, "activity_kg": 41.0}, "FDG activity balance", HOLD),
        ({"mass_kg": 0.0}, "FDG activity balance", WARN),
    ],
)
def test_balance(changed: dict[str, float], name: str, verdict: Verdict) -> None:
    assert told(balance, body_case(body={FDG: seen(**changed), CXCR4: seen()}))[name].verdict is verdict


@pytest.mark.parametrize(
    ("changed", "name", "verdict"),
    [
        ({"covered": 0.979}, "FDG CT coverage", WARN),
        ({"covered": 0.79}, "FDG CT coverage", HOLD),
        ({"outline_dice": 0.89}, "FDG PET to CT outline", WARN),
        ({"outline_dice": float("nan")}, "FDG PET to CT outline", WARN),
        ({"truncation": 0.06}, "FDG CT truncation", WARN),
        ({"truncation": 0.04}, "FDG CT truncation", OK),
    ],
)
def test_geometry(changed: dict[str, float], name: str, verdict: Verdict) -> None:
    assert told(geometry, body_case(body={FDG: seen(**changed), CXCR4: seen()}))[name].verdict is verdict


def test_voxels_and_slices_of_the_pet() -> None:
    coarse = grid_of((2, 2, 2), 6.5)
    study = bare_study(FDG)
    pet = Volume(grid=coarse, values=np.ones(coarse.shape, np.float32), unit=study.pet.unit)
    uneven = header_facts(FDG, pet_slice_irregularity_mm=1.4)
    found = told(geometry, body_case(fdg=replace(study, pet=pet, facts=uneven)))
    assert (found["FDG PET voxel"].value, found["FDG PET voxel"].verdict) == (6.5, WARN)
    assert (found["FDG PET slices"].value, found["FDG PET slices"].verdict) == (1.4, WARN)


def test_scanners() -> None:
    found = told(geometry, body_case())
    assert (found["FDG scanner"].value, found["scanners"].value) == ("GE, Discovery, OSEM", "same")
    other = told(geometry, of_facts(reconstruction="PSF+TOF"))
    assert (other["scanners"].value, other["scanners"].verdict) == ("different", WARN)
    unknown = told(geometry, of_facts(manufacturer="", model="", reconstruction=None))
    assert (unknown["FDG scanner"].value, unknown["FDG scanner"].verdict, "scanners" in unknown) == (None, WARN, False)


@pytest.mark.parametrize(
    ("quality", "name", "verdict"),
    [
        ({"bone_dice": 0.70}, "registration bone Dice", OK),
        ({"bone_dice": 0.69}, "registration bone Dice", WARN),
        ({"bone_dice": 0.2}, "registration bone Dice", HOLD),
        ({"body_dice": 0.90}, "registration body Dice", OK),
        ({"body_dice": 0.89}, "registration body Dice", WARN),
        ({"body_dice": 0.5}, "registration body Dice", HOLD),
        ({"folding": 0.001}, "registration folding", WARN),
        ({"displacement_p95_mm": 55.0}, "registration displacement", WARN),
        ({"displacement_p95_mm": 40.0}, "registration displacement", OK),
    ],
)
def test_registration(quality: dict[str, float], name: str, verdict: Verdict) -> None:
    pair = body_pair(bare_study(FDG), bare_study(CXCR4), **quality)
    assert told(registration, body_case(pair=pair))[name].verdict is verdict


@pytest.mark.parametrize(
    ("changed", "name", "verdict"),
    [
        ({"liver": {FDG: 1.29, CXCR4: 1.7}}, "FDG liver SUVmean", WARN),
        ({"liver": {FDG: 3.0, CXCR4: 1.7}}, "FDG liver SUVmean", OK),
        ({"liver": {FDG: float("nan"), CXCR4: 1.7}}, "FDG liver SUVmean", WARN),
        ({"liver": {FDG: 1.9, CXCR4: 4.2}}, "PentixaFor liver SUVmean", WARN),
        ({"liver": {FDG: 1.9, CXCR4: 2.0}}, "PentixaFor liver SUVmean", OK),
        ({"spleen": {FDG: 3.1, CXCR4: 6.0}}, "FDG spleen SUVmean", WARN),
        ({"spleen": {FDG: 1.7, CXCR4: 1.2}}, "PentixaFor spleen SUVmean", WARN),
        ({"spleen": {FDG: 1.7, CXCR4: 4.06}}, "PentixaFor spleen SUVmean", OK),
        ({"noise": {FDG: 0.16, CXCR4: 0.1}}, "FDG liver noise", WARN),
        ({"noise": {FDG: 0.15, CXCR4: 0.16}}, "PentixaFor liver noise", OK),
        ({"noise": {FDG: 0.15, CXCR4: 0.21}}, "PentixaFor liver noise", WARN),
    ],
)
def test_uptake_and_noise_of_organs(changed: dict[str, Any], name: str, verdict: Verdict) -> None:
    assert told(organs, body_case(**changed))[name].verdict is verdict


def test_what_was_not_found_is_said_once() -> None:
    nothing = {FDG: float("nan"), CXCR4: float("nan")}
    found = told(organs, body_case(liver=nothing, spleen=nothing, noise=nothing))
    assert set(found) == {f"{t} {what}" for t in Tracer for what in ("organs", "liver SUVmean")}
    assert {f.verdict for f in found.values()} == {WARN}


@pytest.mark.parametrize(
    ("reach", "organ", "verdict"),
    [(65.0, "liver", OK), (50.0, "liver", WARN), (95.0, "liver", WARN), (40.0, "spleen", OK), (20.0, "spleen", WARN)],
)
def test_volumes_of_organs(reach: float, organ: str, verdict: Verdict) -> None:
    """A sphere of 65 mm has 1,150 ml, of 50 mm 524 ml, of 95 mm 3,591 ml, of 40 mm 268 ml, of 20 mm 34 ml."""
    anatomy = body_anatomy(grid_of(), (organ,), reach)
    found = told(organs, body_case(anatomy={FDG: anatomy, CXCR4: anatomy}))[f"FDG {organ} volume"]
    assert found.value == pytest.approx(4.18879e-3 * reach**3, rel=0.06)
    assert found.verdict is verdict


def test_an_organ_cut_by_the_field_may_be_small() -> None:
    low = grid_of(origin=(0.0, 0.0, 140.0))  # begins in the liver's middle
    anatomy = body_anatomy(low, ("liver",))
    found = told(organs, body_case(anatomy={FDG: anatomy, CXCR4: anatomy}))["FDG liver volume"]
    assert found.value == pytest.approx(1150 / 2, rel=0.1)
    assert (found.verdict, "cut by the field" in found.message) == (OK, True)


def test_lesion_load(make: Any) -> None:
    grid = grid_of()
    lesions = {t: make.lesions(t, grid, [ball(grid, (210, 150, z), 14) for z in (60, 150)]) for t in Tracer}
    found = told(lesion_load, body_case(lesions=lesions))
    assert (found["FDG lesion count"].value, found["FDG lesion count"].verdict) == (2, OK)
    assert found["FDG lesion volume"].value == pytest.approx(2 * 4.18879e-3 * 14**3, rel=0.1)
    strict = told(lesion_load, body_case(lesions=lesions), QualitySettings(max_lesions=1, max_volume_ml=10.0))
    assert (strict["FDG lesion count"].verdict, strict["FDG lesion volume"].verdict) == (WARN, WARN)


@pytest.mark.parametrize(
    ("model", "verdict", "word"),
    [
        (Model(name="duet lesions (rules, no weights)", version="1"), OK, "fixed rules"),
        (Model(name="autoPET", version="2", weights_sha256="ab" * 32), OK, "abababababab"),
        (Model(name="autoPET", version="2"), HOLD, "nobody vouches"),
    ],
)
def test_models(model: Model, verdict: Verdict, word: str) -> None:
    case = body_case()
    lesions = {t: LesionSet(tracer=t, labelmap=x.labelmap, lesions=(), model=model) for t, x in case.lesions.items()}
    found = told(models, replace(case, lesions=lesions))["FDG lesion model"]
    assert (found.verdict, word in found.message) == (verdict, True)


@pytest.mark.parametrize(("confidence", "verdict"), [(0.4, OK), (0.39, WARN)])
def test_a_region_found_with_little_confidence_is_named(confidence: float, verdict: Verdict) -> None:
    usual = body_case()
    told_of = {t: replace(a, confidence={"liver": 0.9, "kidney_left": confidence}) for t, a in usual.anatomy.items()}
    found = told(organs, replace(usual, anatomy=told_of))["FDG region confidence"]
    assert (found.verdict, found.value) == (verdict, confidence)
    assert ("kidney left" in found.message) == (verdict is WARN)
    assert "liver" not in found.message
