"""Which lesions of the two tracers are one site of disease, and how surely.

Overlap is measured in the common space, the PentixaFor frame: each PentixaFor lesion is seen as points 1 to 2 mm apart,
and each point asks which FDG lesion lies at its place. So no labelmap is resampled, lesions keep their volume, and memory goes
with the lesions' volume and not with the field of view. An FDG lesion's volume in the common space is its own, divided by
the local change of volume of the transform.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, product

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from analysis.grids import apply, inverse
from analysis.patient.measures import MeasurementSettings
from analysis.patient.shapes import Shape, lesion_shapes
from analysis.values import (
    AlignedPair,
    Concordance,
    FloatArray,
    Grid,
    LabelArray,
    LesionMatch,
    LesionSet,
    Tracer,
    Transform,
    lesion_id,
)

MORE_MM = 1.0  # beyond the error, for what lies at a border
DEFINITIONS = ("smaller", "fdg", "pentixafor", "union", "either")

Key = tuple[Tracer, int]
"""A lesion: its tracer and its label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """Volumes of two lesions in the common space, in ml, and of their intersection."""

    fdg_ml: float
    pentixafor_ml: float
    both_ml: float

    def ratio(self, over: str) -> float:
        """over: one of DEFINITIONS: "smaller" (of the two lesions), "fdg", "pentixafor", "union"; "either" is the larger."""
        f, p, b = self.fdg_ml, self.pentixafor_ml, self.both_ml
        denominators = {"smaller": min(f, p), "fdg": f, "pentixafor": p, "union": f + p - b, "either": min(f, p)}
        whole = denominators[over]
        return b / whole if whole > 0 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Points:
    """Points of all lesions of one tracer.

    label (n,), 1..m; elsewhere (n, 3): their places in the other tracer's frame, LPS mm; error (n,): of the registration
    there, mm; count (m + 1,): how many a lesion has; inside (m + 1,): how many lie in the other's field of view under any
    shift; edge: the points for which it depends.
    """

    label: LabelArray
    elsewhere: FloatArray
    error: FloatArray
    count: LabelArray
    inside: LabelArray
    edge: LabelArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Near:
    """An FDG lesion and the PentixaFor points around it.

    label (n,); index: (3, n) fractional, of the lesion's grid; error: (n,) mm; towards: (n, 3) mm in the FDG frame, from the
    middle of the point's lesion to the middle of this one.
    """

    shape: Shape
    label: LabelArray
    index: FloatArray
    error: FloatArray
    towards: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Common:
    """Both tracers' lesions in the common space.

    other: the grid that a tracer's points look into; ml: each lesion's volume; cell_ml: by PentixaFor label, the volume of
    a point.
    """

    points: Mapping[Tracer, _Points]
    other: Mapping[Tracer, Grid]
    ml: Mapping[Key, float]
    near: Sequence[_Near]
    cell_ml: FloatArray
    rotation: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _State:
    """How the lesions meet under one shift of the masks. pairs: (FDG label, PentixaFor label) > overlap, where there is any."""

    pairs: Mapping[tuple[int, int], Overlap]
    best: Mapping[Key, float]
    classes: Mapping[Key, Concordance]


def match(pair: AlignedPair, lesions: Mapping[Tracer, LesionSet], settings: MeasurementSettings) -> tuple[LesionMatch, ...]:
    """All sites of disease, named M1, M2, ... from head to feet; every lesion belongs to exactly one.

    Where one tracer's lesions were not segmented, each lesion of the other is a site that cannot be compared.
    """
    keys = [(t, x.label) for t in Tracer for x in lesions[t].lesions]
    height = _heights(pair, lesions)
    if any(found.not_run for found in lesions.values()):
        keys.sort(key=lambda key: height[key], reverse=True)
        return tuple(_alone(f"M{n}", key) for n, key in enumerate(keys, start=1))
    common = _common(pair, lesions, settings)
    moving = any(float(points.error.max(initial=0.0)) > 0 for points in common.points.values())
    states = [_state(common, keys, move, settings) for move in (moves() if moving else [STILL])]
    groups = _groups(keys, states[0], settings)
    groups.sort(key=lambda group: max(height[key] for key in group), reverse=True)
    local = _local_errors(common)
    return tuple(_site(f"M{n}", group, states, local) for n, group in enumerate(groups, start=1))


def _alone(name: str, key: Key) -> LesionMatch:
    """A lesion that nothing of the other tracer was looked for beside."""
    tracer, label = key
    return LesionMatch(
        name=name,
        fdg=(label,) if tracer is Tracer.FDG else (),
        pentixafor=(label,) if tracer is Tracer.PENTIXAFOR else (),
        concordance=Concordance.NOT_COMPARABLE,
        overlap=math.nan,
        ratios=dict.fromkeys(DEFINITIONS, math.nan),
        lesion_overlaps={lesion_id(tracer, label): math.nan},
        overlap_range=(math.nan, math.nan),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Move:
    """How masks are shifted, in units of the local error of the registration.

    direction: the same (3,) in the FDG frame for all; along: 1 moves each pair of lesions together along the line between
    their middles (until these meet), -1 apart. For two balls these two are the extremes of their overlap.
    """

    direction: FloatArray = field(default_factory=lambda: np.zeros(3))
    along: int = 0

    def step(self, near: _Near) -> FloatArray:
        """(n, 3) how far the points are moved, mm of the FDG frame."""
        step = near.error[:, None] * self.direction
        if self.along:
            distance = np.linalg.norm(near.towards, axis=1)
            far = near.error if self.along < 0 else np.minimum(near.error, distance)
            step = step + (self.along * far / np.maximum(distance, 1e-9))[:, None] * near.towards
        return step


STILL = Move()


def moves() -> list[Move]:
    """No shift; one in each of 14 directions, those of a cube's faces and corners; then pairs together, and apart."""
    directions = [np.array(d, dtype=np.float64) for d in product((-1, 0, 1), repeat=3) if np.count_nonzero(d) in (1, 3)]
    return [STILL, *(Move(direction=d / np.linalg.norm(d)) for d in directions), Move(along=1), Move(along=-1)]


def _common(pair: AlignedPair, lesions: Mapping[Tracer, LesionSet], settings: MeasurementSettings) -> _Common:
    shapes = {t: lesion_shapes(lesions[t].labelmap, settings) for t in Tracer}
    other = {t: lesions[t.other].labelmap.grid for t in Tracer}
    # An FDG lesion's own points tell of its volume and coverage alone, so some hundred are enough.
    own = {
        Tracer.FDG: [_thinned(x.points) for x in shapes[Tracer.FDG]],
        Tracer.PENTIXAFOR: [x.points for x in shapes[Tracer.PENTIXAFOR]],
    }
    here = {t: _joined(own[t]) for t in Tracer}
    there = {Tracer.FDG: inverse(pair.transform, here[Tracer.FDG])}
    there[Tracer.PENTIXAFOR] = apply(pair.transform, here[Tracer.PENTIXAFOR])
    error = {Tracer.FDG: pair.error_mm_at(there[Tracer.FDG])}
    error[Tracer.PENTIXAFOR] = pair.error_mm_at(here[Tracer.PENTIXAFOR])
    points = {t: _points(own[t], there[t], other[t], error[t]) for t in Tracer}
    return _Common(
        points=points,
        other=other,
        ml=_volumes(shapes, points[Tracer.FDG], pair.transform),
        near=_near(shapes[Tracer.FDG], points[Tracer.PENTIXAFOR]),
        cell_ml=np.array([0.0, *(shape.cell_ml for shape in shapes[Tracer.PENTIXAFOR])]),
        rotation=pair.transform.rigid[:3, :3],
    )


def _thinned(points: FloatArray, enough: int = 500) -> FloatArray:
    return points[:: max(1, len(points) // enough)]


def _joined(parts: Sequence[FloatArray]) -> FloatArray:
    return np.concatenate([np.empty((0, 3)), *parts])


def _points(own: Sequence[FloatArray], elsewhere: FloatArray, other: Grid, error: FloatArray) -> _Points:
    """own: each lesion's points in its own frame; elsewhere: all of them in the other; error: (n,) mm there."""
    count = np.array([0, *(len(part) for part in own)])
    label = np.repeat(np.arange(len(count)), count)
    index, margin = other.to_index(elsewhere), (error[:, None] + MORE_MM) / np.array(other.spacing)
    depth = np.minimum(index + 0.5, np.array(other.shape) - 0.5 - index)  # voxels behind the nearest border, along each axis
    sure, never = np.all(depth > margin, axis=1), np.any(depth < -margin, axis=1)
    return _Points(
        label=label,
        elsewhere=elsewhere,
        error=error,
        count=count,
        inside=np.bincount(label[sure], minlength=len(count)),
        edge=np.flatnonzero(~sure & ~never),
    )


def _near(shapes: Sequence[Shape], points: _Points) -> list[_Near]:
    """The FDG lesions, each with the PentixaFor points that it may meet."""
    near = []
    begin = np.cumsum(points.count)
    parts = [slice(a, b) for a, b in pairwise(begin)]
    boxes = np.array([[points.elsewhere[p].min(axis=0), points.elsewhere[p].max(axis=0)] for p in parts]).reshape(-1, 2, 3)
    middles = np.array([points.elsewhere[p].mean(axis=0) for p in parts]).reshape(-1, 3)
    reach = np.array([points.error[p].max() + MORE_MM for p in parts])[:, None]
    for shape in shapes:
        low, high = shape.points.min(axis=0), shape.points.max(axis=0)
        meet = np.flatnonzero(np.all((boxes[:, 0] <= high + reach) & (boxes[:, 1] >= low - reach), axis=1))
        places = np.concatenate([np.empty(0, dtype=np.int64), *(np.arange(parts[p].start, parts[p].stop) for p in meet)])
        index = shape.grid.to_index(points.elsewhere[places]).T
        chosen = shape.beside(index, float(reach[meet].max(initial=0.0)))
        label = points.label[places][chosen]
        near.append(
            _Near(
                shape=shape,
                label=label,
                index=index[:, chosen],
                error=points.error[places][chosen],
                towards=shape.points.mean(axis=0) - middles[label - 1],
            )
        )
    return near


def _volumes(shapes: Mapping[Tracer, Sequence[Shape]], fdg: _Points, transform: Transform) -> dict[Key, float]:
    """Volume of every lesion in the PentixaFor frame, in ml; fdg: the FDG lesions' points there."""
    shrunk = np.bincount(fdg.label, 1.0 / volume_change(transform, fdg.elsewhere), minlength=len(fdg.count))
    volumes = {
        (Tracer.FDG, n): shape.cell_ml * len(shape.points) * float(shrunk[n] / fdg.count[n])
        for n, shape in enumerate(shapes[Tracer.FDG], start=1)
    }
    for n, shape in enumerate(shapes[Tracer.PENTIXAFOR], start=1):
        volumes[Tracer.PENTIXAFOR, n] = shape.cell_ml * len(shape.points)
    return volumes


def volume_change(transform: Transform, points: FloatArray, step_mm: float = 2.0) -> FloatArray:
    """(n,) volume in the moving frame of a unit volume at each point (n, 3) of the fixed frame: the Jacobian determinant."""
    if not transform.deformable:
        return np.full(len(points), abs(float(np.linalg.det(transform.rigid[:3, :3]))))
    columns = [apply(transform, points + h) - apply(transform, points - h) for h in step_mm * np.eye(3)]
    jacobian = np.stack(columns, axis=-1) / (2.0 * step_mm)
    # A fold (determinant <= 0) is the registration's finding; here it must not make a lesion's volume endless.
    return np.asarray(np.clip(np.linalg.det(jacobian), 0.2, 5.0))


def _state(common: _Common, keys: list[Key], move: Move, settings: MeasurementSettings) -> _State:
    """Overlaps and classes when the FDG places of PentixaFor points are moved."""
    directions = {Tracer.PENTIXAFOR: move.direction, Tracer.FDG: -move.direction @ common.rotation}
    pairs = _overlaps(common, move)
    best = dict.fromkeys(keys, 0.0)
    for (f, p), overlap in pairs.items():
        for key in ((Tracer.FDG, f), (Tracer.PENTIXAFOR, p)):
            best[key] = max(best[key], overlap.ratio(settings.overlap_over))
    covered = {t: _covered(common.points[t], common.other[t], directions[t]) for t in Tracer}
    classes = {key: _class(best[key], covered[key[0]][key[1]], settings) for key in keys}
    return _State(pairs=pairs, best=best, classes=classes)


def _class(overlap: float, covered: float, settings: MeasurementSettings) -> Concordance:
    if overlap > settings.min_overlap:
        return Concordance.CONCORDANT
    return Concordance.DISCORDANT if covered >= settings.min_covered else Concordance.NOT_COMPARABLE


def _overlaps(common: _Common, move: Move) -> dict[tuple[int, int], Overlap]:
    """Every pair of lesions that share some volume."""
    found: dict[tuple[int, int], Overlap] = {}
    for f, near in enumerate(common.near, start=1):
        if not near.label.size:
            continue
        step = np.linalg.inv(near.shape.grid.affine[:3, :3]) @ move.step(near).T
        shared = np.bincount(near.label[near.shape.holds(near.index + step)])
        for p in np.flatnonzero(shared):
            found[f, int(p)] = _overlap(common, f, int(p), float(shared[p] * common.cell_ml[p]))
    return found


def _overlap(common: _Common, f: int, p: int, both_ml: float) -> Overlap:
    fdg_ml, pentixafor_ml = common.ml[Tracer.FDG, f], common.ml[Tracer.PENTIXAFOR, p]
    return Overlap(fdg_ml=fdg_ml, pentixafor_ml=pentixafor_ml, both_ml=min(both_ml, fdg_ml, pentixafor_ml))


def _covered(points: _Points, other: Grid, direction: FloatArray) -> FloatArray:
    """(m + 1,) by label, the part of each lesion that lies in the other tracer's field of view."""
    moved = points.elsewhere[points.edge] + points.error[points.edge, None] * direction
    seen = points.edge[other.contains(moved)]
    inside = points.inside + np.bincount(points.label[seen], minlength=len(points.count))
    return np.asarray(inside / np.maximum(1, points.count))


def _groups(keys: list[Key], state: _State, settings: MeasurementSettings) -> list[tuple[Key, ...]]:
    """Connected parts of the graph whose edges are overlaps above the limit."""
    if not keys:
        return []
    place = {key: n for n, key in enumerate(keys)}
    edges = [
        (place[Tracer.FDG, f], place[Tracer.PENTIXAFOR, p])
        for (f, p), overlap in state.pairs.items()
        if overlap.ratio(settings.overlap_over) > settings.min_overlap
    ]
    rows, columns = np.array(edges, dtype=np.int64).reshape(-1, 2).T
    graph = coo_array((np.ones(len(edges)), (rows, columns)), shape=(len(keys), len(keys)))
    count, group = connected_components(graph, directed=False)
    return [tuple(key for key, g in zip(keys, group, strict=True) if g == n) for n in range(count)]


def _heights(pair: AlignedPair, lesions: Mapping[Tracer, LesionSet]) -> dict[Key, float]:
    """Position of every lesion's centroid from feet to head, in the common space."""
    heights: dict[Key, float] = {}
    for tracer in Tracer:
        centroids = np.array([x.centroid_mm for x in lesions[tracer].lesions]).reshape(-1, 3)
        common = inverse(pair.transform, centroids) if tracer is Tracer.FDG else centroids
        heights |= {(tracer, x.label): float(z) for x, z in zip(lesions[tracer].lesions, common[:, 2], strict=True)}
    return heights


def _local_errors(common: _Common) -> dict[Key, float]:
    """The registration's error at every lesion, in mm, the mean over its points."""
    return {
        (tracer, n): float(points.error[points.label == n].mean())
        for tracer, points in common.points.items()
        for n in range(1, len(points.count))
    }


def _site(name: str, group: tuple[Key, ...], states: list[_State], local: Mapping[Key, float]) -> LesionMatch:
    here = states[0]
    labels = {t: tuple(label for tracer, label in group if tracer is t) for t in Tracer}
    pairs = [o for (f, p), o in here.pairs.items() if (Tracer.FDG, f) in group or (Tracer.PENTIXAFOR, p) in group]
    overlaps = [max(state.best[key] for key in group) for state in states]
    return LesionMatch(
        name=name,
        fdg=labels[Tracer.FDG],
        pentixafor=labels[Tracer.PENTIXAFOR],
        concordance=here.classes[group[0]],
        overlap=overlaps[0],
        lesion_overlaps={lesion_id(*key): here.best[key] for key in group},
        ratios={over: max((o.ratio(over) for o in pairs), default=0.0) for over in DEFINITIONS},
        certain=all(state.classes[key] is here.classes[key] for state in states for key in group),
        overlap_range=(min(overlaps), max(overlaps)),
        error_mm=max(local[key] for key in group),
    )
