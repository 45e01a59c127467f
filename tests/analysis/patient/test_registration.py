"""Registration against transforms that are known exactly: an analytic torso, and a real CT from outside the project."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from analysis.errors import UnusableImage
from analysis.grids import apply, centres, grid_of, resample
from analysis.patient.registration import RegistrationSettings, Scans, align, better, folding, judged
from analysis.patient.registration_body import coarse_ct, upright
from analysis.patient.registration_deformable import DeformableSettings, jacobian
from analysis.patient.registration_rigid import shifts
from analysis.values import AlignedPair, Body, FloatArray, Grid, PetCt, Tracer, Transform, Unit, Volume

COARSE = RegistrationSettings(step_mm=6.0)
STILL = Transform(rigid=np.eye(4))


def torso_hu(points: FloatArray) -> FloatArray:
    """HU at (..., 3) positions (x, y, z) in mm: a trunk of 300 x 200 mm with a spine, ribs, lungs, a liver and a kidney."""
    x, y, z = np.moveaxis(points, -1, 0)
    # A waist and hips: on a mere cylinder nothing tells a shift along it.
    x, y = x / (1.0 + 0.08 * np.sin(z / 45.0)), y / (1.0 + 0.08 * np.sin(z / 45.0))
    # Vertebrae differ in width, so that one is not taken for its neighbour.
    vertebra = np.abs((z % 30.0) - 15.0) < 10.0
    wide = 16.0 + 8.0 * np.sin(z / 47.0)
    spine = (np.abs(x) < wide) & (np.abs(y - 45.0) < 16.0)
    shell = np.abs(np.sqrt((x / 125.0) ** 2 + (y / 80.0) ** 2) - 1.0) < 0.06
    rib = shell & (((z + 0.4 * y) % 40.0) < 14.0) & (z > 0.0)
    pelvis = (np.abs(np.hypot(np.abs(x) - 75.0, z + 110.0) - 45.0) < 9.0) & (np.abs(y - 20.0) < 25.0)
    lung = ((np.abs(x) - 60.0) / 42.0) ** 2 + (y / 55.0) ** 2 + ((z - 90.0) / 75.0) ** 2 < 1.0
    liver = ((x + 60.0) / 50.0) ** 2 + ((y + 10.0) / 50.0) ** 2 + ((z + 10.0) / 40.0) ** 2 < 1.0
    kidney = ((x - 60.0) / 22.0) ** 2 + ((y - 30.0) / 20.0) ** 2 + ((z + 20.0) / 45.0) ** 2 < 1.0
    fat = np.sqrt((x / 140.0) ** 2 + (y / 92.0) ** 2) > 1.0
    hu = np.select([fat, lung, liver, kidney], [-90.0, -780.0, 70.0, 32.0], 45.0)
    hu = np.where(spine, np.where(vertebra, 350.0, 90.0), hu)
    hu = np.where(rib | pelvis, 600.0, hu)
    outside = (x / 150.0) ** 2 + (y / 102.0) ** 2 > 1.0
    return np.where(outside, -1000.0, hu)


def box(z_low: float, z_high: float, centre: tuple[float, float] = (0.0, 0.0), step: float = 4.0) -> Grid:
    """An upright grid of 352 x 248 mm around (x, y) = centre."""
    affine = np.diag([0.0, 0.0, 0.0, 1.0])
    affine[2, 0] = affine[1, 1] = affine[0, 2] = step
    affine[:3, 3] = centre[0] - 176.0, centre[1] - 124.0, z_low
    return Grid(shape=(round((z_high - z_low) / step), round(248 / step), round(352 / step)), affine=affine)


@dataclass(frozen=True, kw_only=True)
class Bend:
    """x -> R x + t + u(x) with a smooth u of at most `reach` mm: what scan two was deformed by."""

    rigid: FloatArray
    reach: float = 0.0

    def __call__(self, points: FloatArray) -> FloatArray:
        x, y, z = np.moveaxis(points - self.centre, -1, 0)
        bent = np.stack([np.sin(z / 70.0), np.sin(x / 80.0 + 1.0), np.cos(y / 75.0) * np.sin(x / 85.0)], axis=-1)
        return points @ self.rigid[:3, :3].T + self.rigid[:3, 3] + self.reach / np.sqrt(3.0) * bent

    @property
    def centre(self) -> FloatArray:
        return np.asarray(-self.rigid[:3, 3])


def moved(shift: tuple[float, float, float], degrees: float = 0.0) -> FloatArray:
    """4 x 4: a turn about z, then a shift in mm."""
    a = np.radians(degrees)
    return np.array(
        [
            [np.cos(a), -np.sin(a), 0.0, shift[0]],
            [np.sin(a), np.cos(a), 0.0, shift[1]],
            [0.0, 0.0, 1.0, shift[2]],
            [0.0, 0.0, 0.0, 1.0],
        ]
    )


def scan(tracer: Tracer, grid: Grid, through: Bend | None = None, *, table: float = 112.0, seed: int = 0) -> PetCt:
    """The torso with noise and a table, on a grid; table: its height y in mm."""
    points = centres(grid)
    seen = points if through is None else through(points)
    hu = torso_hu(seen) + np.random.default_rng(seed).normal(0.0, 12.0, grid.shape)
    hu = np.where((np.abs(points[..., 1] - table) < 3.0) & (hu < -500.0), -100.0, hu)
    return study(tracer, Volume(grid=grid, values=hu.astype(np.float32), unit=Unit.HU))


def study(tracer: Tracer, ct: Volume) -> PetCt:
    pet = Volume(grid=Grid(shape=(2, 2, 2), affine=ct.grid.affine), values=np.zeros((2, 2, 2), np.float32), unit=Unit.SUV)
    return PetCt(tracer=tracer, pet=pet, ct=ct, body=Body(weight_kg=70.0))


FDG_GRID = box(-160.0, 160.0)
FDG = scan(Tracer.FDG, FDG_GRID, seed=1)


def errors_mm(pair: AlignedPair, truth: Bend, bone: bool = False) -> FloatArray:
    """Distance of found and true FDG positions at the PentixaFor body's (or bone's) voxels that the FDG scan holds."""
    ct = pair.pentixafor.ct
    points = centres(ct.grid)
    hu = torso_hu(truth(points))
    points = points[(hu > 200.0) if bone else (hu > -900.0)]
    true = truth(points)
    held = pair.fdg.ct.grid.contains(true)
    return np.linalg.norm(apply(pair.transform, points) - true, axis=1)[held]


@pytest.mark.parametrize(
    ("shift", "field"),
    [
        ((25.0, -20.0, 40.0), (-160.0, 160.0)),
        ((-60.0, 30.0, -30.0), (-160.0, 160.0)),
        ((10.0, 25.0, 60.0), (-20.0, 160.0)),
        ((-30.0, 0.0, 25.0), (-160.0, 40.0)),
    ],
    ids=["whole", "far to the side", "chest alone", "abdomen alone"],
)
def test_finds_a_rigid_motion_whatever_the_field_of_view(shift: tuple[float, float, float], field: tuple[float, float]) -> None:
    truth = Bend(rigid=moved(shift, degrees=3.0))
    # Where the body lies in scan two: moved the other way.
    low, high = (z - shift[2] for z in field)
    grid = box(low, high, (-shift[0], -shift[1]))
    pair = align(
        FDG, scan(Tracer.PENTIXAFOR, grid, truth, table=118.0 - shift[1]), RegistrationSettings(step_mm=6.0, deformable=False)
    )
    assert errors_mm(pair, truth).mean() < 1.0
    assert pair.quality.method == "rigid"
    assert pair.quality.bone_dice > 0.7
    assert pair.quality.body_dice > 0.95


@pytest.fixture(scope="module")
def bent() -> tuple[AlignedPair, Bend]:
    """A pair under a shift of 38 mm, a turn of 2 degrees and a deformation of up to 10 mm."""
    truth = Bend(rigid=moved((15.0, -10.0, 33.0), degrees=2.0), reach=10.0)
    grid = box(-193.0, 127.0, (-15.0, 10.0), step=4.4)
    return align(FDG, scan(Tracer.PENTIXAFOR, grid, truth, table=135.0), COARSE), truth


def test_finds_a_smooth_deformation(bent: tuple[AlignedPair, Bend]) -> None:
    pair, truth = bent
    rigid = replace(pair, transform=Transform(rigid=pair.transform.rigid))
    assert pair.quality.method == "deformable"
    assert pair.quality.reason == ""
    assert pair.quality.bone_dice > pair.quality.bone_dice_rigid
    assert errors_mm(pair, truth).mean() < 0.5 * errors_mm(rigid, truth).mean()
    assert errors_mm(pair, truth, bone=True).mean() < 2.0


def test_the_error_of_the_rigid_result_alone_is_told_to_be_larger(bent: tuple[AlignedPair, Bend]) -> None:
    pair, truth = bent
    rigid = align(pair.fdg, pair.pentixafor, RegistrationSettings(step_mm=6.0, deformable=False))
    assert errors_mm(rigid, truth).mean() > errors_mm(pair, truth).mean()
    assert rigid.quality.error_mm > 1.5 * pair.quality.error_mm


def test_the_field_does_not_fold_and_fades_at_its_border(bent: tuple[AlignedPair, Bend]) -> None:
    transform = bent[0].transform
    assert transform.grid is not None
    assert transform.displacement is not None
    assert jacobian(transform.rigid, transform.grid, transform.displacement).min() > 0
    for axis in range(3):
        ends = np.take(transform.displacement, [0, -1], axis=axis)
        assert np.abs(ends).max() < 0.5


def test_the_same_images_give_the_same_transform(bent: tuple[AlignedPair, Bend]) -> None:
    first = bent[0]
    again = align(first.fdg, first.pentixafor, COARSE)
    assert again.transform.rigid.tobytes() == first.transform.rigid.tobytes()
    assert again.transform.displacement is not None
    assert first.transform.displacement is not None
    assert again.transform.displacement.tobytes() == first.transform.displacement.tobytes()
    assert replace(again.quality, seconds=0.0) == replace(first.quality, seconds=0.0)


def test_keeps_the_rigid_result_where_nothing_is_to_be_gained() -> None:
    pair = align(FDG, replace(FDG, tracer=Tracer.PENTIXAFOR), RegistrationSettings(step_mm=6.0))
    assert pair.quality.method == "rigid"
    assert not pair.transform.deformable
    assert "does not raise the overlap of bone" in pair.quality.reason
    assert pair.quality.bone_dice == pytest.approx(1.0, abs=1e-3)
    assert pair.quality.error_mm < 1.0


def test_keeps_the_rigid_result_where_the_deformable_one_harms_or_folds() -> None:
    fixed, moving = coarse_ct(FDG.ct, Tracer.PENTIXAFOR, 6.0), coarse_ct(FDG.ct, Tracer.FDG, 6.0)
    scans = Scans(fixed=fixed, moving=moving, back=STILL)
    before = judged(scans, STILL)
    z = centres(fixed.grid)[..., 2:]
    along_x = np.array([1.0, 0.0, 0.0])
    harmful = Transform(rigid=np.eye(4), grid=fixed.grid, displacement=(10.0 * np.sin(z / 60.0) * along_x).astype(np.float32))
    kept, quality = better(scans, STILL, before, harmful)
    assert kept is STILL
    assert "bone" in quality.reason
    x = centres(fixed.grid)[..., :1]
    folded = Transform(rigid=np.eye(4), grid=fixed.grid, displacement=(20.0 * np.sin(x / 10.0) * along_x).astype(np.float32))
    assert folding(folded) > 0.1
    kept, quality = better(scans, STILL, before, folded)
    assert kept is STILL
    assert "folds" in quality.reason


def test_the_table_is_no_body() -> None:
    coarse = coarse_ct(FDG.ct, Tracer.FDG, 4.0)
    body = torso_hu(coarse.grid.to_world(np.argwhere(coarse.body)))
    assert (body > -900.0).mean() > 0.97
    whole = (torso_hu(centres(coarse.grid)) > -900.0).sum()
    assert coarse.body.sum() == pytest.approx(whole, rel=0.05)


def test_what_lies_outside_the_scanners_circle_is_unseen() -> None:
    """A filling value of -1024 outside the circle is no air that a truncated arm was compared with."""
    x, y = centres(FDG_GRID)[..., 0], centres(FDG_GRID)[..., 1]
    values = np.where(np.hypot(x + 2.0, y + 2.0) > 124.0, np.float32(-1024.0), FDG.ct.values)
    coarse = coarse_ct(Volume(grid=FDG_GRID, values=values, unit=Unit.HU), Tracer.FDG, 4.0)
    assert not coarse.seen[:, 2, 2].any()
    assert coarse.seen[:, coarse.grid.shape[1] // 2, coarse.grid.shape[2] // 2].all()
    assert coarse_ct(FDG.ct, Tracer.FDG, 4.0).seen.all()


def test_the_first_shift_is_the_right_one_for_a_short_scan() -> None:
    short = scan(Tracer.PENTIXAFOR, box(20.0, 120.0))
    found = shifts(coarse_ct(short.ct, Tracer.PENTIXAFOR, 4.0), coarse_ct(FDG.ct, Tracer.FDG, 4.0), 3)
    assert np.linalg.norm(found[0]) < 13.0


def test_a_turned_storage_order_changes_nothing() -> None:
    """Slices from the head down and columns from left to right are the same patient."""
    affine = FDG_GRID.affine.copy()
    affine[:3, 3] = FDG_GRID.to_world((FDG_GRID.shape[0] - 1, 0, FDG_GRID.shape[2] - 1))
    affine[:3, 0] *= -1
    affine[:3, 2] *= -1
    grid = Grid(shape=FDG_GRID.shape, affine=affine)
    assert np.allclose(upright(grid, 4.0).affine, upright(FDG_GRID, 4.0).affine)
    turned = study(Tracer.PENTIXAFOR, Volume(grid=grid, values=FDG.ct.values[::-1, :, ::-1], unit=Unit.HU))
    pair = align(FDG, turned, RegistrationSettings(step_mm=6.0, deformable=False))
    assert errors_mm(pair, Bend(rigid=np.eye(4))).max() < 0.5


def test_a_ct_without_a_body_is_refused_with_a_sentence() -> None:
    empty = Volume(grid=FDG_GRID, values=np.full(FDG_GRID.shape, -1000.0, np.float32), unit=Unit.HU)
    with pytest.raises(UnusableImage, match="PentixaFor CT shows no body"):
        align(FDG, study(Tracer.PENTIXAFOR, empty))
    with pytest.raises(UnusableImage, match="FDG CT shows no body"):
        align(study(Tracer.FDG, empty), replace(FDG, tracer=Tracer.PENTIXAFOR))


def test_a_real_ct_under_a_known_deformation(shared_data: Path) -> None:
    """The CT that TotalSegmentator ships: 30 mm off, bent by up to 12 mm, noisier, and without its upper fifth."""
    image = sitk.ReadImage(str(shared_data / "ct_truth" / "ct.nii.gz"))
    values = np.maximum(sitk.GetArrayFromImage(image).astype(np.float32), -1000.0)
    real = Volume(grid=grid_of(image), values=values, unit=Unit.HU)
    truth = Bend(rigid=moved((18.0, -12.0, 21.0)), reach=12.0)
    whole = upright(real.grid, 4.0)
    affine = whole.affine.copy()
    affine[:3, 3] -= (18.0, -12.0, 21.0)
    grid = Grid(shape=(whole.shape[0] * 4 // 5, *whole.shape[1:]), affine=affine)
    field = Transform(rigid=truth.rigid, grid=grid, displacement=_bent_by(truth, centres(grid)).astype(np.float32))
    hu = resample(real.grid, real.values, grid, transform=field, outside=-1000.0)
    hu += np.random.default_rng(5).normal(0.0, 20.0, grid.shape).astype(np.float32)
    pair = align(study(Tracer.FDG, real), study(Tracer.PENTIXAFOR, Volume(grid=grid, values=hu, unit=Unit.HU)))
    fixed = coarse_ct(pair.pentixafor.ct, Tracer.PENTIXAFOR, 4.0)
    points = centres(fixed.grid)[fixed.body]
    true = apply(field, points)
    held = real.grid.contains(true)
    error = np.linalg.norm(apply(pair.transform, points) - true, axis=1)
    bone = error[held & fixed.bone[fixed.body]]
    assert pair.quality.method == "deformable"
    assert bone.mean() < 1.0
    assert np.percentile(bone, 95) < 2.5
    # What is told of the error is neither flattering nor useless.
    true_mm = float(np.sqrt(np.mean(error[held] ** 2)))
    assert 0.6 * true_mm < pair.quality.error_mm < 2.5 * true_mm


def _bent_by(truth: Bend, points: FloatArray) -> FloatArray:
    return truth(points) - Bend(rigid=truth.rigid)(points)


def test_the_local_error_is_told_for_every_place_and_covers_most_of_the_true_ones(bent: tuple[AlignedPair, Bend]) -> None:
    pair, truth = bent
    points = centres(pair.pentixafor.ct.grid)
    points = points[torso_hu(truth(points)) > -900.0]
    told = pair.error_mm_at(points)
    true = np.linalg.norm(apply(pair.transform, points) - truth(points), axis=1)
    held = pair.fdg.ct.grid.contains(truth(points))
    assert told.shape == (len(points),)
    assert 0.55 < (true <= told)[held].mean() < 0.999
    assert pair.error is not None
    assert np.array_equal(told[:5], pair.error.at(points[:5]))


def test_without_a_map_the_local_error_is_the_whole_one(bent: tuple[AlignedPair, Bend]) -> None:
    pair = replace(bent[0], error=None)
    assert pair.error_mm_at([(0.0, 0.0, 0.0), (50.0, 0.0, 0.0)]).tolist() == [pair.quality.error_mm] * 2


def test_an_oblique_grid_over_much_air_does_not_mislead_the_start() -> None:
    """Air agrees with air at any shift; a fixed grid that is turned holds corners that were never measured."""
    turn = np.eye(4)
    a = np.radians(5.0)
    turn[1:3, 1:3] = [[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]
    turned = Grid(shape=FDG_GRID.shape, affine=turn @ FDG_GRID.affine)
    hu = torso_hu(centres(turned)) + np.random.default_rng(3).normal(0.0, 12.0, turned.shape)
    pair = align(
        FDG,
        study(Tracer.PENTIXAFOR, Volume(grid=turned, values=hu.astype(np.float32), unit=Unit.HU)),
        RegistrationSettings(step_mm=6.0, deformable=False),
    )
    assert errors_mm(pair, Bend(rigid=np.eye(4))).mean() < 1.0


def test_settings_of_the_deformable_stage_are_kept_apart_for_the_check() -> None:
    settings = RegistrationSettings()
    assert settings.elastic == DeformableSettings()
    assert settings.check.factors == (4, 2)
