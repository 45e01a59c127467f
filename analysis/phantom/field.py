"""Where the phantom's parts lie: painted on a scan's grid or on a cloud of points, in the body frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.phantom.body import Part
from analysis.phantom.motion import Motion
from analysis.phantom.shapes import Box, Shape
from analysis.values import BoolArray, FloatArray, Grid

Window = tuple[slice, ...]
PartArray = npt.NDArray[np.uint16]


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyFrame:
    """Where the body frame of the parts lies in scan one: FDG patient coordinates = scale * body + origin (mm)."""

    scale: float
    origin: FloatArray

    def to_body(self, fdg: FloatArray) -> FloatArray:
        """(..., 3) FDG coordinates -> body frame."""
        return np.asarray((fdg - self.origin) / self.scale)

    def to_fdg(self, body: npt.ArrayLike) -> FloatArray:
        """(..., 3) body frame -> FDG coordinates."""
        return np.asarray(body, dtype=np.float64) * self.scale + self.origin


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Field:
    """Places to be painted, with their body coordinates.

    shape: of the result. coordinates: x, y, z in the body frame, broadcastable to shape. window: the part of the field
    that may lie in a box of the body frame.
    """

    shape: tuple[int, ...]
    coordinates: tuple[FloatArray, FloatArray, FloatArray]
    window: Callable[[Box], Window]

    def inside(self, shape: Shape) -> tuple[Window, BoolArray]:
        """Where the solid lies: a window and a mask that broadcasts to it."""
        window = self.window(shape.box)
        views = [_view(c, window) for c in self.coordinates]
        return window, shape.contains(views[0], views[1], views[2])

    def paint(self, shapes: Sequence[tuple[int, Shape]]) -> PartArray:
        """Each place's last number among the (number, shape) that contain it; 0 where none does."""
        out = np.zeros(self.shape, np.uint16)
        for number, shape in shapes:
            window, mask = self.inside(shape)
            np.copyto(out[window], np.uint16(number), where=mask)
        return out


def _view(coordinate: FloatArray, window: Window) -> FloatArray:
    """The coordinate's part in a window; axes along which it is constant stay as they are."""
    sizes = coordinate.shape
    return coordinate[tuple(w if n > 1 else slice(None) for w, n in zip(window, sizes, strict=True))]


def field_of(grid: Grid, frame: BodyFrame, motion: Motion | None) -> Field:
    """The field of a scan's grid (its affine's axes along z, y, x); motion: None for scan one (FDG)."""
    axes = [grid.affine[2 - c, 3] + grid.affine[2 - c, c] * np.arange(grid.shape[c]) for c in range(3)]
    z, y, x = (a.astype(np.float32).reshape([-1 if c == d else 1 for d in range(3)]) for c, a in enumerate(axes))
    if motion is not None:
        x, y, z = motion.mesh(x, y, z)
    origin = frame.origin.astype(np.float32)
    scaled = [(c - o) * np.float32(1.0 / frame.scale) for c, o in zip((x, y, z), origin, strict=True)]

    def window(box: Box) -> Window:
        index = grid.to_index(_corners(box, frame, motion))
        low = np.clip(np.floor(index.min(axis=0)).astype(int), 0, np.array(grid.shape))
        high = np.clip(np.ceil(index.max(axis=0)).astype(int) + 1, 0, np.array(grid.shape))
        return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))

    return Field(shape=grid.shape, coordinates=(scaled[0], scaled[1], scaled[2]), window=window)


def _corners(box: Box, frame: BodyFrame, motion: Motion | None) -> FloatArray:
    """Points of the scan's own frame whose bounding box holds the body-frame box."""
    corners = frame.to_fdg(np.array(np.meshgrid(*zip(*box, strict=True))).reshape(3, -1).T)
    if motion is None:
        return corners
    rotation, reach = motion.rigid[:3, :3], motion.reach_mm * np.sqrt(3.0)
    back = (corners - motion.rigid[:3, 3]) @ np.linalg.inv(rotation).T
    return np.concatenate([back - reach, back + reach])


def tissue_at(points: FloatArray, shapes: Sequence[tuple[int, Shape]]) -> PartArray:
    """(n, 3) body-frame points -> (n,) numbers of the parts painted there; sorted by height inside, so boxes are cheap."""
    order = np.argsort(points[:, 2], kind="stable")
    x, y, z = points[order].astype(np.float32).T

    def window(box: Box) -> Window:
        return (slice(int(np.searchsorted(z, box[0][2], "left")), int(np.searchsorted(z, box[1][2], "right"))),)

    painted = Field(shape=x.shape, coordinates=(x, y, z), window=window).paint(shapes)
    out = np.empty_like(painted)
    out[order] = painted
    return out


def numbered(parts: Sequence[Part]) -> list[tuple[int, Shape]]:
    """Parts with their numbers, from 1 on."""
    return [(n, part.shape) for n, part in enumerate(parts, start=1)]
