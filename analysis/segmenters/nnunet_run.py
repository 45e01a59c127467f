"""A loaded nnU-Net at work on one study, and what it would otherwise leave changed."""

from __future__ import annotations

import hashlib
import io
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from analysis.segmenters.model_files import ModelFolder
from analysis.segmenters.network_input import NetworkInput
from analysis.values import FloatArray

if TYPE_CHECKING:
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

INDEPENDENT = {"CTNormalization", "NoNormalization", "RGBTo01Normalization"}  # of what else the image shows
log = logging.getLogger("duet.nnunet")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Resident:
    """A network in memory, with what nnU-Net needs to run it. lock: it works on one study at a time."""

    folder: ModelFolder
    folds: tuple[str, ...]
    predictor: nnUNetPredictor
    lock: Lock

    @property
    def crops(self) -> bool:
        """Whether the network may be shown the body alone: not where a channel is scaled by the whole image's statistics."""
        how = self.predictor.configuration_manager
        independent = set(how.normalization_schemes) <= INDEPENDENT and not any(how.use_mask_for_norm)
        return self.folder.card.body_crop and independent

    @property
    def weights_sha256(self) -> str:
        """The checkpoint's SHA-256; of several folds that of their lines as `sha256sum` writes them."""
        files = [f"fold_{fold}/{self.folder.card.checkpoint}" for fold in self.folds]
        sums = [self.folder.card.files[file] for file in files]
        lines = "".join(f"{sha256}  {file}\n" for sha256, file in zip(sums, files, strict=True))
        return sums[0] if len(sums) == 1 else hashlib.sha256(lines.encode()).hexdigest()


def predict(resident: Resident, shown: NetworkInput) -> FloatArray:
    """float32 on the voxels of the input: the probability of all lesion labels together."""
    return _lean(resident, shown) if resident.crops else _stock(resident, shown)


def _stock(resident: Resident, shown: NetworkInput) -> FloatArray:
    """By nnU-Net's own functions from end to end."""
    import torch  # noqa: PLC0415
    from nnunetv2.inference.export_prediction import (  # noqa: PLC0415
        convert_predicted_logits_to_segmentation_with_correct_shape as to_input_voxels,
    )

    it = resident.predictor
    preprocessor = it.configuration_manager.preprocessor_class(verbose=False)
    data, _, properties = preprocessor.run_case_npy(
        shown.channels, None, {"spacing": list(shown.spacing_mm)}, it.plans_manager, it.configuration_manager, it.dataset_json
    )
    logits = it.predict_logits_from_preprocessed_data(torch.from_numpy(data)).cpu()
    _, probabilities = to_input_voxels(
        logits,
        it.plans_manager,
        it.configuration_manager,
        it.label_manager,
        properties,
        return_probabilities=True,
        num_threads_torch=torch.get_num_threads(),
    )
    return _of_lesions(resident, np.asarray(probabilities))


def _lean(resident: Resident, shown: NetworkInput) -> FloatArray:
    """The same without what a cropped study does not need: no search for zeros, no empty segmentation resampled, and of two
    labels only the difference of their logits (resampling is linear)."""
    import torch  # noqa: PLC0415
    from nnunetv2.preprocessing.resampling.default_resampling import compute_new_shape  # noqa: PLC0415

    it = resident.predictor
    how, order = it.configuration_manager, it.plans_manager.transpose_forward
    data = shown.channels.transpose([0, *(axis + 1 for axis in order)]).copy()
    shape, own = data.shape[1:], [shown.spacing_mm[axis] for axis in order]
    intensities = it.plans_manager.foreground_intensity_properties_per_channel
    data = how.preprocessor_class(verbose=False)._normalize(data, np.zeros((1, 1, 1, 1)), how, intensities)
    data = how.resampling_fn_data(data, compute_new_shape(shape, own, how.spacing), own, how.spacing)
    logits = it.predict_logits_from_preprocessed_data(torch.as_tensor(data)).cpu().float()
    two = len(logits) == 2 and not it.label_manager.has_regions
    kept = (logits[1] - logits[0])[None] if two else logits
    kept = torch.as_tensor(how.resampling_fn_probabilities(kept, shape, how.spacing, own))
    nonlinear = it.label_manager.apply_inference_nonlin
    lesions = np.asarray(torch.sigmoid(kept[0])) if two else _of_lesions(resident, np.asarray(nonlinear(kept)))
    return lesions.transpose(it.plans_manager.transpose_backward)


def _of_lesions(resident: Resident, probabilities: FloatArray) -> FloatArray:
    """Labels exclude each other, so theirs add up; regions may overlap, so the surest one counts."""
    manager, labels = resident.predictor.label_manager, resident.predictor.dataset_json["labels"]
    wanted = [labels[name] for name in resident.folder.card.lesion_labels]
    if manager.has_regions:
        heads = [n for n, region in enumerate(manager.foreground_regions) if _set(region) in [_set(each) for each in wanted]]
        return np.asarray(probabilities[heads].max(axis=0), dtype=np.float32)
    return np.asarray(probabilities[wanted].sum(axis=0), dtype=np.float32)


def _set(region: int | list[int] | tuple[int, ...]) -> set[int]:
    return {region} if isinstance(region, int) else set(region)


class Whisper(io.TextIOBase):
    """Standard output of a talkative library, turned into lines of the log."""

    def write(self, text: str) -> int:
        for line in filter(None, map(str.strip, text.splitlines())):
            log.debug("%s", line)
        return len(text)


@contextmanager
def undisturbed(threads: int) -> Iterator[None]:
    """Torch on so many threads (0: every processor that this process may use) and nothing printed; then all as before."""
    import torch  # noqa: PLC0415

    before, tuned = torch.get_num_threads(), torch.backends.cudnn.benchmark
    torch.set_num_threads(threads or len(os.sched_getaffinity(0)))
    torch.backends.cudnn.benchmark = torch.cuda.is_available()
    try:
        with redirect_stdout(Whisper()):
            yield
    finally:
        torch.set_num_threads(before)
        torch.backends.cudnn.benchmark = tuned
