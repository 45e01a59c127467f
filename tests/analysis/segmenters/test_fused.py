"""A network that knows the answer, fused with thresholds and organs: what is left is known voxel by voxel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bodies import ball
from glow import CORE, GRID, KIDNEY, LESION, MODEL, SUV, WITH_KIDNEY, Sure, anatomy, study
from nets import Net, write_net

from analysis.errors import ModelUnavailable
from analysis.segmenters.fused import NetworkLesions
from analysis.segmenters.nnunet import load_network
from analysis.segmenters.segmentation_settings import SegmentationSettings
from analysis.values import Tracer


def fused(probability: np.ndarray, rules: bool = True, **settings: object) -> NetworkLesions:
    steered = SegmentationSettings(fdg_network="net", **settings)  # type: ignore[arg-type]
    return NetworkLesions(network=Sure(probability.astype(np.float32)), settings=steered, rules=rules)


@pytest.mark.parametrize(("threshold", "left"), [("none", LESION), ("fixed", CORE), ("relative", CORE)])
def test_the_threshold_cuts_the_networks_mask(threshold: str, left: np.ndarray) -> None:
    found = fused(0.9 * LESION, threshold=threshold).segment_lesions(study(SUV), WITH_KIDNEY)
    assert (found.mask == left).all()
    assert found.border == threshold
    assert (np.asarray(found.regions) > 0)[LESION].all()


def test_the_mask_begins_above_the_least_probability() -> None:
    probability = np.where(CORE, 0.9, np.where(LESION, 0.6, 0.0))
    for least, left in ((0.5, LESION), (0.7, CORE)):
        found = fused(probability, threshold="none", min_probability=least).segment_lesions(study(SUV), WITH_KIDNEY)
        assert (found.mask == left).all()


@pytest.mark.parametrize(
    ("rules", "limit", "kept"), [(True, 1.0, False), (True, 0.95, True), (True, 0.98, False), (False, 1.0, True)]
)
def test_a_kidney_is_no_lesion_unless_a_sure_network_is_believed_or_rules_are_not_asked(
    rules: bool, limit: float, kept: bool
) -> None:
    probability = np.where(LESION, 0.8, np.where(KIDNEY, 0.97, 0.0))
    net = fused(probability, rules=rules, threshold="none", organ_probability=limit)
    found = net.segment_lesions(study(SUV), WITH_KIDNEY)
    assert found.mask[LESION].all()
    assert bool(found.mask[KIDNEY].all()) == kept
    assert bool(found.mask[KIDNEY].any()) == kept


def test_in_the_spleen_a_lesion_must_exceed_it() -> None:
    spleen = ball(GRID, (110, 80, 60), 20.0)
    spot = ball(GRID, (110, 80, 60), 8.0)
    suv = np.where(spot, 12.0, np.where(spleen, 5.0, 0.5))
    known = anatomy({"spleen": spleen})
    found = fused(0.8 * spleen, threshold="fixed").segment_lesions(study(suv), known)
    assert (found.mask == spot).all()


def test_the_model_keeps_its_name_and_its_weights() -> None:
    both = fused(0.8 * LESION).model
    assert both.name == "net with rules for organs"
    assert both.weights_sha256 == MODEL.weights_sha256
    assert fused(0.8 * LESION, rules=False).model == MODEL


def test_a_threshold_of_an_organ_that_was_not_found_is_not_guessed() -> None:
    with pytest.raises(ModelUnavailable, match="liver is undefined"):
        fused(0.9 * LESION, threshold="liver").segment_lesions(study(SUV), WITH_KIDNEY)


def test_a_network_that_sees_nothing_has_looked() -> None:
    found = fused(0.0 * LESION).segment_lesions(study(SUV), WITH_KIDNEY)
    assert not found.mask.any()
    assert not np.asarray(found.regions).any()


def test_through_the_true_loader(tmp_path: Path) -> None:
    """The hand-set network that says "SUV above 4", loaded as any other."""
    models = write_net(tmp_path, Net(spacing=(4.0, 4.0, 4.0)))
    network = load_network(models, "suv-above-4", Tracer.FDG)
    settings = SegmentationSettings(fdg_network="suv-above-4", threshold="none")
    found = NetworkLesions(network=network, settings=settings).segment_lesions(study(SUV), WITH_KIDNEY)
    assert (found.mask == CORE).mean() > 0.999
    assert found.mask[CORE].mean() > 0.9
    assert found.model.weights_sha256
