"""Where things lie: grids in patient coordinates, values and regions on them. Floor of `values`, which hands these names on.

Arrays are read-only and indexed [k, j, i]. Positions are DICOM patient coordinates (LPS: x to the left, y to the back,
z to the head) in millimetres. A value that exists is valid: construction checks the invariants.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating[Any]]
BoolArray = npt.NDArray[np.bool_]
LabelArray = npt.NDArray[np.integer[Any]]


class Unit(StrEnum):
    """Unit of a volume's values; the value is the UCUM code."""

    SUV = "g/ml{SUVbw}"
    HU = "[hnsf'U]"


def readonly(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The array, owned by a value from now on and read-only; copied where it is a view of memory that can still be written."""
    view = isinstance(array.base, np.ndarray) and array.base.flags.writeable
    owned = array.copy() if view else array
    owned.flags.writeable = False
    return owned


def require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Grid:
    """A regular grid of voxel centres.

    shape: (nk, nj, ni). affine: 4 x 4 float64, maps (k, j, i, 1) to (x, y, z, 1) in LPS mm; its axes are orthogonal.
    """

    shape: tuple[int, int, int]
    affine: FloatArray

    def __post_init__(self) -> None:
        affine = np.array(self.affine, dtype=np.float64)
        require(affine.shape == (4, 4), f"affine: expected 4 x 4, got {affine.shape}")
        require(len(self.shape) == 3 and min(self.shape) > 0, f"shape: expected three positive sizes, got {self.shape}")
        axes = affine[:3, :3]
        require(bool(np.isfinite(affine).all()) and abs(np.linalg.det(axes)) > 1e-9, "affine: singular or not finite")
        unit = axes / np.linalg.norm(axes, axis=0)
        require(bool(np.allclose(unit.T @ unit, np.eye(3), atol=1e-3)), "affine: axes are not orthogonal")
        affine.flags.writeable = False
        object.__setattr__(self, "affine", affine)
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance of neighbouring voxels in mm along (k, j, i)."""
        k, j, i = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(k), float(j), float(i)

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in ml."""
        return float(abs(np.linalg.det(self.affine[:3, :3])) / 1000.0)

    def to_world(self, index: npt.ArrayLike) -> FloatArray:
        """(..., 3) indices (k, j, i), fractional allowed -> (..., 3) positions in LPS mm."""
        return np.asarray(index, dtype=np.float64) @ self.affine[:3, :3].T + self.affine[:3, 3]

    def to_index(self, world: npt.ArrayLike) -> FloatArray:
        """(..., 3) positions in LPS mm -> (..., 3) fractional indices (k, j, i)."""
        inverse = np.linalg.inv(self.affine[:3, :3])
        return (np.asarray(world, dtype=np.float64) - self.affine[:3, 3]) @ inverse.T

    def contains(self, world: npt.ArrayLike) -> BoolArray:
        """(..., 3) positions in LPS mm -> (...) whether each lies in some voxel of the grid."""
        index = self.to_index(world)
        return np.asarray(np.all((index >= -0.5) & (index <= np.array(self.shape) - 0.5), axis=-1))

    def same_as(self, other: Grid) -> bool:
        """Whether both have the same voxels (0.1 micrometre)."""
        return self.shape == other.shape and bool(np.allclose(self.affine, other.affine, atol=1e-4))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Volume:
    """Values of one kind on a grid. values: float32 of grid.shape in `unit`."""

    grid: Grid
    values: FloatArray
    unit: Unit

    def __post_init__(self) -> None:
        require(self.values.shape == self.grid.shape, f"values {self.values.shape} do not fit the grid {self.grid.shape}")
        require(bool(np.isfinite(self.values).all()), "values: not finite")
        object.__setattr__(self, "values", readonly(self.values.astype(np.float32, copy=False)))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Labelmap:
    """Non-overlapping regions on a grid. labels: int32 of grid.shape, 0 is background; names: label > name."""

    grid: Grid
    labels: LabelArray
    names: Mapping[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require(self.labels.shape == self.grid.shape, f"labels {self.labels.shape} do not fit the grid {self.grid.shape}")
        object.__setattr__(self, "labels", readonly(self.labels.astype(np.int32, copy=False)))
        object.__setattr__(self, "names", MappingProxyType(dict(self.names)))

    def mask(self, *names: str) -> BoolArray:
        """Where any of the named regions lies; a name that does not occur adds nothing."""
        wanted = [label for label, name in self.names.items() if name in names]
        if len(wanted) > 8:
            return np.isin(self.labels, wanted)
        found = self.labels == wanted[0] if wanted else np.zeros(self.grid.shape, dtype=bool)
        for label in wanted[1:]:
            found |= self.labels == label
        return np.asarray(found)
