"""What the pipeline asks of others: segmenters, and somebody to tell how far it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from analysis.values import AlignedPair, Anatomy, BoolArray, FloatArray, LabelArray, Model, PetCt, Tracer, require


class AnatomySegmenter(Protocol):
    """Finds organs and bones in both studies of an aligned pair."""

    def segment_anatomy(self, pair: AlignedPair) -> Mapping[Tracer, Anatomy]: ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LesionMap:
    """Where a segmenter sees lesions of one tracer, on the PET grid.

    model: what found them. mask: their voxels. regions: the hills of uptake, or parts of a network's mask, in which a
    lesion's border could also lie elsewhere, numbered from 1; None where no other border is to be tried. limits: definition
    of a border > (n + 1,) the SUV by region number that its voxels exceed, at 0 that of all regions; NaN where undefined.
    border: the definition that made the mask. references: what the limits rest on, SUV by name. probability: 0..1 for each
    voxel, None where the segmenter gives none. confidence: what a lesion's confidence is, in words.
    """

    model: Model
    mask: BoolArray
    regions: LabelArray | None = None
    limits: Mapping[str, FloatArray] = field(default_factory=dict)
    border: str = ""
    references: Mapping[str, float] = field(default_factory=dict)
    probability: FloatArray | None = None
    confidence: str = ""

    def __post_init__(self) -> None:
        for name, array in (("regions", self.regions), ("probability", self.probability)):
            require(array is None or array.shape == self.mask.shape, f"{name} do not fit the lesion mask {self.mask.shape}")


@dataclass(frozen=True, slots=True, kw_only=True)
class NotRun:
    """No LesionMap: what should have looked for the tracer's lesions, and why it did not, in one sentence."""

    model: Model
    why: str


class LesionSegmenter(Protocol):
    """Finds one tracer's lesions; the mask may still hold physiological uptake's neighbours.

    Raises ModelUnavailable where it cannot look: the tracer's lesions are then "not run", which is no empty result.
    """

    @property
    def model(self) -> Model: ...

    def segment_lesions(self, study: PetCt, anatomy: Anatomy) -> LesionMap: ...


class LesionNetwork(Protocol):
    """A trained network for the lesions of one tracer."""

    @property
    def model(self) -> Model: ...

    def lesion_probability(self, study: PetCt) -> FloatArray:
        """float32 on the PET grid, 0..1: how sure the network is that the voxel lies in a lesion."""
        ...


class Progress(Protocol):
    """Told what begins: a sentence for a person, and the part done so far, 0..1."""

    def __call__(self, message: str, fraction: float) -> None: ...


def silent(message: str, fraction: float) -> None:
    """A Progress that says nothing."""
