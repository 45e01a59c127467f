"""What finds organs and bones on this machine, told to an operator: rules, or TotalSegmentator with its weights."""

from __future__ import annotations

from collections.abc import Iterator

from analysis.errors import ModelUnavailable
from analysis.segmenters.segmentation_settings import SegmentationSettings
from analysis.segmenters.totalsegmentator_settings import TotalSegmentatorSettings
from analysis.segmenters.totalsegmentator_weights import HOME, package_version, verified_weights, weight_sums, weights_present
from service.config import Settings
from service.models import models_of


def anatomy_overview(settings: Settings) -> Iterator[str]:
    """What there is for organs and bones, and which lines of duet.toml would let it be loaded; a line each."""
    models = models_of(settings)
    wanted = settings.section("totalsegmentator", TotalSegmentatorSettings)
    yield f"TotalSegmentator, for organs and bones at {wanted.resolution_mm:g} mm, in {models.folder / HOME}:"
    if not (models.folder / HOME).is_dir():
        yield "  not there; rules find organs and bones. Its weights go there as TotalSegmentator itself lays them out."
        return
    try:
        sums, package = weight_sums(models, wanted), package_version()
    except ModelUnavailable as error:
        yield f"  {error}"
        return
    yield f"  {len(sums)} files for TotalSegmentator {package}"
    missing = {file: digest for file, digest in sums.items() if digest not in models.allow}
    if not missing:
        yield "    verified, and on the list"
        return
    yield "    not loaded before [models] allow of duet.toml holds"
    yield from (f'    "{digest}",  # {HOME}/{file}' for file, digest in missing.items())


def anatomy_in_use(settings: Settings) -> str:
    """What finds organs and bones. Raises ModelUnavailable where TotalSegmentator is wanted, or there, and not allowed."""
    models = models_of(settings)
    wanted = settings.section("totalsegmentator", TotalSegmentatorSettings)
    choice = settings.section("segmentation", SegmentationSettings).anatomy
    if choice == "rules" or (choice == "auto" and not weights_present(models, wanted)):
        return "found by rules" if choice == "rules" else f"found by rules: no TotalSegmentator in {models.folder / HOME}"
    weights = verified_weights(models, wanted)
    return f"found by TotalSegmentator {weights.package} at {wanted.resolution_mm:g} mm; its weights are on the list"
