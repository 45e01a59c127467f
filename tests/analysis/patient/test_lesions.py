"""Lesions of exact masks: which voxels become a lesion, in which order, where they lie and what they measure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from analysis.errors import ModelUnavailable
from analysis.patient.lesions import components, find_lesions, measured, readable
from analysis.patient.measures import MeasurementSettings
from analysis.ports import LesionMap
from analysis.values import Anatomy, BoolArray, Model, PetCt, Site, Tracer

SETTINGS = MeasurementSettings()


FIXED = Model(name="fixed", version="7")


@dataclass(frozen=True)
class Fixed:
    """A LesionSegmenter that knows the answer."""

    mask: BoolArray
    model: Model = FIXED

    def segment_lesions(self, study: PetCt, anatomy: Anatomy) -> LesionMap:  # noqa: ARG002
        return LesionMap(model=self.model, mask=self.mask)


def test_labels_run_from_head_to_feet_then_from_right_to_left(make: Any) -> None:
    grid = make.grid((40, 20, 40))
    low, right, left = (make.sphere(grid, c, 7) for c in ((60, 30, 20), (30, 30, 90), (90, 30, 90)))
    labels = components(low | left | right, grid, 0.5)
    assert [int(labels[m].min()) for m in (right, left, low)] == [1, 2, 3]
    assert labels.max() == 3


def test_corners_connect_and_small_components_are_dropped(make: Any) -> None:
    grid = make.grid((10, 10, 10), (5.0, 5.0, 5.0))  # a voxel is 0.125 ml
    mask = np.zeros(grid.shape, dtype=bool)
    mask[1:3, 1:3, 1] = True  # 0.5 ml, just enough
    mask[3, 3, 2] = True  # touches it by a corner only
    mask[7, 7, 5:8] = True  # 0.375 ml
    labels = components(mask, grid, 0.5)
    assert labels.max() == 1
    assert (labels == 1).sum() == 5
    assert components(mask, grid, 0.3).max() == 2


def test_measures_of_a_known_lesion(make: Any) -> None:
    grid = make.grid((24, 24, 24), (3.0, 2.5, 2.5), (-10.0, 5.0, 100.0))
    mask = make.sphere(grid, (20.0, 35.0, 136.0), 10)
    suv = np.where(mask, 5.0, 0.5)
    top = tuple(np.argwhere(mask)[3])
    suv[top] = 11.0
    study = make.study(Tracer.FDG, grid, suv)
    found = find_lesions(study, make.anatomy(grid), Fixed(mask), SETTINGS)
    (lesion,) = found.lesions
    assert (lesion.id, lesion.voxels, found.model.name) == ("F1", int(mask.sum()), "fixed")
    assert lesion.volume_ml == pytest.approx(mask.sum() * 3.0 * 2.5 * 2.5 / 1000)
    assert lesion.suv_mean == pytest.approx((5.0 * (mask.sum() - 1) + 11.0) / mask.sum())
    assert lesion.suv_max == pytest.approx(11.0)
    assert lesion.burden_g == pytest.approx(lesion.volume_ml * lesion.suv_mean)
    assert 5.0 < lesion.suv_peak < 5.2
    assert lesion.centroid_mm == pytest.approx((20.0, 35.0, 136.0), abs=0.4)
    assert found.labelmap.labels.sum() == mask.sum()


@pytest.mark.parametrize(("part", "site"), [(0.09, Site.EXTRAMEDULLARY), (0.10, Site.MEDULLARY), (0.11, Site.MEDULLARY)])
def test_medullary_from_ten_percent_of_the_volume_on(make: Any, part: float, site: Site) -> None:
    grid = make.grid((10, 20, 20))
    mask = np.zeros(grid.shape, dtype=bool)
    mask[2:6, 5:10, 5:10] = True  # 100 voxels
    bone = np.zeros(grid.shape, dtype=np.float32)
    bone.flat[np.flatnonzero(mask)[: round(100 * part)]] = 1.0
    (lesion,) = find_lesions(make.study(Tracer.FDG, grid), make.anatomy(grid, bone=bone), Fixed(mask), SETTINGS).lesions
    assert lesion.bone_fraction == pytest.approx(part)
    assert lesion.site is site


def test_partial_bone_voxels_count_by_their_fraction(make: Any) -> None:
    grid = make.grid((10, 20, 20))
    mask = make.sphere(grid, (30, 30, 15), 8)
    bone = np.full(grid.shape, 0.1, dtype=np.float32)
    (lesion,) = find_lesions(make.study(Tracer.FDG, grid), make.anatomy(grid, bone=bone), Fixed(mask), SETTINGS).lesions
    assert lesion.site is Site.MEDULLARY


def test_region_is_the_largest_share_or_the_nearest_or_soft_tissue(make: Any) -> None:
    grid = make.grid((20, 40, 60))
    x = np.broadcast_to(np.arange(60) * 3.0, grid.shape)
    anatomy = make.anatomy(grid, {"lung_right": x < 30, "vertebrae_L3": (x >= 30) & (x < 60)})
    where = {"right lung": 27, "vertebra L3": 36, "near vertebra L3": 75, "soft tissue": 150}
    for name, at in where.items():
        mask = make.sphere(grid, (at, 60, 30), 8)
        (lesion,) = find_lesions(make.study(Tracer.FDG, grid), anatomy, Fixed(mask), SETTINGS).lesions
        assert lesion.region == name


def test_no_lesion_is_an_answer(make: Any) -> None:
    grid = make.grid((8, 8, 8))
    mask = np.zeros(grid.shape, dtype=bool)
    found = find_lesions(make.study(Tracer.PENTIXAFOR, grid), make.anatomy(grid), Fixed(mask), SETTINGS)
    assert found.lesions == ()
    assert not found.labelmap.labels.any()


def test_a_mask_of_another_grid_is_a_fault_of_the_segmenter(make: Any) -> None:
    grid = make.grid((8, 8, 8))
    with pytest.raises(ValueError, match="does not fit"):
        find_lesions(make.study(Tracer.FDG, grid), make.anatomy(grid), Fixed(np.zeros((8, 8, 9), dtype=bool)), SETTINGS)


def test_region_names_in_words() -> None:
    names = ["kidney_left", "vertebrae_T12", "rib_left_5", "urinary_bladder", "lung_upper_lobe_right", "skeleton"]
    words = ["left kidney", "vertebra T12", "rib left 5", "urinary bladder", "right lung upper lobe", "skeleton"]
    assert [readable(n) for n in names] == words


@dataclass(frozen=True)
class Blind:
    """A LesionSegmenter that cannot look."""

    model: Model = FIXED

    def segment_lesions(self, study: PetCt, anatomy: Anatomy) -> LesionMap:  # noqa: ARG002
        raise ModelUnavailable("there are no weights.")


def test_what_cannot_look_finds_nothing_and_says_so(make: Any) -> None:
    grid = make.grid((8, 8, 8))
    found = find_lesions(make.study(Tracer.FDG, grid), make.anatomy(grid), Blind(), SETTINGS)
    assert (found.lesions, found.not_run, found.model) == ((), "there are no weights.", FIXED)


@pytest.mark.parametrize(("edge", "certain"), [(28.5, False), (22.5, True), (40.5, True)])
def test_the_site_is_uncertain_where_a_small_shift_changes_it(make: Any, edge: float, certain: bool) -> None:
    """A cube of 30 mm from x = 25.5 mm on beside a plane of bone: 10 % of it are 3 mm, 2 mm less or more are 3 to 17 %."""
    grid = make.grid((20, 20, 40))
    mask = np.zeros(grid.shape, dtype=bool)
    mask[5:15, 5:15, 9:19] = True  # x from 25.5 to 55.5 mm
    x = np.arange(40) * 3.0
    part = np.clip((edge - (x - 1.5)) / 3.0, 0.0, 1.0)  # of each voxel on this side of the plane
    bone = np.broadcast_to(part, grid.shape).astype(np.float32)
    (lesion,) = find_lesions(make.study(Tracer.FDG, grid), make.anatomy(grid, bone=bone), Fixed(mask), SETTINGS).lesions
    share = max(0.0, (edge - 25.5) / 30.0)
    assert lesion.bone_fraction == pytest.approx(share, abs=1e-6)
    low, high = max(0.0, (edge - 2.0 - 25.5) / 30.0), max(0.0, (edge + 2.0 - 25.5) / 30.0)
    assert lesion.bone_range == pytest.approx((low, high), abs=0.012)
    assert lesion.site_certain is certain


def test_confidence_is_the_mean_probability(make: Any) -> None:
    grid = make.grid((20, 20, 20))
    mask = make.sphere(grid, (30, 30, 30), 10.0)
    probability = np.where(mask, 0.8, 0.1).astype(np.float32)
    top = tuple(np.argwhere(mask)[0])
    probability[top] = 0.6
    seen = LesionMap(model=FIXED, mask=mask, probability=probability)
    (lesion,) = measured(make.study(Tracer.FDG, grid), make.anatomy(grid), seen, SETTINGS).lesions
    assert lesion.confidence == pytest.approx(0.8 - 0.2 / mask.sum())
    plain = measured(make.study(Tracer.FDG, grid), make.anatomy(grid), LesionMap(model=FIXED, mask=mask), SETTINGS)
    assert plain.lesions[0].confidence is None
