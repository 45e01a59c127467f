"""What a network is shown: both images on one grid, turned and cropped as its card says, and the way back to the PET."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import permutations
from typing import Final

import numpy as np
from scipy import ndimage

from analysis.errors import ModelUnavailable
from analysis.grids import crop_to, resample
from analysis.segmenters.model_card import Channel, ChannelKind, ModelCard, TargetGrid
from analysis.segmenters.morphology import largest
from analysis.values import BoolArray, FloatArray, Grid, PetCt

MARGIN_MM: Final = 20.0
COARSE_MM: Final = 5.0
BODY_HU, BODY_SUV = -400.0, 0.2  # denser, or taking up more, than what surrounds a patient
WAYS: Final = {"L": (0, 1), "R": (0, -1), "P": (1, 1), "A": (1, -1), "S": (2, 1), "I": (2, -1)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """How an array [k, j, i] is brought into an orientation: its axes in this order, then these of the result reversed."""

    order: tuple[int, int, int]
    reverse: tuple[int, ...]

    def there(self, values: FloatArray) -> FloatArray:
        return np.flip(values.transpose(self.order), self.reverse)

    def back(self, values: FloatArray) -> FloatArray:
        order = [int(n) for n in np.argsort(self.order)]
        return np.flip(values, self.reverse).transpose(order)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NetworkInput:
    """One study as a network takes it.

    channels: float32 (channel, k, j, i), turned; spacing_mm: of them. grid: what they were cut from, at `box`.
    """

    channels: FloatArray
    spacing_mm: tuple[float, float, float]
    grid: Grid
    box: tuple[slice, slice, slice]
    turn: Turn

    def restored(self, probability: FloatArray, onto: Grid) -> FloatArray:
        """float32 on `onto`: a probability on the channels' voxels, 0 outside the box."""
        whole = np.zeros(self.grid.shape, dtype=np.float32)
        whole[self.box] = self.turn.back(probability)
        if not self.grid.same_as(onto):
            whole = resample(self.grid, whole, onto)
        return np.clip(whole, 0.0, 1.0, out=whole)


def network_input(study: PetCt, card: ModelCard, *, crop: bool = True) -> NetworkInput:
    """Both images as the card wants them. Raises ModelUnavailable where a channel is another tracer's SUV."""
    grid = study.pet.grid if card.grid is TargetGrid.PET else study.ct.grid
    raw = {kind: _on(study, kind, grid, _outside(card, kind)) for kind in ChannelKind}
    box = body_box(grid, raw[ChannelKind.CT], raw[ChannelKind.SUV]) if crop else crop_to(grid, np.zeros(grid.shape, bool))
    turn = turn_to(grid, card.orientation)
    shown = []
    for channel in card.channels:
        if channel.tracer not in (None, study.tracer):
            raise ModelUnavailable(
                f"Model {card.name} takes a {channel.tracer} PET beside the {study.tracer} study's own images."
            )
        shown.append(turn.there(_scaled(raw[channel.kind][box], channel)))
    k, j, i = (grid.spacing[axis] for axis in turn.order)
    return NetworkInput(
        channels=np.ascontiguousarray(np.stack(shown), dtype=np.float32), spacing_mm=(k, j, i), grid=grid, box=box, turn=turn
    )


def _on(study: PetCt, kind: ChannelKind, grid: Grid, outside: float) -> FloatArray:
    """One image's values on the grid, linear between voxels."""
    volume = study.ct if kind is ChannelKind.CT else study.pet
    return volume.values if volume.grid.same_as(grid) else resample(volume.grid, volume.values, grid, outside=outside)


def _outside(card: ModelCard, kind: ChannelKind) -> float:
    default = -1000.0 if kind is ChannelKind.CT else 0.0
    return next((channel.outside for channel in card.channels if channel.kind is kind), default)


def _scaled(values: FloatArray, channel: Channel) -> FloatArray:
    if channel.clip is not None:
        values = np.clip(values, *channel.clip)
    if (channel.scale, channel.offset) != (1.0, 0.0):
        values = values * np.float32(channel.scale) + np.float32(channel.offset)
    return values


def body_box(grid: Grid, hu: FloatArray, suv: FloatArray) -> tuple[slice, slice, slice]:
    """The index box of the patient with a margin: the largest connected part, so that arms which CT has cut stay in.

    Looked for on every n-th voxel, some COARSE_MM apart, which the margin covers.
    """
    steps = [max(1, round(COARSE_MM / spacing)) for spacing in grid.spacing]
    thin = tuple(slice(None, None, step) for step in steps)
    body: BoolArray = (hu[thin] > BODY_HU) | (suv[thin] > BODY_SUV)
    found = largest(ndimage.binary_opening(body))  # an opening takes the table's shell off
    if not found.any():
        return crop_to(grid, np.zeros(grid.shape, dtype=bool))
    box = ndimage.find_objects(found.astype(np.uint8))[0]
    pads = [math.ceil(MARGIN_MM / spacing) for spacing in grid.spacing]
    ends = zip(box, steps, pads, grid.shape, strict=True)
    k, j, i = (slice(max(0, b.start * s - p), min(n, (b.stop - 1) * s + 1 + p)) for b, s, p, n in ends)
    return k, j, i


def turn_to(grid: Grid, orientation: str) -> Turn:
    """The turn that brings the grid's axes nearest to the orientation's (letters for i, j and k)."""
    axes = grid.affine[:3, :3] / np.linalg.norm(grid.affine[:3, :3], axis=0)
    wanted = [WAYS[letter] for letter in reversed(orientation)]  # for k, j, i
    order = max(
        permutations(range(3)), key=lambda p: sum(abs(axes[way, axis]) for (way, _), axis in zip(wanted, p, strict=True))
    )
    signs = [axes[way, axis] * sign for (way, sign), axis in zip(wanted, order, strict=True)]
    return Turn(order=(order[0], order[1], order[2]), reverse=tuple(n for n, sign in enumerate(signs) if sign < 0))
