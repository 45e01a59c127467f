"""Tiles in batches against nnU-Net's own walk over them, one by one, with the network that comes with duet."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from analysis.segmenters import nnunet
from analysis.segmenters.catalogue import SHIPPED
from analysis.segmenters.model_files import look_into
from analysis.segmenters.model_settings import ModelSettings
from analysis.segmenters.nnunet import NnUnetLesions, load_network
from analysis.values import Tracer

NAME = "duet-phantom-lesions"
SETTINGS = ModelSettings(folder=SHIPPED, allow=tuple(look_into(SHIPPED, NAME).to_allow.values()), device="cpu")
TILES = 2 * 2 * 2  # of 32 voxels in steps of at most 16 on IMAGE
IMAGE = torch.randn((2, 48, 40, 40), generator=torch.Generator().manual_seed(1))


def predictor_of(**settings: Any) -> Any:
    network = load_network(replace(SETTINGS, **settings), NAME, Tracer.FDG)
    assert isinstance(network, NnUnetLesions)
    return network.resident.predictor


def answer(predictor: Any) -> tuple[torch.Tensor, list[int]]:
    """Logits, and how many tiles each pass through the network held."""
    sizes: list[int] = []
    hook = predictor.network.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    try:
        return predictor.predict_sliding_window_return_logits(IMAGE), sizes
    finally:
        hook.remove()


@pytest.fixture(scope="module")
def theirs() -> torch.Tensor:
    """nnU-Net's own answer."""
    logits, sizes = answer(predictor_of())
    assert sizes == [1] * TILES
    assert float(logits.float().std()) > 0.1
    return logits


def test_batches_give_what_single_tiles_give(theirs: torch.Tensor) -> None:
    ours, sizes = answer(predictor_of(tiles=5))
    assert sizes == [5, 3]
    assert float((ours.float() - theirs.float()).abs().max()) < 0.02  # half precision of logits up to ten


def test_where_memory_ends_the_batch_is_halved(theirs: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = predictor_of(tiles=8)
    own = predictor._internal_maybe_mirror_and_predict

    def narrow(tiles: torch.Tensor) -> torch.Tensor:
        if len(tiles) > 2:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return own(tiles)

    monkeypatch.setattr(predictor, "_internal_maybe_mirror_and_predict", narrow)
    ours, sizes = answer(predictor)
    assert sizes == [2] * (TILES // 2)
    assert float((ours.float() - theirs.float()).abs().max()) < 0.02


def test_a_gpu_that_holds_no_single_tile_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = predictor_of(tiles=2)

    def full(_: torch.Tensor) -> torch.Tensor:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(predictor, "_internal_maybe_mirror_and_predict", full)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        predictor.predict_sliding_window_return_logits(IMAGE)


def test_fewer_than_no_tile_is_no_setting() -> None:
    with pytest.raises(ValueError, match="tiles is to be 0 or more"):
        ModelSettings(tiles=-1)


@pytest.fixture(autouse=True, scope="module")
def nothing_resident() -> Any:
    yield
    nnunet._resident.cache_clear()
