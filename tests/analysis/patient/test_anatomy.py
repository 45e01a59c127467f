"""The anatomy of a pair is whatever the segmenter says, if it says it of both studies and on their grids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from analysis.patient.anatomy import find_anatomy
from analysis.values import AlignedPair, Anatomy, Tracer


@dataclass(frozen=True)
class Fixed:
    """An AnatomySegmenter that knows the answer."""

    answer: Mapping[Tracer, Anatomy]

    def segment_anatomy(self, pair: AlignedPair) -> Mapping[Tracer, Anatomy]:  # noqa: ARG002
        return self.answer


def test_anatomy_of_both_studies(make: Any) -> None:
    grids = {Tracer.FDG: make.grid((6, 6, 6)), Tracer.PENTIXAFOR: make.grid((7, 8, 9))}
    pair = make.pair(*[make.study(t, g) for t, g in grids.items()])
    answer = {t: make.anatomy(g) for t, g in grids.items()}
    assert dict(find_anatomy(pair, Fixed(answer))) == answer
    with pytest.raises(ValueError, match="nothing for FDG"):
        find_anatomy(pair, Fixed({Tracer.PENTIXAFOR: answer[Tracer.PENTIXAFOR]}))
    with pytest.raises(ValueError, match="PET grid"):
        find_anatomy(pair, Fixed(dict.fromkeys(Tracer, answer[Tracer.FDG])))
