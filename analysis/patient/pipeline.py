"""One pair from images to numbers: align, find anatomy, find lesions twice, match, measure, check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType
from typing import Any

from analysis.both import for_both
from analysis.patient.anatomy import find_anatomy
from analysis.patient.features import patient_features, readings
from analysis.patient.lesions import look, measured
from analysis.patient.matching import match
from analysis.patient.measures import MeasurementSettings
from analysis.patient.quality import check
from analysis.patient.quality_batch import batch_findings
from analysis.patient.quality_settings import QualitySettings
from analysis.patient.registration import RegistrationSettings, align
from analysis.ports import LesionMap, NotRun, Progress, silent
from analysis.segmenters.carried import carry
from analysis.segmenters.chosen import Equipment, Segmenters, choose
from analysis.segmenters.model_settings import ModelSettings
from analysis.segmenters.segmentation_settings import SegmentationSettings
from analysis.segmenters.totalsegmentator_settings import TotalSegmentatorSettings
from analysis.values import Anatomy, Finding, LesionSet, PatientAnalysis, PetCt, Tracer

OF_THE_MACHINE = {"models": ("folder", "allow", "device", "threads"), "totalsegmentator": ("timeout_s", "cache_mb")}
SOFTWARE = ("duet-node", "SimpleITK", "numpy", "scipy")
OF_NETWORKS = ("torch", "nnunetv2")


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysisSettings:
    """What steers each step; kept with the result. cache: where TotalSegmentator's label maps are kept; None: nowhere."""

    registration: RegistrationSettings = field(default_factory=RegistrationSettings)
    segmentation: SegmentationSettings = field(default_factory=SegmentationSettings)
    totalsegmentator: TotalSegmentatorSettings = field(default_factory=TotalSegmentatorSettings)
    models: ModelSettings = field(default_factory=ModelSettings)
    measurement: MeasurementSettings = field(default_factory=MeasurementSettings)
    quality: QualitySettings = field(default_factory=QualitySettings)
    cache: Path | None = None

    def kept(self) -> dict[str, Any]:
        """What a result keeps of it: all that decides its numbers, and nothing of the machine that computes them."""
        sections = {name: value for name, value in asdict(self).items() if name != "cache"}
        return {
            section: {name: value for name, value in table.items() if name not in OF_THE_MACHINE.get(section, ())}
            for section, table in sections.items()
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What is known beside the images. given: findings of the headers; batch: rows {finding name: value} of earlier cases."""

    given: Sequence[Finding] = ()
    batch: Sequence[Mapping[str, Any]] = ()

    def settings(self) -> dict[str, Any]:
        """What a result must keep of it: the rows that it was compared with."""
        return {"batch": tuple(dict(row) for row in self.batch)} if self.batch else {}


NOTHING_BESIDE = Beside()


def segmenters(settings: AnalysisSettings) -> Segmenters:
    """The segmenters that the settings name."""
    equipment = Equipment(
        models=settings.models,
        totalsegmentator=settings.totalsegmentator,
        measurement=settings.measurement,
        cache=settings.cache,
    )
    return choose(settings.segmentation, equipment)


def analyse(
    fdg: PetCt,
    pentixafor: PetCt,
    settings: AnalysisSettings | None = None,
    *,
    by: Segmenters | None = None,
    progress: Progress = silent,
    beside: Beside = NOTHING_BESIDE,
) -> PatientAnalysis:
    """Everything known of one pair. by: other segmenters than those of the settings. Raises UnusableImage."""
    settings = settings or AnalysisSettings()
    by = by or segmenters(settings)

    progress("Bringing both CTs together", 0.0)
    pair = align(fdg, pentixafor, settings.registration)
    progress("Finding bones and organs", 0.4)
    anatomy = find_anatomy(pair, by.anatomy)
    progress("Finding lesions on both tracers", 0.88)

    def look_at(tracer: Tracer) -> LesionMap | NotRun:
        return look(pair.study(tracer), anatomy[tracer], by.lesions[tracer])

    own = for_both(look_at) if by.at_once else {t: look_at(t) for t in Tracer}
    seen = carry(pair, anatomy[Tracer.PENTIXAFOR], own, settings.segmentation)
    lesions = for_both(lambda t: measured(pair.study(t), anatomy[t], seen[t], settings.measurement))
    progress("Matching lesions of both tracers", 0.95)
    matches = match(pair, lesions, settings.measurement)
    progress("Measuring", 0.97)
    features = patient_features(pair, anatomy, lesions, matches, settings.measurement)
    progress("Checking quality", 0.98)
    findings = (*beside.given, *check(pair, anatomy, lesions, matches, settings.quality, settings.measurement))
    findings += batch_findings(findings, beside.batch, settings.quality)
    progress("Done", 1.0)

    return PatientAnalysis(
        aligned=pair,
        anatomy=anatomy,
        lesions=MappingProxyType(lesions),
        matches=matches,
        features=features,
        readings=readings(pair, lesions, settings.measurement),
        findings=findings,
        settings=MappingProxyType(settings.kept() | beside.settings()),
        software=software(trained=by_networks(anatomy, lesions)),
    )


@cache
def software(*, trained: bool) -> Mapping[str, str]:
    """Name and version of what computes the numbers; trained: networks among it."""
    return MappingProxyType({name: _version(name) for name in (*SOFTWARE, *(OF_NETWORKS if trained else ()))})


def by_networks(anatomy: Mapping[Tracer, Anatomy], lesions: Mapping[Tracer, LesionSet]) -> bool:
    """Whether a network had a part in the result."""
    return any(found[tracer].model.weights_sha256 for found in (anatomy, lesions) for tracer in Tracer)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"
