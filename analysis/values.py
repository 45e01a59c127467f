"""Every value that flows through duet, with its shape, frame and unit.

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

NOTHING: Mapping[str, Any] = MappingProxyType({})


class Tracer(StrEnum):
    """The two tracers; the value is the word of results.json."""

    FDG = "FDG"
    PENTIXAFOR = "PentixaFor"

    @property
    def bracket(self) -> str:
        """The tracer's name inside a feature's brackets, as the paper writes it."""
        return "FDG" if self is Tracer.FDG else "CXCR4"

    @property
    def burden(self) -> str:
        """The name of MTV x SUVmean: TLG (total lesion glycolysis) or TLC (total lesion CXCR4 expression)."""
        return "TLG" if self is Tracer.FDG else "TLC"

    @property
    def other(self) -> Tracer:
        return Tracer.PENTIXAFOR if self is Tracer.FDG else Tracer.FDG


class Unit(StrEnum):
    """Unit of a volume's values; the value is the UCUM code."""

    SUV = "g/ml{SUVbw}"
    HU = "[hnsf'U]"


class Site(StrEnum):
    """Medullary: at least the set fraction of the lesion's volume lies in bone."""

    MEDULLARY = "medullary"
    EXTRAMEDULLARY = "extramedullary"


class Concordance(StrEnum):
    """Seen on both tracers, on one, or not to be said because the other scan does not cover the place."""

    CONCORDANT = "concordant"
    DISCORDANT = "discordant"
    NOT_COMPARABLE = "not comparable"


class Verdict(StrEnum):
    """What a finding means for the numbers: fine, look twice, or not to be delivered unseen."""

    OK = "ok"
    WARN = "warn"
    HOLD = "hold"


def readonly(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The array, owned by a value from now on and read-only; copied where it is a view of memory that can still be written."""
    view = isinstance(array.base, np.ndarray) and array.base.flags.writeable
    owned = array.copy() if view else array
    owned.flags.writeable = False
    return owned


def _require(condition: bool, message: str) -> None:
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
        _require(affine.shape == (4, 4), f"affine: expected 4 x 4, got {affine.shape}")
        _require(len(self.shape) == 3 and min(self.shape) > 0, f"shape: expected three positive sizes, got {self.shape}")
        axes = affine[:3, :3]
        _require(bool(np.isfinite(affine).all()) and abs(np.linalg.det(axes)) > 1e-9, "affine: singular or not finite")
        unit = axes / np.linalg.norm(axes, axis=0)
        _require(bool(np.allclose(unit.T @ unit, np.eye(3), atol=1e-3)), "affine: axes are not orthogonal")
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
        _require(self.values.shape == self.grid.shape, f"values {self.values.shape} do not fit the grid {self.grid.shape}")
        _require(bool(np.isfinite(self.values).all()), "values: not finite")
        object.__setattr__(self, "values", readonly(self.values.astype(np.float32, copy=False)))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Labelmap:
    """Non-overlapping regions on a grid. labels: int32 of grid.shape, 0 is background; names: label > name."""

    grid: Grid
    labels: LabelArray
    names: Mapping[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _require(self.labels.shape == self.grid.shape, f"labels {self.labels.shape} do not fit the grid {self.grid.shape}")
        object.__setattr__(self, "labels", readonly(self.labels.astype(np.int32, copy=False)))
        object.__setattr__(self, "names", MappingProxyType(dict(self.names)))

    def mask(self, *names: str) -> BoolArray:
        """Where any of the named regions lies; a name that does not occur adds nothing."""
        wanted = [label for label, name in self.names.items() if name in names]
        return np.isin(self.labels, wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """The patient's measures at one study, in kg and m; height and sex ("M", "F", "O") are None where the header is silent."""

    weight_kg: float
    height_m: float | None = None
    sex: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PetCt:
    """One tracer's PET (SUV) and the CT (HU) of the same session, in the same frame of reference, on native grids.

    uptake_min: minutes from administration to the PET's start; facts: what quality checks and results need of the
    acquisition, by name (for instance "manufacturer", "suv_rule").
    """

    tracer: Tracer
    pet: Volume
    ct: Volume
    body: Body
    uptake_min: float | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _require(self.pet.unit is Unit.SUV, f"pet: expected SUV, got {self.pet.unit}")
        _require(self.ct.unit is Unit.HU, f"ct: expected HU, got {self.ct.unit}")
        object.__setattr__(self, "facts", MappingProxyType(dict(self.facts)))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Transform:
    """Maps points of the fixed frame (PentixaFor) to the moving frame (FDG), both in LPS mm: x -> R x + t + u(x).

    rigid: 4 x 4. displacement: float32 (nk, nj, ni, 3) on `grid` (fixed frame), the u above; None where rigid alone holds.
    Outside the grid u is zero.
    """

    rigid: FloatArray
    grid: Grid | None = None
    displacement: FloatArray | None = None

    def __post_init__(self) -> None:
        rigid = np.array(self.rigid, dtype=np.float64)
        rigid.flags.writeable = False
        object.__setattr__(self, "rigid", rigid)
        _require(rigid.shape == (4, 4), f"rigid: expected 4 x 4, got {rigid.shape}")
        _require((self.grid is None) == (self.displacement is None), "a displacement needs its grid, and a grid a displacement")
        if self.displacement is not None and self.grid is not None:
            _require(self.displacement.shape == (*self.grid.shape, 3), "displacement does not fit its grid")
            object.__setattr__(self, "displacement", readonly(self.displacement.astype(np.float32, copy=False)))

    @property
    def deformable(self) -> bool:
        return self.displacement is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationQuality:
    """How well the two CTs were brought together.

    method: "rigid" or "deformable"; reason: why the rigid result was kept, else ""; Dice of bone and body after alignment;
    folding: fraction of voxels with a Jacobian <= 0; displacement_p95_mm: 95th percentile of the deformable part;
    error_mm: the estimate of the local error that uncertain matches are judged by.
    """

    method: str
    reason: str = ""
    bone_dice: float
    bone_dice_rigid: float
    body_dice: float
    folding: float = 0.0
    displacement_p95_mm: float = 0.0
    error_mm: float
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AlignedPair:
    """Both studies, and the transform from PentixaFor (fixed) to FDG (moving) coordinates with its quality."""

    fdg: PetCt
    pentixafor: PetCt
    transform: Transform
    quality: RegistrationQuality

    def study(self, tracer: Tracer) -> PetCt:
        return self.fdg if tracer is Tracer.FDG else self.pentixafor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Anatomy:
    """What is where in one study.

    regions: organs and bones on the study's PET grid. bone: float32 on the PET grid, the fraction of each voxel that lies
    in the skeleton (marrow included). model: name and version of what made it, as shown in every object.
    physiological: region names whose uptake is no lesion for this study's tracer.
    """

    regions: Labelmap
    bone: FloatArray
    model: Model
    physiological: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        _require(self.bone.shape == self.regions.grid.shape, "bone does not fit the grid of the regions")
        object.__setattr__(self, "bone", readonly(self.bone.astype(np.float32, copy=False)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """Name, version and maker of an algorithm; weights_sha256 is empty for rules, whose name says "rules, no weights"."""

    name: str
    version: str
    manufacturer: str = "duet"
    weights_sha256: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesion:
    """One lesion of one tracer on its native PET grid.

    label: its number in the LesionSet's labelmap, from 1. region: anatomical name. bone_fraction: part of its volume in
    bone, 0..1. volume_ml = voxels x voxel volume. suv_*: g/ml. suv_peak: highest mean of a 1 ml sphere with its centre
    in the lesion. burden_g = volume_ml x suv_mean: TLG (FDG) or TLC (PentixaFor), in g. centroid_mm: LPS, the tracer's
    own patient coordinates.
    """

    label: int
    tracer: Tracer
    region: str
    site: Site
    bone_fraction: float
    voxels: int
    volume_ml: float
    suv_mean: float
    suv_max: float
    suv_peak: float
    centroid_mm: tuple[float, float, float]

    @property
    def burden_g(self) -> float:
        return self.volume_ml * self.suv_mean

    @property
    def id(self) -> str:
        """Stable name within a case: "F12" or "P3"."""
        return f"{'F' if self.tracer is Tracer.FDG else 'P'}{self.label}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LesionSet:
    """All lesions of one tracer. labelmap: label n is lesions[n - 1]; model: what segmented them."""

    tracer: Tracer
    labelmap: Labelmap
    lesions: tuple[Lesion, ...]
    model: Model

    def __post_init__(self) -> None:
        _require([x.label for x in self.lesions] == list(range(1, len(self.lesions) + 1)), "lesions are not labelled 1..n")
        _require(all(x.tracer is self.tracer for x in self.lesions), "a lesion of another tracer")


@dataclass(frozen=True, slots=True, kw_only=True)
class LesionMatch:
    """One site of disease: the lesions of either tracer that are one place.

    name: "M1", "M2", ... ; fdg, pentixafor: labels in the two LesionSets, one of them may be empty. overlap: the largest
    overlap ratio (by the setting) of any of its lesions with one of the other tracer, also where it is too small to match.
    ratios: the same by each definition. certain: False where the class changes when masks are shifted by the registration's
    error; overlap_range: lowest and highest overlap under those shifts.
    """

    name: str
    fdg: tuple[int, ...]
    pentixafor: tuple[int, ...]
    concordance: Concordance
    overlap: float = 0.0
    ratios: Mapping[str, float] = field(default_factory=lambda: NOTHING)
    certain: bool = True
    overlap_range: tuple[float, float] = (0.0, 0.0)

    def labels(self, tracer: Tracer) -> tuple[int, ...]:
        return self.fdg if tracer is Tracer.FDG else self.pentixafor


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One quality check. value and limit as shown to the reader; message: one sentence."""

    name: str
    value: float | str | None
    limit: str
    verdict: Verdict
    message: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PatientAnalysis:
    """Everything known of one pair, with the settings and versions that made it.

    features: bracket name > value, NaN where undefined. software: name > version.
    """

    aligned: AlignedPair
    anatomy: Mapping[Tracer, Anatomy]
    lesions: Mapping[Tracer, LesionSet]
    matches: tuple[LesionMatch, ...]
    features: Mapping[str, float]
    findings: tuple[Finding, ...]
    settings: Mapping[str, Any]
    software: Mapping[str, str]

    def match_of(self, lesion: Lesion) -> LesionMatch:
        """The site a lesion belongs to; every lesion belongs to exactly one."""
        return next(m for m in self.matches if lesion.label in m.labels(lesion.tracer))

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of all findings."""
        order = [Verdict.OK, Verdict.WARN, Verdict.HOLD]
        return max((f.verdict for f in self.findings), key=order.index, default=Verdict.OK)
