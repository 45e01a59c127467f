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

from analysis.space import BoolArray as BoolArray
from analysis.space import FloatArray as FloatArray
from analysis.space import Grid as Grid
from analysis.space import LabelArray as LabelArray
from analysis.space import Labelmap as Labelmap
from analysis.space import Unit as Unit
from analysis.space import Volume as Volume
from analysis.space import readonly as readonly
from analysis.space import require as require

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
        require(self.pet.unit is Unit.SUV, f"pet: expected SUV, got {self.pet.unit}")
        require(self.ct.unit is Unit.HU, f"ct: expected HU, got {self.ct.unit}")
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
        require(rigid.shape == (4, 4), f"rigid: expected 4 x 4, got {rigid.shape}")
        require((self.grid is None) == (self.displacement is None), "a displacement needs its grid, and a grid a displacement")
        if self.displacement is not None and self.grid is not None:
            require(self.displacement.shape == (*self.grid.shape, 3), "displacement does not fit its grid")
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
class ErrorMap:
    """What the registration's error is from place to place: mm, float32 (nk, nj, ni), on a coarse grid of the fixed frame."""

    grid: Grid
    mm: FloatArray

    def __post_init__(self) -> None:
        require(self.mm.shape == self.grid.shape, "the errors do not fit their grid")
        require(bool(np.isfinite(self.mm).all() and (self.mm >= 0).all()), "an error is a finite length in mm")
        object.__setattr__(self, "mm", readonly(self.mm.astype(np.float32, copy=False)))

    def at(self, points: FloatArray) -> FloatArray:
        """(n, 3) points of the fixed frame, LPS mm -> (n,) errors in mm; beyond the grid that of its nearest voxel."""
        last = np.array(self.grid.shape) - 1
        index = np.clip(np.round(self.grid.to_index(points)), 0, last).astype(int)
        return np.asarray(self.mm[index[:, 0], index[:, 1], index[:, 2]], dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AlignedPair:
    """Both studies, and the transform from PentixaFor (fixed) to FDG (moving) coordinates with its quality.

    error: the local error of the transform; None where only quality.error_mm is known.
    """

    fdg: PetCt
    pentixafor: PetCt
    transform: Transform
    quality: RegistrationQuality
    error: ErrorMap | None = None

    def error_mm_at(self, points: npt.ArrayLike) -> FloatArray:
        """(n, 3) points of the fixed frame (PentixaFor, LPS mm) -> (n,) the error expected there, in mm.

        Most of the true errors are smaller (docs/METHOD.md 3); without a map it is quality.error_mm everywhere.
        """
        places = np.atleast_2d(np.asarray(points, dtype=np.float64))
        return np.full(len(places), self.quality.error_mm) if self.error is None else self.error.at(places)

    def study(self, tracer: Tracer) -> PetCt:
        return self.fdg if tracer is Tracer.FDG else self.pentixafor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Anatomy:
    """What is where in one study.

    regions: organs and bones on the study's PET grid. bone: float32 on the PET grid, the fraction of each voxel that lies
    in the skeleton (marrow included). model: name and version of what made it, as shown in every object.
    physiological: region names whose uptake is no lesion for this study's tracer. confidence: region name > 0..1, how far it
    is to be trusted, for those of which the segmenter can tell.
    """

    regions: Labelmap
    bone: FloatArray
    model: Model
    physiological: frozenset[str] = frozenset()
    confidence: Mapping[str, float] = field(default_factory=lambda: NOTHING)

    def __post_init__(self) -> None:
        require(all(0.0 <= c <= 1.0 for c in self.confidence.values()), "confidence: expected values between 0 and 1")
        object.__setattr__(self, "confidence", MappingProxyType(dict(self.confidence)))
        require(self.bone.shape == self.regions.grid.shape, "bone does not fit the grid of the regions")
        object.__setattr__(self, "bone", readonly(self.bone.astype(np.float32, copy=False)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """Name, version and maker of an algorithm; weights_sha256 is empty for rules, whose name says "rules, no weights"."""

    name: str
    version: str
    manufacturer: str = "duet"
    weights_sha256: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Border:
    """What a lesion, or a tracer, measures where its border is drawn by another threshold.

    suv: the threshold, NaN where it is undefined (its organ was not found) or differs from lesion to lesion. volume_ml:
    above it, 0 where nothing is, NaN where it is undefined. suv_mean: of that volume, NaN where there is none.
    """

    suv: float
    volume_ml: float
    suv_mean: float

    @property
    def burden_g(self) -> float:
        """TLG or TLC within this border, in g: 0 for no volume, NaN where the threshold is undefined."""
        return self.volume_ml * self.suv_mean if self.volume_ml > 0 else self.volume_ml


def lesion_id(tracer: Tracer, label: int) -> str:
    """A lesion's stable name within a case: "F12" or "P3"."""
    return f"{'F' if tracer is Tracer.FDG else 'P'}{label}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesion:
    """One lesion of one tracer on its native PET grid.

    label: its number in the LesionSet's labelmap, from 1. region: anatomical name. bone_fraction: part of its volume in
    bone, 0..1. volume_ml = voxels x voxel volume. suv_*: g/ml. suv_peak: highest mean of a 1 ml sphere with its centre
    in the lesion. burden_g = volume_ml x suv_mean: TLG (FDG) or TLC (PentixaFor), in g. centroid_mm: LPS, the tracer's
    own patient coordinates. bone_range: lowest and highest bone_fraction where CT and PET lie a little apart, and
    site_certain: whether the site is the same throughout. confidence: 0..1, None where its segmenter gives none (see
    LesionSet). borders: what it measures by each definition of a border.
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
    bone_range: tuple[float, float] | None = None
    site_certain: bool = True
    confidence: float | None = None
    borders: Mapping[str, Border] = field(default_factory=lambda: NOTHING)

    @property
    def burden_g(self) -> float:
        return self.volume_ml * self.suv_mean

    @property
    def id(self) -> str:
        """Stable name within a case: "F12" or "P3"."""
        return lesion_id(self.tracer, self.label)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LesionSet:
    """All lesions of one tracer. labelmap: label n is lesions[n - 1]; model: what segmented them.

    not_run: why nothing looked for lesions, one sentence; then there are none, and nothing may be concluded from that.
    border: the definition that made the lesions, as in `borders`: all lesions together by each definition. references:
    SUV of liver and blood pool that thresholds rest on, by name, NaN where undefined. confidence: what the lesions'
    confidence is, in words; empty where they have none.
    """

    tracer: Tracer
    labelmap: Labelmap
    lesions: tuple[Lesion, ...]
    model: Model
    not_run: str = ""
    border: str = ""
    borders: Mapping[str, Border] = field(default_factory=lambda: NOTHING)
    references: Mapping[str, float] = field(default_factory=lambda: NOTHING)
    confidence: str = ""

    def __post_init__(self) -> None:
        require(not (self.not_run and self.lesions), "lesions of a segmentation that was not run")
        require([x.label for x in self.lesions] == list(range(1, len(self.lesions) + 1)), "lesions are not labelled 1..n")
        require(all(x.tracer is self.tracer for x in self.lesions), "a lesion of another tracer")


@dataclass(frozen=True, slots=True, kw_only=True)
class LesionMatch:
    """One site of disease: the lesions of either tracer that are one place.

    name: "M1", "M2", ... ; fdg, pentixafor: labels in the two LesionSets, one of them may be empty. overlap: the largest
    overlap ratio (by the setting) of any of its lesions with one of the other tracer, also where it is too small to match.
    ratios: the same by each definition; lesion_overlaps: each lesion's own largest, by its id. certain: False where the
    class changes when masks are shifted by the registration's error; overlap_range: lowest and highest overlap under those
    shifts; error_mm: that error at its lesions, None where it was not asked. Where the other tracer's lesions were not
    segmented the concordance is NOT_COMPARABLE, and overlaps are NaN.
    """

    name: str
    fdg: tuple[int, ...]
    pentixafor: tuple[int, ...]
    concordance: Concordance
    overlap: float = 0.0
    ratios: Mapping[str, float] = field(default_factory=lambda: NOTHING)
    lesion_overlaps: Mapping[str, float] = field(default_factory=lambda: NOTHING)
    certain: bool = True
    overlap_range: tuple[float, float] = (0.0, 0.0)
    error_mm: float | None = None

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

    features: bracket name > value, NaN where undefined. readings: the same by other definitions of a setting, name >
    definition > value. software: name > version.
    """

    aligned: AlignedPair
    anatomy: Mapping[Tracer, Anatomy]
    lesions: Mapping[Tracer, LesionSet]
    matches: tuple[LesionMatch, ...]
    features: Mapping[str, float]
    findings: tuple[Finding, ...]
    settings: Mapping[str, Any]
    software: Mapping[str, str]
    readings: Mapping[str, Mapping[str, float]] = field(default_factory=lambda: NOTHING)

    @property
    def not_run(self) -> Mapping[Tracer, str]:
        """The tracers whose lesions were not segmented, each with the sentence why."""
        return {tracer: found.not_run for tracer, found in self.lesions.items() if found.not_run}

    def match_of(self, lesion: Lesion) -> LesionMatch:
        """The site a lesion belongs to; every lesion belongs to exactly one."""
        return next(m for m in self.matches if lesion.label in m.labels(lesion.tracer))

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of all findings."""
        order = [Verdict.OK, Verdict.WARN, Verdict.HOLD]
        return max((f.verdict for f in self.findings), key=order.index, default=Verdict.OK)
