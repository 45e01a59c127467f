"""Lesions without weights: thresholds on SUV.

A first look on a new machine, not a trained model; every object that is made with them says "rules, no weights".
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from analysis.grids import crop_to
from analysis.patient.measures import MeasurementSettings, peak_at
from analysis.ports import LesionMap
from analysis.segmenters.anatomy_names import BOWEL
from analysis.segmenters.morphology import components, dilate, means, tops
from analysis.segmenters.rules_anatomy import EXCRETION
from analysis.segmenters.rules_spill import lesions_beside
from analysis.segmenters.thresholds import Threshold, ThresholdSettings, absolute, defined, limits, references
from analysis.values import Anatomy, BoolArray, FloatArray, Grid, LabelArray, Model, PetCt, Tracer

RULES_VERSION = "1"
AGREEMENT = "share of the fixed, liver and blood pool thresholds under which it still is a lesion; no probability"
WARM = ("liver", "spleen")
BONE_REACH_MM = 4.0  # a top of uptake so near to bone is no spill of urine: a rib is thinner than a PET voxel


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSettings(ThresholdSettings):
    """How rules find lesions.

    organ_factor: inside liver and spleen a lesion must also exceed this times the organ's median. margin_mm: how far the
    uptake of urine, liver and spleen may spill on PET.
    """

    organ_factor: float = 1.5
    margin_mm: float = 8.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleLesions:
    """LesionSegmenter by threshold; hills of uptake whose top lies in a physiological organ are left out whole.

    threshold: which definition makes the lesions; "relative": hills are found by the fixed one, and their border then lies
    at a part of each hill's highest SUV.
    """

    settings: RuleSettings = RuleSettings()
    threshold: Threshold = "fixed"
    measurement: MeasurementSettings = field(default_factory=MeasurementSettings)

    @property
    def model(self) -> Model:
        return Model(name="duet lesions (rules, no weights)", version=RULES_VERSION)

    def segment_lesions(self, study: PetCt, anatomy: Anatomy) -> LesionMap:
        """Raises ModelUnavailable where the threshold rests on an organ that was not found."""
        known = references(study, anatomy, self.measurement)
        seed = "fixed" if self.threshold in ("relative", "none") else self.threshold
        least = defined(study, seed, absolute(study.tracer, known, self.settings))
        organs = organ_limits(study, anatomy, self.settings)
        mask, regions = self._hills(study, anatomy, np.maximum(organs, least))
        regions[study.pet.values <= organs] = 0
        by_name = limits(study, regions, known, self.settings)
        border = "relative" if self.threshold == "relative" else seed
        if border == "relative":
            mask = (regions > 0) & (study.pet.values > by_name[border][regions])
        return LesionMap(
            model=self.model, mask=mask, regions=regions, limits=by_name, border=border, references=known, confidence=AGREEMENT
        )

    def _hills(self, study: PetCt, anatomy: Anatomy, limit: FloatArray) -> tuple[BoolArray, LabelArray]:
        """The lesions' mask where SUV exceeds limit, and the numbered hills, down to their valleys, that they are part of."""
        grid, suv = study.pet.grid, study.pet.values
        candidate = suv > limit
        regions = np.zeros(grid.shape, dtype=np.int32)
        if not candidate.any():
            return candidate, regions
        organs = anatomy.regions.mask(*anatomy.physiological)
        excreting = anatomy.regions.mask(*EXCRETION)
        spill = dilate(grid, excreting, self.settings.margin_mm) & ~dilate(grid, anatomy.bone >= 0.3, BONE_REACH_MM)
        box = crop_to(grid, candidate, 2 * max(grid.spacing))
        basin = basins(suv[box])
        hill = hills(basin, candidate[box])
        drop = physiological_hills(suv[box], hill, organs[box], spill[box]) | specks(suv[box], grid, hill, limit[box])
        mask = np.zeros(grid.shape, dtype=bool)
        mask[box] = ~drop[hill]
        apart = np.zeros(grid.shape, dtype=bool)
        apart[box] = ~physiological_hills(suv[box], hill, organs[box], np.zeros_like(organs[box]))[hill]
        beside = lesions_beside(study.pet, anatomy, candidate & ~mask, limit, apart)
        if study.tracer is Tracer.FDG:
            mask = mask & ~winding(grid, mask, anatomy.regions.mask(*BOWEL))
        regions[box] = whole_hills(basin, mask[box], candidate[box])
        own = components(beside & ~mask)[0]
        regions = np.where(own > 0, own + regions.max(), regions).astype(np.int32)
        return mask | beside, regions


def organ_limits(study: PetCt, anatomy: Anatomy, settings: RuleSettings) -> FloatArray:
    """The SUV that a lesion exceeds at each voxel in and beside liver and spleen, whatever the threshold; else 0.

    Bone beside an organ holds at most the organ's own uptake as spill, so a lesion there need only exceed that.
    """
    grid, suv = study.pet.grid, study.pet.values
    limit = np.zeros(grid.shape, dtype=np.float32)
    for organ in (anatomy.regions.mask(name) for name in WARM):
        if organ.any():
            usual = float(np.median(suv[organ]))
            reach = dilate(grid, organ, settings.margin_mm)
            factor = np.where(organ[reach] | (anatomy.bone[reach] < 0.5), settings.organ_factor, 1.0)
            limit[reach] = np.maximum(limit[reach], usual * factor)
    return limit


def whole_hills(basin: LabelArray, mask: BoolArray, candidate: BoolArray) -> LabelArray:
    """The basins that hold lesions, numbered from 1; without candidates that are no lesion. 0 elsewhere."""
    held = np.unique(basin[mask])
    number = np.zeros(int(basin.max(initial=0)) + 1, dtype=np.int32)
    number[held] = np.arange(1, held.size + 1)
    return np.where(candidate & ~mask, 0, number[basin]).astype(np.int32)


def winding(grid: Grid, mask: BoolArray, bowel: BoolArray) -> BoolArray:
    """The components that lie for the greater part along bowel and are long and winding; a focus in bowel stays a lesion.

    Long: more than 40 mm. Winding: fills less than 35 % of its box (a ball fills 52 %).
    """
    labels, sizes = components(mask)
    numbers = np.arange(1, sizes.size + 1)
    along = means(bowel, labels, numbers) if sizes.size else numbers
    spans = [[s.stop - s.start for s in box] for box in ndimage.find_objects(labels)]
    drop = [
        part > 0.5 and max(np.multiply(span, grid.spacing)) > 40.0 and size < 0.35 * np.prod(span)
        for part, span, size in zip(along, spans, sizes, strict=True)
    ]
    return np.concatenate([[False], np.array(drop, dtype=bool)])[labels]


def specks(suv: FloatArray, grid: Grid, hill: LabelArray, limit: FloatArray) -> BoolArray:
    """For each hill number (from 0) whether it is noise: nowhere does the mean of 1 ml around its voxels pass the limit.

    The 1 ml sphere is that of SUVpeak. Only hills below 2 ml are asked: larger ones hold such a sphere.
    """
    voxels = np.bincount(hill.ravel())
    small = voxels * grid.voxel_ml < 2.0
    small[0] = False
    index = np.argwhere(small[hill])
    passes = peak_at(suv, grid.spacing, index) > limit[tuple(index.T)] if len(index) else np.zeros(0, dtype=bool)
    small[np.unique(hill[tuple(index.T)][passes])] = False
    return small


def basins(suv: FloatArray) -> LabelArray:
    """Every voxel given to a top of uptake, numbered from 1.

    A watershed on log SUV: two tops are two hills where the saddle between them is at least a quarter lower than both.
    """
    smooth = ndimage.gaussian_filter(suv, 0.5)
    height = -np.log(np.maximum(smooth, 0.1)).astype(np.float32)
    found = sitk.MorphologicalWatershed(sitk.GetImageFromArray(height), level=0.3, markWatershedLine=False, fullyConnected=True)
    return np.asarray(sitk.GetArrayFromImage(found))


def hills(basin: LabelArray, candidate: BoolArray) -> LabelArray:
    """The candidate voxels divided among basins of uptake, numbered from 1 (0 elsewhere).

    What candidates do not connect is never one hill: a spleen between a kidney and a lesion is no candidate itself.
    """
    islands, _ = components(candidate)
    pairs = np.where(candidate, islands.astype(np.int64) * (int(basin.max()) + 1) + basin, 0)
    numbers = np.unique(pairs, return_inverse=True)[1].reshape(pairs.shape)
    return np.where(candidate, numbers + (0 if pairs.min() == 0 else 1), 0).astype(np.int32)


def physiological_hills(suv: FloatArray, hill: LabelArray, organs: BoolArray, spill: BoolArray) -> BoolArray:
    """For each hill number (from 0) whether it is no lesion: its top lies in an organ's reach, or half of it in the organ."""
    count = int(hill.max()) + 1
    numbers = np.unique(hill[hill > 0])
    out = np.ones(count, dtype=bool)
    out[numbers] = [bool(spill[top] or organs[top]) for top in tops(suv, hill, numbers)]
    out[numbers] |= means(organs, hill, numbers) > 0.5
    return out
