"""Binary morphology against the volumes of balls and by brute force."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from analysis.grids import centres
from analysis.segmenters import morphology as m
from analysis.values import Grid

GRID = Grid(shape=(31, 33, 35), affine=np.array([[0, 0, 2.0, -34], [0, 2.0, 0, -32], [2.0, 0, 0, -30], [0, 0, 0, 1]]))


def ball(radius_mm: float, centre: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> np.ndarray:
    return np.linalg.norm(centres(GRID) - centre, axis=-1) <= radius_mm


def test_dilating_a_point_gives_the_ball_of_that_radius() -> None:
    assert (m.dilate(GRID, ball(0.5), 12.0) == ball(12.0)).all()


def test_eroding_agrees_with_the_distance_to_every_voxel_outside() -> None:
    mask = ball(16.0)
    outside = centres(GRID)[~mask]
    inside = np.argwhere(mask)
    nearest = [np.linalg.norm(outside - GRID.to_world(index), axis=-1).min() for index in inside]
    expected = np.zeros_like(mask)
    expected[tuple(inside[np.array(nearest) > 7.0].T)] = True
    assert (m.erode(GRID, mask, 7.0) == expected).all()


def test_beyond_the_grid_counts_as_mask_when_eroding() -> None:
    whole = np.ones(GRID.shape, dtype=bool)
    assert m.erode(GRID, whole, 9.0).all()


def test_opening_drops_what_is_thin_and_closing_bridges_gaps() -> None:
    thick, thin = ball(14.0), ball(3.0, (28.0, 0.0, 0.0))
    opened = m.opening(GRID, thick | thin, 6.0)
    assert not (opened & thin).any()
    assert not (opened & ~thick).any()
    assert (m.opening(GRID, opened, 6.0) == opened).all()
    slit = ball(14.0) & (np.abs(centres(GRID)[..., 0]) > 1.0)
    assert m.closing(GRID, slit, 4.0).sum() > 0.97 * ball(14.0).sum()


def test_an_empty_mask_stays_empty() -> None:
    nothing = np.zeros(GRID.shape, dtype=bool)
    for result in (m.dilate(GRID, nothing, 5), m.erode(GRID, nothing, 5), m.largest(nothing), m.touching(nothing, nothing)):
        assert not result.any()


@pytest.mark.parametrize(("ml", "kept"), [(5.0, 2), (12.0, 1), (100.0, 0)])
def test_components_are_kept_by_their_volume(ml: float, kept: int) -> None:
    mask = ball(15.0, (-14.0, 0.0, 0.0)) | ball(11.0, (20.0, 0.0, 0.0))
    assert len(m.components(m.larger_than(GRID, mask, ml))[1]) == kept


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_holes_of_slices_are_those_that_scipy_fills(axis: int) -> None:
    mask = ndimage.gaussian_filter(np.random.default_rng(2).standard_normal(GRID.shape), 1.5) > -0.05
    mask[:4] = False
    slices = [ndimage.binary_fill_holes(each) for each in np.moveaxis(mask, axis, 0)]
    assert (m.fill_slices(mask, axis) == np.moveaxis(np.stack(slices), 0, axis)).all()


def test_dilating_on_unequal_spacing_agrees_with_scipys_distances() -> None:
    grid = Grid(shape=(20, 30, 41), affine=np.array([[0, 0, 1.7, 0], [0, 2.3, 0, 0], [5.0, 0, 0, 0], [0, 0, 0, 1]]))
    mask = np.random.default_rng(3).random(grid.shape) > 0.995
    distance = ndimage.distance_transform_edt(~mask, sampling=grid.spacing)
    for radius_mm in (0.5, 4.0, 11.0):
        assert (m.dilate(grid, mask, radius_mm) == (distance <= radius_mm)).all()
