"""Both tracers as maximum-intensity views from any side, in the PentixaFor frame.

A scene is an upright grid (k to the head, j to the back, i to the left) around the body, kept as columns along the body's
axis, so that a turn about this axis only looks up columns. A view is what one direction shows of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import IntFlag
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.values import Concordance, FloatArray, LesionMatch, Tracer

# SUV shown at full brightness: uptake of active disease is white-hot, background stays dark (docs/METHOD.md 7).
FULL_SCALE = {Tracer.FDG: 7.0, Tracer.PENTIXAFOR: 10.0}
FAINTEST = 650  # of 65535, 1 % of full scale: where less is seen, and neither bone nor lesion, nothing is drawn
AT_ONCE = 2  # views: each is made by numpy, beside another one
BONE_FULL = 100  # a voxel of dense bone; 16 bits hold the sum of 655 of them along a ray


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """One site of disease to be marked: its name as shown, its class, its middle (PentixaFor frame, LPS mm), its volume."""

    name: str
    kind: Class
    at: tuple[float, float, float]
    volume_ml: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scene:
    """What is drawn, as columns along the body's axis.

    columns: name > (n, nk) array: "FDG" and "PentixaFor" in 1/65535 of full scale, "bone" in 1/BONE_FULL, "lesions" as
    bits of Class.
    places: (n, 2), where each column stands: (to the left, to the back) of `axis`, the upright line (x, y) that views turn
    about. top: z of the highest row's upper edge. All in mm, PentixaFor frame. covered: tracer > (nk,) whether its scan
    reaches so high or low. spots: the sites of disease, largest first.
    """

    columns: dict[str, npt.NDArray[Any]]
    places: FloatArray
    axis: tuple[float, float]
    top: float
    step_mm: float
    covered: dict[Tracer, npt.NDArray[np.bool_]]
    spots: tuple[Spot, ...] = ()

    @property
    def rows(self) -> int:
        return len(self.covered[Tracer.FDG])

    @property
    def radius(self) -> float:
        """How far the outermost column reaches from the axis, in mm; as wide as a view need be."""
        reach = float(np.hypot(*self.places.T).max(initial=0.0))
        return max(reach, 10 * self.step_mm) + 1.5 * self.step_mm


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class View:
    """One direction's picture: rows of step_mm from head to feet, columns of half a step; values as in Scene, "bone" in mm
    of dense bone along the ray. The scene's axis runs up the middle."""

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


def across(at: tuple[float, float], degrees: float) -> float:
    """How far right of the axis a place (mm to the left and to the back of it) is seen from `degrees`, in mm."""
    return at[0] * math.cos(math.radians(degrees)) + at[1] * math.sin(math.radians(degrees))


def view(scene: Scene, degrees: float) -> View:
    """The scene seen from `degrees`: 0 from the front, 90 from the patient's left, 180 from behind.

    Every column is seen from every side, none falls between two rays: the brightest voxel keeps its brightness while the
    body turns, and nothing shimmers.
    """
    rays = _rays(scene, degrees)
    bone = _along(scene.columns["bone"], rays, np.add)
    return View(
        degrees=degrees,
        fdg=_along(scene.columns[Tracer.FDG.value], rays, np.maximum),
        pentixafor=_along(scene.columns[Tracer.PENTIXAFOR.value], rays, np.maximum),
        bone=bone * (scene.step_mm / BONE_FULL),
        lesions=_along(scene.columns["lesions"], rays, np.bitwise_or),
        step_mm=scene.step_mm,
    )


def turn(scene: Scene, count: int) -> list[View]:
    """A full turn from the front over the patient's left. The second half mirrors the first: a maximum has no front."""
    degrees = [360.0 * n / count for n in range(count)]
    seen = degrees if count % 2 else degrees[: count // 2]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        views = list(pool.map(lambda d: view(scene, d), seen))
    return views if count % 2 else views + [_mirrored(one) for one in views]


def _mirrored(one: View) -> View:
    return View(
        degrees=one.degrees + 180.0,
        fdg=one.fdg[:, ::-1],
        pentixafor=one.pentixafor[:, ::-1],
        bone=one.bone[:, ::-1],
        lesions=one.lesions[:, ::-1],
        step_mm=one.step_mm,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Rays:
    """Which columns each ray meets: `order` holds their numbers ray by ray, those of ray `bins[n]` from `starts[n]` on."""

    order: npt.NDArray[np.intp]
    starts: npt.NDArray[np.intp]
    bins: npt.NDArray[np.intp]
    width: int


def _rays(scene: Scene, degrees: float) -> _Rays:
    """Rays half a step apart, each as wide as a step, so that each column lies on two of them."""
    angle = math.radians(degrees)
    shift = (scene.places @ np.array([math.cos(angle), math.sin(angle)])) / scene.step_mm
    half = math.ceil(2 * scene.radius / scene.step_mm)
    first = np.ceil(2 * shift - 1.5).astype(np.intp) + half
    ray = np.concatenate([first, first + 1])
    column = np.tile(np.arange(len(shift)), 2)
    order = np.argsort(ray, kind="stable")
    bins, starts = np.unique(ray[order], return_index=True)
    return _Rays(order=column[order], starts=starts, bins=bins, width=2 * half)


def _along(columns: npt.NDArray[Any], rays: _Rays, join: Any) -> npt.NDArray[Any]:
    """Columns joined along each ray: (nk, width), head first."""
    out = np.zeros((rays.width, columns.shape[1]), columns.dtype)
    if len(rays.order):
        reduce: Callable[..., Any] = join.reduceat
        out[rays.bins] = reduce(columns[rays.order], rays.starts, axis=0, dtype=columns.dtype)
    return np.ascontiguousarray(out.T[::-1])
