"""Measures against exact truth: a sphere seen as many fine points, the formulas of Du Bois and Mosteller."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from analysis.errors import BadSettings
from analysis.patient.measures import (
    PEAK_RADIUS_MM,
    MeasurementSettings,
    blood_pool_mean,
    body_surface_m2,
    brain_mean,
    liver_mean,
    liver_mean_and_noise,
    peak_at,
    peak_kernel,
    spleen_mean,
)
from analysis.values import Body, Tracer

SETTINGS = MeasurementSettings()


@pytest.fixture(scope="module")
def fine_points() -> np.ndarray:
    """(n, 3) half a million points anywhere in the sphere: no lattice that could meet the voxels' borders."""
    points = np.random.default_rng(5).uniform(-PEAK_RADIUS_MM, PEAK_RADIUS_MM, (1_000_000, 3))
    return points[np.linalg.norm(points, axis=1) <= PEAK_RADIUS_MM]


def by_many_points(points: np.ndarray, pet: np.ndarray, spacing: Sequence[float], index: np.ndarray) -> float:
    """SUVpeak at one voxel, the long way: in which voxel does each point of the sphere lie?"""
    at = np.floor(points / np.array(spacing) + index + 0.5).astype(int)
    at = at[np.all((at >= 0) & (at < np.array(pet.shape)), axis=1)]
    return float(pet[tuple(at.T)].mean(dtype=np.float64))


def test_peak_sphere_holds_one_millilitre() -> None:
    assert pytest.approx(1000.0, rel=1e-12) == 4.0 / 3.0 * math.pi * PEAK_RADIUS_MM**3
    assert pytest.approx(6.204, abs=1e-3) == PEAK_RADIUS_MM


@pytest.mark.parametrize(
    "spacing", [(3.27, 2.73, 2.73), (3.0, 4.07, 4.07), (5.0, 5.47, 5.47), (2.0, 2.0, 2.0), (13.0, 4.0, 4.0)]
)
def test_peak_equals_the_sphere_seen_as_fine_points(spacing: tuple[float, float, float], fine_points: np.ndarray) -> None:
    pet = np.random.default_rng(3).gamma(2.0, 2.0, (20, 20, 20)).astype(np.float32)
    index = np.array([[9, 10, 11], [0, 3, 19], [19, 19, 19], [10, 0, 10]])
    expected = [by_many_points(fine_points, pet, spacing, i) for i in index]
    assert peak_at(pet, spacing, index) == pytest.approx(expected, rel=3e-3)


def test_peak_kernel_is_normalised_and_symmetric() -> None:
    kernel = peak_kernel((3.0, 4.0, 2.5))
    assert kernel.sum() == pytest.approx(1.0)
    assert np.allclose(kernel, kernel[::-1, ::-1, ::-1])
    assert kernel[tuple(n // 2 for n in kernel.shape)] == pytest.approx(3.0 * 4.0 * 2.5 / 1000.0, rel=5e-3)


def test_body_surface_by_both_formulas() -> None:
    body = Body(weight_kg=70.0, height_m=1.75)
    # Du Bois & Du Bois 1916 and Mosteller 1987, worked out by hand for 70 kg and 175 cm.
    assert body_surface_m2(body, SETTINGS) == pytest.approx(1.8481, abs=5e-4)
    assert body_surface_m2(body, MeasurementSettings(body_surface="mosteller")) == pytest.approx(1.8447, abs=5e-4)
    assert math.isnan(body_surface_m2(Body(weight_kg=70.0), SETTINGS))


def test_spleen_leaves_out_lesions_and_its_rim(make: Any) -> None:
    grid = make.grid((30, 30, 30))
    spleen, lesion = make.sphere(grid, (45, 45, 45), 30), make.sphere(grid, (60, 45, 45), 7)
    suv = np.where(spleen & ~ndimage.binary_erosion(spleen), 3.0, 6.0)
    suv[make.sphere(grid, (60, 45, 45), 9)] = 15.0
    study, anatomy = make.study(Tracer.PENTIXAFOR, grid, suv), make.anatomy(grid, {"spleen": spleen})
    assert spleen_mean(study, anatomy, make.lesions(Tracer.PENTIXAFOR, grid, [lesion]), SETTINGS) == pytest.approx(6.0)
    assert spleen_mean(study, anatomy, make.lesions(Tracer.PENTIXAFOR, grid), SETTINGS) > 6.05


def test_small_or_absent_organs_are_undefined(make: Any) -> None:
    grid = make.grid((30, 30, 30))
    study, lesions = make.study(Tracer.FDG, grid), make.lesions(Tracer.FDG, grid)
    nothing, small = make.anatomy(grid), make.anatomy(grid, {"spleen": make.sphere(grid, (45, 45, 45), 17)})
    assert math.isnan(spleen_mean(study, small, lesions, SETTINGS))  # 20.6 ml, and less than 20 ml without its rim
    for mean in (spleen_mean, liver_mean, blood_pool_mean):
        assert math.isnan(mean(study, nothing, lesions, SETTINGS))
    assert math.isnan(brain_mean(study, nothing, 100.0))


def test_liver_noise_is_the_coefficient_of_variation(make: Any) -> None:
    """Voxels of 1.8 and 2.2 in turn: mean 2, standard deviation 0.2; an even liver has none."""
    grid = make.grid((40, 40, 40))
    anatomy = make.anatomy(grid, {"liver": make.sphere(grid, (60, 60, 60), 50)})
    suv = np.where(np.indices(grid.shape).sum(axis=0) % 2, 1.8, 2.2)
    lesions = make.lesions(Tracer.FDG, grid)
    _, noise = liver_mean_and_noise(make.study(Tracer.FDG, grid, suv), anatomy, lesions, SETTINGS)
    assert noise == pytest.approx(0.1, rel=0.01)
    assert liver_mean_and_noise(make.study(Tracer.FDG, grid, 2.0), anatomy, lesions, SETTINGS) == (2.0, 0.0)
    undefined = liver_mean_and_noise(make.study(Tracer.FDG, grid, 2.0), make.anatomy(grid), lesions, SETTINGS)
    assert all(math.isnan(value) for value in undefined)


def test_liver_sphere_lies_in_the_right_lobe_away_from_lesions(make: Any) -> None:
    grid = make.grid((40, 40, 80))
    right, left = make.sphere(grid, (60, 60, 60), 45), make.sphere(grid, (165, 60, 60), 48)
    lesion = make.sphere(grid, (60, 60, 60), 9)
    suv = np.where(right, 2.0, 0.5)
    suv[left] = 4.0
    suv[lesion] = 20.0
    study, anatomy = make.study(Tracer.FDG, grid, suv), make.anatomy(grid, {"liver": right | left})
    assert liver_mean(study, anatomy, make.lesions(Tracer.FDG, grid, [lesion]), SETTINGS) == pytest.approx(2.0)


def test_blood_pool_is_the_inside_of_the_aorta(make: Any) -> None:
    grid = make.grid((40, 20, 20))
    x, y = np.meshgrid(np.arange(20) * 3.0, np.arange(20) * 3.0)
    radius = np.hypot(x - 30, y - 30)
    suv = np.broadcast_to(np.where(radius < 9, 1.8, 0.5), grid.shape)
    aorta = np.broadcast_to(radius <= 12, grid.shape).copy()
    study, anatomy = make.study(Tracer.PENTIXAFOR, grid, suv), make.anatomy(grid, {"aorta": aorta})
    assert blood_pool_mean(study, anatomy, make.lesions(Tracer.PENTIXAFOR, grid), SETTINGS) == pytest.approx(1.8, rel=0.1)


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(BadSettings, match="min_overlap"):
        MeasurementSettings(min_overlap=10.0)
    with pytest.raises(BadSettings, match="common_spacing_mm"):
        MeasurementSettings(common_spacing_mm=0.0)
