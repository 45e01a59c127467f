"""[quality]: each limit is listed with a word (its default: test_config.py), and impossible limits are refused."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from analysis.errors import BadSettings
from analysis.patient.quality_settings import QualitySettings

DEPLOYED = Path(__file__).parents[3] / "deploy" / "duet.toml"


def test_every_limit_has_a_word() -> None:
    lines = DEPLOYED.read_text(encoding="utf-8").split("[quality]\n")[1].split("\n\n")[0].splitlines()
    keys = [line for line in lines if line and not line.startswith("#")]
    assert len(keys) == len(asdict(QualitySettings()))
    assert all("#" in line for line in keys)


@pytest.mark.parametrize(
    "changed", [{"fdg_liver": (3.0, 1.3)}, {"batch_min": 2}, {"batch_z": 0.0}, {"batch_floor": 0.0}, {"dose_hold_factor": 0.5}]
)
def test_impossible_limits_are_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(BadSettings, match="quality"):
        QualitySettings(**changed)
