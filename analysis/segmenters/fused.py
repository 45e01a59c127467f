"""Network and rules together: the network says where, a threshold where the border lies, anatomy what is no lesion."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from scipy import ndimage

from analysis.grids import crop_to
from analysis.patient.measures import MeasurementSettings
from analysis.ports import LesionMap, LesionNetwork
from analysis.segmenters.rules import basins, hills, organ_limits, physiological_hills
from analysis.segmenters.segmentation_settings import SegmentationSettings
from analysis.segmenters.thresholds import absolute, defined, limits, references
from analysis.values import Anatomy, FloatArray, LabelArray, Model, PetCt

PROBABILITY = "mean probability of the network in the lesion"


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkLesions:
    """LesionSegmenter by a trained network.

    Its mask is where the probability exceeds min_probability; the threshold of the settings cuts it. rules: what has its
    top, or its greater half, in a physiological organ is left out, and in and beside liver and spleen what does not exceed
    them as rules want it; unless the network's mean probability there is above organ_probability.
    """

    network: LesionNetwork
    settings: SegmentationSettings
    measurement: MeasurementSettings = field(default_factory=MeasurementSettings)
    rules: bool = True

    @property
    def model(self) -> Model:
        model = self.network.model
        return replace(model, name=f"{model.name} with rules for organs") if self.rules else model

    def segment_lesions(self, study: PetCt, anatomy: Anatomy) -> LesionMap:
        """Raises ModelUnavailable where the network cannot run, or the threshold rests on an organ that was not found."""
        known = references(study, anatomy, self.measurement)
        border = self.settings.threshold
        if border not in ("none", "relative"):
            defined(study, border, absolute(study.tracer, known, self.settings))
        probability = self.network.lesion_probability(study)
        regions = self._regions(study, anatomy, probability)
        by_name = limits(study, regions, known, self.settings)
        mask = regions > 0
        if border != "none":
            mask &= study.pet.values > by_name[border][regions]
        return LesionMap(
            model=self.model,
            mask=mask,
            regions=regions,
            limits=by_name,
            border=border,
            references=known,
            probability=probability,
            confidence=PROBABILITY,
        )

    def _regions(self, study: PetCt, anatomy: Anatomy, probability: FloatArray) -> LabelArray:
        """The hills of uptake in the network's mask, numbered from 1, without those of physiological organs."""
        suv, inside = study.pet.values, probability > self.settings.min_probability
        regions = np.zeros(suv.shape, dtype=np.int32)
        if not inside.any():
            return regions
        box = crop_to(study.pet.grid, inside, 2 * max(study.pet.grid.spacing))
        hill = hills(basins(suv[box]), inside[box])
        numbers = np.unique(hill[hill > 0])
        kept = np.zeros(int(hill.max()) + 1, dtype=bool)
        kept[numbers] = True
        if self.rules:
            organs = anatomy.regions.mask(*anatomy.physiological)[box]
            sure = np.zeros(kept.size, dtype=bool)
            sure[numbers] = np.asarray(ndimage.mean(probability[box], hill, numbers)) > self.settings.organ_probability
            kept &= sure | ~physiological_hills(suv[box], hill, organs, np.zeros_like(organs))
            low = suv[box] <= organ_limits(study, anatomy, self.settings)[box]
            hill = np.where(low & ~sure[hill], 0, hill)
        number = np.zeros(kept.size, dtype=np.int32)
        number[kept] = np.arange(1, int(kept.sum()) + 1)
        regions[box] = number[hill]
        return regions
