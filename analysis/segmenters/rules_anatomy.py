"""Anatomy without weights: CT density, size, place, and what is hot on both tracers.

A first look on a new machine, not a trained model; every object that is made with it says "rules, no weights".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from analysis.grids import inverted, resample
from analysis.segmenters.anatomy_names import URINARY_TRACT
from analysis.segmenters.rules_confidence import confidences
from analysis.segmenters.rules_ct import CtStructures, read_ct
from analysis.segmenters.rules_organs import find_organs, tidy
from analysis.segmenters.rules_scene import look
from analysis.values import AlignedPair, Anatomy, BoolArray, Labelmap, Model, PetCt, Tracer

ANATOMY = Model(name="duet anatomy (rules, no weights)", version="2")
EXCRETION = frozenset({"kidney_left", "kidney_right", "ureter", "urinary_bladder", URINARY_TRACT})
PHYSIOLOGICAL = {Tracer.FDG: EXCRETION | {"brain", "heart", "pharynx"}, Tracer.PENTIXAFOR: EXCRETION | {"pharynx"}}
OUTSIDE = -1e6  # SUV of no patient: marks what a PET does not reach


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleAnatomy:
    """AnatomySegmenter from CT density, position and what is hot on both tracers."""

    def segment_anatomy(self, pair: AlignedPair) -> Mapping[Tracer, Anatomy]:
        """Regions and bone fraction on each study's PET grid."""
        return {tracer: self._one(pair, tracer) for tracer in Tracer}

    def _one(self, pair: AlignedPair, tracer: Tracer) -> Anatomy:
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
            bone=resample(ct.grid, ct.skeleton, study.pet.grid),
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
    return Labelmap(grid=study.pet.grid, labels=resample(ct.grid, labels, study.pet.grid, nearest=True), names=names)
