"""A small nnU-Net that finds lesions in digital patients, trained by nnU-Net's own trainer: `make train-phantom`.

    phantoms of seeds that no test uses > nnU-Net's fingerprint, a small plan, its preprocessing > nnUNetTrainerAdam
    > the checkpoint without what only training needs > a model folder with its sidecar, and its Dice on unseen phantoms

One network for both tracers; its channels are CT and SUV on the PET grid, made by the code that serves it later. It knows
digital patients alone and is for tests and the demonstration. Training took 252 s of one core's time, and what goes before
it about 60; one seed gives one network on one machine with one number of threads.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import SimpleITK as sitk
import torch
from rich.console import Console

from analysis.phantom import DigitalPatient, PhantomSettings, make_patient
from analysis.segmenters.model_card import SIDECAR, Channel, ChannelKind, ModelCard, TargetGrid, write_card
from analysis.segmenters.model_files import file_sums, look_into
from analysis.segmenters.model_settings import ModelSettings
from analysis.segmenters.network_input import network_input
from analysis.segmenters.nnunet import load_network
from analysis.values import Tracer

SEED = 20260
FIRST_PATIENT = 9001  # seeds of the training; tests and demonstration stay below
TRAINING, VALIDATION, UNSEEN = 8, 1, (8001, 8002)
LESIONS = 60  # in each; more than most patients have, for a network learns little from a patch without one
EPOCHS, ITERATIONS, CHECKS = 20, 30, 1
LEARNING_RATE = 3e-3
BATCH, PATCH = 2, (32, 32, 32)
AROUND_LESIONS = 1.0  # the part of patches that is laid around a lesion
FEATURES = (8, 16, 32, 64)
DATASET = "Dataset900_DuetPhantom"
CARD = ModelCard(
    name="duet-phantom-lesions",
    version="1",
    manufacturer="duet",
    tracers=tuple(Tracer),
    channels=(
        Channel(kind=ChannelKind.CT, unit="HU", outside=-1000.0),
        Channel(kind=ChannelKind.SUV, unit="g/ml"),
    ),
    grid=TargetGrid.PET,
    spacing_mm=(4.5, 4.5, 4.5),
    lesion_labels=("lesion",),
    trainer="nnUNetTrainerAdam",
    folds=("0",),
    licence="MIT",
    citation="duet, make train-phantom",
    training="Trained on digital phantoms only; for tests and demonstration. It has never seen a patient.",
)


def main(out: Path) -> int:
    """Trains, writes the model folder `out`/duet-phantom-lesions, and measures it on unseen phantoms."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as work, nnunet_at(Path(work)) as places:
        plans = prepare(places)
        say(f"prepared in {time.perf_counter() - began:.0f} s")
        trained = train(plans, places)
        folder = out / CARD.name
        settle(trained, folder)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    say(f"trained in {time.perf_counter() - began:.0f} s; {size} bytes in {folder}")
    worst = 1.0
    for seed in UNSEEN:
        for tracer, dice in judged(out, make_patient(PhantomSettings(seed=seed))).items():
            say(f"unseen phantom {seed}, {tracer}: Dice {dice:.3f}")
            worst = min(worst, dice)
    return 0 if worst >= 0.8 else 1


def say(words: str) -> None:
    Console(stderr=True).print(words)


@contextmanager
def nnunet_at(work: Path) -> Iterator[Mapping[str, Path]]:
    """The folders that nnU-Net wants named in its environment, for this block alone; augmentation in this process."""
    places = {name: work / name for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")}
    for place in places.values():
        place.mkdir()
    more = {name: str(place) for name, place in places.items()} | {"nnUNet_n_proc_DA": "0", "nnUNet_compile": "f"}
    with patch.dict(os.environ, more):
        yield places


def prepare(places: Mapping[str, Path]) -> dict[str, Any]:
    """Phantoms as a raw data set, its fingerprint, the plans, and everything preprocessed; the plans."""
    from nnunetv2.experiment_planning.plan_and_preprocess_api import extract_fingerprints, preprocess  # noqa: PLC0415

    raw, ready = places["nnUNet_raw"] / DATASET, places["nnUNet_preprocessed"] / DATASET
    cases = [case for n in range(TRAINING + VALIDATION) for case in write_cases(raw, FIRST_PATIENT + n)]
    labels = {"background": 0, "lesion": 1}
    dataset = {"channel_names": {"0": "CT", "1": "CT"}, "labels": labels, "numTraining": len(cases), "file_ending": ".nii.gz"}
    (raw / "dataset.json").write_text(json.dumps(dataset, indent=1))
    extract_fingerprints([900], num_processes=1)
    plans = planned(json.loads((ready / "dataset_fingerprint.json").read_text()))
    (ready / "nnUNetPlans.json").write_text(json.dumps(plans, indent=1))
    shutil.copy(raw / "dataset.json", ready)
    preprocess([900], configurations=("3d_fullres",), num_processes=(1,))
    held = 2 * VALIDATION
    (ready / "splits_final.json").write_text(json.dumps([{"train": cases[:-held], "val": cases[-held:]}]))
    return plans


def write_cases(raw: Path, seed: int) -> list[str]:
    """Both tracers of one digital patient as training cases; their names."""
    patient = make_patient(PhantomSettings(seed=seed, lesions=LESIONS))
    names = []
    for tracer in Tracer:
        shown = network_input(patient.study(tracer), CARD)
        truth = shown.turn.there(patient.lesions[tracer].labels[shown.box] > 0)
        name = f"{tracer.name.lower()}_{seed}"
        images = {f"imagesTr/{name}_{n:04d}": channel for n, channel in enumerate(shown.channels)}
        for path, values in (images | {f"labelsTr/{name}": truth.astype(np.uint8)}).items():
            image = sitk.GetImageFromArray(np.ascontiguousarray(values))
            image.SetSpacing(shown.spacing_mm[::-1])
            (raw / path).parent.mkdir(parents=True, exist_ok=True)
            sitk.WriteImage(image, str(raw / f"{path}.nii.gz"))
        names.append(name)
    return names


def planned(fingerprint: Mapping[str, Any]) -> dict[str, Any]:
    """nnU-Net's plans, small: both channels scaled by fixed numbers, so that it does not matter what else is in the image."""
    stages = len(FEATURES)
    resampling = {"order": 1, "order_z": 0, "force_separate_z": None}
    configuration = {
        "data_identifier": "nnUNetPlans_3d_fullres",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": BATCH,
        "patch_size": list(PATCH),
        "median_image_size_in_voxels": list(PATCH),
        "spacing": list(CARD.spacing_mm),
        "normalization_schemes": ["CTNormalization", "CTNormalization"],
        "use_mask_for_norm": [False, False],
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": {"is_seg": False, **resampling},
        "resampling_fn_seg_kwargs": {"is_seg": True, **resampling},
        "resampling_fn_probabilities_kwargs": {"is_seg": False, **resampling},
        "batch_dice": True,
        "architecture": {
            "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
            "arch_kwargs": {
                "n_stages": stages,
                "features_per_stage": list(FEATURES),
                "conv_op": "torch.nn.modules.conv.Conv3d",
                "kernel_sizes": [[3, 3, 3]] * stages,
                "strides": [[1, 1, 1]] + [[2, 2, 2]] * (stages - 1),
                "n_conv_per_stage": [2] * stages,
                "n_conv_per_stage_decoder": [1] * (stages - 1),
                "conv_bias": True,
                "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
                "norm_op_kwargs": {"eps": 1e-05, "affine": True},
                "dropout_op": None,
                "dropout_op_kwargs": None,
                "nonlin": "torch.nn.LeakyReLU",
                "nonlin_kwargs": {"inplace": True},
            },
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
    }
    return {
        "dataset_name": DATASET,
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": list(CARD.spacing_mm),
        "original_median_shape_after_transp": list(PATCH),
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {"3d_fullres": configuration},
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": fingerprint["foreground_intensity_properties_per_channel"],
    }


def train(plans: Mapping[str, Any], places: Mapping[str, Path]) -> Path:
    """A few short epochs of nnU-Net's trainer, its variant with Adam: with its usual SGD a net learns for thousands of
    iterations that nearly nothing is a lesion. The folder that it leaves."""
    from nnunetv2.training.nnUNetTrainer.variants.optimizer.nnUNetTrainerAdam import nnUNetTrainerAdam  # noqa: PLC0415

    random.seed(SEED)
    np.random.seed(SEED)
    torch.manual_seed(SEED)
    dataset = json.loads((places["nnUNet_preprocessed"] / DATASET / "dataset.json").read_text())
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    trainer = nnUNetTrainerAdam(plans | {"continue_training": False}, "3d_fullres", 0, dataset, device)
    trainer.num_epochs, trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch = EPOCHS, ITERATIONS, CHECKS
    trainer.initial_lr = LEARNING_RATE
    trainer.oversample_foreground_percent = AROUND_LESIONS
    trainer.save_every = EPOCHS + 1
    trainer.run_training()
    return Path(trainer.output_folder_base)


def settle(trained: Path, folder: Path) -> None:
    """The model folder: plans, data set, the checkpoint without the optimiser's state and the plans' copy, the sidecar."""
    (folder / "fold_0").mkdir(parents=True, exist_ok=True)
    for name in ("plans.json", "dataset.json"):
        shutil.copy(trained / name, folder)
    full = torch.load(trained / "fold_0" / "checkpoint_final.pth", map_location="cpu", weights_only=False)
    kept = {key: full[key] for key in ("network_weights", "trainer_name", "inference_allowed_mirroring_axes", "current_epoch")}
    kept["init_args"] = {key: full["init_args"][key] for key in ("configuration", "fold")}
    torch.save(kept, folder / "fold_0" / CARD.checkpoint)
    card = replace(CARD, files=file_sums(folder, CARD))
    (folder / SIDECAR).write_text(write_card(card), encoding="utf-8")


def judged(models: Path, patient: DigitalPatient) -> dict[Tracer, float]:
    """Dice of the lesions of each tracer, through the loader that serves patients."""
    settings = ModelSettings(folder=models, allow=tuple(look_into(models, CARD.name).to_allow.values()))
    out = {}
    for tracer in Tracer:
        network = load_network(settings, CARD.name, tracer)
        found = network.lesion_probability(patient.study(tracer)) > 0.5
        truth = patient.lesions[tracer].labels > 0
        out[tracer] = float(2 * (found & truth).sum() / max(found.sum() + truth.sum(), 1))
    return out


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "analysis/segmenters/shipped")))
