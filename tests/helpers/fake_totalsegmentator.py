"""A TotalSegmentator weights folder without trained weights: the true layout, and nets whose answer is known exactly.

Each net is two 1 x 1 x 1 stages with weights set by hand: class n of `total` is where the HU is nearest to hu_of(n). The
folders bear the names that the installed TotalSegmentator looks for, so that its own loaders read them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

CLASSES = 118  # of `total`, with the background
LOWEST_HU, STEP_HU = -1000.0, 17.0  # no whole HU lies half way between two classes
SCALE = 100.0  # logits are -|HU - class| / SCALE, small enough for the half precision that nnU-Net adds them up in


def hu_of(label: int) -> float:
    """The HU whose voxels are given this label of the task `total`; 0 is the background."""
    return LOWEST_HU + STEP_HU * label


def nearest_label(hu: np.ndarray) -> np.ndarray:
    """The label of the task `total` that the nets give to each HU."""
    return np.clip(np.rint((np.asarray(hu, dtype=np.float64) - LOWEST_HU) / STEP_HU), 0, CLASSES - 1).astype(np.uint8)


def write_weights(home: Path, resolution_mm: float) -> dict[str, str]:
    """All nets of `total` at this resolution below home (TOTALSEG_HOME_DIR); SHA-256 by path relative to home."""
    from totalsegmentator.map_tasks_config import TASK_CONFIGS  # noqa: PLC0415
    from totalsegmentator.map_to_binary import class_map, class_map_5_parts, map_taskid_to_partname_ct  # noqa: PLC0415

    mode = {1.5: "default", 3.0: "fast", 6.0: "fastest"}[resolution_mm]
    config = TASK_CONFIGS["total"]["sub_modes"][mode]
    number = {name: n for n, name in class_map["total"].items()}
    tasks = config["task_id"]
    made: dict[str, str] = {}
    for task in tasks if isinstance(tasks, list) else [tasks]:
        names = class_map_5_parts[map_taskid_to_partname_ct[task]] if isinstance(tasks, list) else class_map["total"]
        labels = {name: number[name] for _, name in sorted(names.items())}
        made |= write_net(home, task, labels, config)
    return made


def write_net(home: Path, task: int, labels: Mapping[str, int], config: Mapping[str, Any]) -> dict[str, str]:
    """One Dataset... folder: labels are name > number in `total`, in the order of the net's own classes."""
    import torch  # noqa: PLC0415
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans  # noqa: PLC0415
    from totalsegmentator.map_tasks_config import TASK_ID_WEIGHTS_CONFIGS  # noqa: PLC0415

    name = TASK_ID_WEIGHTS_CONFIGS[task]["foldername"]
    folder = home / "nnunet" / "results" / name / f"{config['trainer']}__nnUNetPlans__3d_fullres"
    (folder / "fold_0").mkdir(parents=True)
    plans = _plans(name, config["resample"], _bends(list(labels.values()))[1].size + 2)
    built = plans["configurations"]["3d_fullres"]["architecture"]
    described = (built["network_class_name"], built["arch_kwargs"], built["_kw_requires_import"])
    network = get_network_from_plans(*described, 1, len(labels) + 1, deep_supervision=False)
    _load_answers(network, list(labels.values()))
    dataset = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0} | {each: n for n, each in enumerate(labels, start=1)},
        "numTraining": 1,
        "file_ending": ".nii.gz",
    }
    (folder / "plans.json").write_text(json.dumps(plans), encoding="utf-8")
    (folder / "dataset.json").write_text(json.dumps(dataset), encoding="utf-8")
    checkpoint = {
        "network_weights": network.state_dict(),
        "trainer_name": config["trainer"],
        "init_args": {"configuration": "3d_fullres", "fold": 0},
        "inference_allowed_mirroring_axes": None,
    }
    torch.save(checkpoint, folder / "fold_0" / "checkpoint_final.pth")
    files = [p for p in sorted(folder.rglob("*")) if p.is_file()]
    return {str(p.relative_to(home)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def _plans(name: str, spacing_mm: float, features: int) -> dict[str, Any]:
    once = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}
    resampling = {"resampling_fn_data": "resample_data_or_seg_to_shape", "resampling_fn_data_kwargs": once}
    resampling |= {"resampling_fn_seg": "resample_data_or_seg_to_shape", "resampling_fn_seg_kwargs": once | {"is_seg": True}}
    resampling |= {"resampling_fn_probabilities": "resample_data_or_seg_to_shape"}
    resampling |= {"resampling_fn_probabilities_kwargs": once}
    architecture = {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": 2,
            "features_per_stage": [features, 1],
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": [[1, 1, 1], [1, 1, 1]],
            "strides": [[1, 1, 1], [1, 1, 1]],
            "n_conv_per_stage": [1, 1],
            "n_conv_per_stage_decoder": [1],
            "conv_bias": True,
            "norm_op": None,
            "norm_op_kwargs": None,
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.ReLU",
            "nonlin_kwargs": None,
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }
    configuration = {
        "data_identifier": "nnUNetPlans_3d_fullres",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": [32, 32, 32],
        "median_image_size_in_voxels": [64, 64, 64],
        "spacing": [spacing_mm] * 3,
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        "architecture": architecture,
        "batch_dice": False,
        **resampling,
    }
    as_it_is = {"mean": 0.0, "std": 1.0, "percentile_00_5": -1024.0, "percentile_99_5": 3000.0, "median": 0.0}
    return {
        "dataset_name": name,
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": [spacing_mm] * 3,
        "original_median_shape_after_transp": [64, 64, 64],
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {"3d_fullres": configuration},
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": as_it_is | {"min": -1024.0, "max": 3000.0}},
    }


def _bends(labels: Sequence[int]) -> tuple[list[int], np.ndarray]:
    """The neighbours of a net's labels, which are background to it, and the HU at which its answers bend."""
    others = [n for n in (min(labels) - 1, max(labels) + 1) if n < CLASSES]
    hu = {hu_of(n) for n in (*labels, *others)} | {(hu_of(others[0]) + hu_of(others[-1])) / 2}
    return others, np.array(sorted(hu))


def _load_answers(network: Any, labels: Sequence[int]) -> None:
    """Sets the weights so that output n is the closeness of the HU to labels[n - 1], output 0 to the labels' neighbours.

    Closeness is -|HU - class| / SCALE, of several classes that of the nearest: a line that bends at classes and half way
    between neighbours. The first stage makes x, -x and x - bend, each cut at 0; the last layer adds them up to the lines.
    """
    import torch  # noqa: PLC0415

    others, bends = _bends(labels)
    at = np.concatenate([[bends[0] - 100.0], bends, [bends[-1] + 100.0]])
    groups = [others, *([n] for n in labels)]
    lines = [-np.abs(at[:, None] - np.array([hu_of(n) for n in group])).min(axis=1) / SCALE for group in groups]
    slopes = np.diff(lines, axis=1) / np.diff(at)
    seg = np.concatenate([slopes[:, :1], -slopes[:, :1], np.diff(slopes, axis=1)], axis=1)
    bias = np.array([line[0] for line in lines]) - slopes[:, 0] * at[0]
    count = bends.size + 2
    first = network.encoder.stages[0][0].convs[0].conv
    middle, last = network.decoder.stages[0].convs[0].conv, network.decoder.seg_layers[0]
    with torch.no_grad():
        for layer in network.parameters():
            layer.zero_()
        first.weight[:, 0, 0, 0, 0] = torch.tensor([1.0, -1.0] + [1.0] * bends.size)
        first.bias[:] = torch.tensor([0.0, 0.0, *-bends])
        middle.weight[..., 0, 0, 0] = torch.cat([torch.zeros(count, count), torch.eye(count)], dim=1)  # the skip as it is
        last.weight[..., 0, 0, 0] = torch.tensor(seg)
        last.bias[:] = torch.tensor(bias)
