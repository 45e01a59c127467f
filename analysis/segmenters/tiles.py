"""Several tiles of an image through a network at once: one alone does not fill a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

ON_GPU = 4  # a guess, for none was at hand: where its memory ends it is halved


def in_batches(
    predictor: nnUNetPredictor, data: torch.Tensor, slicers: Sequence[Any], on_device: bool = True, *, tiles: int
) -> torch.Tensor:
    """Logits (heads, k, j, i) of the preprocessed image (channels, k, j, i), in place of nnU-Net's own walk over its tiles.

    The same tiles in the same order with the same weights, but so many at once; fewer where the GPU's memory ends. Raises
    RuntimeError as nnU-Net does: no memory for a single tile, or logits beyond half precision.
    """
    import torch  # noqa: PLC0415
    from nnunetv2.inference.sliding_window_prediction import compute_gaussian  # noqa: PLC0415

    at = predictor.device if on_device else torch.device("cpu")
    data = data.to(at)
    shape, size = data.shape[1:], tuple(predictor.configuration_manager.patch_size)
    logits = torch.zeros((predictor.label_manager.num_segmentation_heads, *shape), dtype=torch.half, device=at)
    weights = torch.zeros(shape, dtype=torch.half, device=at)
    weight = compute_gaussian(size, sigma_scale=1.0 / 8, value_scaling_factor=10, device=at) if predictor.use_gaussian else 1
    left = list(slicers)
    while left:
        places = left[:tiles]
        try:
            shown = torch.stack([data[place] for place in places]).to(predictor.device)
            answers = predictor._internal_maybe_mirror_and_predict(shown).to(at)
        except torch.cuda.OutOfMemoryError:
            if len(places) == 1:
                raise
            tiles = len(places) // 2
            torch.cuda.empty_cache()
            continue
        for place, answer in zip(places, answers, strict=True):
            logits[place] += answer * weight
            weights[place[1:]] += weight
        left = left[len(places) :]
    torch.div(logits, weights, out=logits)
    if torch.isinf(logits).any():
        raise RuntimeError("the network's logits are beyond half precision")
    return logits
