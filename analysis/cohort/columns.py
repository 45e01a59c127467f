"""Which features are examined, and in which unit: the paper's 42, and what a researcher adds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import product

from analysis.values import Concordance, Site, Tracer

SUV, ML, G, PER_M = "g/ml{SUVbw}", "ml", "g", "1/m"
_UNITS = {"SUVmean": SUV, "SUVmax": SUV, "SUVpeak": SUV, "MTV": ML, "TLG": G, "TLC": G, "sDmax": PER_M, "Count": "1"}
_NAME = re.compile(r"(\w+)\[(.+)\]")


def subset_names(tracer: Tracer) -> tuple[str, ...]:
    """ "FDG medullary concordant" and so on: the four subsets of one tracer's lesions."""
    pairs = product(Site, (Concordance.CONCORDANT, Concordance.DISCORDANT))
    return tuple(f"{tracer.bracket} {site} {concordance}" for site, concordance in pairs)


def image_features() -> tuple[str, ...]:
    """The paper's 35 features of images: 32 of lesions, sDmax of each tracer, the spleen on PentixaFor."""
    lesions = [
        f"{measure}[{subset}]"
        for tracer in Tracer
        for subset in subset_names(tracer)
        for measure in ("SUVmean", "SUVmax", "MTV", tracer.burden)
    ]
    spread = [f"sDmax[{tracer.bracket}]" for tracer in Tracer]
    return (*lesions, *spread, f"SUVmean[{Tracer.PENTIXAFOR.bracket} spleen]")


def count_features() -> tuple[str, ...]:
    """Number of lesions in each subset of either tracer; they describe the cohort and are not examined."""
    return tuple(f"Count[{subset}]" for tracer in Tracer for subset in subset_names(tracer))


def wanted(extra: Sequence[str], there: Iterable[str]) -> tuple[str, ...]:
    """The names of all features that are examined: the paper's, those that are set, and the researcher's own columns."""
    return tuple(dict.fromkeys((*image_features(), *extra, *own_columns(there))))


def own_columns(there: Iterable[str]) -> tuple[str, ...]:
    """Columns that duet does not write: whoever put them into features.csv wants them examined."""
    return tuple(name for name in there if not ((found := _NAME.fullmatch(name)) and found[1] in _UNITS))


def unit_of(name: str) -> str:
    """UCUM unit of a feature by its name; "1" where the name does not tell."""
    found = _NAME.fullmatch(name)
    return _UNITS.get(found[1], "1") if found else "1"
