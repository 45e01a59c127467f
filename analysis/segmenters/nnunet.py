"""nnU-Net models as lesion networks: verified, loaded once in each worker process, run on the processor or a GPU.

A model is a folder below [models] folder: plans.json, dataset.json, fold_N/checkpoint_final.pth as nnU-Net leaves them, and
the sidecar duet-model.toml. The network is built from the plans by nnU-Net itself; nnU-Net's trainer classes, which may
import anything, are not searched. Nothing that is global (threads, standard output, environment) stays changed.
"""

from __future__ import annotations

import io
import json
import pickle
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.errors import ModelUnavailable
from analysis.ports import LesionNetwork
from analysis.segmenters.device import chosen_device
from analysis.segmenters.model_card import DATASET, PLANS, ModelCard
from analysis.segmenters.model_files import ModelFolder, open_folder
from analysis.segmenters.model_settings import ModelSettings
from analysis.segmenters.network_input import network_input
from analysis.segmenters.nnunet_run import Resident, log, predict, undisturbed
from analysis.segmenters.tiles import ON_GPU, in_batches
from analysis.values import FloatArray, Model, PetCt, Tracer

if TYPE_CHECKING:
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

RESIDENTS = 4  # networks that a worker keeps
loading = Lock()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NnUnetLesions:
    """LesionNetwork of a resident model."""

    resident: Resident
    threads: int

    @property
    def model(self) -> Model:
        card = self.resident.folder.card
        return Model(
            name=card.name,
            version=card.version,
            manufacturer=card.manufacturer,
            weights_sha256=self.resident.weights_sha256,
        )

    def lesion_probability(self, study: PetCt) -> FloatArray:
        """float32 on the PET grid, 0..1, and 0 outside the body. Raises ModelUnavailable where the study does not fit."""
        card = self.resident.folder.card
        if study.tracer not in card.tracers:
            raise _wrong_tracer(card, study.tracer)
        shown = network_input(study, card, crop=self.resident.crops)
        with self.resident.lock, undisturbed(self.threads):
            probability = predict(self.resident, shown)
        return shown.restored(probability, study.pet.grid)


def load_network(settings: ModelSettings, name: str, tracer: Tracer) -> LesionNetwork:
    """The network in folder `name`, for one tracer; in memory after the first call.

    Raises ModelUnavailable in one sentence: no folder, no sidecar, a file that is missing, is not the sidecar's or not on
    the operator's list, another tracer's model, a GPU that is asked for and absent.
    """
    folder = open_folder(settings, name)
    if tracer not in folder.card.tracers:
        raise _wrong_tracer(folder.card, tracer)
    stamps = tuple(_stamp(folder, file) for file in folder.card.needed(folder.folds(settings.folds)))
    with loading:
        resident = _resident(settings, name, folder.sha256, stamps)
    return NnUnetLesions(resident=resident, threads=settings.threads)


def try_network(settings: ModelSettings, name: str) -> str:
    """Load a model as a case would and run it on the smallest tile; what happened, in words. Raises ModelUnavailable."""
    import torch  # noqa: PLC0415

    tracer = open_folder(settings, name).card.tracers[0]
    network = load_network(settings, name, tracer)
    assert isinstance(network, NnUnetLesions)  # noqa: S101  for the type checker
    it, began = network.resident.predictor, time.perf_counter()
    strides = np.prod(it.configuration_manager.pool_op_kernel_sizes, axis=0)
    with network.resident.lock, undisturbed(settings.threads), torch.inference_mode():
        tile = torch.zeros((1, len(network.resident.folder.card.channels), *(int(2 * stride) for stride in strides)))
        answer = it.network.to(it.device)(tile.to(it.device))
    if not bool(torch.isfinite(answer).all()):
        raise ModelUnavailable(f"Model {name} answers an empty image with what is no number; its weights are not usable.")
    size = " x ".join(str(n) for n in tile.shape[2:])
    return f"it loads on {it.device.type} and answers a tile of {size} voxels in {time.perf_counter() - began:.2f} s"


def _wrong_tracer(card: ModelCard, tracer: Tracer) -> ModelUnavailable:
    return ModelUnavailable(f"Model {card.name} is for {' and '.join(card.tracers)}, not for {tracer}.")


def _stamp(folder: ModelFolder, file: str) -> tuple[int, int, int]:
    """What changes when a file is exchanged; a changed file is read and verified anew."""
    try:
        stat = (folder.path / file).stat()
    except OSError as error:
        raise ModelUnavailable(f"Model {folder.card.name}: {file} cannot be read: {error.strerror}.") from None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


@lru_cache(maxsize=RESIDENTS)
def _resident(settings: ModelSettings, name: str, sha256: str, stamps: tuple[tuple[int, int, int], ...]) -> Resident:
    """Loads a model. sha256 (of the sidecar) and stamps: another one means another model under the same name."""
    folder = open_folder(settings, name)
    folds = folder.folds(settings.folds)
    if folder.sha256 != sha256 or len(stamps) != len(folder.card.needed(folds)):
        raise ModelUnavailable(f"Model {name} was being exchanged while it was loaded; try again.")
    log.info("loading %s, folds %s", name, ", ".join(folds))
    texts = [folder.read(file, settings.allow) for file in (PLANS, DATASET)]
    states = (folder.read(file, settings.allow) for file in folder.card.needed(folds)[2:])  # one at a time: they are large
    with undisturbed(settings.threads):
        predictor = _predictor(folder.card, texts, states, settings)
    return Resident(folder=folder, folds=folds, predictor=predictor, lock=Lock())


def _predictor(card: ModelCard, texts: list[bytes], states: Iterable[bytes], settings: ModelSettings) -> nnUNetPredictor:
    """nnU-Net's predictor with the network of plans and checkpoints (bytes that were verified)."""
    import torch  # noqa: PLC0415
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor  # noqa: PLC0415

    device = torch.device(chosen_device(settings, card.name))
    predictor = nnUNetPredictor(
        tile_step_size=settings.tile_step,
        use_mirroring=settings.mirroring,
        perform_everything_on_device=device.type == "cuda",
        device=device,
        allow_tqdm=False,
    )
    tiles = settings.tiles or (ON_GPU if device.type == "cuda" else 1)
    if tiles > 1:
        predictor._internal_predict_sliding_window_return_logits = partial(in_batches, predictor, tiles=tiles)
    checkpoints = [_checkpoint(card, data) for data in states]
    try:
        _fill(predictor, card, [json.loads(text) for text in texts], checkpoints)
    except (KeyError, TypeError, ValueError, AttributeError, ImportError, RuntimeError) as error:
        words = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelUnavailable(
            f"Model {card.name}: its plans and weights do not fit each other or nnU-Net: {words[0]}"
        ) from error
    return predictor


def _fill(predictor: nnUNetPredictor, card: ModelCard, described: list[Any], checkpoints: list[dict[str, Any]]) -> None:
    """Give the predictor its network. described: plans and data set."""
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans  # noqa: PLC0415
    from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels  # noqa: PLC0415
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager  # noqa: PLC0415

    plans, dataset = PlansManager(described[0]), described[1]
    configuration = plans.get_configuration(card.configuration)
    inputs = determine_num_input_channels(plans, configuration, dataset)
    _agree(card, plans, configuration, dataset, inputs)
    network = get_network_from_plans(
        configuration.network_arch_class_name,
        configuration.network_arch_init_kwargs,
        configuration.network_arch_init_kwargs_req_import,
        inputs,
        plans.get_label_manager(dataset).num_segmentation_heads,
        allow_init=False,
        deep_supervision=False,
    )
    weights = [checkpoint["network_weights"] for checkpoint in checkpoints]
    for each in weights:
        network.load_state_dict(each)  # strict: a weight too many or too few is an error
    mirroring = checkpoints[0]["mirroring"] or None
    predictor.manual_initialization(network, plans, configuration, weights, dataset, card.trainer, mirroring)


def _agree(card: ModelCard, plans: Any, configuration: Any, dataset: Mapping[str, Any], inputs: int) -> None:
    """Raises ModelUnavailable where the sidecar and nnU-Net's own files tell of two different models."""
    spacing = [card.spacing_mm[axis] for axis in plans.transpose_forward]
    unknown = [label for label in card.lesion_labels if label not in dataset["labels"] or label == "background"]
    checks = {
        f"{len(card.channels)} channels, its plans {inputs}": inputs == len(card.channels),
        f"a spacing of {card.spacing_mm} mm, its plans {configuration.spacing}": np.allclose(
            configuration.spacing, spacing, 0.0, 1e-3
        )
        if len(configuration.spacing) == len(spacing)
        else False,
        f"a label {unknown}, its data set {sorted(dataset['labels'])}": not unknown,
        "no cascade, its plans one": configuration.previous_stage_name is None,
    }
    for words, holds in checks.items():
        if not holds:
            raise ModelUnavailable(f"Model {card.name}: its sidecar names {words}; one of them is another model's.")


def _checkpoint(card: ModelCard, data: bytes) -> dict[str, Any]:
    """A checkpoint from verified bytes, without the weights that only training uses. Raises ModelUnavailable."""
    import torch  # noqa: PLC0415

    try:
        with torch.serialization.safe_globals(_harmless()):
            loaded = torch.load(io.BytesIO(data), map_location="cpu", weights_only=not card.full_pickle)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        more = "" if card.full_pickle else "; where you trust its maker, full_pickle = true in its sidecar lets it run code"
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelUnavailable(
            f"Model {card.name}: a checkpoint cannot be read as plain weights{more} ({first[:120]})."
        ) from None
    if not isinstance(loaded, dict) or not isinstance(loaded.get("network_weights"), dict):
        raise ModelUnavailable(f"Model {card.name}: {card.checkpoint} is no checkpoint of nnU-Net's.")
    said = (loaded.get("trainer_name"), loaded.get("init_args", {}).get("configuration"))
    if said != (card.trainer, card.configuration):
        raise ModelUnavailable(
            f"Model {card.name}: a checkpoint is of trainer and configuration {said}, "
            f"its sidecar names {(card.trainer, card.configuration)}."
        )
    drop = [re.compile(pattern) for pattern in card.drop_keys]
    weights = loaded["network_weights"].items()
    kept = {key: value for key, value in weights if not any(each.fullmatch(key) for each in drop)}
    return {"network_weights": kept, "mirroring": loaded.get("inference_allowed_mirroring_axes")}


def _harmless() -> list[Any]:
    """What nnU-Net's checkpoints hold beside tensors: numbers of numpy, under their names of versions 1 and 2."""
    kinds = [type(np.dtype(name)) for name in ("float64", "float32", "int64", "int32", "bool")]
    scalar = np.float64(0).__reduce__()[0]
    return [scalar, (scalar, "numpy.core.multiarray.scalar"), (scalar, "numpy._core.multiarray.scalar"), np.dtype, *kinds]
