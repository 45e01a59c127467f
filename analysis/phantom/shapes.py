"""Solids of the phantom, evaluated at any coordinate: ellipsoids, cones, stacks of ellipses and curved plates.

All numbers are millimetres in the phantom's body frame (x to the left, y to the back, z to the head). Coordinates come as
three arrays that broadcast against each other, so a grid's open mesh costs no memory.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from analysis.values import BoolArray, FloatArray

STEP_MM = 0.25  # a stack's profile is tabulated at this step: the table, not the polygon, is the shape's definition

Point = tuple[float, float, float]
Box = tuple[Point, Point]


class Shape(Protocol):
    """A solid with a bounding box."""

    @property
    def box(self) -> Box:
        """Lowest and highest corner, mm."""

    def contains(self, x: FloatArray, y: FloatArray, z: FloatArray) -> BoolArray:
        """Whether each point lies inside; the result has the broadcast shape."""

    def inset(self, mm: float) -> Shape:
        """The same solid with its surface moved inwards; outwards where mm is negative."""


def _clear(radius: float) -> float:
    """A radius that an inset has eaten up becomes hair-thin, not negative."""
    return max(radius, 0.01)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ellipsoid:
    """radii along the axes; turn: rotation about z in degrees, from x towards y."""

    centre: Point
    radii: Point
    turn: float = 0.0

    @property
    def box(self) -> Box:
        reach = (max(self.radii[:2]),) * 2 if self.turn else self.radii[:2]
        extent = (*reach, self.radii[2])
        low, high = np.subtract(self.centre, extent), np.add(self.centre, extent)
        return (low[0], low[1], low[2]), (high[0], high[1], high[2])

    def contains(self, x: FloatArray, y: FloatArray, z: FloatArray) -> BoolArray:
        dx, dy = x - self.centre[0], y - self.centre[1]
        if self.turn:
            c, s = np.cos(np.deg2rad(self.turn)), np.sin(np.deg2rad(self.turn))
            dx, dy = dx * float(c) + dy * float(s), dy * float(c) - dx * float(s)
        a, b, h = self.radii
        inside: BoolArray = (dx / a) ** 2 + (dy / b) ** 2 + ((z - self.centre[2]) / h) ** 2 <= 1.0
        return inside

    def inset(self, mm: float) -> Ellipsoid:
        a, b, h = (_clear(r - mm) for r in self.radii)
        return replace(self, radii=(a, b, h))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cone:
    """A rod with round ends whose radius goes from r0 at `start` to r1 at `end`."""

    start: Point
    end: Point
    r0: float
    r1: float

    @property
    def box(self) -> Box:
        ends = np.array([self.start, self.end])
        reach = max(self.r0, self.r1)
        low, high = ends.min(axis=0) - reach, ends.max(axis=0) + reach
        return (low[0], low[1], low[2]), (high[0], high[1], high[2])

    def contains(self, x: FloatArray, y: FloatArray, z: FloatArray) -> BoolArray:
        axis = [float(e - s) for s, e in zip(self.start, self.end, strict=True)]
        rest = [c - s for c, s in zip((x, y, z), self.start, strict=True)]
        length2 = sum(a * a for a in axis)
        along = np.clip(sum(r * (a / length2) for r, a in zip(rest, axis, strict=True)), 0.0, 1.0)
        away = sum((r - along * a) ** 2 for r, a in zip(rest, axis, strict=True))
        inside: BoolArray = away <= (self.r0 + (self.r1 - self.r0) * along) ** 2
        return inside

    def inset(self, mm: float) -> Cone:
        return replace(self, r0=_clear(self.r0 - mm), r1=_clear(self.r1 - mm))


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """Ellipses stacked along z, interpolated between rows (z, x centre, y centre, half-width, half-depth) of rising z.

    square: 0 is an ellipse, 1 a rectangle (the squircle of Fernandez-Guasti).
    """

    rows: tuple[tuple[float, float, float, float, float], ...]
    square: float = 0.0
    _table: list[FloatArray] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        rows = np.array(self.rows)
        z = np.arange(rows[0, 0], rows[-1, 0] + STEP_MM, STEP_MM)
        table = [np.interp(z, rows[:, 0], rows[:, c]).astype(np.float32) for c in range(1, 5)]
        object.__setattr__(self, "_table", table)

    @property
    def box(self) -> Box:
        z, xc, yc, a, b = np.array(self.rows).T
        low, high = (float((xc - a).min()), float((yc - b).min())), (float((xc + a).max()), float((yc + b).max()))
        return (*low, float(z[0])), (*high, float(z[-1]))

    def profile(self, z: FloatArray) -> list[FloatArray]:
        """x centre, y centre, half-width and half-depth at each z; beyond the ends those of the end."""
        last = len(self._table[0]) - 1
        index = np.clip((z - self.rows[0][0]) * (1.0 / STEP_MM), 0, last).astype(np.int32)
        return [column[index] for column in self._table]

    def contains(self, x: FloatArray, y: FloatArray, z: FloatArray) -> BoolArray:
        xc, yc, a, b = self.profile(z)
        u, v = ((x - xc) / a) ** 2, ((y - yc) / b) ** 2
        level = u + v - self.square * u * v if self.square else u + v
        inside: BoolArray = (level <= 1.0) & (z >= self.rows[0][0]) & (z <= self.rows[-1][0])
        # Far outside, the squircle's product term wins again; only its first branch is the shape.
        return inside & (u <= 1.0) & (v <= 1.0) if self.square else inside

    def inset(self, mm: float) -> Stack:
        rows = [(z, xc, yc, _clear(a - mm), _clear(b - mm)) for z, xc, yc, a, b in self.rows]
        first, last = rows[0], rows[-1]
        rows[0], rows[-1] = (first[0] + mm, *first[1:]), (last[0] - mm, *last[1:])
        return Stack(rows=tuple(rows), square=self.square)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plate:
    """A curved plate on the surface of a stack: a rib, a shoulder blade, the wing of a hip bone.

    side: +1 left, -1 right. angles: from and to, in degrees from the back around that side to the front. Its middle line
    lies at `height` at the back and sinks by `drop` towards the front; half: half its height; thick: half its thickness.
    """

    wall: Stack
    side: int
    angles: tuple[float, float]
    height: float
    drop: float
    half: float
    thick: float

    @property
    def box(self) -> Box:
        (x0, y0, _), (x1, y1, _) = self.wall.box
        sunk = self.drop * (1 - np.cos(np.deg2rad(self.angles[1]))) / 2
        low, high = self.height - max(sunk, 0.0) - self.half, self.height - min(sunk, 0.0) + self.half
        across = (-1.0, x1 + self.thick) if self.side > 0 else (x0 - self.thick, 1.0)
        return (across[0], y0 - self.thick, float(low)), (across[1], y1 + self.thick, float(high))

    def contains(self, x: FloatArray, y: FloatArray, z: FloatArray) -> BoolArray:
        xc, yc, a, b = self.wall.profile(z)
        dx, dy = x - xc, y - yc
        level = np.sqrt((dx / a) ** 2 + (dy / b) ** 2) + np.float32(1e-6)
        cosine = dy / (b * level)
        away = np.sqrt(dx * dx + dy * dy) * (1.0 - 1.0 / level)
        above = z - (self.height - self.drop * (1.0 - cosine) / 2)
        first, last = (float(np.cos(np.deg2rad(t))) for t in self.angles)
        inside: BoolArray = (np.abs(away) <= self.thick) & (np.abs(above) <= self.half)
        return inside & (cosine <= first) & (cosine >= last) & (dx * self.side >= 0)

    def inset(self, mm: float) -> Plate:
        return replace(self, half=_clear(self.half - mm), thick=_clear(self.thick - mm))
