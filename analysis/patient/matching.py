"""Which lesions of the two tracers are one site of disease, and how surely.

Overlap is measured in the common space, the PentixaFor frame: each PentixaFor lesion is seen as points about 2 mm apart,
and each point asks which FDG lesion lies at its place. So no labelmap is resampled, lesions keep their volume, and memory goes
with the lesions' volume and not with the field of view. An FDG lesion's volume in the common space is its own, divided by
the local change of volume of the transform.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.ndimage import binary_dilation, find_objects, gaussian_filter, map_coordinates
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from analysis.grids import apply, inverse
from analysis.patient.measures import MeasurementSettings
from analysis.values import (
    AlignedPair,
    BoolArray,
    Concordance,
    FloatArray,
    Grid,
    LabelArray,
    Labelmap,
    LesionMatch,
    LesionSet,
    Overlap,
    Tracer,
    Transform,
)

DEFINITIONS = ("smaller", "fdg", "pentixafor", "union", "either")

Key = tuple[Tracer, int]
"""A lesion: its tracer and its label."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shape:
    """One lesion with a smooth surface: where field, on grid (its own frame), is at least level. points (n, 3): its inside."""

    grid: Grid
    field: FloatArray
    level: float
    order: int
    points: FloatArray
    cell_ml: float

    def contains(self, places: FloatArray) -> BoolArray:
        """(n,) which of the places (n, 3), LPS mm of its own frame, lie in the lesion."""
        return np.asarray(self._at(places) >= self.level)

    def _at(self, places: FloatArray) -> FloatArray:
        return np.asarray(map_coordinates(self.field, self.grid.to_index(places).T, order=self.order))

    def near(self, places: FloatArray, margin_mm: float) -> LabelArray:
        """Which of the places (n, 3) lie in its box or at most margin_mm beside it: their numbers."""
        index = self.grid.to_index(places)
        margin = margin_mm / np.array(self.grid.spacing)
        return np.flatnonzero(np.all((index > -margin) & (index < np.array(self.grid.shape) - 1 + margin), axis=1))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Points:
    """Points of all lesions of one tracer. label (n,); elsewhere (n, 3): their places in the other tracer's frame, LPS mm."""

    label: LabelArray
    elsewhere: FloatArray
    count: LabelArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Common:
    """Both tracers' lesions in the common space.

    other: the grid that a tracer's points look into; ml: each lesion's volume; near: for each FDG lesion the PentixaFor
    points around it; cell_ml: by PentixaFor label, the volume of a point.
    """

    points: Mapping[Tracer, _Points]
    other: Mapping[Tracer, Grid]
    ml: Mapping[Key, float]
    fdg: Sequence[Shape]
    near: Sequence[LabelArray]
    cell_ml: FloatArray
    rotation: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _State:
    """How the lesions meet under one shift of the masks. pairs: (FDG label, PentixaFor label) > overlap, where there is any."""

    pairs: Mapping[tuple[int, int], Overlap]
    best: Mapping[Key, float]
    classes: Mapping[Key, Concordance]


def match(pair: AlignedPair, lesions: Mapping[Tracer, LesionSet], settings: MeasurementSettings) -> tuple[LesionMatch, ...]:
    """All sites of disease, named M1, M2, ... from head to feet; every lesion belongs to exactly one."""
    common = _common(pair, lesions, settings)
    keys = [(t, x.label) for t in Tracer for x in lesions[t].lesions]
    states = [_state(common, keys, shift, settings) for shift in shifts(pair.quality.error_mm)]
    groups = _groups(keys, states[0], settings)
    height = _heights(pair, lesions)
    groups.sort(key=lambda group: max(height[key] for key in group), reverse=True)
    return tuple(_site(f"M{n}", group, states) for n, group in enumerate(groups, start=1))


def shifts(error_mm: float) -> list[FloatArray]:
    """No shift, then one of error_mm in each of the 26 directions of the neighbourhood, in mm."""
    none = np.zeros(3)
    if error_mm <= 0:
        return [none]
    directions = [np.array(d, dtype=np.float64) for d in product((-1, 0, 1), repeat=3) if any(d)]
    return [none, *(error_mm * d / np.linalg.norm(d) for d in directions)]


def _common(pair: AlignedPair, lesions: Mapping[Tracer, LesionSet], settings: MeasurementSettings) -> _Common:
    shapes = {t: lesion_shapes(lesions[t].labelmap, settings) for t in Tracer}
    points = {t: _points(t, shapes[t], pair.transform) for t in Tracer}
    reach = pair.quality.error_mm + 1.0
    return _Common(
        points=points,
        other={t: lesions[t.other].labelmap.grid for t in Tracer},
        ml=_volumes(shapes, points[Tracer.FDG], pair.transform),
        fdg=shapes[Tracer.FDG],
        near=[shape.near(points[Tracer.PENTIXAFOR].elsewhere, reach) for shape in shapes[Tracer.FDG]],
        cell_ml=np.array([0.0, *(shape.cell_ml for shape in shapes[Tracer.PENTIXAFOR])]),
        rotation=pair.transform.rigid[:3, :3],
    )


def _points(tracer: Tracer, shapes: Sequence[Shape], transform: Transform) -> _Points:
    own = np.concatenate([np.empty((0, 3)), *(shape.points for shape in shapes)])
    count = np.array([0, *(len(shape.points) for shape in shapes)])
    elsewhere = inverse(transform, own) if tracer is Tracer.FDG else apply(transform, own)
    return _Points(label=np.repeat(np.arange(len(count)), count), elsewhere=elsewhere, count=count)


def _volumes(shapes: Mapping[Tracer, Sequence[Shape]], fdg: _Points, transform: Transform) -> dict[Key, float]:
    """Volume of every lesion in the PentixaFor frame, in ml; fdg: the FDG lesions' points there."""
    change = volume_change(transform, fdg.elsewhere)
    shrunk = np.bincount(fdg.label, 1.0 / change, minlength=len(fdg.count))
    volumes = {(Tracer.FDG, n): shape.cell_ml * float(shrunk[n]) for n, shape in enumerate(shapes[Tracer.FDG], start=1)}
    for n, shape in enumerate(shapes[Tracer.PENTIXAFOR], start=1):
        volumes[Tracer.PENTIXAFOR, n] = shape.cell_ml * len(shape.points)
    return volumes


def lesion_shapes(labelmap: Labelmap, settings: MeasurementSettings) -> list[Shape]:
    """The shape of each label 1..n."""
    boxes = find_objects(labelmap.labels)
    return [lesion_shape(labelmap.grid, labelmap.labels[box] == n, box, settings) for n, box in enumerate(boxes, start=1)]


def lesion_shape(grid: Grid, mask: BoolArray, box: tuple[slice, slice, slice], settings: MeasurementSettings) -> Shape:
    """A lesion (mask of a box of the grid) with its steps smoothed away and its volume kept.

    The steps of a voxel mask alone change an overlap of 10 % of two spheres of 10 mm radius by +- 2 % (one standard deviation,
    voxels of 3 to 4 mm); smoothed at PET's own resolution it is +- 1 %, without bias.
    """
    spacing = np.array(grid.spacing)
    margin = np.ceil(3.0 * settings.surface_mm / spacing).astype(int) + 1
    padded = np.pad(mask.astype(np.float32), [(int(m), int(m)) for m in margin])
    affine = grid.affine.copy()
    affine[:3, 3] = grid.to_world(np.array([s.start for s in box]) - margin)
    around = Grid(shape=padded.shape, affine=affine)
    field = gaussian_filter(padded, settings.surface_mm / spacing, mode="constant") if settings.surface_mm > 0 else padded
    order = 1 if settings.surface_mm > 0 else 0
    places, per_voxel = subdivided(around, binary_dilation(padded > 0, np.ones((3, 3, 3))), settings.common_spacing_mm)
    heights = map_coordinates(field, around.to_index(places).T, order=order)
    inside = np.argpartition(heights, -int(mask.sum()) * per_voxel)[-int(mask.sum()) * per_voxel :]
    return Shape(
        grid=around,
        field=field,
        level=float(heights[inside].min()),
        order=order,
        points=places[np.sort(inside)],
        cell_ml=grid.voxel_ml / per_voxel,
    )


def subdivided(grid: Grid, mask: BoolArray, spacing_mm: float) -> tuple[FloatArray, int]:
    """The voxels of a mask as points at most spacing_mm apart: places (n, 3) in LPS mm, and how many points a voxel is."""
    parts = [max(1, int(np.ceil(s / spacing_mm - 1e-6))) for s in grid.spacing]
    steps = [(np.arange(n) + 0.5) / n - 0.5 for n in parts]
    offsets = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1).reshape(-1, 3)
    return grid.to_world((np.argwhere(mask)[:, None, :] + offsets).reshape(-1, 3)), len(offsets)


def volume_change(transform: Transform, points: FloatArray, step_mm: float = 2.0) -> FloatArray:
    """(n,) volume in the moving frame of a unit volume at each point (n, 3) of the fixed frame: the Jacobian determinant."""
    if not transform.deformable:
        return np.full(len(points), abs(float(np.linalg.det(transform.rigid[:3, :3]))))
    columns = [apply(transform, points + h) - apply(transform, points - h) for h in step_mm * np.eye(3)]
    jacobian = np.stack(columns, axis=-1) / (2.0 * step_mm)
    # A fold (determinant <= 0) is the registration's finding; here it must not make a lesion's volume endless.
    return np.asarray(np.clip(np.linalg.det(jacobian), 0.2, 5.0))


def _state(common: _Common, keys: list[Key], shift: FloatArray, settings: MeasurementSettings) -> _State:
    """Overlaps and classes when FDG places of PentixaFor points are moved by shift (3,), in mm of the FDG frame."""
    moves = {Tracer.PENTIXAFOR: shift, Tracer.FDG: -shift @ common.rotation}
    pairs = _overlaps(common, shift)
    best = dict.fromkeys(keys, 0.0)
    for (f, p), overlap in pairs.items():
        for key in ((Tracer.FDG, f), (Tracer.PENTIXAFOR, p)):
            best[key] = max(best[key], overlap.ratio(settings.overlap_over))
    covered = {t: _covered(common.points[t], common.other[t], moves[t]) for t in Tracer}
    classes = {key: _class(best[key], covered[key[0]][key[1]], settings) for key in keys}
    return _State(pairs=pairs, best=best, classes=classes)


def _class(overlap: float, covered: float, settings: MeasurementSettings) -> Concordance:
    if overlap > settings.min_overlap:
        return Concordance.CONCORDANT
    return Concordance.DISCORDANT if covered >= settings.min_covered else Concordance.NOT_COMPARABLE


def _overlaps(common: _Common, shift: FloatArray) -> dict[tuple[int, int], Overlap]:
    """Every pair of lesions that share some volume."""
    points = common.points[Tracer.PENTIXAFOR]
    found: dict[tuple[int, int], Overlap] = {}
    for f, (shape, near) in enumerate(zip(common.fdg, common.near, strict=True), start=1):
        hit = near[shape.contains(points.elsewhere[near] + shift)] if len(near) else near
        shared = np.bincount(points.label[hit]) if len(hit) else np.zeros(0)
        for p in np.flatnonzero(shared):
            found[f, int(p)] = _overlap(common, f, int(p), float(shared[p] * common.cell_ml[p]))
    return found


def _overlap(common: _Common, f: int, p: int, both_ml: float) -> Overlap:
    fdg_ml, pentixafor_ml = common.ml[Tracer.FDG, f], common.ml[Tracer.PENTIXAFOR, p]
    return Overlap(fdg_ml=fdg_ml, pentixafor_ml=pentixafor_ml, both_ml=min(both_ml, fdg_ml, pentixafor_ml))


def _covered(points: _Points, other: Grid, move: FloatArray) -> FloatArray:
    """(n + 1,) by label, the part of each lesion that lies in the other tracer's field of view."""
    inside = other.contains(points.elsewhere + move)
    return np.asarray(np.bincount(points.label, inside, minlength=len(points.count)) / np.maximum(1, points.count))


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


def _site(name: str, group: tuple[Key, ...], states: list[_State]) -> LesionMatch:
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
        ratios={over: max((o.ratio(over) for o in pairs), default=0.0) for over in DEFINITIONS},
        certain=all(state.classes[key] is here.classes[key] for state in states for key in group),
        overlap_range=(min(overlaps), max(overlaps)),
    )
