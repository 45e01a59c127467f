"""The demo's settings; its journey itself is what `make demo` runs and tests/test_journey.py drives with real peers."""

from __future__ import annotations

from pathlib import Path

from analysis.segmenters.chosen import Equipment, choose
from analysis.segmenters.segmentation_settings import SegmentationSettings
from analysis.values import Tracer
from service.config import load
from service.demo import NETWORK, _write_config
from service.models import models_of


def test_the_shipped_network_may_be_loaded_for_both_tracers(tmp_path: Path) -> None:
    settings = load(_write_config(tmp_path, 11112, 11113, NETWORK))
    chosen = choose(settings.section("segmentation", SegmentationSettings), Equipment(models=models_of(settings)))
    for tracer in Tracer:
        model = chosen.lesions[tracer].model
        assert model.name.startswith(NETWORK)
        assert len(model.weights_sha256) == 64


def test_without_it_lesions_are_found_by_rules(tmp_path: Path) -> None:
    settings = load(_write_config(tmp_path, 11112, 11113))
    assert settings.section("segmentation", SegmentationSettings).method(Tracer.FDG) == "rules"
