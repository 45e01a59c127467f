"""Which segmenter the settings name, and that one which cannot be loaded is said and never replaced."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_totalsegmentator import write_weights
from glow import GRID, MODEL, SUV, WITH_KIDNEY, Sure, study

from analysis.errors import ModelUnavailable
from analysis.patient.lesions import look
from analysis.ports import LesionNetwork, NotRun
from analysis.segmenters.chosen import Equipment, choose
from analysis.segmenters.fused import NetworkLesions
from analysis.segmenters.model_settings import ModelSettings
from analysis.segmenters.rules import RuleLesions
from analysis.segmenters.rules_anatomy import RuleAnatomy
from analysis.segmenters.segmentation_settings import SegmentationSettings
from analysis.segmenters.totalsegmentator import TotalSegmentatorAnatomy
from analysis.segmenters.totalsegmentator_settings import TotalSegmentatorSettings
from analysis.values import Tracer


def loaded(models: ModelSettings, name: str, tracer: Tracer) -> LesionNetwork:
    return Sure(probability=np.zeros(GRID.shape, np.float32), model=replace(MODEL, name=name))


def test_rules_are_the_default() -> None:
    by = choose(SegmentationSettings(), Equipment())
    assert {type(by.lesions[tracer]) for tracer in Tracer} == {RuleLesions}


def test_a_named_network_is_fused_with_rules_for_its_tracer_alone() -> None:
    by = choose(SegmentationSettings(pentixafor_network="mine"), Equipment(), loaded)
    assert isinstance(by.lesions[Tracer.FDG], RuleLesions)
    network = by.lesions[Tracer.PENTIXAFOR]
    assert isinstance(network, NetworkLesions)
    assert (network.rules, network.model.name) == (True, "mine with rules for organs")


def test_the_network_alone_and_rules_in_spite_of_a_network() -> None:
    settings = SegmentationSettings(
        fdg_network="a", fdg_method="network", pentixafor_network="b", pentixafor_method="rules", threshold="relative"
    )
    by = choose(settings, Equipment(), loaded)
    fdg, pentixafor = by.lesions[Tracer.FDG], by.lesions[Tracer.PENTIXAFOR]
    assert isinstance(fdg, NetworkLesions)
    assert not fdg.rules
    assert isinstance(pentixafor, RuleLesions)
    assert pentixafor.threshold == "relative"


def test_a_method_without_its_network_is_a_wrong_setting() -> None:
    with pytest.raises(ValueError, match="name it in fdg_network"):
        SegmentationSettings(fdg_method="network")


def test_what_cannot_be_loaded_is_not_run_and_says_why_without_a_path(tmp_path: Path) -> None:
    """Through the true loader: no such folder."""
    by = choose(SegmentationSettings(fdg_network="absent"), Equipment(models=ModelSettings(folder=tmp_path / "models")))
    with pytest.raises(ModelUnavailable):
        by.lesions[Tracer.FDG].segment_lesions(study(SUV), WITH_KIDNEY)
    found = look(study(SUV), WITH_KIDNEY, by.lesions[Tracer.FDG])
    assert isinstance(found, NotRun)
    assert found.model.name == "absent (not run)"
    assert "absent is not there" in found.why
    assert str(tmp_path) not in found.why
    assert isinstance(by.lesions[Tracer.PENTIXAFOR], RuleLesions)


def test_anatomy_is_totalsegmentators_where_its_weights_are_there_and_allowed(tmp_path: Path) -> None:
    """A weights folder of the true layout; not on the operator's list: rules, unless TotalSegmentator is demanded."""
    task = TotalSegmentatorSettings(resolution_mm=6.0)
    sums = write_weights(tmp_path / "totalsegmentator", 6.0)
    allowed = ModelSettings(folder=tmp_path, allow=tuple(sums.values()))
    listed = Equipment(models=allowed, totalsegmentator=task)
    unlisted = Equipment(models=replace(allowed, allow=()), totalsegmentator=task)
    auto, demanded = SegmentationSettings(), SegmentationSettings(anatomy="totalsegmentator")
    assert isinstance(choose(auto, listed).anatomy, TotalSegmentatorAnatomy)
    assert isinstance(choose(auto, unlisted).anatomy, RuleAnatomy)
    assert isinstance(choose(auto, Equipment()).anatomy, RuleAnatomy)
    assert isinstance(choose(SegmentationSettings(anatomy="rules"), listed).anatomy, RuleAnatomy)
    assert isinstance(choose(demanded, unlisted).anatomy, TotalSegmentatorAnatomy)
