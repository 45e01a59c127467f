"""What is where in both studies, from whichever segmenter is at hand."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from analysis.ports import AnatomySegmenter
from analysis.values import AlignedPair, Anatomy, Tracer


def find_anatomy(pair: AlignedPair, segmenter: AnatomySegmenter) -> Mapping[Tracer, Anatomy]:
    """The segmenter's regions and bone of either study, shown to lie on its PET grid. Raises ValueError where they do not."""
    found = segmenter.segment_anatomy(pair)
    for tracer in Tracer:
        if tracer not in found:
            raise ValueError(f"the anatomy segmenter gave nothing for {tracer}")
        if not found[tracer].regions.grid.same_as(pair.study(tracer).pet.grid):
            raise ValueError(f"the anatomy of {tracer} does not lie on its PET grid")
    return MappingProxyType({tracer: found[tracer] for tracer in Tracer})
