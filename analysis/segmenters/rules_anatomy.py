"""Anatomy without weights: CT density, size, place, and what is hot on both tracers.

A first look on a new machine, not a trained model; every object that is made with it says "rules, no weights".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.both import for_both
from analysis.grids import inverted, part, resample
from analysis.segmenters.anatomy_names import URINARY_TRACT
from analysis.segmenters.rules_confidence import confidences
from analysis.segmenters.rules_ct import CtStructures, read_ct
from analysis.segmenters.rules_organs import find_organs, tidy
from analysis.segmenters.rules_scene import look
from analysis.values import AlignedPair, Anatomy, BoolArray, Grid, Labelmap, Model, PetCt, Tracer

ANATOMY = Model(name="duet anatomy (rules, no weights)", version="2")
EXCRETION = frozenset({"kidney_left", "kidney_right", "ureter", "urinary_bladder", URINARY_TRACT})
# Of the gut only what glows as a tube on FDG bears these names.
GUT = frozenset({"esophagus", "small_bowel"})
PHYSIOLOGICAL = {Tracer.FDG: EXCRETION | GUT | {"brain", "heart", "pharynx"}, Tracer.PENTIXAFOR: EXCRETION | {"pharynx"}}
OUTSIDE = -1e6  # SUV of no patient: marks what a PET does not reach


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleAnatomy:
    """AnatomySegmenter from CT density, position and what is hot on both tracers."""

    def segment_anatomy(self, pair: AlignedPair) -> Mapping[Tracer, Anatomy]:
        """Regions and bone fraction on each study's PET grid."""
        return for_both(lambda tracer: self.of_study(pair, tracer))

    def of_study(self, pair: AlignedPair, tracer: Tracer) -> Anatomy:
        """Regions and bone fraction on the PET grid of one study, by its CT and both PETs."""
        study, other = pair.study(tracer), pair.study(tracer.other)
        ct = read_ct(study.ct)
        across = inverted(pair.transform, ct.grid) if tracer is Tracer.FDG else pair.transform
        suv = {
            tracer: resample(study.pet.grid, study.pet.values, ct.grid, outside=OUTSIDE),
            tracer.other: resample(other.pet.grid, other.pet.values, ct.grid, transform=across, outside=OUTSIDE),
        }
        scene = look(ct, {t: np.where(v < -1.0, np.nan, v) for t, v in suv.items()})
        organs = tidy(find_organs(scene))
        return Anatomy(
            regions=regions(study, ct, organs),
            bone=laid_on(ct.grid, ct.skeleton.astype(np.float32), study.pet.grid),
            model=ANATOMY,
            physiological=PHYSIOLOGICAL[tracer],
            confidence=confidences(scene, organs),
        )


def regions(study: PetCt, ct: CtStructures, organs: Mapping[str, BoolArray]) -> Labelmap:
    """Organs and skeleton as one label map on the PET grid; bone goes before organs."""
    names = dict(enumerate([*organs, "skeleton"], start=1))
    labels = np.zeros(ct.grid.shape, dtype=np.int32)
    for n, name in names.items():
        labels[ct.skeleton if name == "skeleton" else organs[name]] = n
    return Labelmap(grid=study.pet.grid, labels=laid_on(ct.grid, labels, study.pet.grid, nearest=True), names=names)


def laid_on(grid: Grid, values: npt.NDArray[Any], pet: Grid, *, nearest: bool = False) -> npt.NDArray[Any]:
    """As `resample` to a PET's grid, whose air beyond the values' own grid is not asked."""
    corners = pet.to_index(grid.to_world(np.array(list(product(*[(-1, n) for n in grid.shape])))))
    low, high = np.floor(corners.min(axis=0)).astype(int), np.ceil(corners.max(axis=0)).astype(int) + 1
    k, j, i = (slice(min(max(0, a), n - 1), max(min(b, n), 1)) for a, b, n in zip(low, high, pet.shape, strict=True))
    out = np.zeros(pet.shape, dtype=values.dtype)
    out[k, j, i] = resample(grid, values, part(pet, (k, j, i)), nearest=nearest)
    return out
