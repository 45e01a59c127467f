"""Presets fill what a section leaves unsaid."""

from __future__ import annotations

import dataclasses

import pytest

from analysis.errors import BadSettings
from analysis.patient.measures import MeasurementSettings
from analysis.presets import PAPER, PRESETS, filled
from analysis.segmenters.segmentation_settings import SegmentationSettings

SECTIONS = {"segmentation": SegmentationSettings, "measurement": MeasurementSettings}


def test_every_preset_names_keys_of_its_sections() -> None:
    for sections in PRESETS.values():
        for section, table in sections.items():
            known = {f.name for f in dataclasses.fields(SECTIONS[section])}
            assert set(table) <= known
            assert SECTIONS[section](**table)


def test_the_papers_figures() -> None:
    """Concordant above 10 %, medullary from 10 % in bone (Xue et al. 2026)."""
    assert (PAPER["measurement"]["min_overlap"], PAPER["measurement"]["min_bone_fraction"]) == (0.10, 0.10)
    assert PAPER["segmentation"]["pentixafor_from_fdg"] is True


def test_what_is_written_overrides_the_preset_and_the_rest_stays() -> None:
    table = filled("measurement", {"preset": "paper", "min_overlap": 0.2, "near_mm": 9.0})
    assert (table["min_overlap"], table["min_bone_fraction"], table["near_mm"]) == (0.2, 0.10, 9.0)
    assert filled("measurement", {"min_overlap": 0.2}) == {"min_overlap": 0.2}
    assert filled("registration", {"preset": "paper"}) == {"preset": "paper"}


def test_an_unknown_preset_is_told() -> None:
    with pytest.raises(ValueError, match="one of paper, not 'article'"):
        SegmentationSettings(preset="article")
    with pytest.raises(BadSettings, match="one of paper, not 'article'"):
        MeasurementSettings(preset="article")
