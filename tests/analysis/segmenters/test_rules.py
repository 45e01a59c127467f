"""Rules without weights: against TotalSegmentator's labels of a real CT, and against digital patients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from analysis.errors import ModelUnavailable, UnusableImage
from analysis.grids import centres, regrid
from analysis.phantom import DigitalPatient, PhantomSettings, make_patient
from analysis.segmenters.morphology import closing, dilate
from analysis.segmenters.rules import RuleLesions, RuleSettings
from analysis.segmenters.rules_anatomy import ANATOMY, RuleAnatomy
from analysis.segmenters.rules_ct import read_ct
from analysis.segmenters.thresholds import Threshold
from analysis.values import (
    AlignedPair,
    Anatomy,
    Body,
    Grid,
    Labelmap,
    Model,
    PetCt,
    RegistrationQuality,
    Tracer,
    Transform,
    Unit,
    Volume,
)

# TotalSegmentator's `total` task: sacrum, vertebrae; humerus..hip; skull, ribs, sternum (its class map, version 2).
BONES = (*range(25, 51), *range(69, 79), *range(91, 117))
GOOD = RegistrationQuality(method="deformable", bone_dice=1.0, bone_dice_rigid=1.0, body_dice=1.0, error_mm=1.0)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / max(1, a.sum() + b.sum()))


@pytest.fixture(scope="module")
def patient() -> DigitalPatient:
    return make_patient(PhantomSettings(seed=11, lesions=14, height_m=1.6, weight_kg=56.0, arms="up"))


@pytest.fixture(scope="module")
def pair(patient: DigitalPatient) -> AlignedPair:
    """The digital patient's scans, with its own motion as the transform."""
    grid = regrid(patient.pentixafor.ct.grid, (10.0, 10.0, 10.0))
    points = centres(grid).reshape(-1, 3)
    shift = (patient.motion.to_fdg(points) - points).reshape(*grid.shape, 3)
    known = Transform(rigid=np.eye(4), grid=grid, displacement=shift)
    return AlignedPair(fdg=patient.fdg, pentixafor=patient.pentixafor, transform=known, quality=GOOD)


@pytest.fixture(scope="module")
def anatomy(pair: AlignedPair) -> Mapping[Tracer, Anatomy]:
    return RuleAnatomy().segment_anatomy(pair)


def test_skeleton_of_a_real_ct_against_totalsegmentator(real_ct: Any) -> None:
    bones = closing(real_ct.grid, np.isin(real_ct.labels, BONES), 4.0)
    assert dice(real_ct.ct.skeleton, real_ct.laid(bones)) >= 0.85


@pytest.mark.parametrize("tracer", list(Tracer))
@pytest.mark.parametrize(
    ("organ", "least"),
    [
        ("brain", 0.9), ("lung_left", 0.9), ("lung_right", 0.9), ("kidney_left", 0.8), ("kidney_right", 0.8),
        ("spleen", 0.8), ("heart", 0.7), ("liver", 0.7), ("urinary_bladder", 0.7),
    ],
)  # fmt: skip
def test_organs_of_a_digital_patient(
    patient: DigitalPatient, anatomy: Mapping[Tracer, Anatomy], tracer: Tracer, organ: str, least: float
) -> None:
    assert dice(anatomy[tracer].regions.mask(organ), patient.organs[tracer].mask(organ)) >= least


@pytest.mark.parametrize("tracer", list(Tracer))
def test_every_lesion_is_found_and_nothing_else(
    patient: DigitalPatient, pair: AlignedPair, anatomy: Mapping[Tracer, Anatomy], tracer: Tracer
) -> None:
    study, truth = pair.study(tracer), patient.lesions[tracer]
    mask = RuleLesions().segment_lesions(study, anatomy[tracer]).mask
    large = {x["id"] for x in patient.truth["lesions"] if x["radius_mm"] >= 8.0}
    present = {label for label in np.unique(truth.labels[truth.labels > 0]) if label in large}
    assert present <= set(np.unique(truth.labels[mask]))
    false = mask & (regrown(truth) == 0)
    assert false.sum() * study.pet.grid.voxel_ml < 1.0


def regrown(truth: Labelmap) -> np.ndarray:
    """The true lesions with 9 mm around them: a fixed threshold is passed beyond the border of a hot sphere."""
    return dilate(truth.grid, truth.labels > 0, 9.0).astype(int)


def test_regions_of_a_usual_patient_are_found_with_confidence(anatomy: Mapping[Tracer, Anatomy]) -> None:
    told = anatomy[Tracer.FDG].confidence
    assert {"liver", "spleen", "kidney_left", "kidney_right", "urinary_bladder", "brain", "heart", "skeleton"} <= set(told)
    assert min(told.values()) >= 0.4


def test_what_made_it_is_said(anatomy: Mapping[Tracer, Anatomy]) -> None:
    assert all(a.model == ANATOMY for a in anatomy.values())
    assert "rules, no weights" in ANATOMY.name
    assert "rules, no weights" in RuleLesions().model.name


def test_a_ct_without_a_body_is_turned_away() -> None:
    grid = Grid(shape=(20, 20, 20), affine=np.diag([5.0, 5.0, 5.0, 1.0])[[2, 1, 0, 3]])
    air = Volume(grid=grid, values=np.full(grid.shape, -1000.0, np.float32), unit=Unit.HU)
    with pytest.raises(UnusableImage, match="no body"):
        read_ct(air)


# One litre of tissue at SUV 1 on a 4 mm grid, with regions laid out by hand.
SPACE = Grid(shape=(40, 40, 40), affine=np.array([[0, 0, 4.0, -78], [0, 4.0, 0, -78], [4.0, 0, 0, -78], [0, 0, 0, 1]]))


def ball(radius_mm: float, x: float) -> np.ndarray:
    return np.linalg.norm(centres(SPACE) - (x, 0.0, 0.0), axis=-1) <= radius_mm


def scene(suv: np.ndarray, regions: Mapping[str, np.ndarray]) -> tuple[PetCt, Anatomy]:
    labels = np.zeros(SPACE.shape, dtype=np.int32)
    for n, mask in enumerate(regions.values(), start=1):
        labels[mask] = n
    study = PetCt(
        tracer=Tracer.PENTIXAFOR,
        pet=Volume(grid=SPACE, values=suv.astype(np.float32), unit=Unit.SUV),
        ct=Volume(grid=SPACE, values=np.zeros(SPACE.shape, np.float32), unit=Unit.HU),
        body=Body(weight_kg=70.0),
    )
    names = dict(enumerate(regions, start=1))
    known = Anatomy(
        regions=Labelmap(grid=SPACE, labels=labels, names=names),
        bone=np.zeros(SPACE.shape, np.float32),
        model=Model(name="by hand", version="1"),
        physiological=frozenset({"kidney_left"}),
    )
    return study, known


def test_a_lesion_beside_a_kidney_stays_and_the_kidney_goes() -> None:
    kidney, lesion = ball(20.0, 30.0), ball(10.0, -14.0)
    suv = np.where(kidney, 12.0, np.where(lesion, 9.0, 1.0))
    mask = RuleLesions().segment_lesions(*scene(suv, {"kidney_left": kidney})).mask
    assert (mask == lesion).all()


def test_in_the_spleen_only_what_exceeds_it_is_a_lesion() -> None:
    spleen, lesion = ball(30.0, 0.0), ball(9.0, 0.0)
    suv = np.where(lesion, 11.0, np.where(spleen, 6.0, 1.0))
    mask = RuleLesions().segment_lesions(*scene(suv, {"spleen": spleen})).mask
    assert (mask == lesion).all()


def test_a_single_hot_voxel_is_noise_and_a_sphere_of_8_mm_is_not() -> None:
    suv = np.where(ball(8.0, 40.0), 6.0, 1.0)
    suv[20, 20, 5] = 8.0
    mask = RuleLesions().segment_lesions(*scene(suv, {})).mask
    assert (mask == ball(8.0, 40.0)).all()


def test_the_threshold_is_a_setting_of_each_tracer() -> None:
    suv = np.where(ball(12.0, 0.0), 6.0, 1.0)
    study, known = scene(suv, {})
    assert not RuleLesions(settings=RuleSettings(pentixafor_threshold=7.0)).segment_lesions(study, known).mask.any()
    assert RuleLesions(settings=RuleSettings(fdg_threshold=7.0)).segment_lesions(study, known).mask.any()


def test_a_lesion_in_a_spleen_that_touches_a_kidney_is_not_taken_for_the_kidney() -> None:
    spleen, kidney, lesion = ball(30.0, 20.0), ball(18.0, -30.0), ball(9.0, 30.0)
    suv = np.where(lesion, 13.0, np.where(spleen, 6.0, np.where(kidney, 5.0, 1.0)))
    mask = RuleLesions().segment_lesions(*scene(suv, {"kidney_left": kidney & ~spleen, "spleen": spleen})).mask
    assert (mask == lesion).all()


def test_every_definition_is_tried_on_the_rules_own_hills() -> None:
    """A core of SUV 9 in a shell of 3.9, a liver of 2, an aorta of 1.5: 41 % is 3.7, the liver's threshold 3, the pool's 3."""
    core, shell = ball(10.0, -30.0), ball(18.0, -30.0)
    liver, aorta = ball(28.0, 45.0), np.abs(centres(SPACE)[..., :2] - (-30.0, 60.0)).max(axis=-1) <= 12.0
    suv = np.where(core, 9.0, np.where(shell, 3.9, np.where(liver, 2.0, np.where(aorta, 1.5, 1.0))))
    study, known = scene(suv, {"liver": liver, "aorta": aorta})
    found = RuleLesions().segment_lesions(study, known)
    assert (found.mask == core).all()
    assert (found.border, found.references["liver mean"]) == ("fixed", pytest.approx(2.0))
    regions = np.asarray(found.regions)
    assert set(np.unique(regions[core])) == {1}
    volumes = {n: int(((regions == 1) & (suv > limit[1])).sum()) for n, limit in found.limits.items()}
    assert volumes == {"fixed": core.sum(), "relative": shell.sum(), "liver": shell.sum(), "blood pool": shell.sum()}


@pytest.mark.parametrize(("threshold", "wide"), [("fixed", False), ("none", False), ("relative", True), ("liver", True)])
def test_the_threshold_in_force_makes_the_lesions(threshold: Threshold, wide: bool) -> None:
    core, shell, liver = ball(10.0, -30.0), ball(18.0, -30.0), ball(28.0, 45.0)
    suv = np.where(core, 9.0, np.where(shell, 3.9, np.where(liver, 2.0, 1.0)))
    found = RuleLesions(threshold=threshold).segment_lesions(*scene(suv, {"liver": liver}))
    assert (found.mask == (shell if wide else core)).all()


def test_a_threshold_without_its_organ_is_refused() -> None:
    with pytest.raises(ModelUnavailable, match="blood pool is undefined on PentixaFor"):
        RuleLesions(threshold="blood pool").segment_lesions(*scene(np.ones(SPACE.shape), {}))
