"""A network's labels and the rules' regions as one anatomy: who has the last word where, and how much of a voxel is bone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from analysis.grids import grid_of, regrid
from analysis.segmenters.anatomy_merge import CtLabels, bone_fraction, join, merge, occupancy
from analysis.segmenters.anatomy_names import URINARY_TRACT, is_bone
from analysis.values import (
    Anatomy,
    Body,
    Grid,
    Labelmap,
    Model,
    PetCt,
    Tracer,
    Unit,
    Volume,
)

MODEL = Model(name="TotalSegmentator total", version="2", weights_sha256="ab")


def upright(shape: tuple[int, int, int], spacing: tuple[float, float, float], origin: tuple[float, float, float]) -> Grid:
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2] = spacing
    affine[:3, 3] = origin
    affine[3, 3] = 1.0
    return Grid(shape=shape, affine=affine)


def boxes(shape: tuple[int, int, int], named: Mapping[str, tuple[slice, slice, slice]]) -> tuple[np.ndarray, dict[int, str]]:
    labels = np.zeros(shape, dtype=np.uint8)
    names = dict(enumerate(named, start=1))
    for number, name in names.items():
        labels[named[name]] = number
    return labels, names


def labelmap(grid: Grid, named: Mapping[str, tuple[slice, slice, slice]]) -> Labelmap:
    labels, names = boxes(grid.shape, named)
    return Labelmap(grid=grid, labels=labels, names=names)


# How much of a voxel


def test_occupancy_is_the_part_of_each_voxel_that_a_box_fills() -> None:
    """A box of CT voxels against the overlap of intervals, worked out by hand along each axis."""
    ct = upright((30, 40, 50), (3.0, 0.9, 1.1), (-20.0, -10.0, 5.0))
    mask = np.zeros(ct.shape, dtype=bool)
    mask[4:17, 6:30, 10:41] = True
    pet = upright((20, 11, 13), (4.07, 4.07, 4.07), (-18.3, -12.1, 0.7))

    def along(axis: int, first: int, last: int) -> np.ndarray:
        world = 2 - axis
        low = ct.affine[world, 3] + (first - 0.5) * ct.spacing[axis]
        high = ct.affine[world, 3] + (last - 0.5) * ct.spacing[axis]
        centre = pet.affine[world, 3] + np.arange(pet.shape[axis]) * pet.spacing[axis]
        half = pet.spacing[axis] / 2
        return np.clip(np.minimum(centre + half, high) - np.maximum(centre - half, low), 0, None) / pet.spacing[axis]

    expected = np.einsum("k,j,i->kji", along(0, 4, 17), along(1, 6, 30), along(2, 10, 41))
    found = occupancy(ct, mask, pet)
    assert found.dtype == np.float32
    assert found == pytest.approx(expected, abs=1e-5)
    assert expected.max() == pytest.approx(1.0)


def test_occupancy_of_grids_that_are_not_parallel() -> None:
    """Turned by 20 degrees, flipped and with exchanged axes, a ball keeps its volume and its place."""
    ct = upright((60, 60, 60), (1.0, 1.0, 1.0), (-30.0, -30.0, -30.0))
    k, j, i = np.meshgrid(*[np.arange(60) - 30.0] * 3, indexing="ij")
    ball = k**2 + j**2 + i**2 <= 12.0**2
    c, s = np.cos(np.radians(20)), np.sin(np.radians(20))
    affine = np.eye(4)
    affine[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.diag([-4.0, 4.0, 4.0])[:, [1, 2, 0]]
    affine[:3, 3] = -affine[:3, :3] @ np.array([9.2, 9.7, 10.1])
    pet = Grid(shape=(20, 20, 20), affine=affine)
    found = occupancy(ct, ball, pet)
    assert found.sum() * pet.voxel_ml == pytest.approx(ball.sum() * ct.voxel_ml, rel=0.01)
    centre = pet.to_world(np.average(np.argwhere(found > -1), axis=0, weights=found.ravel()))
    assert centre == pytest.approx((0, 0, 0), abs=0.1)


def test_gaps_of_the_skeleton_are_bone_and_named_tissue_is_not() -> None:
    """A disc of 6 mm between vertebrae is closed; 12 mm are not, nor the cord, nor cartilage in a gap of ribs."""
    ct = upright((40, 40, 40), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0))
    part = slice(10, 30)
    labels, names = boxes(
        ct.shape,
        {
            "vertebrae_L3": (slice(2, 10), part, part),
            "vertebrae_L4": (slice(13, 20), part, part),  # after a disc of 3 x 2 mm
            "vertebrae_L5": (slice(26, 32), part, part),  # after 6 x 2 mm
            "spinal_cord": (slice(10, 13), slice(14, 18), part),
        },
    )
    found = bone_fraction(CtLabels(grid=ct, labels=labels, names=names), ct)
    assert found[5, 20, 20] == found[11, 24, 20] == 1.0
    assert found[11, 16, 20] == 0.0
    assert found[22, 20, 20] == 0.0
    only = CtLabels(grid=ct, labels=labels, names=dict.fromkeys(names, "costal_cartilages"))
    assert not bone_fraction(only, ct).any()


# Who has the last word

PET = upright((40, 40, 40), (4.0, 4.0, 4.0), (0.0, 0.0, 0.0))
ALL = slice(0, 40)


def test_the_networks_organ_replaces_that_of_the_rules() -> None:
    network = labelmap(
        PET, {"liver": (slice(5, 15), slice(5, 15), slice(5, 15)), "lung_lower_lobe_left": (slice(30, 35), ALL, ALL)}
    )
    rules = labelmap(
        PET,
        {
            "liver": (slice(5, 20), slice(5, 20), slice(5, 20)),
            "lung_left": (slice(28, 38), ALL, ALL),
            "heart": (slice(22, 26), ALL, ALL),
        },
    )
    joined = join(network, rules)
    assert (joined.mask("liver") == network.mask("liver")).all()
    assert not joined.mask("lung_left").any()
    assert (joined.mask("heart") == rules.mask("heart")).all()  # the network was not asked for organs that it lacks


def test_urine_beside_the_networks_organs_is_kept_and_far_away_is_not() -> None:
    near, far = (slice(10, 14), slice(16, 19), slice(10, 14)), (slice(10, 14), slice(30, 34), slice(10, 14))
    network = labelmap(
        PET,
        {
            "kidney_left": (slice(10, 14), slice(10, 16), slice(10, 14)),
            "iliopsoas_left": (slice(20, 24), slice(10, 20), slice(10, 20)),
            "vertebrae_L3": (slice(25, 29), slice(10, 20), slice(10, 20)),
            "liver": (slice(33, 37), slice(10, 20), slice(10, 20)),
        },
    )
    rules_labels = np.zeros(PET.shape, dtype=np.int32)
    for place in (near, far):
        rules_labels[place] = 1
    rules_labels[15:40, 12, 12] = 2
    rules = Labelmap(grid=PET, labels=rules_labels, names={1: "kidney_left", 2: "ureter"})
    joined = join(network, rules)
    assert joined.mask(URINARY_TRACT)[near].all()
    assert not joined.mask(URINARY_TRACT, "kidney_left")[far].any()
    ureter = joined.mask("ureter")[:, 12, 12]
    assert ureter[15:20].all()
    assert ureter[20:24].all()  # before the muscle
    assert not ureter[25:29].any()  # not in bone
    assert not ureter[33:37].any()  # not in the liver
    assert (joined.mask("kidney_left") == network.mask("kidney_left")).all()


def test_without_the_networks_kidney_the_rules_have_theirs() -> None:
    network = labelmap(PET, {"liver": (slice(0, 4), ALL, ALL)})
    rules = labelmap(PET, {"kidney_right": (slice(10, 14), slice(10, 16), slice(10, 14))})
    assert (join(network, rules).mask("kidney_right") == rules.mask("kidney_right")).all()


def test_bones_that_the_network_does_not_know_come_from_the_rules() -> None:
    """A shin counts as bone; the rim of a rib, calcified cartilage and a clip do not."""
    ct_labels, names = boxes(
        PET.shape,
        {
            "rib_left_7": (slice(5, 8), slice(5, 20), slice(5, 8)),
            "costal_cartilages": (slice(5, 8), slice(20, 30), slice(5, 8)),
        },
    )
    bone = np.zeros(PET.shape, dtype=np.float32)
    shin, rim, cartilage, clip = (
        (slice(15, 39), slice(20, 24), slice(20, 24)),
        (slice(8, 9), slice(5, 20), slice(5, 8)),
        (slice(5, 8), slice(20, 30), slice(5, 8)),
        (slice(30, 32), slice(5, 7), slice(35, 37)),
    )
    for place in (shin, rim, cartilage, clip):
        bone[place] = 1.0
    rules = Anatomy(
        regions=Labelmap(grid=PET, labels=(bone > 0).astype(np.int32), names={1: "skeleton"}),
        bone=bone,
        model=MODEL,
        physiological=frozenset({"kidney_left", "ureter"}),
        confidence={"skeleton": 0.9},
    )
    merged = merge(CtLabels(grid=PET, labels=ct_labels, names=names), rules, Tracer.PENTIXAFOR, MODEL)
    assert (merged.bone[shin] == 1.0).all()
    assert (merged.bone[clip] == 0.0).all()
    assert (merged.bone[cartilage][:, 1:] == 0.0).all()
    assert merged.bone[5:8, 5:19, 5:8].min() == 1.0
    assert merged.regions.mask("skeleton")[shin].all()
    assert merged.regions.mask("rib_left_7").sum() == 3 * 15 * 3
    assert merged.physiological == {
        "kidney_left",
        "ureter",
        "kidney_cyst_left",
        "adrenal_gland_left",
        "adrenal_gland_right",
    }
    fdg = merge(CtLabels(grid=PET, labels=ct_labels, names=names), rules, Tracer.FDG, MODEL)
    assert fdg.physiological == {"kidney_left", "ureter", "kidney_cyst_left"}
    assert not fdg.confidence


# True labels


@pytest.fixture(scope="module")
def torso(shared_data: Path) -> tuple[PetCt, CtLabels]:
    """A real CT with the labels that TotalSegmentator gave it (wasserth/TotalSegmentator), and a cold PET over it."""
    from totalsegmentator.map_to_binary import class_map  # noqa: PLC0415

    folder = shared_data / "ct_truth"
    images = [sitk.ReadImage(str(folder / name)) for name in ("ct.nii.gz", "labels.nii.gz")]
    hu, labels = (sitk.GetArrayFromImage(image) for image in images)
    grid = grid_of(images[0])
    pet = regrid(grid, (4.0, 4.0, 4.0))
    study = PetCt(
        tracer=Tracer.FDG,
        pet=Volume(grid=pet, values=np.full(pet.shape, 0.5, dtype=np.float32), unit=Unit.SUV),
        ct=Volume(grid=grid, values=hu.astype(np.float32), unit=Unit.HU),
        body=Body(weight_kg=70.0),
    )
    return study, CtLabels(grid=grid, labels=labels.astype(np.uint8), names=class_map["total"])


def test_a_real_torso_has_vertebrae_and_ribs_by_level(torso: tuple[PetCt, CtLabels]) -> None:
    study, found = torso
    pet = study.pet.grid
    nothing = Labelmap(grid=pet, labels=np.zeros(pet.shape, dtype=np.int32))
    rules = Anatomy(regions=nothing, bone=np.zeros(pet.shape, dtype=np.float32), model=MODEL)
    merged = merge(found, rules, Tracer.FDG, MODEL)
    present = {found.names[int(n)] for n in np.unique(found.labels) if n}
    levels = {name for name in present if name.startswith(("vertebrae_", "rib_"))}
    assert {"vertebrae_L3", "rib_left_7", "rib_right_12"} <= levels
    assert levels <= {name for name in merged.regions.names.values() if merged.regions.mask(name).any()}
    truth = occupancy(found.grid, found.mask(filter(is_bone, present)), pet)
    assert np.quantile(truth - merged.bone, 0.9999) < 0.01  # never less than the labels, but for where the grid cuts voxels
    assert 1.0 <= merged.bone.sum() / truth.sum() < 1.2  # discs and seams
    assert merged.bone[merged.regions.mask("spleen", "liver", "heart", "costal_cartilages")].mean() < 0.02
    assert merged.model is MODEL
