"""A pair's features by other settings, from its lesions as they were measured: no image is looked at again."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product

from analysis.cohort.pairs import PairFeatures, PairLesion
from analysis.cohort.settings import CohortSettings
from analysis.values import Concordance, Site, Tracer

BORDERS = ("fixed", "relative", "liver", "blood pool")
DISSEMINATIONS = ("centroids", "voxels")
Reread = Callable[[PairFeatures], PairFeatures]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cuts:
    """Concordant above `overlap`; medullary from the part `bone` on; border: which definition, "" as it was segmented."""

    overlap: float
    bone: float
    border: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One choice of one setting, in words, and how it makes a pair anew. chosen: the pairs were made with it."""

    setting: str
    choice: str
    chosen: bool
    reread: Reread


def choices(pairs: Sequence[PairFeatures], settings: CohortSettings) -> tuple[Choice, ...]:
    """Every choice that these pairs can be read by; none where lesions are not known, or settings differ from pair to pair."""
    usual = _cuts_of(pairs)
    found: list[Choice] = []
    if usual is not None:
        for cut in sorted({*settings.overlap_cutoffs, usual.overlap}):
            found.append(_cut("concordant above an overlap of", f"{cut:g}", usual, replace(usual, overlap=cut)))
        for cut in sorted({*settings.bone_cutoffs, usual.bone}):
            found.append(_cut("medullary from a part in bone of", f"{cut:g}", usual, replace(usual, bone=cut)))
        found.append(_cut("border of a lesion", "as segmented", usual, usual))
        found += [_cut("border of a lesion", border, usual, replace(usual, border=border)) for border in _borders(pairs)]
    return (*found, *_disseminations(pairs))


def _cut(setting: str, words: str, usual: Cuts, cuts: Cuts) -> Choice:
    return Choice(setting=setting, choice=words, chosen=cuts == usual, reread=partial(reread, cuts=cuts))


def _cuts_of(pairs: Sequence[PairFeatures]) -> Cuts | None:
    """The cut-offs that all pairs were made with; None where they differ, or features do not follow from the lesions."""
    found = {_own_cuts(pair) for pair in pairs}
    usual = found.pop() if len(found) == 1 else None
    if usual is None or not all(_follows(pair, usual) for pair in pairs):
        return None
    return usual


def _own_cuts(pair: PairFeatures) -> Cuts | None:
    try:
        return Cuts(overlap=float(pair.settings["min_overlap"]), bone=float(pair.settings["min_bone_fraction"]))
    except KeyError:
        return None


def _follows(pair: PairFeatures, cuts: Cuts) -> bool:
    """Whether its features come out as they were written; without lesions there is nothing that could differ."""
    if pair.lesions is None:
        return True
    again = _subset_features(pair.lesions, cuts, by_volume=_by_volume(pair))
    return all(_same(pair.features.get(name, value), value) for name, value in again.items())


def _same(a: float, b: float) -> bool:
    return (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-9)


def _borders(pairs: Sequence[PairFeatures]) -> list[str]:
    there = {name for pair in pairs for lesion in pair.lesions or () for name in lesion.borders}
    return [name for name in BORDERS if name in there]


def _disseminations(pairs: Sequence[PairFeatures]) -> list[Choice]:
    """sDmax between centroids or between voxels, where the pairs have both."""
    used = {str(pair.settings.get("dissemination")) for pair in pairs}
    known = all(pair.readings and all(set(DISSEMINATIONS) <= set(by) for by in pair.readings.values()) for pair in pairs)
    if len(used) != 1 or not known:
        return []
    chosen = used.pop()
    return [
        Choice(setting="sDmax between", choice=how, chosen=how == chosen, reread=partial(_spread, how=how))
        for how in DISSEMINATIONS
    ]


def _spread(pair: PairFeatures, *, how: str) -> PairFeatures:
    values = {name: math.nan if (value := by[how]) is None else value for name, by in pair.readings.items()}
    return replace(pair, features={**pair.features, **values})


def reread(pair: PairFeatures, *, cuts: Cuts) -> PairFeatures:
    """The pair with its lesion features and counts by other cuts. Where its lesions were not segmented it stays as it is."""
    if pair.lesions is None:
        return pair
    return replace(pair, features={**pair.features, **_subset_features(pair.lesions, cuts, by_volume=_by_volume(pair))})


def _by_volume(pair: PairFeatures) -> bool:
    """Whether SUVmean of several lesions is weighted by volume (else over lesions), as the pair was made."""
    return str(pair.settings.get("subset_mean", "volume")) == "volume"


def _subset_features(lesions: Sequence[PairLesion], cuts: Cuts, *, by_volume: bool) -> dict[str, float]:
    """The 32 features and 8 counts. A border that is undefined for one lesion leaves the sums of its subset undefined."""
    found: dict[str, float] = {}
    for tracer, site, concordance in product(Tracer, Site, (Concordance.CONCORDANT, Concordance.DISCORDANT)):
        own = [x for x in lesions if x.tracer == tracer and _site(x, cuts) is site and _class(x, cuts) is concordance]
        measured = [(*_border(x, cuts.border), x.suv_max) for x in own]
        known = [(volume, mean, peak) for volume, mean, peak in measured if not volume <= 0]  # NaN stays
        name = f"{tracer.bracket} {site} {concordance}"
        volumes = [volume for volume, _, _ in known]
        weights = volumes if by_volume else [1.0] * len(known)
        found[f"SUVmean[{name}]"] = _mean([mean for _, mean, _ in known], weights)
        found[f"SUVmax[{name}]"] = max((peak for _, _, peak in known), default=math.nan)
        found[f"MTV[{name}]"] = math.fsum(volumes)
        found[f"{tracer.burden}[{name}]"] = math.fsum(volume * mean for volume, mean, _ in known)
        found[f"Count[{name}]"] = float(len(known))
    return found


def _mean(values: Sequence[float], weights: Sequence[float]) -> float:
    if not values:
        return math.nan
    return math.fsum(w * v for w, v in zip(weights, values, strict=True)) / math.fsum(weights)


def _site(lesion: PairLesion, cuts: Cuts) -> Site:
    return Site.MEDULLARY if lesion.bone_fraction >= cuts.bone else Site.EXTRAMEDULLARY


def _class(lesion: PairLesion, cuts: Cuts) -> Concordance:
    """By the lesion's own overlap: a lesion of a site of several may be discordant at a higher limit while others are not."""
    if lesion.overlap is not None and lesion.overlap > cuts.overlap:
        return Concordance.CONCORDANT
    return Concordance.DISCORDANT if lesion.comparable else Concordance.NOT_COMPARABLE


def _border(lesion: PairLesion, border: str) -> tuple[float, float]:
    """Volume in ml and SUVmean within a border; NaN where that is undefined, 0 ml where nothing is within it."""
    if not border:
        return lesion.volume_ml, lesion.suv_mean
    volume, mean = lesion.borders.get(border, (None, None))
    if volume is None:
        return math.nan, math.nan
    return volume, math.nan if mean is None else mean


def changed(pairs: Sequence[PairFeatures], others: Sequence[PairFeatures]) -> Mapping[str, bool]:
    """Feature > whether it differs in any pair."""
    names = {name for pair in (*pairs, *others) for name in pair.features}
    beside = [(a.features, b.features) for a, b in zip(pairs, others, strict=True)]
    return {name: any(not _same(a.get(name, math.nan), b.get(name, math.nan)) for a, b in beside) for name in names}
