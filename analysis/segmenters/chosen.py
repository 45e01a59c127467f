"""The segmenters that the settings name: rules, networks, or both. What cannot be loaded is told, never replaced in silence."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from analysis.errors import ModelUnavailable
from analysis.patient.measures import MeasurementSettings
from analysis.ports import AnatomySegmenter, LesionMap, LesionNetwork, LesionSegmenter
from analysis.segmenters.fused import NetworkLesions
from analysis.segmenters.model_settings import ModelSettings
from analysis.segmenters.nnunet import load_network
from analysis.segmenters.rules import RuleLesions
from analysis.segmenters.rules_anatomy import RuleAnatomy
from analysis.segmenters.segmentation_settings import SegmentationSettings
from analysis.segmenters.totalsegmentator import TotalSegmentatorAnatomy
from analysis.segmenters.totalsegmentator_settings import TotalSegmentatorSettings
from analysis.segmenters.totalsegmentator_weights import verified_weights, weights_present
from analysis.values import Anatomy, Model, PetCt, Tracer

log = logging.getLogger("duet.segmenters")
LoadNetwork = Callable[[ModelSettings, str, Tracer], LesionNetwork]


@dataclass(frozen=True, slots=True, kw_only=True)
class Segmenters:
    """Who finds the anatomy, and who each tracer's lesions."""

    anatomy: AnatomySegmenter
    lesions: Mapping[Tracer, LesionSegmenter]

    @property
    def at_once(self) -> bool:
        """Whether both tracers may be looked at beside each other: a network has all processors, or the GPU, to itself."""
        return not any(segmenter.model.weights_sha256 for segmenter in self.lesions.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Unavailable:
    """A LesionSegmenter in the place of one that cannot look."""

    name: str
    why: str

    @property
    def model(self) -> Model:
        return Model(name=f"{self.name} (not run)", version="unknown", manufacturer="unknown")

    def segment_lesions(self, study: PetCt, anatomy: Anatomy) -> LesionMap:  # noqa: ARG002
        """Always raises ModelUnavailable."""
        raise ModelUnavailable(self.why)


@dataclass(frozen=True, slots=True, kw_only=True)
class Equipment:
    """What segmenters need beside their own settings. cache: where TotalSegmentator's label maps are kept; None: nowhere."""

    models: ModelSettings = field(default_factory=ModelSettings)
    totalsegmentator: TotalSegmentatorSettings = field(default_factory=TotalSegmentatorSettings)
    measurement: MeasurementSettings = field(default_factory=MeasurementSettings)
    cache: Path | None = None


def choose(settings: SegmentationSettings, equipment: Equipment, load: LoadNetwork = load_network) -> Segmenters:
    """The segmenters of the settings; load: gives a network by its folder's name, or raises ModelUnavailable."""
    lesions = {tracer: _lesions(settings, equipment, load, tracer) for tracer in Tracer}
    return Segmenters(anatomy=_anatomy(settings, equipment), lesions=MappingProxyType(lesions))


def _anatomy(settings: SegmentationSettings, equipment: Equipment) -> AnatomySegmenter:
    """ "totalsegmentator" is not replaced where its weights are missing: it then refuses the case."""
    if settings.anatomy == "rules" or (settings.anatomy == "auto" and not _usable(equipment)):
        return RuleAnatomy()
    return TotalSegmentatorAnatomy(models=equipment.models, settings=equipment.totalsegmentator, cache=equipment.cache)


def _usable(equipment: Equipment) -> bool:
    """Whether TotalSegmentator's weights are there and allowed."""
    if not weights_present(equipment.models, equipment.totalsegmentator):
        return False
    try:
        verified_weights(equipment.models, equipment.totalsegmentator)
    except ModelUnavailable as error:
        log.warning("TotalSegmentator is not used: %s", error)
        return False
    return True


def _lesions(settings: SegmentationSettings, equipment: Equipment, load: LoadNetwork, tracer: Tracer) -> LesionSegmenter:
    models, measurement = equipment.models, equipment.measurement
    if settings.method(tracer) == "rules":
        return RuleLesions(settings=settings, threshold=settings.threshold, measurement=measurement)
    name = settings.network(tracer)
    try:
        network = load(models, name, tracer)
    except ModelUnavailable as error:
        return Unavailable(name=name, why=_without_folder(str(error), models))
    return NetworkLesions(
        network=network, settings=settings, measurement=measurement, rules=settings.method(tracer) == "network and rules"
    )


def _without_folder(sentence: str, models: ModelSettings) -> str:
    """The sentence goes into reports, where no path of this machine belongs."""
    folder = str(models.folder)
    return sentence.replace(folder, "[models] folder") if len(folder) > 1 else sentence
