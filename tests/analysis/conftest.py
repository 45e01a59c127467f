"""Factories of small exact inputs: spheres on grids, studies of one tracer, aligned pairs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from analysis.grids import centres
from analysis.values import (
    AlignedPair,
    Anatomy,
    Body,
    BoolArray,
    FloatArray,
    Grid,
    Labelmap,
    Lesion,
    LesionSet,
    Model,
    PetCt,
    RegistrationQuality,
    Site,
    Tracer,
    Transform,
    Unit,
    Volume,
)

NOBODY = Model(name="made for a test (rules, no weights)", version="1")


def make_grid(
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float] = (3.0, 3.0, 3.0),
    origin: Sequence[float] = (0.0, 0.0, 0.0),
) -> Grid:
    """An upright grid: k to the head, j to the back, i to the left; spacing along (k, j, i), origin (x, y, z)."""
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2] = spacing
    affine[:, 3] = (*origin, 1.0)
    return Grid(shape=shape, affine=affine)


def sphere(grid: Grid, centre: Sequence[float], radius: float) -> BoolArray:
    """The voxels whose centres lie within radius mm of centre (x, y, z)."""
    return np.asarray(np.linalg.norm(centres(grid) - np.asarray(centre), axis=-1) <= radius)


def make_study(tracer: Tracer, grid: Grid, suv: FloatArray | float = 0.5, **more: Any) -> PetCt:
    """A study whose CT is water everywhere, on the PET grid."""
    values = np.full(grid.shape, suv, dtype=np.float32) if np.isscalar(suv) else np.asarray(suv, dtype=np.float32)
    return PetCt(
        tracer=tracer,
        pet=Volume(grid=grid, values=values, unit=Unit.SUV),
        ct=Volume(grid=grid, values=np.zeros(grid.shape, dtype=np.float32), unit=Unit.HU),
        **{"body": Body(weight_kg=70.0, height_m=1.75), **more},
    )


def make_anatomy(
    grid: Grid,
    regions: Mapping[str, BoolArray] | None = None,
    bone: FloatArray | None = None,
    physiological: frozenset[str] = frozenset(),
) -> Anatomy:
    labels = np.zeros(grid.shape, dtype=np.int32)
    names = dict(enumerate(regions or {}, start=1))
    for label, name in names.items():
        labels[(regions or {})[name]] = label
    return Anatomy(
        regions=Labelmap(grid=grid, labels=labels, names=names),
        bone=np.zeros(grid.shape, dtype=np.float32) if bone is None else bone,
        model=NOBODY,
        physiological=physiological,
    )


def make_pair(fdg: PetCt, pentixafor: PetCt, transform: Transform | None = None, **quality: Any) -> AlignedPair:
    perfect = {"method": "rigid", "bone_dice": 0.9, "bone_dice_rigid": 0.9, "body_dice": 0.97, "error_mm": 0.0}
    return AlignedPair(
        fdg=fdg,
        pentixafor=pentixafor,
        transform=transform or Transform(rigid=np.eye(4)),
        quality=RegistrationQuality(**{**perfect, **quality}),
    )


def make_lesion(label: int, tracer: Tracer, **more: Any) -> Lesion:
    """A lesion of 1 ml and SUV 5 at the origin, unless told otherwise."""
    plain: dict[str, Any] = {"region": "soft tissue", "site": Site.EXTRAMEDULLARY, "bone_fraction": 0.0, "voxels": 37}
    plain |= {"volume_ml": 1.0, "suv_mean": 5.0, "suv_max": 8.0, "suv_peak": 6.0, "centroid_mm": (0.0, 0.0, 0.0)}
    return Lesion(label=label, tracer=tracer, **{**plain, **more})


def make_lesions(tracer: Tracer, grid: Grid, masks: Sequence[BoolArray] = (), **more: Any) -> LesionSet:
    """A LesionSet of the given masks with their true volume and centroid."""
    labels = np.zeros(grid.shape, dtype=np.int32)
    lesions = []
    for n, mask in enumerate(masks, start=1):
        labels[mask] = n
        centroid = tuple(float(x) for x in grid.to_world(np.argwhere(mask)).mean(axis=0))
        here = {"voxels": int(mask.sum()), "volume_ml": float(mask.sum()) * grid.voxel_ml, "centroid_mm": centroid}
        lesions.append(make_lesion(n, tracer, **{**here, **more}))
    return LesionSet(tracer=tracer, labelmap=Labelmap(grid=grid, labels=labels), lesions=tuple(lesions), model=NOBODY)


@dataclass(frozen=True)
class Makers:
    """The factories, by name."""

    grid: Callable[..., Grid] = make_grid
    sphere: Callable[..., BoolArray] = sphere
    study: Callable[..., PetCt] = make_study
    anatomy: Callable[..., Anatomy] = make_anatomy
    pair: Callable[..., AlignedPair] = make_pair
    lesion: Callable[..., Lesion] = make_lesion
    lesions: Callable[..., LesionSet] = make_lesions


@pytest.fixture(scope="session")
def make() -> Makers:
    return Makers()
