"""The processor or GPU that networks run on."""

from __future__ import annotations

from analysis.errors import ModelUnavailable
from analysis.segmenters.model_settings import ModelSettings


def chosen_device(settings: ModelSettings, name: str) -> str:
    """ "cuda" or "cpu", for model `name`. Raises ModelUnavailable where a GPU is asked for and there is none."""
    import torch  # noqa: PLC0415

    there = torch.cuda.is_available()
    if settings.device == "cuda" and not there:
        raise ModelUnavailable(
            f'Model {name}: [models] device is "cuda", and no GPU is to be seen; "auto" takes what there is.'
        )
    return "cuda" if there and settings.device != "cpu" else "cpu"


def seen_gpu() -> str | None:
    """Name and memory of the GPU that torch sees, or None."""
    import torch  # noqa: PLC0415

    if not torch.cuda.is_available():
        return None
    return f"{torch.cuda.get_device_name(0)}, {torch.cuda.get_device_properties(0).total_memory / 2**30:.0f} GiB"
