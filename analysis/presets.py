"""Named sets of settings, by section of duet.toml. A section takes its set by `preset = NAME`; keys beside it override it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# What is known of the paper's own configuration (docs/METHOD.md 2). What it leaves open keeps duet's default.
PAPER: Mapping[str, Mapping[str, Any]] = {
    "segmentation": {"pentixafor_from_fdg": True},
    "measurement": {
        "min_bone_fraction": 0.10,
        "min_overlap": 0.10,
        "overlap_over": "smaller",
        "subset_mean": "volume",
        "dissemination": "centroids",
    },
}
PRESETS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {"paper": PAPER}


def preset_error(name: str) -> str:
    """What is wrong with a preset's name; empty for one that is known, and for none."""
    return "" if not name or name in PRESETS else f"preset is to be empty or one of {', '.join(PRESETS)}, not {name!r}"


def filled(section: str, table: Mapping[str, Any]) -> Mapping[str, Any]:
    """The section's table with what its preset says, where the table itself says nothing."""
    name = table.get("preset")
    known = PRESETS.get(name, {}) if isinstance(name, str) else {}
    return {**known.get(section, {}), **table}
