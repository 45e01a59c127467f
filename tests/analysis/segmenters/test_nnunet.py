"""nnU-Net through its true loader, with networks whose answer is known: they say exactly "SUV above a limit"."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nets import BOTH, Net, above, box_grid, channel, noise_study, plans_of, sealed, study, swap_byte, write_fold, write_net
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from analysis.errors import ModelUnavailable
from analysis.segmenters import nnunet
from analysis.segmenters.model_card import SIDECAR, ChannelKind, TargetGrid
from analysis.segmenters.model_files import look_into
from analysis.segmenters.model_settings import ModelSettings
from analysis.segmenters.nnunet import load_network
from analysis.values import BoolArray, PetCt, Tracer

NAME = "suv-above-4"


@pytest.fixture(autouse=True)
def nothing_resident() -> Iterator[None]:
    nnunet._resident.cache_clear()
    yield
    nnunet._resident.cache_clear()


def lesion(settings: ModelSettings, case: PetCt, name: str = NAME) -> BoolArray:
    probability = load_network(settings, name, case.tracer).lesion_probability(case)
    assert probability.dtype == np.float32
    assert probability.shape == case.pet.grid.shape
    assert 0.0 <= probability.min() <= probability.max() <= 1.0
    return np.asarray(probability > 0.5)


@pytest.mark.parametrize("tracer", Tracer)
def test_the_network_is_thresholding_voxel_for_voxel(tmp_path: Path, tracer: Tracer) -> None:
    case = noise_study(1, tracer=tracer)
    found = lesion(write_net(tmp_path), case)
    assert 5000 < found.sum() < 7000
    assert np.array_equal(found, case.pet.values > 4.0)


@pytest.mark.parametrize("order", [BOTH, BOTH[::-1], (ChannelKind.SUV,)])
def test_channels_go_in_by_the_sidecar(tmp_path: Path, order: tuple[ChannelKind, ...]) -> None:
    case = noise_study(2)
    assert np.array_equal(lesion(write_net(tmp_path, Net(order=order)), case), case.pet.values > 4.0)


def test_a_sidecar_that_swaps_the_channels_gives_another_answer(tmp_path: Path) -> None:
    case = noise_study(2)
    wrong = write_net(tmp_path, Net(), channels=tuple(channel(kind) for kind in BOTH[::-1]))
    assert not np.array_equal(lesion(wrong, case), case.pet.values > 4.0)


def test_scaling_and_clipping_are_those_of_the_sidecar(tmp_path: Path) -> None:
    suv = replace(channel(ChannelKind.SUV), scale=2.0, offset=-1.0, clip=(0.0, 2.4))
    settings = write_net(tmp_path / "a", channels=(channel(ChannelKind.CT), suv))
    case = noise_study(3)
    assert not lesion(settings, case).any()  # 2 x 2.4 - 1 = 3.8
    settings = write_net(tmp_path / "b", channels=(channel(ChannelKind.CT), replace(suv, clip=(0.0, 99.0))))
    assert np.array_equal(lesion(settings, case), case.pet.values > 2.5)


def test_an_ensemble_is_the_mean_of_its_folds_and_folds_can_be_chosen(tmp_path: Path) -> None:
    """Logits STEEP x (SUV - limit) are linear, so the mean of three networks has the mean limit; leaky ramps bend the rest."""
    settings, case = write_net(tmp_path, Net(limits=(5.0, 5.0, 2.0))), noise_study(4)
    suv = case.pet.values
    ramp = [np.where(suv > limit, suv - limit, 1e-6 * (suv - limit)) for limit in (5.0, 5.0, 2.0)]
    apart = np.abs(sum(ramp)) > 1e-3
    assert np.array_equal(lesion(settings, case)[apart], (sum(ramp) > 0)[apart])
    assert np.array_equal(lesion(replace(settings, folds=(2,)), case), suv > 2.0)
    assert np.array_equal(lesion(replace(settings, folds=(0, 1)), case), suv > 5.0)


def test_mirroring_calls_the_network_eight_times_and_changes_nothing_here(tmp_path: Path, calls: list[int]) -> None:
    settings, case = write_net(tmp_path), noise_study(5)
    plain = lesion(settings, case)
    once = len(calls)
    mirrored = lesion(replace(settings, mirroring=True), case)
    assert len(calls) - once == 8 * once
    assert np.array_equal(plain, mirrored)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with each forward pass."""
    seen: list[int] = []
    fill = nnUNetPredictor.manual_initialization

    def counted(self: Any, network: Any, *rest: Any) -> None:
        network.register_forward_hook(lambda *_: seen.append(1))
        fill(self, network, *rest)

    monkeypatch.setattr(nnUNetPredictor, "manual_initialization", counted)
    return seen


def test_the_body_crop_saves_tiles_and_changes_nothing(tmp_path: Path, calls: list[int]) -> None:
    grid = box_grid((32, 96, 96), (4.0, 4.0, 4.0))
    inside = noise_study(6, (32, 36, 38))
    suv, hu = np.zeros(grid.shape, np.float32), np.full(grid.shape, -1000.0, np.float32)
    suv[:, 30:66, 29:67] = inside.pet.values
    hu[8:-8, 40:56, 40:56] = 40.0
    case = study(Tracer.FDG, suv, grid, hu, grid)
    whole = lesion(write_net(tmp_path / "whole", body_crop=False), case)
    tiles = len(calls)
    cropped = lesion(write_net(tmp_path / "crop"), case)
    assert tiles == 25  # 32 x 96 x 96 in tiles of 32, half overlapping
    assert len(calls) - tiles <= 4
    assert np.array_equal(whole, cropped)
    assert np.array_equal(whole, suv > 4.0)


def test_a_network_scaled_by_the_whole_image_is_shown_the_whole_image(tmp_path: Path) -> None:
    settings = write_net(tmp_path, Net(normalization="ZScoreNormalization"))
    assert not load_network(settings, NAME, Tracer.FDG).resident.crops
    assert load_network(write_net(tmp_path / "b"), NAME, Tracer.FDG).resident.crops


def test_other_voxels_than_the_networks_are_resampled_there_and_back(tmp_path: Path) -> None:
    """A ramp of uptake: linear resampling leaves it what it is, so the limit stays where it was, to a voxel's fraction."""
    grid = box_grid((36, 40, 44), (5.0, 3.0, 3.0))
    ramp = np.linspace(0.5, 9.0, 40, dtype=np.float32)[None, :, None] * np.ones(grid.shape, np.float32)
    case = study(Tracer.FDG, ramp, grid, np.full(grid.shape, 40.0, np.float32), grid)
    found = lesion(write_net(tmp_path, Net(spacing=(4.0, 4.0, 4.0))), case)
    sure = np.abs(ramp - 4.0) > 0.25
    assert np.array_equal(found[sure], ramp[sure] > 4.0)


def test_a_network_of_the_ct_grid_answers_on_the_pet_grid(tmp_path: Path) -> None:
    grid, ct_grid = box_grid((24, 30, 32), (4.0, 4.0, 4.0)), box_grid((32, 60, 64), (3.0, 2.0, 2.0))
    suv = np.linspace(0.5, 9.0, 30, dtype=np.float32)[None, :, None] * np.ones(grid.shape, np.float32)
    case = study(Tracer.FDG, suv, grid, np.full(ct_grid.shape, 40.0, np.float32), ct_grid)
    found = lesion(write_net(tmp_path, Net(grid=TargetGrid.CT, spacing=(3.0, 2.0, 2.0))), case)
    sure = np.abs(suv - 4.0) > 0.2
    assert np.array_equal(found[sure], suv[sure] > 4.0)


def test_lesions_beyond_the_ct_are_kept(tmp_path: Path) -> None:
    case = noise_study(7)
    less = box_grid((20, 40, 40), (3.0, 2.0, 2.0))
    cut = study(Tracer.FDG, case.pet.values, case.pet.grid, np.full(less.shape, 40.0, np.float32), less)
    assert np.array_equal(lesion(write_net(tmp_path), cut), case.pet.values > 4.0)


def test_it_is_loaded_once_and_not_once_a_case(tmp_path: Path) -> None:
    settings = write_net(tmp_path)
    first, second = load_network(settings, NAME, Tracer.FDG), load_network(settings, NAME, Tracer.PENTIXAFOR)
    for seed in (1, 2):
        first.lesion_probability(noise_study(seed))
        load_network(settings, NAME, Tracer.FDG)
    assert nnunet._resident.cache_info().misses == 1
    assert first.resident is second.resident


def test_a_file_that_is_exchanged_afterwards_is_noticed(tmp_path: Path) -> None:
    settings = write_net(tmp_path)
    load_network(settings, NAME, Tracer.FDG)
    swap_byte(tmp_path / NAME / "fold_0" / "checkpoint_final.pth")
    with pytest.raises(ModelUnavailable, match=r"fold_0/checkpoint_final.pth is not the file that its duet-model.toml names"):
        load_network(settings, NAME, Tracer.FDG)


def test_an_entry_that_is_taken_off_the_list_counts_at_once(tmp_path: Path) -> None:
    settings = write_net(tmp_path)
    load_network(settings, NAME, Tracer.FDG)
    for number in range(4):
        fewer = replace(settings, allow=tuple(each for n, each in enumerate(settings.allow) if n != number))
        with pytest.raises(ModelUnavailable, match=r"not allowed to be loaded: the SHA-256 of \S+ \([0-9a-f]{64}\) is not in"):
            load_network(fewer, NAME, Tracer.FDG)


def test_what_cannot_be_loaded_is_told_in_a_sentence(tmp_path: Path) -> None:
    settings = write_net(tmp_path)
    folder = tmp_path / NAME

    def refused(words: str, name: str = NAME, tracer: Tracer = Tracer.FDG, **changed: Any) -> None:
        with pytest.raises(ModelUnavailable, match=words) as told:
            load_network(replace(settings, **changed), name, tracer)
        assert str(told.value).endswith(".")
        assert "\n" not in str(told.value)

    refused("no folder", name="absent")
    refused("no name of a model", name="../suv-above-4")
    refused("has no fold 3; its folds are 0", folds=(3,))
    refused("no GPU", device="cuda")
    (folder / "fold_0" / "checkpoint_final.pth").rename(folder / "elsewhere")
    refused("fold_0/checkpoint_final.pth cannot be read: No such file")
    (folder / SIDECAR).unlink()
    refused("has no duet-model.toml; add its folder with: duet models add")
    only = write_net(tmp_path / "fdg", Net(tracers=(Tracer.FDG,)))
    with pytest.raises(ModelUnavailable, match=r"is for FDG, not for PentixaFor\.$"):
        load_network(only, NAME, Tracer.PENTIXAFOR)
    with pytest.raises(ModelUnavailable, match="is for FDG"):
        load_network(only, NAME, Tracer.FDG).lesion_probability(noise_study(1, tracer=Tracer.PENTIXAFOR))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"channels": (channel(ChannelKind.SUV),)}, r"names 1 channels, its plans 2"),
        ({"spacing_mm": (4.0, 4.0, 3.0)}, r"a spacing of \(4.0, 4.0, 3.0\) mm, its plans \[4.0, 4.0, 4.0\]"),
        ({"lesion_labels": ("tumour",)}, r"a label \['tumour'\], its data set"),
        ({"trainer": "autoPET3_Trainer"}, "a checkpoint is of trainer and configuration"),
        ({"configuration": "3d_lowres"}, "a checkpoint is of trainer and configuration"),
    ],
)
def test_a_sidecar_of_another_model_is_refused(tmp_path: Path, changed: dict[str, Any], words: str) -> None:
    settings = write_net(tmp_path, **changed)
    with pytest.raises(ModelUnavailable, match=words):
        load_network(settings, NAME, Tracer.FDG)


class Evil:
    """A pickle that runs code when it is opened."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def test_a_checkpoint_that_would_run_code_does_not(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    settings = write_net(tmp_path)
    folder = tmp_path / NAME
    (folder / "fold_0" / "checkpoint_final.pth").unlink()
    (folder / "fold_0").rmdir()
    write_fold(folder / "fold_0", above(4.0, BOTH), plans_of(Net()), logging=Evil(mark))
    with pytest.raises(ModelUnavailable, match="is not the file"):
        load_network(settings, NAME, Tracer.FDG)
    settings = sealed(tmp_path, look_into(tmp_path, NAME).card)  # even where it is on the list
    with pytest.raises(ModelUnavailable, match="cannot be read as plain weights; where you trust its maker, full_pickle"):
        load_network(settings, NAME, Tracer.FDG)
    assert not mark.exists()
    settings = sealed(tmp_path, replace(look_into(tmp_path, NAME).card, full_pickle=True))
    load_network(settings, NAME, Tracer.FDG)
    assert mark.exists()


def test_what_is_no_checkpoint_is_told(tmp_path: Path) -> None:
    settings = write_net(tmp_path)
    for content in ([1, 2], {"network_weights": 3}):
        torch.save(content, tmp_path / NAME / "fold_0" / "checkpoint_final.pth")
        settings = sealed(tmp_path, look_into(tmp_path, NAME).card)
        with pytest.raises(ModelUnavailable, match=r"checkpoint_final\.pth is no checkpoint of nnU-Net's"):
            load_network(settings, NAME, Tracer.FDG)
    (tmp_path / NAME / "fold_0" / "checkpoint_final.pth").write_bytes(b"no checkpoint")
    settings = sealed(tmp_path, look_into(tmp_path, NAME).card)
    with pytest.raises(ModelUnavailable, match="cannot be read as plain weights"):
        load_network(settings, NAME, Tracer.FDG)
    (tmp_path / NAME / "plans.json").write_text("[]")
    settings = sealed(tmp_path, look_into(tmp_path, NAME).card)
    with pytest.raises(ModelUnavailable, match=r"cannot be read|do not fit"):
        load_network(settings, NAME, Tracer.FDG)


def test_heads_of_training_are_dropped_only_where_the_sidecar_says_so(tmp_path: Path) -> None:
    settings = write_net(tmp_path)
    folder = tmp_path / NAME
    network = above(4.0, BOTH)
    network.decoder.organ_seg_layers = type(network.decoder.seg_layers)([network.decoder.seg_layers[0]])
    (folder / "fold_0" / "checkpoint_final.pth").unlink()
    (folder / "fold_0").rmdir()
    write_fold(folder / "fold_0", network, plans_of(Net()))
    card = look_into(tmp_path, NAME).card
    settings = sealed(tmp_path, card)
    with pytest.raises(ModelUnavailable, match=r"do not fit each other or nnU-Net: Error.* loading state_dict"):
        load_network(settings, NAME, Tracer.FDG)
    settings = sealed(tmp_path, replace(card, drop_keys=(r"decoder\.organ_seg_layers\..*",)))
    case = noise_study(8)
    assert np.array_equal(lesion(settings, case), case.pet.values > 4.0)


def test_it_is_silent_and_leaves_torch_and_the_environment_as_they_were(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    environment, out, threads = dict(os.environ), sys.stdout, torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        settings = replace(write_net(tmp_path), threads=1)
        network, during = load_network(settings, NAME, Tracer.FDG), []
        network.resident.predictor.network.register_forward_hook(lambda *_: during.append(torch.get_num_threads()))
        network.lesion_probability(noise_study(1))
        assert (set(during), torch.get_num_threads()) == ({1}, 3)
    finally:
        torch.set_num_threads(threads)
    assert sys.stdout is out
    assert dict(os.environ) == environment
    assert tuple(capfd.readouterr()) == ("", "")
