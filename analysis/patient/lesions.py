"""From a segmenter's mask to measured lesions: connected components on the native PET grid, their place and their uptake."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from analysis.patient.measures import TOUCHING, MeasurementSettings, peak_at
from analysis.ports import LesionSegmenter
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
    mask = segmenter.segment_lesions(study, anatomy)
    if mask.shape != study.pet.grid.shape:
        raise ValueError(f"the lesion mask {mask.shape} does not fit the PET {study.pet.grid.shape}")
    labels = components(mask, study.pet.grid, settings.min_volume_ml)
    lesions = measure(study, anatomy, labels, settings)
    names = {lesion.label: lesion.id for lesion in lesions}
    labelmap = Labelmap(grid=study.pet.grid, labels=labels, names=names)
    return LesionSet(tracer=study.tracer, labelmap=labelmap, lesions=lesions, model=segmenter.model)


def components(mask: BoolArray, grid: Grid, min_volume_ml: float) -> LabelArray:
    """Labels 1..n of the mask's connected parts (26-neighbourhood) of at least min_volume_ml, from head to feet."""
    raw, count = ndimage.label(mask, TOUCHING)
    voxels = np.bincount(raw.ravel(), minlength=count + 1)[1:]
    kept = np.flatnonzero(voxels * grid.voxel_ml >= min_volume_ml - 1e-9) + 1
    number = np.zeros(count + 1, dtype=np.int32)
    if kept.size:
        x, y, z = grid.to_world(np.atleast_2d(ndimage.center_of_mass(mask, raw, kept))).round(3).T
        number[kept[np.lexsort((y, x, -z))]] = np.arange(1, kept.size + 1)
    return np.asarray(number[raw])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Voxels:
    """The voxels of one lesion: index (n, 3) and what is known at each (n,); peak is the mean of the 1 ml sphere around it."""

    label: int
    index: LabelArray
    suv: FloatArray
    bone: FloatArray
    region: LabelArray
    peak: FloatArray


def measure(study: PetCt, anatomy: Anatomy, labels: LabelArray, settings: MeasurementSettings) -> tuple[Lesion, ...]:
    """One Lesion for each label 1..n of the PET grid."""
    return tuple(_lesion(study, anatomy, v, settings) for v in _voxels(study, anatomy, labels))


def _voxels(study: PetCt, anatomy: Anatomy, labels: LabelArray) -> list[_Voxels]:
    """The voxels of all lesions, gathered once and cut apart by label."""
    index = np.argwhere(labels > 0)
    if not len(index):
        return []
    label = labels[tuple(index.T)]
    order = np.argsort(label, kind="stable")
    index, label = index[order], label[order]
    at = tuple(index.T)
    peak = peak_at(study.pet.values, study.pet.grid.spacing, index)
    cuts = np.flatnonzero(np.diff(label)) + 1
    arrays = (index, study.pet.values[at].astype(np.float64), anatomy.bone[at], anatomy.regions.labels[at], peak)
    parts = zip(*(np.split(a, cuts) for a in arrays), strict=True)
    return [
        _Voxels(label=n, index=idx, suv=suv, bone=bone, region=region, peak=top)
        for n, (idx, suv, bone, region, top) in enumerate(parts, start=1)
    ]


def _lesion(study: PetCt, anatomy: Anatomy, v: _Voxels, settings: MeasurementSettings) -> Lesion:
    bone = float(v.bone.mean(dtype=np.float64))
    x, y, z = study.pet.grid.to_world(v.index.mean(axis=0))
    # The bone map is float32: 10 % must not fail by its rounding.
    medullary = bone >= settings.min_bone_fraction - 1e-6
    return Lesion(
        label=v.label,
        tracer=study.tracer,
        region=_region(anatomy.regions, v, settings),
        site=Site.MEDULLARY if medullary else Site.EXTRAMEDULLARY,
        bone_fraction=min(1.0, max(0.0, bone)),
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
