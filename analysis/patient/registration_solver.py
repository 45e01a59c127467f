"""One step of the deformable stage: the smooth shift that explains what two CTs still differ by.

Minimises, over shifts v on a grid, sum w (r - g . v)^2 + a |grad Laplacian(u + v)|^2 + k |u + v|^2 with u the field so far, r
the difference of the CTs and g their mean gradient (Gauss-Newton; as in Fischer and Modersitzki 2003, but with the slope of
the curvature in the curvature's place, so that long waves cost less and short ones more). Conjugate gradients,
preconditioned by the same system for tissue that is the same everywhere, which the cosine transform solves at once.
Nothing is random, and every sum has one order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy import fft

from analysis.values import FloatArray

# Order of the products of gradients: xx, yy, zz, xy, xz, yz.
PAIRS = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
AXES = (1, 2, 3)
# Of the Laplacian, in the price of a wave's square: 2 would be curvature, 3 is its slope.
POWER = 3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class System:
    """The normal equations at every voxel of a grid with voxels of step_mm.

    products: (6, nk, nj, ni), w g g' in the order of PAIRS; right: (3, nk, nj, ni), w r g; smooth_mm: what is shorter is
    smoothed away where there is texture of `texture` (mean of w |g|^2 / 3); ties: how strongly, in parts of the texture, u is
    drawn to zero.
    """

    products: FloatArray
    right: FloatArray
    step_mm: float
    texture: float
    smooth_mm: float
    ties: float

    def pull(self, v: FloatArray) -> FloatArray:
        """(3, nk, nj, ni): sum over w g (g . v)."""
        xx, yy, zz, xy, xz, yz = self.products
        x, y, z = v
        return np.stack([xx * x + xy * y + xz * z, xy * x + yy * y + yz * z, xz * x + yz * y + zz * z])

    @property
    def stiffness(self) -> FloatArray:
        """(nk, nj, ni): what the regulariser multiplies the cosine transform of a field by."""
        waves = _laplacian(self.products.shape[1:], self.step_mm)
        return np.asarray(self.texture * ((self.smooth_mm**2 * waves) ** POWER + self.ties), dtype=np.float32)


def solved(system: System, field: FloatArray, rounds: int, threads: int = 1) -> FloatArray:
    """The shift v (3, nk, nj, ni) in mm after so many rounds of conjugate gradients; field: u, float32 of the same shape."""
    waves, waved = partial(_waves, threads=threads), partial(_waved, threads=threads)
    stiffness = system.stiffness
    inverse = 1.0 / (stiffness + np.float32(system.texture))
    found = np.zeros_like(field)
    rest = system.right - waved(stiffness * waves(field))
    spectrum = inverse * waves(rest)
    step = waved(spectrum)
    path = step
    power = _dot(rest, step)
    for _ in range(rounds):
        if power <= 0:
            break
        image = system.pull(path) + waved(stiffness * spectrum)
        length = np.float32(power / _dot(path, image))
        found += length * path
        rest -= length * image
        fresh = inverse * waves(rest)
        step = waved(fresh)
        before, power = power, _dot(rest, step)
        ratio = np.float32(power / before)
        path = step + ratio * path
        spectrum = fresh + ratio * spectrum
    return found


def roughness(field: FloatArray, step_mm: float) -> float:
    """The mean square of what the regulariser prices, in mm**-4, of a field (3, nk, nj, ni) in mm with voxels of step_mm."""
    priced = _laplacian(field.shape[1:], step_mm) ** POWER * _waves(field) ** 2
    return float(priced.sum(dtype=np.float64)) / math.prod(field.shape[1:])


def _laplacian(shape: tuple[int, ...], step_mm: float) -> FloatArray:
    """(nk, nj, ni): what the negative Laplacian multiplies each wave of the cosine transform by, in mm**-2."""
    k, j, i = ((2.0 - 2.0 * np.cos(np.pi * np.arange(n) / n)) / step_mm**2 for n in shape)
    return np.asarray(k[:, None, None] + j[None, :, None] + i[None, None, :], dtype=np.float32)


def _waves(values: FloatArray, threads: int = 1) -> FloatArray:
    return np.asarray(fft.dctn(values, axes=AXES, norm="ortho", workers=threads))


def _waved(values: FloatArray, threads: int = 1) -> FloatArray:
    return np.asarray(fft.idctn(values, axes=AXES, norm="ortho", workers=threads))


def _dot(a: FloatArray, b: FloatArray) -> float:
    return float(np.sum(a * b, dtype=np.float64))
