"""From a segmenter's mask to measured lesions: connected components on the native PET grid, their place and their uptake."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from scipy import ndimage

from analysis.errors import ModelUnavailable
from analysis.patient.borders import borders
from analysis.patient.measures import TOUCHING, MeasurementSettings, bounding_box, index_of, peak_at
from analysis.ports import LesionMap, LesionSegmenter, NotRun
from analysis.values import (
    Anatomy,
    BoolArray,
    FloatArray,
    Grid,
    LabelArray,
    Labelmap,
    Lesion,
    LesionSet,
    PetCt,
    Site,
)


def find_lesions(study: PetCt, anatomy: Anatomy, segmenter: LesionSegmenter, settings: MeasurementSettings) -> LesionSet:
    """All lesions of one study, labelled from head to feet. Raises ValueError where the mask does not fit the PET."""
    return measured(study, anatomy, look(study, anatomy, segmenter), settings)


def look(study: PetCt, anatomy: Anatomy, segmenter: LesionSegmenter) -> LesionMap | NotRun:
    """What the segmenter sees, or why it could not look. Raises ValueError where the mask does not fit the PET."""
    try:
        found = segmenter.segment_lesions(study, anatomy)
    except ModelUnavailable as error:
        return NotRun(model=segmenter.model, why=str(error))
    if found.mask.shape != study.pet.grid.shape:
        raise ValueError(f"the lesion mask {found.mask.shape} does not fit the PET {study.pet.grid.shape}")
    return found


def measured(study: PetCt, anatomy: Anatomy, found: LesionMap | NotRun, settings: MeasurementSettings) -> LesionSet:
    """The lesions of what a segmenter saw; where it did not look, none, and why."""
    if isinstance(found, NotRun):
        nothing = Labelmap(grid=study.pet.grid, labels=np.zeros(study.pet.grid.shape, dtype=np.int32))
        return LesionSet(tracer=study.tracer, labelmap=nothing, lesions=(), model=found.model, not_run=found.why)
    labels = components(found.mask, study.pet.grid, settings.min_volume_ml)
    lesions = measure(study, anatomy, labels, settings)
    tried = borders(study, labels, found)
    sure = _confidences(labels, len(lesions), found, tried.agreement(settings.min_volume_ml))
    lesions = tuple(replace(x, borders=tried.of(x.label), confidence=c) for x, c in zip(lesions, sure, strict=True))
    names = {lesion.label: lesion.id for lesion in lesions}
    labelmap = Labelmap(grid=study.pet.grid, labels=labels, names=names)
    return LesionSet(
        tracer=study.tracer,
        labelmap=labelmap,
        lesions=lesions,
        model=found.model,
        border=found.border,
        borders=tried.of(0),
        references=found.references,
        confidence=found.confidence,
    )


def _confidences(labels: LabelArray, count: int, found: LesionMap, agreement: FloatArray | None) -> list[float | None]:
    """Each lesion's (1..count): its mean probability; without one the agreement of thresholds; None where neither is known."""
    if found.probability is None or not count:
        return [None] * count if agreement is None else [float(share) for share in agreement[1:]]
    at = tuple(index_of(labels).T)
    total = np.bincount(labels[at], found.probability[at].astype(np.float64), minlength=count + 1)
    return [min(1.0, max(0.0, float(p))) for p in total[1:] / np.bincount(labels[at], minlength=count + 1)[1:]]


def components(mask: BoolArray, grid: Grid, min_volume_ml: float) -> LabelArray:
    """Labels 1..n of the mask's connected parts (26-neighbourhood) of at least min_volume_ml, from head to feet."""
    labels = np.zeros(mask.shape, dtype=np.int32)
    box = bounding_box(mask)
    if box is None:
        return labels
    raw, count = ndimage.label(mask[box], TOUCHING)
    index = index_of(raw)
    each = raw[tuple(index.T)]
    voxels = np.bincount(each, minlength=count + 1)
    kept = np.flatnonzero(voxels * grid.voxel_ml >= max(min_volume_ml - 1e-9, 0.5 * grid.voxel_ml))
    number = np.zeros(count + 1, dtype=np.int32)
    if kept.size:
        sums = np.stack([np.bincount(each, index[:, axis], minlength=count + 1) for axis in range(3)], axis=1)
        middle = sums[kept] / voxels[kept, None] + [s.start for s in box]
        x, y, z = grid.to_world(middle).round(3).T
        number[kept[np.lexsort((y, x, -z))]] = np.arange(1, kept.size + 1)
    labels[box] = number[raw]
    return labels


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Voxels:
    """The voxels of one lesion: index (n, 3) and what is known at each (n,).

    bone: (n, 7) fraction in bone, where it is and where CT lies a little beside PET. peak: mean of the 1 ml sphere around it.
    """

    label: int
    index: LabelArray
    suv: FloatArray
    bone: FloatArray
    region: LabelArray
    peak: FloatArray


def measure(study: PetCt, anatomy: Anatomy, labels: LabelArray, settings: MeasurementSettings) -> tuple[Lesion, ...]:
    """One Lesion for each label 1..n of the PET grid."""
    return tuple(_lesion(study, anatomy, v, settings) for v in _voxels(study, anatomy, labels, settings))


def _voxels(study: PetCt, anatomy: Anatomy, labels: LabelArray, settings: MeasurementSettings) -> list[_Voxels]:
    """The voxels of all lesions, gathered once and cut apart by label."""
    index = index_of(labels)
    if not len(index):
        return []
    label = labels[tuple(index.T)]
    order = np.argsort(label, kind="stable")
    index, label = index[order], label[order]
    at = tuple(index.T)
    peak = peak_at(study.pet.values, study.pet.grid.spacing, index)
    cuts = np.flatnonzero(np.diff(label)) + 1
    arrays = (
        index,
        study.pet.values[at].astype(np.float64),
        _bone_around(anatomy, index, settings),
        anatomy.regions.labels[at],
        peak,
    )
    parts = zip(*(np.split(a, cuts) for a in arrays), strict=True)
    return [
        _Voxels(label=n, index=idx, suv=suv, bone=bone, region=region, peak=top)
        for n, (idx, suv, bone, region, top) in enumerate(parts, start=1)
    ]


def _bone_around(anatomy: Anatomy, index: LabelArray, settings: MeasurementSettings) -> FloatArray:
    """(n, 7) bone fraction at the voxels index (n, 3), and at places site_shift_mm beside them in six directions."""
    spacing = np.array(anatomy.regions.grid.spacing)
    steps = [sign * settings.site_shift_mm * axis / spacing for sign, axis in product((-1, 1), np.eye(3))]
    beside = [ndimage.map_coordinates(anatomy.bone, (index + step).T, order=1, mode="nearest") for step in steps]
    return np.stack([anatomy.bone[tuple(index.T)], *beside], axis=1)


def _lesion(study: PetCt, anatomy: Anatomy, v: _Voxels, settings: MeasurementSettings) -> Lesion:
    fractions = np.clip(v.bone.mean(axis=0, dtype=np.float64), 0.0, 1.0)
    x, y, z = study.pet.grid.to_world(v.index.mean(axis=0))
    # The bone map is float32: 10 % must not fail by its rounding.
    medullary = fractions >= settings.min_bone_fraction - 1e-6
    return Lesion(
        label=v.label,
        tracer=study.tracer,
        region=_region(anatomy.regions, v, settings),
        site=Site.MEDULLARY if medullary[0] else Site.EXTRAMEDULLARY,
        bone_fraction=float(fractions[0]),
        bone_range=(float(fractions.min()), float(fractions.max())),
        site_certain=bool((medullary == medullary[0]).all()),
        voxels=len(v.index),
        volume_ml=len(v.index) * study.pet.grid.voxel_ml,
        suv_mean=float(v.suv.mean()),
        suv_max=float(v.suv.max()),
        suv_peak=float(v.peak.max()),
        centroid_mm=(float(x), float(y), float(z)),
    )


def _region(regions: Labelmap, v: _Voxels, settings: MeasurementSettings) -> str:
    """The region that holds the largest share of the lesion, else the nearest one, else soft tissue."""
    counts = np.bincount(v.region)
    counts[0] = 0
    best = int(counts.argmax())
    if counts[best] > 0 and counts[best] >= settings.min_region_share * len(v.region):
        return readable(regions.names.get(best, f"region {best}"))
    nearest = _nearest(regions, v.index, settings.near_mm)
    return f"near {readable(regions.names.get(nearest, f'region {nearest}'))}" if nearest else "soft tissue"


def _nearest(regions: Labelmap, index: LabelArray, reach_mm: float) -> int:
    """Label of the region that comes nearest to one of the voxels index (n, 3); 0 where none lies within reach_mm."""
    margin = [math.ceil(reach_mm / s) for s in regions.grid.spacing]
    begin = np.maximum(index.min(axis=0) - margin, 0)
    end = np.minimum(index.max(axis=0) + np.array(margin) + 1, regions.grid.shape)
    box = regions.labels[tuple(slice(int(a), int(b)) for a, b in zip(begin, end, strict=True))]
    if not box.any():
        return 0
    distance, where = ndimage.distance_transform_edt(box == 0, sampling=regions.grid.spacing, return_indices=True)
    at = tuple((index - begin).T)
    first = int(np.argmin(distance[at]))
    return int(box[tuple(where[(slice(None), *(a[first] for a in at))])]) if distance[at][first] <= reach_mm else 0


def readable(name: str) -> str:
    """A region's name in words. Vertebrae and ribs end with their number, organs begin with their side.

    "vertebrae_L3" > "vertebra L3", "rib_left_7" > "rib left 7", "kidney_left" > "left kidney".
    """
    words = name.replace("vertebrae", "vertebra").split("_")
    if words[0] == "rib":
        return " ".join(words)
    sides = [w for w in words if w in ("left", "right")]
    return " ".join(sides + [w for w in words if w not in sides])
