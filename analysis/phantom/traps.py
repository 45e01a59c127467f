"""Cases at the edge of the rules, each by name."""

from __future__ import annotations

from collections.abc import Callable, Collection
from enum import StrEnum

import numpy as np

from analysis.phantom.lesions import BOTH, Ball, Ground, TrueLesion, cap_distance
from analysis.phantom.shapes import Point
from analysis.values import Site, Tracer


class Trap(StrEnum):
    """What a digital patient is made to test."""

    OVERLAP_9 = "overlap 9 %"
    OVERLAP_10 = "overlap 10 %"
    OVERLAP_11 = "overlap 11 %"
    BONE_9 = "bone fraction 9 %"
    BONE_10 = "bone fraction 10 %"
    BONE_11 = "bone fraction 11 %"
    SPLENIC_LESION = "splenic lesion"
    NO_LESION = "no lesion"
    ONE_LESION = "one lesion"
    MANY_LESIONS = "109 lesions"
    SWAPPED_TRACERS = "swapped tracers"
    TRUNCATED_FIELD = "truncated field"
    ARMS_UP = "arms up"
    ARMS_DOWN = "arms down"


# Body frame, mm: in the muscle of the thighs, where nothing else is near.
OVERLAP_PLACES: dict[Trap, tuple[float, Point]] = {
    Trap.OVERLAP_9: (0.09, (62, -22, -300)),
    Trap.OVERLAP_10: (0.10, (62, -22, -250)),
    Trap.OVERLAP_11: (0.11, (-62, -22, -300)),
}
BONE_PLACES: dict[Trap, tuple[float, float]] = {
    Trap.BONE_9: (0.09, -310.0),
    Trap.BONE_10: (0.10, -270.0),
    Trap.BONE_11: (0.11, -230.0),
}
CONCORDANT_ABOVE = 0.10
MEDULLARY_FROM = 0.10


def trap_lesions(traps: Collection[Trap], ground: Ground) -> list[TrueLesion]:
    """The lesions that the named traps ask for, numbered from 1."""
    lesions: list[TrueLesion] = []
    for trap in Trap:
        if trap not in traps:
            continue
        if trap in OVERLAP_PLACES:
            lesions += _overlapping(trap, ground, len(lesions) + 1)
        elif trap in BONE_PLACES:
            lesions.append(_bone_edge(trap, ground, len(lesions) + 1))
        elif trap is Trap.SPLENIC_LESION:
            lesions.append(_splenic(ground, len(lesions) + 1))
    return lesions


def _ball(ground: Ground, body: Point, radius: float, suv: float) -> Ball:
    centre = ground.frame.to_fdg(body)
    return Ball(centre=(float(centre[0]), float(centre[1]), float(centre[2])), radius=radius, suv=suv)


def _overlapping(trap: Trap, ground: Ground, number: int, radius: float = 11.0) -> list[TrueLesion]:
    """Two equal balls, one for each tracer, that share exactly the named part; at most 10 % makes two lesions of them."""
    overlap, place = OVERLAP_PLACES[trap]
    apart = cap_distance(overlap) * radius / ground.frame.scale
    fdg = _ball(ground, place, radius, 9.0)
    pentixafor = _ball(ground, (place[0], place[1], place[2] + apart), radius, 11.0)
    pair = {Tracer.FDG: fdg, Tracer.PENTIXAFOR: pentixafor}
    groups = [pair] if overlap > CONCORDANT_ABOVE else [{tracer: ball} for tracer, ball in pair.items()]

    def lesion(n: int, balls: dict[Tracer, Ball]) -> TrueLesion:
        return TrueLesion(
            number=number + n,
            site=Site.EXTRAMEDULLARY,
            bone_fraction=0.0,
            region="muscle",
            balls=balls,
            overlap=overlap,
            trap=trap.value,
        )

    return [lesion(n, balls) for n, balls in enumerate(groups)]


def _bone_edge(trap: Trap, ground: Ground, number: int, radius: float = 12.0) -> TrueLesion:
    """A ball at the inner side of the right femur's shaft, pushed in until the named part of it lies in bone."""
    fraction, z = BONE_PLACES[trap]
    along = (z + 178) / (-560 + 178)
    axis = -132 + along * 44

    def at(x: float) -> Ball:
        return _ball(ground, (x, 14 - along * 4, z), radius, 10.0)

    place = _bisect(lambda x: ground.bone_part(at(x), 20000) - fraction, axis + 45, axis)
    ball = at(place)
    return TrueLesion(
        number=number,
        site=Site.MEDULLARY if fraction >= MEDULLARY_FROM else Site.EXTRAMEDULLARY,
        bone_fraction=ground.bone_part(ball, 20000),
        region="femur_right",
        balls=dict.fromkeys(Tracer, ball),
        overlap=1.0,
        trap=trap.value,
    )


def _bisect(rising: Callable[[float], float], below: float, above: float) -> float:
    """Where a rising function first reaches zero, from its upper side."""
    for _ in range(25):
        middle = (below + above) / 2
        below, above = (middle, above) if rising(middle) < 0 else (below, middle)
    return above


def _splenic(ground: Ground, number: int) -> TrueLesion:
    spleen = next(p.shape for p in ground.parts if p.region == "spleen")
    low, high = spleen.box
    centre = np.mean([low, high], axis=0)
    ball = _ball(ground, (float(centre[0]), float(centre[1]), float(centre[2])), 9.0, 13.0)
    balls = dict.fromkeys(sorted(BOTH), ball)
    return TrueLesion(
        number=number,
        site=Site.EXTRAMEDULLARY,
        bone_fraction=0.0,
        region="spleen",
        balls=balls,
        overlap=1.0,
        trap=Trap.SPLENIC_LESION.value,
    )
