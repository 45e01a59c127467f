"""The phantom's nouns: what is asked for, the patient before any scan, and what is handed out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np

from analysis.errors import BadSettings
from analysis.phantom.body import Part
from analysis.phantom.field import BodyFrame
from analysis.phantom.lesions import Placing, TrueLesion
from analysis.phantom.motion import Motion
from analysis.phantom.traps import Trap
from analysis.values import Body, Labelmap, PetCt, Tracer

FIELD_Z = (-360.0, 684.0)  # mid-thigh to vertex, body frame, mm
TRUNCATED_Z = (-70.0, 400.0)


class Preset(StrEnum):
    """How finely the scans are sampled: COARSE where only the truth counts, SMALL for tests and the demo, FULL as scanners."""

    COARSE = "coarse"
    SMALL = "small"
    FULL = "full"


@dataclass(frozen=True, slots=True, kw_only=True)
class PhantomSettings:
    """What patient to make. None: drawn from the seed.

    lesions: how many besides those of the traps. deformation_mm: the largest displacement that scan two's waves can add
    up to, 0 for a rigid motion alone. still: scan two lies exactly as scan one. arms: "up" or "down".
    """

    seed: int = 1
    lesions: int | None = None
    noise: bool = True
    blur: bool = True
    deformation_mm: float = 12.0
    still: bool = False
    arms: str | None = None
    height_m: float | None = None
    weight_kg: float | None = None
    sex: str | None = None
    preset: Preset = Preset.SMALL
    traps: frozenset[Trap] = frozenset()
    placing: Placing = field(default_factory=Placing)

    def __post_init__(self) -> None:
        if self.arms not in (None, "up", "down"):
            raise BadSettings(f'The phantom\'s arms are "up" or "down", not "{self.arms}".')
        if self.lesions is not None and self.lesions < 0:
            raise BadSettings("The phantom cannot have fewer than no lesions.")
        object.__setattr__(self, "traps", frozenset(Trap(t) for t in self.traps))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DigitalPatient:
    """Both scans and everything that is known about them.

    truth: plain and JSON-able. lesions: on each PET grid, label = the truth's lesion id. organs, ct_organs: regions by
    TotalSegmentator's names on each PET and CT grid. motion: PentixaFor to FDG coordinates, and back.
    """

    settings: PhantomSettings
    fdg: PetCt
    pentixafor: PetCt
    truth: dict[str, Any]
    lesions: Mapping[Tracer, Labelmap]
    organs: Mapping[Tracer, Labelmap]
    ct_organs: Mapping[Tracer, Labelmap]
    motion: Motion

    def study(self, tracer: Tracer) -> PetCt:
        return self.fdg if tracer is Tracer.FDG else self.pentixafor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Patient:
    """The patient before any scan: body, lesions and motion."""

    settings: PhantomSettings
    body: Body
    fat_mm: float
    parts: list[Part]
    frame: BodyFrame
    motion: Motion
    lesions: list[TrueLesion]

    @property
    def swapped(self) -> bool:
        return Trap.SWAPPED_TRACERS in self.settings.traps

    @property
    def truncated(self) -> bool:
        return Trap.TRUNCATED_FIELD in self.settings.traps


def stream(seed: int, name: str) -> np.random.Generator:
    """A stream of chance of its own for each use, so that switching one off leaves the others alone."""
    return np.random.default_rng([seed, *name.encode()])
