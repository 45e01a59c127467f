"""Both tracers as maximum-intensity views from any side, in the PentixaFor frame.

A scene is an upright grid (k to the head, j to the back, i to the left) around the body, so that a turn about the body's
axis only looks up columns. A view is what one direction shows of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntFlag
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_dilation, binary_opening, label

from analysis.grids import resample
from analysis.values import BoolArray, Concordance, FloatArray, Grid, Labelmap, LesionMatch, PatientAnalysis, Tracer

STEP_MM = 2.5
LARGEST_SCENE = 30_000_000  # voxels; a larger body is drawn on a coarser grid
# SUV shown at full brightness: uptake of active disease is white-hot, background stays dark (docs/METHOD.md 5).
FULL_SCALE = {Tracer.FDG: 7.0, Tracer.PENTIXAFOR: 10.0}
BONE_HU = (150.0, 900.0)
MARGIN_MM = 25.0


class Class(IntFlag):
    """Which lesions lie on a ray; bits, as a ray may cross several."""

    FDG_ONLY = 1
    PENTIXAFOR_ONLY = 2
    CONCORDANT = 4
    NOT_COMPARABLE = 8


def class_of(match: LesionMatch) -> Class:
    """The class that a site of disease is drawn in."""
    if match.concordance is Concordance.NOT_COMPARABLE:
        return Class.NOT_COMPARABLE
    if match.concordance is Concordance.CONCORDANT:
        return Class.CONCORDANT
    return Class.FDG_ONLY if match.fdg else Class.PENTIXAFOR_ONLY


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scene:
    """What is drawn, as columns along the body's axis.

    columns: name > (nj * ni + 1, nk) array: "FDG" and "PentixaFor" in 1/65535 of full scale, "bone" in 0..255, "lesions" as
    Class bits; the last column is empty, for rays that leave the grid. shape: (nk, nj, ni) on a grid of step_mm.
    """

    columns: dict[str, npt.NDArray[Any]]
    shape: tuple[int, int, int]
    step_mm: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class View:
    """One direction's picture: rows from head to feet, pixels of step_mm; values as in Scene, "bone" averaged."""

    degrees: float
    fdg: npt.NDArray[np.uint16]
    pentixafor: npt.NDArray[np.uint16]
    bone: FloatArray
    lesions: npt.NDArray[np.uint8]
    step_mm: float

    @property
    def letters(self) -> tuple[str, str]:
        """The patient's side at the left and at the right edge of the picture."""
        return side_letters(self.degrees + 180), side_letters(self.degrees)


def side_letters(degrees: float) -> str:
    """The patient's side at the picture's right edge, seen from `degrees` (0: from the front, 90: from the patient's left)."""
    x, y = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    parts = [(abs(x), "L" if x > 0 else "R"), (abs(y), "P" if y > 0 else "A")]
    return "".join(letter for size, letter in sorted(parts, reverse=True) if size > math.sin(math.radians(22.5)))


def build_scene(analysis: PatientAnalysis) -> Scene:
    """Both PETs, the bones and the lesions on one upright grid; FDG is warped by the analysis' transform."""
    pair = analysis.aligned
    grid = upright(pair.pentixafor.pet.grid, body_box(pair.pentixafor.pet.grid, pair.pentixafor.pet.values))
    warp = {Tracer.FDG: pair.transform, Tracer.PENTIXAFOR: None}
    volumes: dict[str, npt.NDArray[Any]] = {}
    lesions = np.zeros(grid.shape, np.uint8)
    for tracer in Tracer:
        study, classes = pair.study(tracer), lesion_classes(analysis, tracer)
        suv = resample(study.pet.grid, study.pet.values, grid, transform=warp[tracer])
        volumes[tracer.value] = (np.clip(suv / FULL_SCALE[tracer], 0, 1) * 65535).astype(np.uint16)
        if classes.labels.any():
            lesions |= resample(classes.grid, classes.labels.astype(np.uint8), grid, transform=warp[tracer], nearest=True)
    low, high = BONE_HU
    hounsfield = resample(pair.pentixafor.ct.grid, pair.pentixafor.ct.values, grid, outside=-1000.0)
    inside = _body(*(volumes[t.value] > 65535 * 0.2 / FULL_SCALE[t] for t in Tracer))
    volumes["bone"] = (np.clip((hounsfield - low) / (high - low), 0, 1) * 255 * inside).astype(np.uint8)
    volumes["lesions"] = lesions
    return Scene(columns={n: _columns(v) for n, v in volumes.items()}, shape=grid.shape, step_mm=grid.spacing[0])


def _body(first: BoolArray, second: BoolArray) -> BoolArray:
    """The largest thing with uptake on either tracer, a little wider: without the table, whose rails look like bone."""
    seen = binary_opening(first | second, iterations=2)
    parts, count = label(seen)
    if count == 0:
        return np.ones(seen.shape, np.bool_)
    largest = parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
    return np.asarray(binary_dilation(largest, iterations=3))


def _columns(volume: npt.NDArray[Any]) -> npt.NDArray[Any]:
    flat = volume.reshape(volume.shape[0], -1).T
    return np.concatenate([flat, np.zeros((1, flat.shape[1]), flat.dtype)])


def lesion_classes(analysis: PatientAnalysis, tracer: Tracer) -> Labelmap:
    """The tracer's lesions on its PET grid, by Class instead of by number."""
    found = analysis.lesions[tracer]
    lookup = np.zeros(len(found.lesions) + 1, np.int32)
    for match in analysis.matches:
        for number in match.labels(tracer):
            lookup[number] = class_of(match)
    return Labelmap(grid=found.labelmap.grid, labels=lookup[found.labelmap.labels])


def body_box(grid: Grid, suv: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Lowest and highest corner (x, y, z) in LPS mm around the patient: the whole length, across where tracer is seen."""
    seen: BoolArray = suv > 0.25
    limits = []
    for axis, others in ((0, (1, 2)), (1, (0, 2)), (2, (0, 1))):
        profile = seen.sum(axis=others)
        inside = np.flatnonzero(profile > 0.02 * profile.max()) if axis and profile.any() else np.arange(grid.shape[axis])
        limits.append((inside[0] - 0.5, inside[-1] + 0.5))
    corners = np.array(np.meshgrid(*limits, indexing="ij")).reshape(3, -1).T
    world = grid.to_world(corners)
    margin = np.array([MARGIN_MM, MARGIN_MM, 0.0])
    return world.min(axis=0) - margin, world.max(axis=0) + margin


def upright(grid: Grid, box: tuple[FloatArray, FloatArray]) -> Grid:
    """A cubic upright grid over the box, not much finer than `grid` deserves."""
    low, high = box
    extent = np.maximum(high - low, 1.0)
    step = max(STEP_MM, float(np.cbrt(np.prod(extent) / LARGEST_SCENE)), min(grid.spacing) / 2)
    shape = np.maximum(1, np.ceil(extent / step)).astype(int)[::-1]
    affine = np.eye(4)
    affine[:3, :3] = np.fliplr(np.eye(3)) * step
    affine[:3, 3] = low + step / 2
    return Grid(shape=(int(shape[0]), int(shape[1]), int(shape[2])), affine=affine)


def view(scene: Scene, degrees: float) -> View:
    """The scene seen from `degrees`: 0 from the front, 90 from the patient's left, 180 from behind."""
    rays = _rays(scene.shape, degrees)
    bone = _along(scene.columns["bone"], rays, np.add, np.uint16)
    return View(
        degrees=degrees,
        fdg=_along(scene.columns[Tracer.FDG.value], rays, np.maximum),
        pentixafor=_along(scene.columns[Tracer.PENTIXAFOR.value], rays, np.maximum),
        bone=bone * (scene.step_mm / 255.0),
        lesions=_along(scene.columns["lesions"], rays, np.bitwise_or),
        step_mm=scene.step_mm,
    )


def _rays(shape: tuple[int, int, int], degrees: float) -> npt.NDArray[np.intp]:
    """(depth, width) of column numbers: which column each ray meets, front to back; the nearest, or the empty one."""
    _, nj, ni = shape
    width = math.ceil(math.hypot(nj, ni))
    angle = math.radians(degrees)
    t, u = np.meshgrid(np.arange(width) - (width - 1) / 2, np.arange(width) - (width - 1) / 2, indexing="ij")
    i = np.rint(u * math.cos(angle) - t * math.sin(angle) + (ni - 1) / 2).astype(np.intp)
    j = np.rint(u * math.sin(angle) + t * math.cos(angle) + (nj - 1) / 2).astype(np.intp)
    inside = (i >= 0) & (i < ni) & (j >= 0) & (j < nj)
    return np.asarray(np.where(inside, j * ni + i, nj * ni)[inside.any(axis=1)])


def _along(
    columns: npt.NDArray[Any], rays: npt.NDArray[np.intp], join: Callable[..., Any], dtype: Any = None
) -> npt.NDArray[Any]:
    """Columns joined along each ray: (nk, width), head first."""
    out = np.zeros((rays.shape[1], columns.shape[1]), dtype or columns.dtype)
    for depth in rays:
        join(out, columns[depth], out=out)
    return np.ascontiguousarray(out.T[::-1])
