"""FDG lesions carried over: a shifted second scan in which some of them glow, and some do not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from bodies import ball, body_pair
from glow import GRID, MODEL, anatomy, study

from analysis.ports import LesionMap, NotRun
from analysis.segmenters.carried import CARRIED, carry, warped
from analysis.segmenters.segmentation_settings import SegmentationSettings
from analysis.values import AlignedPair, Tracer, Transform

ON, OFF = SegmentationSettings(pentixafor_from_fdg=True), SegmentationSettings()
SHIFT = 12.0  # mm along x: PentixaFor x is FDG x - 12
SPOTS = {"faint": (40, 40, 60), "hot": (40, 110, 60), "kidney": (110, 80, 60), "own": (110, 30, 60)}  # FDG frame
UPTAKE = {"faint": 2.0, "hot": 6.0, "kidney": 20.0, "own": 9.0}
NO_REFERENCE = {f"{organ} {what}": float("nan") for organ in ("liver", "blood pool") for what in ("mean", "sd")}


def there(name: str) -> np.ndarray:
    x, y, z = SPOTS[name]
    return ball(GRID, (x - SHIFT, y, z), 12.0)


def pair() -> AlignedPair:
    suv = np.full(GRID.shape, 0.5)
    for name, value in UPTAKE.items():
        suv[there(name)] = value
    rigid = np.eye(4)
    rigid[0, 3] = SHIFT
    both = body_pair(study(np.full(GRID.shape, 0.5)), study(suv, Tracer.PENTIXAFOR))
    return replace(both, transform=Transform(rigid=rigid))


def maps(**own: Any) -> dict[Tracer, LesionMap | NotRun]:
    """FDG sees all four; PentixaFor only its own."""
    fdg = np.any([ball(GRID, at, 12.0) for at in SPOTS.values()], axis=0)
    usual: dict[str, Any] = {"mask": there("own"), "regions": there("own").astype(np.int32), "border": "fixed"}
    seen = LesionMap(model=MODEL, references=NO_REFERENCE, **{**usual, **own})
    return {Tracer.FDG: LesionMap(model=MODEL, mask=fdg), Tracer.PENTIXAFOR: seen}


KIDNEY = anatomy({"kidney_left": there("kidney")})


def joined(found: Mapping[Tracer, LesionMap | NotRun], settings: SegmentationSettings = ON) -> LesionMap:
    seen = carry(pair(), KIDNEY, found, settings)[Tracer.PENTIXAFOR]
    assert isinstance(seen, LesionMap)
    return seen


def test_the_mask_lies_where_the_registration_says() -> None:
    assert (warped(pair(), ball(GRID, SPOTS["hot"], 12.0)) == there("hot")).all()


@pytest.mark.parametrize("border", ["fixed", "none", "relative"])
def test_what_glows_joins_and_what_does_not_stays_fdg_alone(border: str) -> None:
    seen = joined(maps(border=border))
    assert (seen.mask == (there("hot") | there("own"))).all()
    assert seen.model.name.endswith(CARRIED)
    regions = np.asarray(seen.regions)
    assert sorted(np.unique(regions[seen.mask])) == [1, 2]
    assert {len(limit) for limit in seen.limits.values()} == {3}


def test_without_the_setting_nothing_is_carried() -> None:
    found = maps()
    assert carry(pair(), KIDNEY, found, OFF) is found


@pytest.mark.parametrize("tracer", list(Tracer))
def test_where_either_was_not_run_nothing_is_carried(tracer: Tracer) -> None:
    found = {**maps(), tracer: NotRun(model=MODEL, why="no weights.")}
    assert carry(pair(), KIDNEY, found, ON) is found
