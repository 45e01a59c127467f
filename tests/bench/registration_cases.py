"""Pairs of CTs whose true transform is known at every point: real torsos under smooth deformations, and digital patients.

A case's second scan is the first one seen through an analytic map, so that the truth holds no interpolation error; each
scan has a grid and a noise of its own. Nothing of a case is known to what it judges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy import ndimage
from scipy.spatial.transform import Rotation

from analysis.grids import centres, grid_of
from analysis.phantom import DigitalPatient, PhantomSettings, make_patient
from analysis.values import BoolArray, FloatArray, Grid, Tracer, Unit, Volume
from dicom_io.headers import group, read_folder
from dicom_io.tracers import recognise
from dicom_io.volumes import read_ct

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
STEP_MM = 4.0
NOISE_HU = 15.0
REACHES_MM = (10.0, 17.0, 25.0, 32.0, 40.0)
HARSH_MM = (17.0, 32.0)
# What the best rigid transform leaves of a gentle deformation on average.
GENTLE_MM = 3.5
LEAST_JACOBIAN = 0.4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Map:
    """x -> R x + t + u(x) in LPS mm; u(x) = sum of amplitude * cos(wave . (x - centre) + phase), each row one wave."""

    rigid: FloatArray
    centre: FloatArray
    amplitude: FloatArray
    wave: FloatArray
    phase: FloatArray

    def __call__(self, points: FloatArray) -> FloatArray:
        return points @ self.rigid[:3, :3].T + self.rigid[:3, 3] + self.bent(points)

    def bent(self, points: FloatArray) -> FloatArray:
        """(..., 3) points of the fixed frame -> u in mm."""
        return np.cos((points - self.centre) @ self.wave.T + self.phase) @ self.amplitude


Maker = Callable[[np.random.Generator, float, FloatArray, FloatArray], Map]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Case:
    """fixed, moving: CTs in HU. points: (n, 3) of the fixed body that the moving scan holds; true: their places in it.

    bone: which of the points lie in bone.
    """

    name: str
    fixed: Volume
    moving: Volume
    points: FloatArray
    true: FloatArray
    bone: BoolArray


def real_cases(gentle_mm: tuple[float, ...] = REACHES_MM, harsh_mm: tuple[float, ...] = HARSH_MM) -> Iterator[Case]:
    """Both real torsos, under gentle deformations (shift and bend reach so far) and harsh ones (the bend alone does)."""
    for name, torso in (("GE torso", ge_torso()), ("TotalSegmentator torso", truth_torso())):
        for seed, reach in enumerate(gentle_mm):
            yield deformed_case(f"{name}, gentle {reach:.0f} mm", torso, seed, reach, gentle_map)
        for seed, reach in enumerate(harsh_mm):
            yield deformed_case(f"{name}, harsh {reach:.0f} mm", torso, seed, reach, random_map)


def held_out_cases() -> Iterator[Case]:
    """The same torsos under deformations of seeds that no setting was chosen on."""
    kinds = (
        (12.0, gentle_map, "gentle"),
        (28.0, random_map, "harsh"),
        (38.0, gentle_map, "gentle"),
        (20.0, random_map, "harsh"),
    )
    for name, torso in (("GE torso", ge_torso()), ("TotalSegmentator torso", truth_torso())):
        for seed, (reach, make, word) in enumerate(kinds, start=100):
            yield deformed_case(f"{name}, {word} {reach:.0f} mm, held out", torso, seed, reach, make)


def ge_torso() -> Volume:
    """The FDG study's CT of the shared real pair."""
    instances, _ = read_folder(DATA / "pair1" / "fdg")
    return read_ct(recognise(group(instances)[0]).ct)


def truth_torso() -> Volume:
    """The CT that TotalSegmentator ships as an example."""
    image = sitk.ReadImage(str(DATA / "ct_truth" / "ct.nii.gz"))
    values = np.maximum(sitk.GetArrayFromImage(image).astype(np.float32), -1024.0)
    return Volume(grid=grid_of(image), values=values, unit=Unit.HU)


def deformed_case(name: str, torso: Volume, seed: int, reach_mm: float, make: Maker) -> Case:
    """The torso as moving scan, and as fixed scan through a random map; every second one lacks a part of the torso."""
    rng = np.random.default_rng([seed, int(reach_mm)])
    middle = torso.grid.to_world((np.array(torso.grid.shape) - 1) / 2)
    extent = np.array(torso.grid.shape)[::-1] * np.array(torso.grid.spacing)[::-1]
    truth = make(rng, reach_mm, middle, extent)
    moving_grid = _box(middle, extent, STEP_MM, np.eye(3))
    there = truth.centre
    size = extent * np.array([1.0, 1.0, 1.0 if seed % 2 == 0 else 0.7])
    fixed_grid = _box(there + rng.uniform(-3, 3, 3), size, STEP_MM * 0.95, _turned(rng, 0.0 if seed % 2 else 4.0))
    soft = _softened(torso)
    where = centres(fixed_grid)
    body = _body(torso)
    true = truth(where)
    inside = ndimage.map_coordinates(body.astype(np.float32), np.moveaxis(torso.grid.to_index(true), -1, 0), order=1) > 0.5
    hu = _sampled(soft, true)
    return Case(
        name=name,
        fixed=_noisy(fixed_grid, hu, rng),
        moving=_noisy(moving_grid, _sampled(soft, centres(moving_grid)), rng),
        points=where[inside],
        true=true[inside],
        bone=(hu > 200.0)[inside],
    )


def random_map(rng: np.random.Generator, reach_mm: float, middle: FloatArray, extent: FloatArray) -> Map:
    """Some centimetres and degrees, and eight waves that reach reach_mm somewhere; as short as they may be without folds."""
    turn = Rotation.from_euler("xyz", rng.uniform(-5, 5, 3), degrees=True).as_matrix()
    shift = rng.uniform([-30, -25, -50], [30, 25, 50])
    rigid = np.eye(4)
    rigid[:3, :3], rigid[:3, 3] = turn, shift + middle - turn @ middle
    there = np.linalg.inv(rigid) @ np.append(middle, 1.0)
    direction, size, phase = rng.normal(size=(8, 3)), rng.normal(size=(8, 3)), rng.uniform(0, 2 * np.pi, 8)
    relative = rng.uniform(1.0, 2.5, 8)[:, None]
    points = centres(_box(there[:3], extent, 16.0, np.eye(3))).reshape(-1, 3)
    for shortest in 100.0 * 1.1 ** np.arange(40):
        wave = direction / np.linalg.norm(direction, axis=1, keepdims=True) * 2 * np.pi / (shortest * relative)
        made = Map(rigid=rigid, centre=there[:3], amplitude=size, wave=wave, phase=phase)
        made = Map(
            rigid=rigid,
            centre=there[:3],
            amplitude=size * reach_mm / np.linalg.norm(made.bent(points), axis=1).max(),
            wave=wave,
            phase=phase,
        )
        if growth(made, points).min() > LEAST_JACOBIAN:
            return made
    raise ArithmeticError("no such deformation without folds")


def gentle_map(rng: np.random.Generator, reach_mm: float, middle: FloatArray, extent: FloatArray) -> Map:
    """A turn, and three waves of 30 to 60 cm of which the best rigid transform leaves GENTLE_MM; reach_mm off at the most."""
    turn = Rotation.from_euler("xyz", rng.uniform(-2, 2, 3), degrees=True).as_matrix()
    direction, size, phase = rng.normal(size=(3, 3)), rng.normal(size=(3, 3)), rng.uniform(0, 2 * np.pi, 3)
    wave = direction / np.linalg.norm(direction, axis=1, keepdims=True) * 2 * np.pi / rng.uniform(300.0, 600.0, 3)[:, None]
    points = centres(_box(middle, extent, 16.0, np.eye(3))).reshape(-1, 3)
    bent = Map(rigid=np.eye(4), centre=middle, amplitude=size, wave=wave, phase=phase)
    for _ in range(3):
        bent = replace(bent, amplitude=bent.amplitude * GENTLE_MM / _left_by_rigid(points, bent(points)).mean())
    rigid = np.eye(4)
    rigid[:3, :3], rigid[:3, 3] = turn, middle - turn @ middle
    straight = replace(bent, rigid=rigid)
    way = rng.normal(size=3)
    way /= np.linalg.norm(way)
    off = straight(points) - points
    lengths = np.arange(0.0, 80.0, 0.5)
    length = min(lengths, key=lambda mm: abs(float(np.linalg.norm(off + mm * way, axis=1).max()) - reach_mm))
    rigid[:3, 3] += length * way
    return replace(straight, rigid=rigid)


def _left_by_rigid(points: FloatArray, true: FloatArray) -> FloatArray:
    """(n,) mm between the true places and those that the best rigid transform gives (least squares; Kabsch 1976)."""
    a, b = points - points.mean(axis=0), true - true.mean(axis=0)
    turn, _ = Rotation.align_vectors(b, a)
    return np.asarray(np.linalg.norm(turn.apply(a) - b, axis=1))


def growth(truth: Map, points: FloatArray) -> FloatArray:
    """(n,) determinant of the map's derivative."""
    columns = [truth(points + 0.5 * e) - truth(points - 0.5 * e) for e in np.eye(3)]
    return np.asarray(np.linalg.det(np.stack(columns, axis=-1)))


def phantom_case(name: str, fdg: DigitalPatient, pentixafor: DigitalPatient) -> Case:
    """A digital patient's FDG CT and PentixaFor CT, maybe with the arms elsewhere in one of them; arms do not count."""
    organs, grid = pentixafor.ct_organs[Tracer.PENTIXAFOR], pentixafor.pentixafor.ct.grid
    left_out = [n for n, region in organs.names.items() if region.startswith(("humerus", "arm", "forearm", "hand"))]
    where = (organs.labels > 0) & ~np.isin(organs.labels, left_out)
    where[np.indices(grid.shape).sum(axis=0) % 3 > 0] = False
    points = grid.to_world(np.argwhere(where))
    true = pentixafor.motion.to_fdg(points)
    held = fdg.fdg.ct.grid.contains(true)
    hu = pentixafor.pentixafor.ct.values[where]
    return Case(
        name=name,
        fixed=pentixafor.pentixafor.ct,
        moving=fdg.fdg.ct,
        points=points[held],
        true=true[held],
        bone=(hu > 200.0)[held],
    )


def phantom_cases() -> Iterator[Case]:
    """Arms up in one scan and down in the other, both ways, and a second scan of half the length."""
    for seed, (first, second) in enumerate((("up", "down"), ("down", "up"), ("up", "up"))):
        makes = [PhantomSettings(seed=seed, arms=arms, deformation_mm=20.0, lesions=0) for arms in (first, second)]
        yield phantom_case(f"phantom, arms {first} and {second}", *map(make_patient, makes))
    half = make_patient(PhantomSettings(seed=3, deformation_mm=20.0, lesions=0, traps=frozenset({"truncated field"})))
    yield phantom_case("phantom, half the field", half, half)


def _turned(rng: np.random.Generator, degrees: float) -> FloatArray:
    return np.asarray(Rotation.from_euler("xyz", rng.uniform(-degrees, degrees, 3), degrees=True).as_matrix())


def _box(middle: FloatArray, extent: FloatArray, step_mm: float, axes: FloatArray) -> Grid:
    """extent: in mm along the columns of axes (x, y, z)."""
    size = np.maximum(1, np.round(extent / step_mm)).astype(int)
    affine = np.eye(4)
    affine[:3, :3] = axes[:, ::-1] * step_mm
    affine[:3, 3] = middle - axes @ ((size - 1) / 2 * step_mm)
    return Grid(shape=(int(size[2]), int(size[1]), int(size[0])), affine=affine)


def _softened(ct: Volume) -> Volume:
    """The CT as it is seen by voxels of STEP_MM."""
    sigma = [0.35 * STEP_MM / s for s in ct.grid.spacing]
    return Volume(grid=ct.grid, values=ndimage.gaussian_filter(ct.values, sigma, truncate=3.0), unit=ct.unit)


def _sampled(ct: Volume, points: FloatArray) -> FloatArray:
    index = np.moveaxis(ct.grid.to_index(points), -1, 0)
    return np.asarray(ndimage.map_coordinates(ct.values, index, order=1, mode="constant", cval=-1000.0))


def _noisy(grid: Grid, hu: FloatArray, rng: np.random.Generator) -> Volume:
    values = hu + rng.normal(0.0, NOISE_HU, grid.shape).astype(np.float32)
    return Volume(grid=grid, values=np.maximum(values, -1024.0).astype(np.float32), unit=Unit.HU)


def _body(ct: Volume) -> BoolArray:
    """The patient without the table: the largest thing in a CT that is denser than air, its cavities filled slice by slice."""
    radius = max(1, round(6.0 / ct.grid.spacing[1]))
    dense = ndimage.binary_opening(
        ct.values > -300.0, ndimage.iterate_structure(ndimage.generate_binary_structure(2, 1), radius)[None]
    )
    labels, _ = ndimage.label(dense)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.stack([ndimage.binary_fill_holes(plane) for plane in labels == sizes.argmax()])
