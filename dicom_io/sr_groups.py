"""The measurement groups of the reports: lesions (TID 1411), and sites, subsets, totals and quality findings (TID 1501)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence

from pydicom import Dataset
from pydicom.sr.coding import Code

from analysis.values import Concordance, Finding, Lesion, LesionMatch, Site, Tracer
from dicom_io import codes
from dicom_io.derived import Case, ascii_text
from dicom_io.seg import segment_of
from dicom_io.sr_items import algorithm, evaluation, finding_site, group, number, segment, text

# Measure in a feature's name > concept, unit, derivation
_MEASURES: Mapping[str, tuple[Code, Code, Code | None]] = {
    "SUVmean": (codes.SUVBW, codes.SUV, codes.MEAN),
    "SUVmax": (codes.SUVBW, codes.SUV, codes.MAXIMUM),
    "SUVpeak": (codes.SUVBW, codes.SUV, codes.PEAK),
    "MTV": (codes.METABOLIC_VOLUME, codes.MILLILITRE, codes.TOTAL),
    "TLG": (codes.TOTAL_LESION_GLYCOLYSIS, codes.GRAM, codes.TOTAL),
    "TLC": (codes.TOTAL_LESION_CXCR4, codes.GRAM, codes.TOTAL),
    "Count": (codes.LESION_COUNT, codes.LESIONS, None),
    "sDmax": (codes.DISSEMINATION, codes.PER_METRE, None),
}
_ORGANS = {"spleen": codes.SPLEEN, "liver": codes.LIVER, "blood pool": codes.AORTA}
_SUBSET = re.compile(r"^(?P<measure>\w+)\[(?P<subset>(FDG|CXCR4) (extra)?medullary (con|dis)cordant)\]$")


def measured(name: Code, value: float, unit: Code, derivation: Code | None = None, site: Code | None = None) -> list[Dataset]:
    """One measurement; none where the value is undefined, since NaN is not written."""
    if not math.isfinite(value):
        return []
    method = codes.SUVBW_METHOD if name == codes.SUVBW else None
    return [number(name, float(value), unit, derivation=derivation, method=method, site=site)]


def lesion_group(case: Case, lesion: Lesion, segs: Sequence[Dataset]) -> Dataset:
    """One lesion with its segment, place, SUV, volume, burden and class."""
    match = case.analysis.match_of(lesion)
    part, label = segment_of(lesion, case.objects)
    series = case.pair.study(lesion.tracer).pet.series_instance_uid
    region, side = codes.region_code(lesion.region, lesion.site)
    model = case.analysis.lesions[lesion.tracer].model
    texts = [text(codes.DISEASE_SITE, f"{match.name}, {lesion.region}")]
    if lesion.confidence is not None and case.analysis.lesions[lesion.tracer].confidence:
        texts.append(text(codes.CONFIDENCE, case.analysis.lesions[lesion.tracer].confidence))
    content = [
        finding_site(region, side),
        *algorithm(model),
        *_lesion_measurements(lesion, match),
        *_evaluations(lesion.site, match),
        _site_certainty(lesion),
        *segment(segs[part], label, series),
        *texts,
        *_doubts(lesion, match),
    ]
    return group("1411", (case.tracking_uid(lesion), lesion.id), (codes.ABNORMAL_STRUCTURE, codes.LESION), content)


def _site_certainty(lesion: Lesion) -> Dataset:
    return evaluation(codes.SITE_CERTAINTY, codes.SITE_CERTAINTIES[lesion.site_certain])


def _doubts(lesion: Lesion | None, match: LesionMatch) -> list[Dataset]:
    """What is uncertain, in sentences with its range."""
    found = []
    if match.concordance is not Concordance.NOT_COMPARABLE and not match.certain:
        low, high = match.overlap_range
        error = "" if match.error_mm is None else f" of {match.error_mm:.1f} mm there"
        found.append(
            f"Concordance is uncertain: the overlap is {match.overlap:.0%}, and {low:.0%} to {high:.0%} within the "
            f"registration error{error}."
        )
    if lesion is not None and not lesion.site_certain and lesion.bone_range is not None:
        low, high = lesion.bone_range
        found.append(
            f"The site is uncertain: {lesion.bone_fraction:.0%} of the lesion lies in bone, and {low:.0%} to {high:.0%} "
            "where CT and PET lie a little apart."
        )
    return [text(codes.COMMENT, sentence) for sentence in found]


def _lesion_measurements(lesion: Lesion, match: LesionMatch) -> list[Dataset]:
    burden = codes.BURDENS[lesion.tracer]
    return [
        *measured(codes.SUVBW, lesion.suv_mean, codes.SUV, codes.MEAN),
        *measured(codes.SUVBW, lesion.suv_max, codes.SUV, codes.MAXIMUM),
        *measured(codes.SUVBW, lesion.suv_peak, codes.SUV, codes.PEAK),
        *measured(codes.METABOLIC_VOLUME, lesion.volume_ml, codes.MILLILITRE),
        *measured(burden, lesion.burden_g, codes.GRAM),
        *measured(codes.BONE_FRACTION, lesion.bone_fraction, codes.RATIO),
        *_bone_range(lesion),
        *_overlap(match),
        *([] if lesion.confidence is None else measured(codes.CONFIDENCE, lesion.confidence, codes.RATIO)),
    ]


def _bone_range(lesion: Lesion) -> list[Dataset]:
    if lesion.site_certain or lesion.bone_range is None:
        return []
    low, high = lesion.bone_range
    return [*measured(codes.BONE_LOW, low, codes.RATIO), *measured(codes.BONE_HIGH, high, codes.RATIO)]


def _overlap(match: LesionMatch, *, whole: bool = False) -> list[Dataset]:
    """The overlap, with its range where the class is uncertain; whole: with its range in any case."""
    if match.concordance is Concordance.NOT_COMPARABLE:
        return []
    found = measured(codes.OVERLAP, match.overlap, codes.RATIO)
    if match.certain and not whole:
        return found
    low, high = match.overlap_range
    return [*found, *measured(codes.OVERLAP_LOW, low, codes.RATIO), *measured(codes.OVERLAP_HIGH, high, codes.RATIO)]


def _evaluations(site: Site | None, match: LesionMatch) -> list[Dataset]:
    found = [evaluation(codes.SITE, codes.SITES[site])] if site is not None else []
    found.append(evaluation(codes.CONCORDANCE, codes.CONCORDANCES[match.concordance]))
    if match.concordance is not Concordance.NOT_COMPARABLE:
        found.append(evaluation(codes.CERTAINTY, codes.CERTAINTIES[match.certain]))
    return found


def site_group(case: Case, match: LesionMatch) -> Dataset:
    """One site of disease: which lesions of either tracer it holds, and whether they agree."""
    lesions = [case.analysis.lesions[t].lesions[label - 1] for t in Tracer for label in match.labels(t)]
    largest = max(lesions, key=lambda x: x.volume_ml)
    region, side = codes.region_code(largest.region, largest.site)
    counts = [number(codes.LESION_COUNT, float(len(match.labels(t))), codes.LESIONS, method=codes.TRACERS[t]) for t in Tracer]
    sites = {x.site for x in lesions}
    content = [
        finding_site(region, side),
        *_overlap(match, whole=True),
        *counts,
        *_evaluations(sites.pop() if len(sites) == 1 else None, match),
        text(codes.MEMBERS, ", ".join(x.id for x in lesions)),
        *_doubts(None, match),
    ]
    return group("1501", (case.uid("site", match.name), match.name), (None, codes.DISEASE_SITE), content)


def total_groups(case: Case, tracers: Iterable[Tracer]) -> list[Dataset]:
    """The totals of each tracer whose lesions were segmented."""
    return [total_group(case, tracer) for tracer in tracers if not case.analysis.lesions[tracer].not_run]


def total_group(case: Case, tracer: Tracer) -> Dataset:
    """Number, volume, burden and highest SUV of all lesions of a tracer."""
    lesions = case.analysis.lesions[tracer].lesions
    highest = max((x.suv_max for x in lesions), default=math.nan)
    name = f"{tracer.bracket} all lesions"
    content = [
        *measured(codes.LESION_COUNT, float(len(lesions)), codes.LESIONS),
        *measured(codes.METABOLIC_VOLUME, sum(x.volume_ml for x in lesions), codes.MILLILITRE, codes.TOTAL),
        *measured(codes.BURDENS[tracer], sum(x.burden_g for x in lesions), codes.GRAM, codes.TOTAL),
        *measured(codes.SUVBW, highest, codes.SUV, codes.MAXIMUM),
        evaluation(codes.TRACER, codes.TRACERS[tracer]),
    ]
    return group("1501", (case.uid("total", tracer), name), (None, codes.LESION), content)


def feature_groups(case: Case, tracer: Tracer) -> list[Dataset]:
    """The patient's features of one tracer: a group for each subset of lesions, and one for all others."""
    subsets: dict[str, dict[str, float]] = {}
    others: dict[str, float] = {}
    for name, value in case.analysis.features.items():
        if f"[{tracer.bracket}" not in name:
            continue
        match = _SUBSET.match(name)
        if match and match["measure"] in _MEASURES:
            subsets.setdefault(match["subset"], {})[name] = value
        else:
            others[name] = value
    groups = [_subset_group(case, subset, features) for subset, features in subsets.items()]
    return [*groups, _other_group(case, tracer, others)] if others else groups


def _subset_group(case: Case, subset: str, features: Mapping[str, float]) -> Dataset:
    bracket, site, kind = subset.split()
    tracer = next(t for t in Tracer if t.bracket == bracket)
    content = [
        *(m for name, value in features.items() for m in _feature(name, value)),
        evaluation(codes.TRACER, codes.TRACERS[tracer]),
        evaluation(codes.SITE, codes.SITES[Site(site)]),
        evaluation(codes.CONCORDANCE, codes.CONCORDANCES[Concordance(kind)]),
        *_undefined(features, _not_run(case) or "the subset holds no lesion"),
    ]
    return group("1501", (case.uid("subset", subset), subset), (None, codes.SUBSET), content)


def _other_group(case: Case, tracer: Tracer, features: Mapping[str, float]) -> Dataset:
    missing = _not_run(case) if case.analysis.lesions[tracer].not_run else ""
    content = [
        *(m for name, value in features.items() for m in _feature(name, value)),
        evaluation(codes.TRACER, codes.TRACERS[tracer]),
        *_undefined(features, missing or "what it needs was not found in the images"),
    ]
    name = f"{tracer.bracket} patient"
    return group("1501", (case.uid("features", tracer), name), (None, codes.FEATURES), content)


def _feature(name: str, value: float) -> list[Dataset]:
    """A feature by its bracket name; a measure without a standard concept bears the whole name as its own code."""
    measure, _, inside = name.partition("[")
    words = inside.removesuffix("]").split(" ", 1)
    organ = words[1] if len(words) > 1 else ""
    if measure not in _MEASURES or (organ and organ not in _ORGANS and not _SUBSET.match(name)):
        return measured(codes.own_code(name, name), value, codes.NO_UNITS)
    concept, unit, derivation = _MEASURES[measure]
    return measured(concept, value, unit, derivation, _ORGANS.get(organ))


def _not_run(case: Case) -> str:
    """On which tracers lesions were not segmented, as a reason; empty where they were on both."""
    names = [str(tracer) for tracer in case.analysis.not_run]
    return f"lesions were not segmented on {' and '.join(names)}" if names else ""


def _undefined(features: Mapping[str, float], reason: str) -> list[Dataset]:
    names = [name for name, value in features.items() if not math.isfinite(value)]
    return [text(codes.UNDEFINED, f"{name} is undefined: {reason}.") for name in names]


def finding_group(case: Case, finding: Finding) -> Dataset:
    """One quality check: verdict, value, limit and the sentence for the reader."""
    value = finding.value
    numeric = measured(codes.FINDING_VALUE, float(value), codes.NO_UNITS) if isinstance(value, (int, float)) else []
    verdict = evaluation(codes.VERDICT, codes.VERDICTS[finding.verdict])
    content = [*numeric, verdict, text(codes.COMMENT, finding.message)]
    if isinstance(value, str):
        content.append(text(codes.FINDING_VALUE, value))
    if finding.limit:
        content.append(text(codes.QUALITY_LIMIT, finding.limit))
    tracking = case.uid("finding", finding.name), ascii_text(finding.name)
    return group("1501", tracking, (None, codes.QUALITY), content)
