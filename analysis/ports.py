"""What the pipeline asks of others: segmenters, and somebody to tell how far it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from analysis.values import AlignedPair, Anatomy, BoolArray, FloatArray, Model, PetCt, Tracer


class AnatomySegmenter(Protocol):
    """Finds organs and bones in both studies of an aligned pair."""

    def segment_anatomy(self, pair: AlignedPair) -> Mapping[Tracer, Anatomy]: ...


class LesionSegmenter(Protocol):
    """Finds one tracer's lesions; the mask lies on the PET grid and may still hold physiological uptake's neighbours."""

    @property
    def model(self) -> Model: ...

    def segment_lesions(self, study: PetCt, anatomy: Anatomy) -> BoolArray: ...


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
