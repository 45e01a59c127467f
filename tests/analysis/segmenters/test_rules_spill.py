"""Uptake beside a bladder of SUV 30, blurred by 6 mm as a PET does: balls are lesions, caps, rods and shells are urine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from analysis.grids import centres
from analysis.segmenters.rules import RuleLesions
from analysis.segmenters.rules_spill import lesions_beside, spilled
from analysis.values import Anatomy, Body, BoolArray, FloatArray, Grid, Labelmap, Model, PetCt, Tracer, Unit, Volume

MM = 3.0
GRID = Grid(shape=(60, 60, 60), affine=np.vstack([np.column_stack([MM * np.eye(3)[::-1], [-88.5] * 3]), [0, 0, 0, 1]]))
POINTS = centres(GRID)
X, Y, Z = POINTS[..., 0], POINTS[..., 1], POINTS[..., 2]
NOWHERE = np.zeros(GRID.shape, dtype=bool)
R = 30.0  # of the bladder, round the origin, mm
LIMIT = 4.0


def ball(x: float, radius: float, y: float = 0.0) -> BoolArray:
    return np.asarray(np.linalg.norm(POINTS - (x, y, 0.0), axis=-1) <= radius)


BLADDER = ball(0.0, R)
CAP = ball(12.0, R) & ~BLADDER
ROD = (np.hypot(X - 42.0, Y) <= 4.0) & (np.abs(Z) < 45.0)


def pet(*hot: tuple[BoolArray, float]) -> Volume:
    """The bladder at SUV 30 and what else is hot on a ground of 1, seen by a PET of 6 mm."""
    suv = np.where(BLADDER, 30.0, 1.0)
    for mask, level in hot:
        suv[mask & ~BLADDER] = level
    return Volume(grid=GRID, values=ndimage.gaussian_filter(suv, 6.0 / 2.3548 / MM).astype(np.float32), unit=Unit.SUV)


def anatomy(bladder: BoolArray = BLADDER, bone: BoolArray = NOWHERE, extra: Mapping[str, BoolArray] | None = None) -> Anatomy:
    labels = bladder.astype(np.int32)
    names = {1: "urinary_bladder"}
    for n, (name, mask) in enumerate((extra or {}).items(), start=2):
        labels[mask] = n
        names[n] = name
    return Anatomy(
        regions=Labelmap(grid=GRID, labels=labels, names=names),
        bone=bone.astype(np.float32),
        model=Model(name="by hand", version="1"),
        physiological=frozenset(names.values()),
    )


def found(suv: Volume, known: Anatomy) -> BoolArray:
    """What is found where all that is hot was taken for the bladder's."""
    limit = np.full(GRID.shape, LIMIT, dtype=np.float32)
    return lesions_beside(suv, known, suv.values > limit, limit, NOWHERE)


@pytest.mark.parametrize("level", [8.0, 15.0, 30.0])
def test_a_ball_that_touches_the_bladder_is_a_lesion(level: float) -> None:
    lesion = ball(41.0, 10.0)
    mask = found(pet((lesion, level)), anatomy())
    assert (mask & lesion).sum() > 0.6 * lesion.sum()
    assert not (mask & ball(0.0, R)).any()


@pytest.mark.parametrize(
    ("hot", "bladder"),
    [
        (NOWHERE, BLADDER),
        (CAP, BLADDER),  # it filled between CT and PET
        (ROD, BLADDER),  # a ureter beside it
        (NOWHERE, ball(0.0, R - 6.0)),  # found too small
        (NOWHERE, ball(-5.0, R)),  # found beside itself
    ],
)
def test_urine_where_the_bladder_was_not_found_is_no_lesion(hot: BoolArray, bladder: BoolArray) -> None:
    suv = pet((hot, 30.0))
    assert ((suv.values > LIMIT) & ~bladder).sum() > 300
    assert not found(suv, anatomy(bladder)).any()


def test_in_bone_what_is_hotter_than_the_organ_is_a_lesion_of_any_shape_and_spill_is_none() -> None:
    bone = (X > 36.0) & (X < 52.0)
    plaque = bone & (np.abs(Y) < 9.0) & (np.abs(Z) < 36.0)
    beside = np.asarray(ball(6.0, R))  # a bladder that was found 6 mm beside where PET has it, so that it reaches into bone
    assert not found(pet((beside, 30.0)), anatomy(bone=bone)).any()
    mask = found(pet((plaque, 50.0)), anatomy(bone=bone))
    assert (mask & plaque).sum() > 0.6 * plaque.sum()


@pytest.mark.parametrize(("side", "bone", "lesion"), [(-1.0, False, True), (1.0, False, False), (1.0, True, True)])
def test_at_the_hilum_of_a_kidney_a_ball_is_urine_unless_it_lies_in_bone(side: float, bone: bool, lesion: bool) -> None:
    """The kidney is a right one, so its hilum looks to the patient's left, +x."""
    focus = ball(41.0 * side, 10.0)
    known = anatomy(bone=ball(46.0 * side, 12.0) if bone else NOWHERE)
    kidney = replace(known.regions, names={1: "kidney_right"})
    known = replace(known, regions=kidney, physiological=frozenset({"kidney_right"}))
    assert found(pet((focus, 20.0)), known)[focus].any() == lesion


def test_a_ball_of_hot_tissue_beside_a_ureter_is_left_to_the_ureter() -> None:
    lesion, rod = ball(41.0, 8.0), (np.hypot(X - 54.0, Y) <= 4.0) & (np.abs(Z) < 45.0)
    assert not found(pet((lesion, 15.0), (rod, 30.0)), anatomy(extra={"ureter": rod})).any()


def test_what_a_blurred_ball_brings_beyond_its_border_is_explained() -> None:
    suv = pet()
    outside = ball(0.0, 60.0) & ~ball(0.0, R + 3.0)
    explained = spilled(GRID, suv.values, BLADDER)
    assert (explained[outside & (suv.values > LIMIT)] > suv.values[outside & (suv.values > LIMIT)] - LIMIT).all()


def test_it_joins_the_lesions_of_the_rules_with_a_region_of_its_own() -> None:
    lesion = ball(41.0, 10.0)
    suv = pet((lesion, 30.0))
    ct = Volume(grid=GRID, values=np.zeros(GRID.shape, np.float32), unit=Unit.HU)
    study = PetCt(tracer=Tracer.PENTIXAFOR, pet=suv, ct=ct, body=Body(weight_kg=70.0))
    result = RuleLesions().segment_lesions(study, anatomy())
    assert result.mask[lesion].mean() > 0.6
    regions = np.asarray(result.regions)
    assert (regions > 0).sum() == result.mask.sum()  # no rim of the bladder becomes the lesion's under a lower threshold
    here: FloatArray = suv.values[regions == 1]
    assert result.limits["relative"][1] == pytest.approx(0.41 * here.max())
