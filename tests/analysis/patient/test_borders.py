"""One ball of known uptake, a bright core in a fainter shell: what each threshold leaves of it is counted by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from analysis.patient.borders import borders, owners
from analysis.ports import LesionMap
from analysis.values import Border, Model, Tracer

MODEL = Model(name="by hand", version="1")


def shell(make: Any) -> tuple[Any, Any, Any]:
    """The study, its core (SUV 10) and the whole ball (SUV 3 around the core)."""
    grid = make.grid((24, 24, 24))
    core, ball = make.sphere(grid, (35, 35, 35), 8.0), make.sphere(grid, (35, 35, 35), 16.0)
    return make.study(Tracer.FDG, grid, np.where(core, 10.0, np.where(ball, 3.0, 0.5))), core, ball


def test_each_threshold_draws_its_own_border(make: Any) -> None:
    study, core, ball = shell(make)
    tried = {"fixed": 4.0, "liver": 2.5, "blood pool": math.nan, "relative": 4.1}
    limits = {name: np.array([math.nan if name == "relative" else suv, suv]) for name, suv in tried.items()}
    found = LesionMap(model=MODEL, mask=core, regions=ball.astype(np.int32), limits=limits)
    measured = borders(study, core.astype(np.int32), found)
    lesion, whole = measured.of(1), measured.of(0)
    voxel = 0.027
    assert lesion["fixed"] == Border(suv=4.0, volume_ml=pytest.approx(core.sum() * voxel), suv_mean=pytest.approx(10.0))
    wide = (10.0 * core.sum() + 3.0 * (ball.sum() - core.sum())) / ball.sum()
    assert lesion["liver"] == Border(suv=2.5, volume_ml=pytest.approx(ball.sum() * voxel), suv_mean=pytest.approx(wide))
    assert lesion["liver"].burden_g == pytest.approx(ball.sum() * voxel * wide)
    assert all(math.isnan(x) for x in (lesion["blood pool"].volume_ml, lesion["blood pool"].burden_g))
    assert whole["fixed"].volume_ml == lesion["fixed"].volume_ml
    assert lesion["relative"].suv == pytest.approx(4.1)
    assert math.isnan(whole["relative"].suv)


def test_nothing_above_a_threshold_is_no_volume_and_no_mean(make: Any) -> None:
    study, core, ball = shell(make)
    found = LesionMap(model=MODEL, mask=core, regions=ball.astype(np.int32), limits={"fixed": np.array([20.0, 20.0])})
    one = borders(study, core.astype(np.int32), found).of(1)["fixed"]
    assert (one.volume_ml, one.burden_g) == (0.0, 0.0)
    assert math.isnan(one.suv_mean)


def test_a_region_of_two_lesions_is_divided_at_the_middle(make: Any) -> None:
    grid = make.grid((1, 1, 10))
    index = np.array([[0, 0, i] for i in range(10)])
    label = np.array([1, 1, 0, 0, 0, 0, 0, 0, 2, 2])
    divided = owners(label, np.ones(10, dtype=int), index, grid)
    assert divided.tolist() == [1] * 5 + [2] * 5
    assert owners(label * 0, np.ones(10, dtype=int), index, grid).tolist() == [0] * 10


def test_agreement_is_the_share_of_thresholds_that_hold_for_the_whole_study(make: Any) -> None:
    study, core, ball = shell(make)
    limits = {name: np.full(2, suv) for name, suv in {"fixed": 4.0, "liver": 2.5, "blood pool": 12.0}.items()}
    limits["relative"] = np.array([math.nan, 4.1])
    found = LesionMap(model=MODEL, mask=core, regions=ball.astype(np.int32), limits=limits)
    agreement = borders(study, core.astype(np.int32), found).agreement(0.5)
    assert agreement is not None
    assert agreement[1] == pytest.approx(2 / 3)
    alone = LesionMap(model=MODEL, mask=core, regions=ball.astype(np.int32), limits={"fixed": np.full(2, 4.0)})
    assert borders(study, core.astype(np.int32), alone).agreement(0.5) is None


def test_without_regions_no_other_border_is_tried(make: Any) -> None:
    study, core, _ = shell(make)
    assert dict(borders(study, core.astype(np.int32), LesionMap(model=MODEL, mask=core)).of(1)) == {}
