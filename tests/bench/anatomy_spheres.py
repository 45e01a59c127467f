"""Spheres put into the PETs of scans whose anatomy is known: how many does the rules' idea of physiological uptake swallow?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from anatomy_subjects import BONES, Subject
from scipy import ndimage

from analysis.segmenters.morphology import dilate, erode
from analysis.segmenters.rules import RuleLesions
from analysis.segmenters.rules_anatomy import RuleAnatomy
from analysis.values import AlignedPair, BoolArray, PetCt, Tracer, Unit, Volume

Box = tuple[slice, ...]
BESIDE_MM = 14.0
APART_MM = 45.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sphere:
    """One hot sphere. place: what it lies in or beside."""

    place: str
    centre: tuple[float, float, float]
    radius_mm: float
    suv: float


def places(subject: Subject) -> Mapping[str, BoolArray]:
    """Where centres may lie, by name of the place."""
    grid = subject.grid
    bone = subject.mask(*BONES)
    near = {name: dilate(grid, subject.mask(name), BESIDE_MM) for name in ("kidney", "urinary_bladder")}
    muscle = erode(grid, subject.mask("muscle"), 9.0)
    return {
        "vertebra": subject.mask("vertebrae"),
        "sacrum": subject.mask("sacrum"),
        "hip": erode(grid, subject.mask("hip"), 4.0),
        "rib": subject.mask("rib"),
        "femur": erode(grid, subject.mask("femur"), 4.0),
        "skull": subject.mask("skull"),
        "bone beside kidney": bone & near["kidney"],
        "bone beside bladder": bone & dilate(grid, subject.mask("urinary_bladder"), 30.0),
        "muscle": muscle,
        "liver": erode(grid, subject.mask("liver"), 12.0),
        "spleen": erode(grid, subject.mask("spleen"), 9.0),
        "lung": erode(grid, subject.mask("lung"), 12.0),
        "beside bladder": near["urinary_bladder"] & ~dilate(grid, subject.mask("urinary_bladder"), 10.0) & ~bone,
    }


def drawn(subject: Subject, seed: int, each: int) -> list[Sphere]:
    """Up to `each` spheres a place, far enough from each other; SUV 6 to 20, above liver and spleen, radius 6 to 12 mm."""
    rng = np.random.default_rng(seed)
    out: list[Sphere] = []
    for place, mask in places(subject).items():
        index = np.argwhere(mask)
        for _ in range(each if len(index) else 0):
            for _ in range(30):
                centre = subject.grid.to_world(index[rng.integers(len(index))])
                if all(np.linalg.norm(centre - other.centre) > APART_MM for other in out):
                    at = (float(centre[0]), float(centre[1]), float(centre[2]))
                    out.append(Sphere(place=place, centre=at, radius_mm=rng.uniform(6, 12), suv=rng.uniform(7, 20)))
                    break
    return out


def with_spheres(study: PetCt, spheres: list[Sphere]) -> tuple[PetCt, list[tuple[Box, BoolArray]]]:
    """The study with spheres in its PET, blurred by 6 mm as the PET is, and where each core is."""
    grid = study.pet.grid
    suv = study.pet.values.copy()
    where = []
    for sphere in spheres:
        reach = [int((sphere.radius_mm + 12.0) / s) + 1 for s in grid.spacing]
        middle = np.rint(grid.to_index(sphere.centre)).astype(int)
        box = tuple(slice(max(0, m - r), m + r + 1) for m, r in zip(middle, reach, strict=True))
        here = tuple(np.arange(b.start, min(b.stop, n)) for b, n in zip(box, grid.shape, strict=True))
        points = np.stack(np.meshgrid(*here, indexing="ij"), axis=-1)
        ball = (np.linalg.norm(grid.to_world(points) - sphere.centre, axis=-1) <= sphere.radius_mm).astype(np.float32)
        ball = ndimage.gaussian_filter(ball, [6.0 / 2.3548 / s for s in grid.spacing])
        suv[box] = suv[box] * (1 - ball) + sphere.suv * ball
        where.append((box, ball > 0.6 * ball.max()))
    pet = Volume(grid=grid, values=suv.astype(np.float32), unit=Unit.SUV)
    return PetCt(tracer=study.tracer, pet=pet, ct=study.ct, body=study.body), where


def swallowed(subject: Subject, seed: int = 1, each: int = 2) -> Iterator[tuple[Tracer, Sphere, float]]:
    """Of each sphere on each tracer the part of its core that is found; spheres lie in both PETs at one place."""
    pair = subject.pair()
    spheres = drawn(subject, seed, each)
    fdg, there = with_spheres(pair.fdg, spheres)
    pentixafor, _ = with_spheres(pair.pentixafor, spheres)
    hot = AlignedPair(fdg=fdg, pentixafor=pentixafor, transform=pair.transform, quality=pair.quality)
    anatomy = RuleAnatomy().segment_anatomy(hot)
    for tracer in Tracer:
        mask = RuleLesions().segment_lesions(hot.study(tracer), anatomy[tracer]).mask
        for sphere, (box, core) in zip(spheres, there, strict=True):
            yield tracer, sphere, float(mask[box][core].mean())
