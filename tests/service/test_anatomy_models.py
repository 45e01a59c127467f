"""What an operator is told of TotalSegmentator's weights, and that the told lines let them be loaded."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fake_totalsegmentator import write_weights

from analysis.errors import ModelUnavailable
from analysis.segmenters.model_settings import ModelSettings
from analysis.segmenters.totalsegmentator_settings import TotalSegmentatorSettings
from analysis.segmenters.totalsegmentator_weights import verified_weights
from service.anatomy_models import anatomy_in_use, anatomy_overview
from service.config import load


def test_from_nothing_to_weights_that_may_be_loaded(tmp_path: Path) -> None:
    file = tmp_path / "duet.toml"
    text = f'[models]\nfolder = "{tmp_path}"\nallow = [\nSUMS]\n[totalsegmentator]\nresolution_mm = 6\n'
    file.write_text(text.replace("SUMS", ""), encoding="utf-8")
    assert "not there; rules find organs and bones" in " ".join(anatomy_overview(load(file)))
    (tmp_path / "totalsegmentator").mkdir()
    assert "cannot read" in " ".join(anatomy_overview(load(file)))
    assert anatomy_in_use(load(file)).startswith("found by rules: no TotalSegmentator in")
    file.write_text(text.replace("SUMS", "") + '[segmentation]\nanatomy = "totalsegmentator"\n', encoding="utf-8")
    with pytest.raises(ModelUnavailable, match="cannot read"):
        anatomy_in_use(load(file))
    file.write_text(text.replace("SUMS", ""), encoding="utf-8")

    write_weights(tmp_path / "totalsegmentator", 6.0)
    told = list(anatomy_overview(load(file)))
    lines = [line for line in told if re.match(r'\s+"[0-9a-f]{64}",  # totalsegmentator/Dataset298_', line)]
    assert len(lines) == 3
    with pytest.raises(ModelUnavailable, match=r"is not in \[models\] allow"):  # there, and still not used
        anatomy_in_use(load(file))
    file.write_text(text.replace("SUMS", "") + '[segmentation]\nanatomy = "rules"\n', encoding="utf-8")
    assert anatomy_in_use(load(file)) == "found by rules"
    file.write_text(text.replace("SUMS", "\n".join(lines) + "\n"), encoding="utf-8")
    assert list(anatomy_overview(load(file)))[-1] == "    verified, and on the list"
    assert "TotalSegmentator 2." in anatomy_in_use(load(file))
    models = load(file).section("models", ModelSettings)
    assert verified_weights(models, TotalSegmentatorSettings(resolution_mm=6.0)).sha256
