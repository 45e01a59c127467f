"""How the patient lies in scan two: a rigid motion and a smooth deformation, both known exactly and in both directions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from analysis.errors import BadSettings
from analysis.values import FloatArray, Grid, Transform

RESIDUAL_MM = 1e-4  # a point sent there and back comes home at least this near
STEEPEST = 0.7  # bound on the displacement's slope: below 1 the map is one to one everywhere


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave:
    """One standing wave of displacement: amplitude (x, y, z) in mm, wavelength in mm and phase along each axis."""

    amplitude: tuple[float, float, float]
    length: tuple[float, float, float]
    phase: tuple[float, float, float]

    @property
    def slope(self) -> float:
        """No direction sees the displacement change faster than this, mm per mm."""
        steepest = np.linalg.norm([2 * np.pi / length for length in self.length])
        return float(np.linalg.norm(self.amplitude) * steepest)

    def height(self, x: FloatArray, y: FloatArray, z: FloatArray) -> FloatArray:
        """The wave without its amplitude, -1..1; computed axis by axis, so an open mesh stays cheap."""
        parts = zip((x, y, z), self.length, self.phase, strict=True)
        cx, cy, cz = (np.cos(c * (2 * np.pi / length) + phase) for c, length, phase in parts)
        return np.asarray(cx * cy * cz)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Motion:
    """PentixaFor patient coordinates -> FDG patient coordinates, LPS mm: x -> R x + t + u(x), u a sum of waves."""

    rigid: FloatArray
    waves: tuple[Wave, ...] = ()

    def __post_init__(self) -> None:
        slope = sum(w.slope for w in self.waves)
        if slope > STEEPEST:
            raise BadSettings(f"The phantom's deformation is too steep to be inverted ({slope:.2f}); choose fewer mm.")

    @property
    def reach_mm(self) -> float:
        """No point is displaced farther than this by the deformable part, along any axis."""
        return float(sum(max(abs(a) for a in w.amplitude) for w in self.waves))

    def mesh(self, x: FloatArray, y: FloatArray, z: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Broadcastable PentixaFor coordinates -> FDG coordinates, in the dtype that comes in."""
        r = self.rigid.astype(x.dtype)
        out = [r[c, 0] * x + r[c, 1] * y + r[c, 2] * z + r[c, 3] for c in range(3)]
        for wave in self.waves:
            height = wave.height(x, y, z).astype(x.dtype)
            for c in range(3):
                out[c] += height * x.dtype.type(wave.amplitude[c])
        return out[0], out[1], out[2]

    def to_fdg(self, points: npt.ArrayLike) -> FloatArray:
        """(n, 3) PentixaFor coordinates -> (n, 3) FDG coordinates."""
        p = np.atleast_2d(np.asarray(points, dtype=np.float64))
        return np.stack(self.mesh(p[:, 0], p[:, 1], p[:, 2]), axis=-1)

    def to_pentixafor(self, points: npt.ArrayLike) -> FloatArray:
        """(n, 3) FDG coordinates -> (n, 3) PentixaFor coordinates; exact to RESIDUAL_MM, and checked."""
        target = np.atleast_2d(np.asarray(points, dtype=np.float64))
        back = np.linalg.inv(self.rigid[:3, :3]).T
        guess = (target - self.rigid[:3, 3]) @ back
        for _ in range(100):
            miss = target - self.to_fdg(guess)
            if float(np.abs(miss).max(initial=0.0)) < RESIDUAL_MM:
                return guess
            guess = guess + miss @ back
        raise ArithmeticError("the phantom's deformation could not be inverted")

    def growth(self, points: npt.ArrayLike) -> FloatArray:
        """(n, 3) PentixaFor coordinates -> (n,) ml of FDG space for each ml of PentixaFor space (Jacobian determinant)."""
        p = np.atleast_2d(np.asarray(points, dtype=np.float64))
        half = 0.05
        columns = [(self.to_fdg(p + half * e) - self.to_fdg(p - half * e)) / (2 * half) for e in np.eye(3)]
        return np.asarray(np.linalg.det(np.stack(columns, axis=-1)))

    def sampled(self, grid: Grid) -> Transform:
        """The same map as the Transform that a registration on `grid` (PentixaFor frame) would ideally find."""
        index = np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij"), axis=-1)
        points = grid.to_world(index).reshape(-1, 3)
        rest = self.to_fdg(points) - (points @ self.rigid[:3, :3].T + self.rigid[:3, 3])
        return Transform(rigid=self.rigid, grid=grid, displacement=rest.reshape(*grid.shape, 3).astype(np.float32))


def random_motion(rng: np.random.Generator, deformation_mm: float, centre: FloatArray) -> Motion:
    """Some centimetres of shift, up to 2.5 degrees of turn about `centre` (FDG, mm), waves of `deformation_mm` in all."""
    turn = Rotation.from_euler("xyz", rng.uniform(-2.5, 2.5, 3), degrees=True).as_matrix()
    shift = rng.uniform([-15, -12, -40], [15, 12, 40])
    rigid = np.eye(4)
    rigid[:3, :3] = turn
    rigid[:3, 3] = centre - turn @ (centre + shift)
    return Motion(rigid=rigid, waves=_waves(rng, deformation_mm) if deformation_mm > 0 else ())


def _waves(rng: np.random.Generator, deformation_mm: float, number: int = 4) -> tuple[Wave, ...]:
    share = rng.dirichlet(np.full(number, 4.0)) * deformation_mm
    waves = []
    for size in share:
        direction = rng.normal(size=3)
        amplitude = size * direction / np.linalg.norm(direction)
        length, phase = rng.uniform([300, 300, 260], [600, 600, 500]), rng.uniform(0, 2 * np.pi, 3)
        waves.append(Wave(amplitude=_triple(amplitude), length=_triple(length), phase=_triple(phase)))
    return tuple(waves)


def _triple(values: FloatArray) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])
