"""Mass, activity, coverage and truncation of bodies whose answer is known, and which mistakes of dose and time they show."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from bodies import BACKGROUND, REACH, SHAPE, UPTAKE, body_case, body_ct, body_pet, body_study, grid_of

from analysis.patient.quality_balance import balance
from analysis.patient.quality_body import density, seen_body
from analysis.patient.quality_organs import organs
from analysis.patient.quality_settings import QualitySettings
from analysis.values import Tracer, Unit, Verdict, Volume

FDG = Tracer.FDG
LENGTH = 6.0 * SHAPE[0]
CYLINDER_KG = math.pi * 150 * 100 * LENGTH * 1e-6
ACTIVITY_KG = BACKGROUND * CYLINDER_KG + sum(
    4.18879e-6 * REACH[organ] ** 3 * (suv[0] - BACKGROUND) for organ, suv in UPTAKE.items()
)


def test_mass_and_activity_are_those_of_the_shapes() -> None:
    body = seen_body(body_study(FDG))
    assert body.mass_kg == pytest.approx(CYLINDER_KG, rel=0.02)
    assert body.activity_kg == pytest.approx(ACTIVITY_KG, rel=0.02)
    assert body.mass_share == pytest.approx(CYLINDER_KG / 70.0, rel=0.02)
    assert (body.covered, body.axial, body.truncation) == (1.0, 1.0, 0.0)
    assert body.outline_dice > 0.97


def test_density_of_known_tissues() -> None:
    """Schneider et al. 1996: about 0.26 g/ml at -741 HU, 0.95 at -98, 1.06 at 55, and 1.4 to 1.5 at 800 HU."""
    assert density(np.array([-1000.0, -741.0, -98.0, 55.0])) == pytest.approx([0.0, 0.26, 0.90, 1.055], abs=0.06)
    assert 1.4 <= float(density(np.array([800.0]))[0]) <= 1.55


@pytest.mark.parametrize(
    ("scale", "share", "mean", "liver"),
    [
        (1.0, Verdict.OK, Verdict.OK, Verdict.OK),
        (2.0, Verdict.OK, Verdict.WARN, Verdict.WARN),  # a dose halved, or a decay twice too long
        (0.5, Verdict.OK, Verdict.OK, Verdict.WARN),  # a dose doubled: seen in the liver alone, since half the normal is 0.6
        (0.37, Verdict.OK, Verdict.WARN, Verdict.WARN),
        (10.0, Verdict.HOLD, Verdict.HOLD, Verdict.WARN),  # a factor of ten in the dose
        (1e3, Verdict.HOLD, Verdict.HOLD, Verdict.WARN),  # kBq for Bq
        (1e-3, Verdict.OK, Verdict.HOLD, Verdict.WARN),
    ],
)
def test_which_scaled_pets_are_caught(scale: float, share: Verdict, mean: Verdict, liver: Verdict) -> None:
    """Here 29 % of the body lie in the field with a mean SUV of 1.2."""
    body = {FDG: seen_body(body_study(FDG, scale=scale)), Tracer.PENTIXAFOR: seen_body(body_study(FDG))}
    found = {f.name: f for f in balance(body_case(body=body), QualitySettings())}
    assert (found["FDG activity in field"].verdict, found["FDG activity balance"].verdict) == (share, mean)
    changed = body_case(liver={FDG: 1.9 * scale, Tracer.PENTIXAFOR: 1.7})
    assert {f.name: f for f in organs(changed, QualitySettings())}["FDG liver SUVmean"].verdict is liver


def test_a_whole_body_twice_too_hot_holds_more_than_was_injected() -> None:
    for scale, verdict in ((1.0, Verdict.OK), (2.0, Verdict.HOLD)):
        study = body_study(FDG, scale=scale)
        body = seen_body(study)
        whole = type(body)(**{**{n: getattr(body, n) for n in body.__slots__}, "weight_kg": 1.3 * CYLINDER_KG})
        found = {f.name: f for f in balance(body_case(body={FDG: whole}), QualitySettings())}
        assert found["FDG activity in field"].verdict is verdict


def test_a_weight_halved_in_the_header_shows_more_body_than_there_is() -> None:
    body = seen_body(body_study(FDG))
    small = type(body)(**{**{n: getattr(body, n) for n in body.__slots__}, "weight_kg": 0.5 * CYLINDER_KG / 0.75})
    found = {f.name: f for f in balance(body_case(body={FDG: small}), QualitySettings())}
    assert found["FDG mass in field"].verdict is Verdict.HOLD


def test_a_ct_that_ends_early_covers_less() -> None:
    short = grid_of((54, *SHAPE[1:]))
    body = seen_body(body_study(FDG, ct=body_ct(short)))
    assert body.axial == pytest.approx(54 / 72, abs=0.02)
    assert body.covered == pytest.approx(54 / 72, abs=0.03)
    assert body.outline_dice > 0.97


def test_a_ct_field_narrower_than_the_body_truncates_it() -> None:
    """A CT of 240 mm over a body of 300 mm: cut on both sides of every slice, and PET uptake beyond it."""
    narrow = grid_of((72, 52, 40), origin=(93.0, 0.0, 0.0))
    body = seen_body(body_study(FDG, ct=body_ct(narrow)))
    assert body.truncation == 1.0
    assert body.covered == pytest.approx(0.894, abs=0.03)  # the part of an ellipse within 0.8 of its half-width
    assert body.axial == 1.0


def test_a_body_near_the_edge_is_not_cut() -> None:
    """6 mm of air are left in front: nearer than masks are closed, but air."""
    near = grid_of((72, 36, 72), origin=(0.0, 48.0, 0.0))
    assert seen_body(body_study(FDG, ct=body_ct(near))).truncation == 0.0
    cut = grid_of((72, 35, 72), origin=(0.0, 66.0, 0.0))
    assert seen_body(body_study(FDG, ct=body_ct(cut))).truncation == 1.0


def test_arms_cut_in_some_slices_are_a_share_of_them() -> None:
    grid = grid_of()
    values = body_ct(grid).values.copy()
    values[:24, 20:30, :] = 0.0  # in a third of the slices something reaches both edges of the field
    study = body_study(FDG, ct=Volume(grid=grid, values=values, unit=Unit.HU))
    assert seen_body(study).truncation == pytest.approx(1 / 3, abs=0.04)


@pytest.mark.parametrize(("shift", "agrees"), [(12.0, True), (40.0, False)])
def test_a_pet_beside_its_ct_loses_its_outline(shift: float, agrees: bool) -> None:
    """Two equal ellipses shifted along the half-axis of 150 mm share 2/pi (acos u - u sqrt(1 - u^2)), u = shift / 300."""
    u = shift / 300.0
    exact = 2 / math.pi * (math.acos(u) - u * math.sqrt(1 - u * u))
    wide = grid_of((72, 52, 92), origin=(-60.0, 0.0, 0.0))
    study = body_study(FDG, ct=body_ct(wide), pet=body_pet(wide, FDG, middle=(213.0 - shift, 153.0)))
    found = seen_body(study).outline_dice
    assert found == pytest.approx(exact, abs=0.06)
    assert (found >= QualitySettings().outline_dice) is agrees


def test_a_pet_without_any_outline_is_unknown() -> None:
    grid = grid_of()
    empty: Any = Volume(grid=grid, values=np.zeros(grid.shape, np.float32), unit=Unit.SUV)
    body = seen_body(body_study(FDG, pet=empty))
    assert math.isnan(body.outline_dice)
    assert (body.covered, body.activity_kg) == (1.0, 0.0)
