"""The segmenters that the settings name: rules, networks, or both. What cannot be loaded is told, never replaced in silence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
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
from analysis.values import Anatomy, Model, PetCt, Tracer

LoadNetwork = Callable[[ModelSettings, str, Tracer], LesionNetwork]


@dataclass(frozen=True, slots=True, kw_only=True)
class Segmenters:
    """Who finds the anatomy, and who each tracer's lesions."""

    anatomy: AnatomySegmenter
    lesions: Mapping[Tracer, LesionSegmenter]


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


def choose(
    settings: SegmentationSettings, models: ModelSettings, measurement: MeasurementSettings, load: LoadNetwork = load_network
) -> Segmenters:
    """The segmenters of the settings; load: gives a network by its folder's name, or raises ModelUnavailable."""
    lesions = {tracer: _lesions(settings, models, measurement, load, tracer) for tracer in Tracer}
    return Segmenters(anatomy=RuleAnatomy(), lesions=MappingProxyType(lesions))


def _lesions(
    settings: SegmentationSettings,
    models: ModelSettings,
    measurement: MeasurementSettings,
    load: LoadNetwork,
    tracer: Tracer,
) -> LesionSegmenter:
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
