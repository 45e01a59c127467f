"""Whether the lesions are plausible in number, volume and place, and who found them."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from analysis.patient.quality_case import QualityCase, clipped
from analysis.patient.quality_settings import QualitySettings
from analysis.values import Finding, LesionSet, Model, Tracer, Verdict

KNOWN_MODELS = "rules, or weights with a known SHA-256; hold otherwise"
WITHOUT_WEIGHTS = "rules, no weights"  # what a model says of itself that needs none


def lesion_load(case: QualityCase, settings: QualitySettings) -> Iterator[Finding]:
    """Number and volume of each tracer's lesions."""
    for tracer in Tracer:
        if case.lesions[tracer].not_run:
            yield _unknown(tracer, "lesion count", f"<= {settings.max_lesions}")
            yield _unknown(tracer, "lesion volume", f"<= {settings.max_volume_ml:g} ml")
            continue
        lesions = case.lesions[tracer].lesions
        volume = math.fsum(x.volume_ml for x in lesions)
        many, much = len(lesions) > settings.max_lesions, volume > settings.max_volume_ml
        count = f"{len(lesions)} lesion{'' if len(lesions) == 1 else 's'}"
        yield Finding(
            name=f"{tracer} lesion count",
            value=len(lesions),
            limit=f"<= {settings.max_lesions}",
            verdict=Verdict.WARN if many else Verdict.OK,
            message=f"{tracer} shows {count}, {_plausible(many)}.",
        )
        yield Finding(
            name=f"{tracer} lesion volume",
            value=clipped(volume),
            limit=f"<= {settings.max_volume_ml:g} ml",
            verdict=Verdict.WARN if much else Verdict.OK,
            message=f"The lesions of {tracer} have {volume:.4g} ml in all, {_plausible(much)}.",
        )


def _unknown(tracer: Tracer, what: str, limit: str) -> Finding:
    return Finding(
        name=f"{tracer} {what}",
        value=None,
        limit=limit,
        verdict=Verdict.WARN,
        message=f"Lesions were not segmented on {tracer}, so this is unknown.",
    )


def _plausible(much: bool) -> str:
    return "which is more than one expects; look at the mask" if much else "which is plausible"


def inside_organs(case: QualityCase, settings: QualitySettings) -> Iterator[Finding]:
    """Lesions that lie wholly in an organ of physiological uptake."""
    for tracer in Tracer:
        anatomy, lesions = case.anatomy[tracer], case.lesions[tracer]
        if lesions.not_run:
            yield _unknown(tracer, "lesions in organs", "none")
            continue
        labels = lesions.labelmap.labels
        physiological = anatomy.regions.mask(*anatomy.physiological)
        inside = np.bincount(labels[physiological & (labels > 0)], minlength=len(lesions.lesions) + 1)
        found = [x.id for x in lesions.lesions if inside[x.label] >= settings.inside_organ * x.voxels]
        yield Finding(
            name=f"{tracer} lesions in organs",
            value=_some(found) or "none",
            limit="none",
            verdict=Verdict.WARN if found else Verdict.OK,
            message=f"On {tracer}, {_some(found)} {_lie(found)} wholly in an organ of physiological uptake; look there."
            if found
            else f"No lesion of {tracer} lies wholly in an organ of physiological uptake.",
        )


def _some(found: list[str], most: int = 40) -> str:
    """The names, of very many only the first, since a report's text holds 1,024 characters."""
    return ", ".join(found) if len(found) <= most else f"{', '.join(found[:most])} and {len(found) - most} more"


def _lie(found: list[str]) -> str:
    return "lies" if len(found) == 1 else "lie"


def models(case: QualityCase, settings: QualitySettings) -> Iterator[Finding]:
    """What found the lesions and the anatomy: rules, or a network whose weights are known."""
    del settings
    for tracer in Tracer:
        found = case.lesions[tracer]
        name = f"{tracer} lesion model"
        yield _not_run(name, found) if found.not_run else _model(name, f"Lesions of {tracer}", found.model)
        yield _model(f"{tracer} anatomy model", f"Organs and bones of {tracer}", case.anatomy[tracer].model)


def _not_run(name: str, found: LesionSet) -> Finding:
    return Finding(
        name=name,
        value="not run",
        limit=KNOWN_MODELS,
        verdict=Verdict.HOLD,
        message=f"Lesions were not segmented on {found.tracer}; whether there are any is unknown: {found.not_run}",
    )


def _model(name: str, what: str, model: Model) -> Finding:
    if WITHOUT_WEIGHTS in model.name:
        known, how = True, "by fixed rules and not by a trained network: a first look"
    else:
        known = bool(model.weights_sha256)
        digest = f"weights {model.weights_sha256[:12]}" if known else "whose weights nobody vouches for"
        how = f"by the network {model.name} {model.version}, {digest}"
    return Finding(
        name=name,
        value=f"{model.name} {model.version}".strip(),
        limit=KNOWN_MODELS,
        verdict=Verdict.OK if known else Verdict.HOLD,
        message=f"{what} were found {how}.",
    )
