"""A pair with 109 lesions on each tracer, as arrays: balls of known place on PETs of clinical size. Used by two benchmarks."""

from __future__ import annotations

import numpy as np

from analysis.values import (
    AlignedPair,
    Anatomy,
    Body,
    Grid,
    Labelmap,
    Model,
    PetCt,
    RegistrationQuality,
    Tracer,
    Transform,
    Unit,
    Volume,
)

COUNT = 109
SHAPE, SPACING = (350, 200, 200), (3.0, 4.07283, 4.07283)
MODEL = Model(name="crowd", version="1", manufacturer="tests")


def _grid() -> Grid:
    affine = np.eye(4)
    affine[:3, :3] = np.fliplr(np.diag(SPACING[::-1]))
    affine[:3, 3] = (-400.0, -400.0, -500.0)
    return Grid(shape=SHAPE, affine=affine)


def _labels(rng: np.random.Generator) -> np.ndarray:
    """COUNT balls of 6 to 16 mm radius that do not touch, in a torso's box of the grid."""
    labels = np.zeros(SHAPE, np.int32)
    number = 0
    while number < COUNT:
        centre = rng.uniform((20, 60, 50), (330, 140, 150))
        radius = rng.uniform(6.0, 16.0)
        reach = np.ceil((radius + 9.0) / np.array(SPACING)).astype(int)
        low = np.floor(centre).astype(int) - reach
        box = tuple(slice(int(a), int(a + 2 * r + 2)) for a, r in zip(low, reach, strict=True))
        index = np.stack(np.meshgrid(*[np.arange(s.start, s.stop) for s in box], indexing="ij"), axis=-1)
        distance = np.linalg.norm((index - centre) * SPACING, axis=-1)
        if (labels[box][distance <= radius + 8.5] > 0).any():
            continue
        number += 1
        labels[box][distance <= radius] = number
    return labels


def crowd() -> tuple[AlignedPair, dict[Tracer, Anatomy], dict[Tracer, np.ndarray]]:
    """The aligned pair, a liver and a spleen, and each tracer's mask of lesions."""
    rng, grid = np.random.default_rng(1), _grid()
    studies, anatomy, masks = {}, {}, {}
    organs = np.zeros(SHAPE, np.int32)
    organs[180:230, 70:110, 60:100], organs[190:215, 90:120, 120:140], organs[100:200, 128:136, 98:102] = 1, 2, 3
    for tracer in Tracer:
        labels = _labels(rng)
        suv = rng.normal(1.5, 0.15, SHAPE)
        hot = rng.uniform(5.0, 15.0, COUNT + 1)[labels] * rng.normal(1.0, 0.1, SHAPE)
        values = np.where(labels > 0, hot, suv).astype(np.float32)
        studies[tracer] = PetCt(
            tracer=tracer,
            pet=Volume(grid=grid, values=values, unit=Unit.SUV),
            ct=Volume(grid=grid, values=np.full(SHAPE, 40, np.float32), unit=Unit.HU),
            body=Body(weight_kg=80.0, height_m=1.8, sex="M"),
            uptake_min=60.0,
        )
        regions = Labelmap(grid=grid, labels=organs.copy(), names={1: "liver", 2: "spleen", 3: "aorta"})
        bone = (rng.random(SHAPE) < 0.3).astype(np.float32)
        anatomy[tracer] = Anatomy(regions=regions, bone=bone, model=MODEL)
        masks[tracer] = labels > 0
    quality = RegistrationQuality(method="rigid", bone_dice=0.9, bone_dice_rigid=0.9, body_dice=0.95, error_mm=3.0)
    pair = AlignedPair(
        fdg=studies[Tracer.FDG],
        pentixafor=studies[Tracer.PENTIXAFOR],
        transform=Transform(rigid=np.eye(4)),
        quality=quality,
    )
    return pair, anatomy, masks
