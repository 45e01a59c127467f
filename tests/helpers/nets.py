"""nnU-Net model folders of networks whose answer is known: hand-set 1 x 1 x 1 weights that say "SUV above a limit"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from json import dumps
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

from analysis.segmenters.model_card import SIDECAR, Channel, ChannelKind, ModelCard, TargetGrid, write_card
from analysis.segmenters.model_files import file_sums, look_into
from analysis.segmenters.model_settings import ModelSettings
from analysis.values import Body, FloatArray, Grid, PetCt, Tracer, Unit, Volume

STEEP = 50.0  # logit for each SUV above the limit: steep enough for half precision, small enough not to overflow it
BOTH = (ChannelKind.CT, ChannelKind.SUV)
RESAMPLING = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": False}
ARCHITECTURE = {
    "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
    "arch_kwargs": {
        "n_stages": 2,
        "features_per_stage": [1, 1],
        "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": [[1, 1, 1], [1, 1, 1]],
        "strides": [[1, 1, 1], [2, 2, 2]],
        "n_conv_per_stage": [1, 1],
        "n_conv_per_stage_decoder": [1],
        "conv_bias": True,
        "norm_op": None,
        "norm_op_kwargs": None,
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    },
    "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
}


@dataclass(frozen=True, kw_only=True)
class Net:
    """What a hand-set network is like. limits: SUV of each fold; order: its channels; spacing, patch: (k, j, i)."""

    name: str = "suv-above-4"
    limits: Sequence[float] = (4.0,)
    order: Sequence[ChannelKind] = BOTH
    spacing: tuple[float, float, float] = (4.0, 4.0, 4.0)
    patch: tuple[int, int, int] = (32, 32, 32)
    normalization: str = "NoNormalization"
    tracers: tuple[Tracer, ...] = tuple(Tracer)
    grid: TargetGrid = TargetGrid.PET


def write_net(models: Path, net: Net | None = None, **card: Any) -> ModelSettings:
    """The network as a model folder below `models`, and settings that allow it. card: fields of its sidecar that differ."""
    net = net or Net()
    folder = models / net.name
    folder.mkdir(parents=True)
    described = plans_of(net)
    (folder / "plans.json").write_text(dumps(described))
    labels = {"background": 0, "lesion": 1}
    dataset = {
        "channel_names": {str(n): "CT" for n in range(len(net.order))},
        "labels": labels,
        "numTraining": 0,
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(dumps(dataset))
    for fold, limit in enumerate(net.limits):
        write_fold(folder / f"fold_{fold}", above(limit, net.order), described)
    return sealed(models, replace(card_of(net), **card))


def sealed(models: Path, card: ModelCard) -> ModelSettings:
    """The sidecar of a folder whose files are complete, and settings that allow all of them."""
    folder = models / card.name
    card = replace(card, files=file_sums(folder, card))
    (folder / SIDECAR).write_text(write_card(card), encoding="utf-8")
    return ModelSettings(folder=models, allow=tuple(look_into(models, card.name).to_allow.values()), device="cpu")


def card_of(net: Net) -> ModelCard:
    return ModelCard(
        name=net.name,
        version="1",
        manufacturer="duet tests",
        tracers=net.tracers,
        channels=tuple(channel(kind) for kind in net.order),
        grid=net.grid,
        spacing_mm=net.spacing,
        lesion_labels=("lesion",),
        folds=tuple(str(fold) for fold in range(len(net.limits))),
        licence="MIT",
        citation="none",
        training="Set by hand; it has learnt nothing.",
    )


def channel(kind: ChannelKind) -> Channel:
    return Channel(kind=kind, unit=kind.unit, outside=-1024.0 if kind is ChannelKind.CT else 0.0)


def plans_of(net: Net) -> dict[str, Any]:
    """nnU-Net's plans for the network."""
    resampling = {
        f"resampling_fn_{what}{end}": value
        for what in ("data", "probabilities", "seg")
        for end, value in (("", "resample_data_or_seg_to_shape"), ("_kwargs", {**RESAMPLING, "is_seg": what == "seg"}))
    }
    configuration = {
        "data_identifier": "nnUNetPlans_3d_fullres",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": list(net.patch),
        "spacing": list(net.spacing),
        "normalization_schemes": [net.normalization] * len(net.order),
        "use_mask_for_norm": [False] * len(net.order),
        "architecture": ARCHITECTURE,
        "batch_dice": True,
        **resampling,
    }
    whole = {"mean": 0.0, "std": 1.0, "percentile_00_5": -2000.0, "percentile_99_5": 4000.0, "min": -2000.0, "max": 4000.0}
    return {
        "dataset_name": "Dataset999_HandSet",
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {"3d_fullres": configuration},
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {str(n): whole for n in range(len(net.order))},
    }


def above(limit: float, order: Sequence[ChannelKind]) -> torch.nn.Module:
    """The network whose lesion logit has the sign of SUV - limit, and whose background logit is 0.

    The leaky ramps between its layers keep the sign.
    """
    arch = ARCHITECTURE
    network = get_network_from_plans(
        arch["network_class_name"], arch["arch_kwargs"], arch["_kw_requires_import"], len(order), 2, False, False
    )
    assert isinstance(network, torch.nn.Module)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        first = network.encoder.stages[0][0].convs[0].conv
        first.weight[0, list(order).index(ChannelKind.SUV)] = STEEP
        first.bias[0] = -STEEP * limit
        network.decoder.stages[0].convs[0].conv.weight[0, 1] = 1.0  # 0 comes from below, 1 is the skip
        network.decoder.seg_layers[0].weight[1, 0] = 1.0
    return network


def write_fold(folder: Path, network: torch.nn.Module, plans: dict[str, Any], **more: Any) -> None:
    """A checkpoint as nnU-Net's trainer leaves it, numbers of numpy among the rest. more: what differs."""
    folder.mkdir(parents=True)
    checkpoint = {
        "network_weights": network.state_dict(),
        "optimizer_state": {},
        "grad_scaler_state": None,
        "logging": {"mean_fg_dice": [np.float64(0.5)], "epoch_start_timestamps": [1.0]},
        "_best_ema": np.float32(0.5),
        "current_epoch": 1,
        "init_args": {"plans": plans, "configuration": "3d_fullres", "fold": 0, "device": torch.device("cpu")},
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": (0, 1, 2),
    }
    torch.save({**checkpoint, **more}, folder / "checkpoint_final.pth")


def swap_byte(file: Path) -> str:
    """Changes the last byte but a hundred of a file; its new SHA-256."""
    data = bytearray(file.read_bytes())
    data[-100] ^= 0xFF
    file.write_bytes(bytes(data))
    return sha256(data).hexdigest()


def noise_study(seed: int, shape: tuple[int, int, int] = (40, 36, 38), tracer: Tracer = Tracer.FDG) -> PetCt:
    """A body of random uptake, SUV 0 to 12, in air, on a PET grid of 4 mm and a CT grid of 3 x 2 x 2 mm."""
    rng = np.random.default_rng(seed)
    grid = box_grid(shape, (4.0, 4.0, 4.0))
    ct_grid = box_grid((shape[0] * 4 // 3, shape[1] * 2, shape[2] * 2), (3.0, 2.0, 2.0))
    suv = np.zeros(shape, np.float32)
    inner = tuple(slice(8, n - 9) for n in shape)
    suv[inner] = rng.uniform(0.3, 12.0, suv[inner].shape)
    hu = np.full(ct_grid.shape, -1000.0, np.float32)
    hu[12:-12, 18:-18, 18:-18] = rng.normal(40.0, 30.0, hu[12:-12, 18:-18, 18:-18].shape)
    return study(tracer, suv, grid, hu, ct_grid)


def study(tracer: Tracer, suv: FloatArray, grid: Grid, hu: FloatArray, ct_grid: Grid) -> PetCt:
    return PetCt(
        tracer=tracer,
        pet=Volume(grid=grid, values=suv, unit=Unit.SUV),
        ct=Volume(grid=ct_grid, values=hu, unit=Unit.HU),
        body=Body(weight_kg=70.0, height_m=1.75),
    )


def box_grid(shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> Grid:
    """An axial grid, its first voxel's centre half a voxel from the origin."""
    affine = np.eye(4)
    affine[:3, :3] = np.fliplr(np.diag(spacing[::-1]))
    affine[:3, 3] = np.array(spacing[::-1]) / 2
    return Grid(shape=shape, affine=affine)
