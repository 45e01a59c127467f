"""Anatomy by TotalSegmentator's task `total`: organs, and bones by vertebra and rib.

What it finds on CT is kept on disk; what it does not know comes from the rules (anatomy_merge).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from analysis.grids import crop_to, part
from analysis.ports import AnatomySegmenter
from analysis.segmenters.anatomy_cache import AnatomyCache, cache_key
from analysis.segmenters.anatomy_merge import CtLabels, merge
from analysis.segmenters.model_settings import ModelSettings
from analysis.segmenters.rules_anatomy import ANATOMY, RuleAnatomy
from analysis.segmenters.rules_ct import find_body, working_copy
from analysis.segmenters.totalsegmentator_process import Run, whole_hu
from analysis.segmenters.totalsegmentator_settings import TotalSegmentatorSettings
from analysis.segmenters.totalsegmentator_weights import TASK, Weights, verified_weights
from analysis.values import AlignedPair, Anatomy, Grid, LabelArray, Model, PetCt, Tracer, Volume

MARGIN_MM = 20.0  # of CT around the body and the PET's field of view, for a network judges by what is beside
log = logging.getLogger("duet.segmenters")
STANDARD = TotalSegmentatorSettings()
RULES = RuleAnatomy()


@dataclass(frozen=True, slots=True, kw_only=True)
class TotalSegmentatorAnatomy:
    """AnatomySegmenter by TotalSegmentator. cache: folder in which label maps are kept; None keeps none."""

    models: ModelSettings
    settings: TotalSegmentatorSettings = STANDARD
    cache: Path | None = None
    rules: AnatomySegmenter = RULES

    def segment_anatomy(self, pair: AlignedPair) -> Mapping[Tracer, Anatomy]:
        """Regions and bone fraction on each study's PET grid.

        Raises ModelUnavailable (weights missing or not allowed), UnusableImage, TotalSegmentatorFailed.
        """
        weights = verified_weights(self.models, self.settings)
        with ThreadPoolExecutor(1) as beside_it:
            rules = beside_it.submit(self.rules.segment_anatomy, pair)
            found = self._label([pair.study(tracer) for tracer in Tracer], weights)
            beside = rules.result()
        model = self._model(weights)
        return {tracer: merge(found[tracer], beside[tracer], tracer, model) for tracer in Tracer}

    def _model(self, weights: Weights) -> Model:
        return Model(
            name=f"TotalSegmentator {TASK} {self.settings.resolution_mm:g} mm",
            version=f"{weights.package}, duet rules {ANATOMY.version}",
            manufacturer="University Hospital Basel",
            weights_sha256=weights.sha256,
        )

    def _label(self, studies: list[PetCt], weights: Weights) -> dict[Tracer, CtLabels]:
        """The labels of all studies' CTs: those that are kept, and the others in one run."""
        images = {study.tracer: relevant(study) for study in studies}
        keys = {study.tracer: self._key(study, images[study.tracer], weights) for study in studies}
        kept = self._cache()
        found = {key: kept.get(key, images[t].grid.shape) if kept else None for t, key in keys.items()}
        missing = {keys[t]: image for t, image in images.items() if found[keys[t]] is None}
        if missing:
            run = Run(weights=weights, models=self.models, settings=self.settings)
            arrays, names = run.label(list(missing.values()))
            for key, labels in zip(missing, arrays, strict=True):
                found[key] = labels, names
                if kept:
                    keep(kept, key, labels, names)
        return {
            tracer: CtLabels(grid=images[tracer].grid, labels=each[0], names=each[1])
            for tracer, key in keys.items()
            if (each := found[key]) is not None
        }

    def _cache(self) -> AnatomyCache | None:
        wanted = self.cache is not None and self.settings.cache_mb > 0
        return AnatomyCache(folder=self.cache, most_mb=self.settings.cache_mb) if wanted and self.cache else None

    def _key(self, study: PetCt, image: Volume, weights: Weights) -> str:
        facts = {
            "ct": study.facts.get("ct_series_instance_uid"),
            "task": TASK,
            "variant": self.settings.variant,
            "parts": self.settings.parts,
            "package": weights.package,
            "weights": weights.sha256,
        }
        return cache_key(image, whole_hu(image.values), facts)


def keep(cache: AnatomyCache, key: str, labels: LabelArray, names: Mapping[int, str]) -> None:
    """Keeps a label map; a case does not fail because that cannot be."""
    try:
        cache.put(key, labels, names)
    except OSError as error:
        log.warning("A label map could not be kept in %s: %s", cache.folder, error)


def relevant(study: PetCt) -> Volume:
    """The part of the CT that holds the body and that the PET covers, with a margin. Raises UnusableImage without a body."""
    ct = study.ct
    grid, hu = working_copy(ct)
    body = find_body(grid, hu)
    low, high = index_range(part(grid, crop_to(grid, body)), ct.grid)
    first, last = index_range(study.pet.grid, ct.grid)
    margin = MARGIN_MM / np.array(ct.grid.spacing)
    begin = np.clip(np.floor(np.maximum(low, first) - margin), 0, None).astype(int)
    end = np.minimum(np.ceil(np.minimum(high, last) + margin) + 1, ct.grid.shape).astype(int)
    if (begin >= end).any():
        return ct
    box = (slice(begin[0], end[0]), slice(begin[1], end[1]), slice(begin[2], end[2]))
    return Volume(grid=part(ct.grid, box), values=ct.values[box], unit=ct.unit)


def index_range(of: Grid, within: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest index (k, j, i) that the box of one grid reaches in another."""
    corners = of.to_world(np.array(list(product(*[(-0.5, n - 0.5) for n in of.shape]))))
    index = within.to_index(corners)
    return index.min(axis=0), index.max(axis=0)
