"""A lesion and a kidney of known uptake, and a network that knows the answer: for the tests of what is fused from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from bodies import ball, grid_of

from analysis.values import Anatomy, Body, FloatArray, Labelmap, Model, PetCt, Tracer, Unit, Volume

GRID = grid_of((30, 40, 40), 4.0)
CORE, LESION = ball(GRID, (40, 80, 60), 8.0), ball(GRID, (40, 80, 60), 16.0)
KIDNEY = ball(GRID, (110, 80, 60), 16.0)
MODEL = Model(name="net", version="3", manufacturer="somebody", weights_sha256="ab" * 32)


@dataclass(frozen=True)
class Sure:
    """A LesionNetwork of a given answer."""

    probability: FloatArray
    model: Model = MODEL

    def lesion_probability(self, study: PetCt) -> FloatArray:  # noqa: ARG002
        return self.probability


def study(suv: np.ndarray, tracer: Tracer = Tracer.FDG) -> PetCt:
    pet = Volume(grid=GRID, values=suv.astype(np.float32), unit=Unit.SUV)
    ct = Volume(grid=GRID, values=np.zeros(GRID.shape, np.float32), unit=Unit.HU)
    return PetCt(tracer=tracer, pet=pet, ct=ct, body=Body(weight_kg=70.0))


def anatomy(organs: Mapping[str, np.ndarray], physiological: frozenset[str] = frozenset({"kidney_left"})) -> Anatomy:
    labels = np.zeros(GRID.shape, np.int32)
    names = dict(enumerate(organs, start=1))
    for label, name in names.items():
        labels[organs[name]] = label
    return Anatomy(
        regions=Labelmap(grid=GRID, labels=labels, names=names),
        bone=np.zeros(GRID.shape, np.float32),
        model=Model(name="by hand", version="1"),
        physiological=physiological,
    )


SUV = np.where(CORE, 10.0, np.where(LESION, 3.0, np.where(KIDNEY, 9.0, 0.5)))
WITH_KIDNEY = anatomy({"kidney_left": KIDNEY})
