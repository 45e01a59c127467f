"""Thresholds from reference organs of known uptake: the formulas are done by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from bodies import ball, grid_of

from analysis.errors import ModelUnavailable
from analysis.patient.measures import MeasurementSettings
from analysis.segmenters.thresholds import DEFINITIONS, ThresholdSettings, absolute, defined, limits, references
from analysis.values import Anatomy, Body, Grid, Labelmap, Model, PetCt, Tracer, Unit, Volume

SETTINGS, HOW = ThresholdSettings(), MeasurementSettings()
GRID = grid_of((40, 40, 60), 4.0)
LIVER, AORTA = ball(GRID, (60, 80, 80), 40.0), ball(GRID, (180, 80, 80), 16.0)


def study(suv: np.ndarray, tracer: Tracer = Tracer.FDG, grid: Grid = GRID) -> PetCt:
    pet = Volume(grid=grid, values=suv.astype(np.float32), unit=Unit.SUV)
    ct = Volume(grid=grid, values=np.zeros(grid.shape, np.float32), unit=Unit.HU)
    return PetCt(tracer=tracer, pet=pet, ct=ct, body=Body(weight_kg=70.0))


def anatomy(*organs: str) -> Anatomy:
    labels = np.zeros(GRID.shape, np.int32)
    names = dict(enumerate(organs, start=1))
    for label, name in names.items():
        labels[LIVER if name == "liver" else AORTA] = label
    regions = Labelmap(grid=GRID, labels=labels, names=names)
    return Anatomy(regions=regions, bone=np.zeros(GRID.shape, np.float32), model=Model(name="by hand", version="1"))


def uptake(noise: float = 0.0) -> np.ndarray:
    suv = np.where(LIVER, 2.0, np.where(AORTA, 1.5, 0.5))
    return suv + np.random.default_rng(3).normal(0.0, noise, suv.shape) if noise else suv


def test_percist_and_twice_the_blood_pool() -> None:
    known = references(study(uptake(0.1)), anatomy("liver", "aorta"), HOW)
    assert known["liver mean"] == pytest.approx(2.0, abs=0.03)
    assert known["liver sd"] == pytest.approx(0.1, rel=0.15)
    by_name = absolute(Tracer.FDG, known, SETTINGS)
    assert by_name["liver"] == pytest.approx(1.5 * known["liver mean"] + 2 * known["liver sd"])
    assert by_name["blood pool"] == pytest.approx(2.0 * known["blood pool mean"] + 2 * known["blood pool sd"])
    assert by_name["liver"] == pytest.approx(3.2, abs=0.07)
    assert by_name["blood pool"] == pytest.approx(3.2, abs=0.12)


def test_a_metastasis_in_the_liver_is_no_reference() -> None:
    suv = uptake()
    suv[ball(GRID, (60, 80, 80), 10.0)] = 9.0
    known = references(study(suv), anatomy("liver"), HOW)
    assert (known["liver mean"], known["liver sd"]) == pytest.approx((2.0, 0.0), abs=1e-5)


def test_an_organ_that_was_not_found_leaves_its_threshold_undefined() -> None:
    known = references(study(uptake()), anatomy("liver"), HOW)
    assert math.isnan(known["blood pool mean"])
    by_name = absolute(Tracer.FDG, known, SETTINGS)
    assert math.isnan(by_name["blood pool"])
    with pytest.raises(ModelUnavailable, match="blood pool is undefined on FDG"):
        defined(study(uptake()), "blood pool", by_name)


def test_limits_by_region() -> None:
    regions = np.zeros(GRID.shape, np.int32)
    suv = uptake()
    for n, (x, top) in enumerate(((60, 10.0), (180, 20.0)), start=1):
        regions[ball(GRID, (x, 80, 80), 8.0)] = n
        suv[regions == n] = top
    known = {"liver mean": 2.0, "liver sd": 0.1, "blood pool mean": math.nan, "blood pool sd": math.nan}
    found = limits(study(suv, Tracer.PENTIXAFOR), regions, known, ThresholdSettings(pentixafor_threshold=5.0))
    assert tuple(found) == DEFINITIONS
    assert found["fixed"].tolist() == [5.0, 5.0, 5.0]
    assert found["relative"][1:] == pytest.approx([4.1, 8.2])
    assert math.isnan(found["relative"][0])
    assert found["liver"] == pytest.approx(np.full(3, 3.2))
    assert np.isnan(found["blood pool"]).all()
