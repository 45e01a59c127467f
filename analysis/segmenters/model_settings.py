"""Which trained networks may be loaded, and how they are run. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Device = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """[models]. folder: below it each model has a folder of its own; empty: `models` below the node's data.

    allow: SHA-256 of every file that may be loaded, for checkpoints are pickles and can run code. device: "auto" takes a
    GPU where there is one. folds: of an ensemble; empty: those that the model's sidecar names. mirroring: test-time
    augmentation, up to eight times the time. tile_step: overlap of neighbouring tiles, as part of a tile. tiles: how many
    go through a network at once, 0: one on a processor, four on a GPU, there in mixed precision. threads: of the processor,
    0: all.
    """

    folder: Path = Path()
    allow: tuple[str, ...] = ()
    device: Device = "auto"
    folds: tuple[int, ...] = ()
    mirroring: bool = False
    tile_step: float = 0.5
    tiles: int = 0
    threads: int = 0

    def __post_init__(self) -> None:
        if not 0.0 < self.tile_step <= 1.0:
            raise ValueError("tile_step is to be above 0 and at most 1")
        for name in ("tiles", "threads"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is to be 0 or more")
        object.__setattr__(self, "allow", tuple(each.strip().lower() for each in self.allow))
        if bad := [each for each in self.allow if len(each) != 64 or set(each) - set("0123456789abcdef")]:
            raise ValueError(f"allow is to hold SHA-256 sums of 64 hexadecimal digits, not {bad[0]!r}")
