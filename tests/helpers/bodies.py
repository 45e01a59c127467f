"""A body of exact shape for quality checks: an elliptic cylinder with spheres for organs, in air, on CT and PET."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from analysis.grids import centres
from analysis.patient.quality_body import SeenBody
from analysis.patient.quality_case import QualityCase
from analysis.values import (
    AlignedPair,
    Anatomy,
    Body,
    BoolArray,
    Grid,
    Labelmap,
    LesionSet,
    Model,
    PetCt,
    RegistrationQuality,
    Tracer,
    Transform,
    Unit,
    Volume,
)

NOBODY = Model(name="made for a test (rules, no weights)", version="1")
SPACING = 6.0
SHAPE = (72, 52, 72)
MIDDLE = (213.0, 153.0)
RADII = (150.0, 100.0)
CENTRES = {"liver": (150.0, 150.0, 140.0), "spleen": (300.0, 150.0, 140.0), "brain": (213.0, 150.0, 330.0)}
REACH = {"liver": 65.0, "spleen": 40.0, "brain": 65.0}
# SUV of FDG and PentixaFor (docs/METHOD.md 6).
UPTAKE = {"liver": (1.9, 1.7), "spleen": (1.7, 6.0), "brain": (7.0, 0.25)}
BACKGROUND = 0.8
HEADER = {
    "dose_bq": {Tracer.FDG: 250e6, Tracer.PENTIXAFOR: 140e6},
    "half_life_s": {Tracer.FDG: 6588.0, Tracer.PENTIXAFOR: 4062.6},
}


def grid_of(shape: tuple[int, int, int] = SHAPE, spacing: float = SPACING, origin: Sequence[float] = (0, 0, 0)) -> Grid:
    affine = np.zeros((4, 4))
    affine[2, 0] = affine[1, 1] = affine[0, 2] = spacing
    affine[:, 3] = (*origin, 1.0)
    return Grid(shape=shape, affine=affine)


def cylinder(grid: Grid, middle: Sequence[float] = MIDDLE, radii: Sequence[float] = RADII) -> BoolArray:
    """Voxels whose centres lie in the elliptic cylinder along z."""
    at = centres(grid)
    return np.asarray(((at[..., 0] - middle[0]) / radii[0]) ** 2 + ((at[..., 1] - middle[1]) / radii[1]) ** 2 <= 1.0)


def ball(grid: Grid, centre: Sequence[float], radius: float) -> BoolArray:
    return np.asarray(np.linalg.norm(centres(grid) - np.asarray(centre), axis=-1) <= radius)


def body_ct(grid: Grid, **where: Any) -> Volume:
    """Water in air."""
    values = np.where(cylinder(grid, **where), 0.0, -1000.0)
    return Volume(grid=grid, values=values.astype(np.float32), unit=Unit.HU)


def body_pet(grid: Grid, shown: Tracer, scale: float = 1.0, **where: Any) -> Volume:
    suv = np.where(cylinder(grid, **where), BACKGROUND, 0.0)
    for organ, centre in CENTRES.items():
        suv[ball(grid, centre, REACH[organ])] = UPTAKE[organ][list(Tracer).index(shown)]
    return Volume(grid=grid, values=(scale * suv).astype(np.float32), unit=Unit.SUV)


def body_study(tracer: Tracer, *, shown: Tracer | None = None, scale: float = 1.0, **more: Any) -> PetCt:
    """A study without a fault; more: fields of PetCt that replace its own."""
    grid = grid_of()
    usual: dict[str, Any] = {
        "pet": body_pet(grid, shown or tracer, scale),
        "ct": body_ct(grid),
        "body": Body(weight_kg=70.0, height_m=1.75),
        "uptake_min": 60.0,
    }
    return PetCt(tracer=tracer, **{**usual, **more})


def header_facts(tracer: Tracer, **changed: Any) -> dict[str, Any]:
    """What dicom_io tells of a study of a usual header."""
    return {
        **{key: value[tracer] for key, value in HEADER.items()},
        "manufacturer": "GE",
        "model": "Discovery",
        "reconstruction": "OSEM",
        "study_started": "2026-03-10T09:30:00",
        "pet_started": "2026-03-10T10:05:00",
        "ct_started": "2026-03-10T10:00:00",
        "pet_slice_irregularity_mm": 0.05,
        "suv_rule": "decay corrected to start: SeriesTime",
        "suv_warnings": (),
        "remarks": ("F-18 by its half-life.",),
        **changed,
    }


def body_anatomy(grid: Grid, organs: Collection[str] = tuple(CENTRES), reach: float = 0.0) -> Anatomy:
    """reach: another radius of every organ, mm."""
    labels = np.zeros(grid.shape, dtype=np.int32)
    names = dict(enumerate(organs, start=1))
    for label, name in names.items():
        labels[ball(grid, CENTRES[name], reach or REACH[name])] = label
    bone = np.zeros(grid.shape, dtype=np.float32)
    return Anatomy(regions=Labelmap(grid=grid, labels=labels, names=names), bone=bone, model=NOBODY)


def body_pair(fdg: PetCt, pentixafor: PetCt, **quality: Any) -> AlignedPair:
    perfect = {"method": "rigid", "bone_dice": 0.9, "bone_dice_rigid": 0.9, "body_dice": 0.97, "error_mm": 0.0}
    return AlignedPair(
        fdg=fdg,
        pentixafor=pentixafor,
        transform=Transform(rigid=np.eye(4)),
        quality=RegistrationQuality(**{**perfect, **quality}),
    )


def body_case(fdg: PetCt | None = None, pentixafor: PetCt | None = None, **changed: Any) -> QualityCase:
    """What the checks are given, with numbers that are all as expected; changed: other fields."""
    small = grid_of((2, 2, 2))
    studies = {Tracer.FDG: fdg or bare_study(Tracer.FDG), Tracer.PENTIXAFOR: pentixafor or bare_study(Tracer.PENTIXAFOR)}
    nothing = Labelmap(grid=small, labels=np.zeros(small.shape, dtype=np.int32))
    usual: dict[str, Any] = {
        "pair": body_pair(studies[Tracer.FDG], studies[Tracer.PENTIXAFOR]),
        "anatomy": {t: Anatomy(regions=nothing, bone=np.zeros(small.shape, np.float32), model=NOBODY) for t in Tracer},
        "lesions": {t: LesionSet(tracer=t, labelmap=nothing, lesions=(), model=NOBODY) for t in Tracer},
        "matches": (),
        "liver": {Tracer.FDG: 1.9, Tracer.PENTIXAFOR: 1.7},
        "spleen": {Tracer.FDG: 1.7, Tracer.PENTIXAFOR: 6.0},
        "brain": {Tracer.FDG: 7.0, Tracer.PENTIXAFOR: 0.25},
        "noise": dict.fromkeys(Tracer, 0.09),
        "body": dict.fromkeys(Tracer, seen()),
    }
    return QualityCase(**{**usual, **changed})


def bare_study(tracer: Tracer, **more: Any) -> PetCt:
    """A study of eight voxels with a usual header, for checks that do not look at its images."""
    grid = grid_of((2, 2, 2), 5.0)
    usual: dict[str, Any] = {
        "pet": Volume(grid=grid, values=np.ones(grid.shape, np.float32), unit=Unit.SUV),
        "ct": Volume(grid=grid, values=np.zeros(grid.shape, np.float32), unit=Unit.HU),
        "body": Body(weight_kg=70.0, height_m=1.75),
        "uptake_min": 60.0,
        "facts": header_facts(tracer),
    }
    return PetCt(tracer=tracer, **{**usual, **more})


def seen(**changed: float) -> SeenBody:
    """A body of which three quarters lie in the field, with nearly all of the activity."""
    usual = {"weight_kg": 70.0, "mass_kg": 52.5, "activity_kg": 50.0, "covered": 1.0, "axial": 1.0}
    return SeenBody(**{**usual, "outline_dice": 0.97, "truncation": 0.0, **changed})
