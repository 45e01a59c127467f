"""What a network is shown: grids of every orientation, turned and cropped, and the way back."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations, product

import numpy as np
import pytest
from nets import Net, card_of, channel, noise_study, study

from analysis.errors import ModelUnavailable
from analysis.segmenters.model_card import ChannelKind
from analysis.segmenters.network_input import body_box, network_input, turn_to
from analysis.values import Grid, Tracer

CARD = card_of(Net())


def lying(order: tuple[int, ...], signs: tuple[int, ...]) -> Grid:
    """A grid whose k, j, i run along these world axes (0: x) with these signs."""
    affine = np.eye(4)
    affine[:3, :3] = 0.0
    for column, (axis, sign, spacing) in enumerate(zip(order, signs, (2.0, 3.0, 4.0), strict=True)):
        affine[axis, column] = sign * spacing
    return Grid(shape=(4, 5, 6), affine=affine)


@pytest.mark.parametrize("orientation", ["LPS", "LAS", "RAS", "SPL"])
def test_every_grid_is_turned_into_the_orientation_and_back(orientation: str) -> None:
    """A ramp along each world axis: after the turn it has to rise along the array's axis that the letter names."""
    rises = {"L": (0, 1), "R": (0, -1), "P": (1, 1), "A": (1, -1), "S": (2, 1), "I": (2, -1)}
    for order, signs in product(permutations(range(3)), product((1, -1), repeat=3)):
        grid = lying(order, signs)
        world = grid.to_world(np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij"), axis=-1))
        turn = turn_to(grid, orientation)
        for letter, array_axis in zip(orientation, (2, 1, 0), strict=True):
            axis, sign = rises[letter]
            assert (np.diff(turn.there(world[..., axis]), axis=array_axis) * sign > 0).all()
        values = np.random.default_rng(0).random(grid.shape)
        assert np.array_equal(turn.back(turn.there(values)), values)


def test_channels_are_turned_and_restored_to_where_they_were() -> None:
    case = noise_study(1)
    flipped = np.eye(4)
    flipped[1, 1], flipped[1, 3] = -1.0, 500.0
    grid = Grid(shape=case.pet.grid.shape, affine=flipped @ case.pet.grid.affine)
    turned = study(Tracer.FDG, case.pet.values, grid, np.full(grid.shape, 40.0, np.float32), grid)
    shown = network_input(turned, replace(CARD, orientation="LPS"), crop=False)
    assert np.array_equal(shown.channels[1], case.pet.values[:, ::-1])
    assert np.array_equal(shown.restored(shown.channels[1] / 12.0, grid), case.pet.values / 12.0)


def test_the_box_holds_the_body_with_a_margin_and_not_the_table() -> None:
    case = noise_study(2, (60, 60, 60))
    hu = np.full(case.pet.grid.shape, -1000.0, np.float32)
    hu[20:40, 20:40, 20:40] = 40.0
    hu[:, 50, :] = -120.0  # a shell one voxel thick
    box = body_box(case.pet.grid, hu, np.zeros_like(hu))
    assert box == (slice(15, 45),) * 3  # 20 mm of 4 mm voxels
    arm = np.zeros_like(hu)
    arm[20:40, 20:40, 38:52] = 1.0  # uptake beyond what CT covers
    assert body_box(case.pet.grid, hu, arm) == (slice(15, 45), slice(15, 45), slice(15, 57))


def test_outside_the_box_the_probability_is_nothing() -> None:
    case = noise_study(3)
    shown = network_input(case, CARD)
    inside = np.zeros(case.pet.grid.shape, bool)
    inside[shown.box] = True
    restored = shown.restored(np.ones(shown.channels.shape[1:], np.float32), case.pet.grid)
    assert np.array_equal(restored > 0, inside)
    assert 0 < inside.sum() < inside.size


def test_where_the_ct_does_not_reach_stands_what_the_sidecar_says() -> None:
    case = noise_study(4)
    small = case.ct.grid
    half = Grid(shape=(small.shape[0] // 2, *small.shape[1:]), affine=small.affine)
    cut = study(Tracer.FDG, case.pet.values, case.pet.grid, np.full(half.shape, 40.0, np.float32), half)
    shown = network_input(cut, CARD, crop=False)
    assert (shown.channels[0][-10:] == -1024.0).all()
    assert (shown.channels[0][2:10] == 40.0).all()


def test_another_tracers_channel_is_refused() -> None:
    both = (channel(ChannelKind.CT), replace(channel(ChannelKind.SUV), tracer=Tracer.PENTIXAFOR))
    with pytest.raises(ModelUnavailable, match="takes a PentixaFor PET beside the FDG study's own images"):
        network_input(noise_study(5), replace(CARD, channels=both))
