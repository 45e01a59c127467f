"""What a viewer without templates shows of a report: a line for each item, short numbers, a sentence for each group."""

from __future__ import annotations

import pytest
import srtree
from factories import make_case
from highdicom.sr import Measurement
from pydicom import Dataset

from analysis.values import Tracer
from dicom_io import codes
from dicom_io.seg import write_segs
from dicom_io.sr import write_pair_sr, write_tracer_sr
from dicom_io.sr_text import legible, spoken


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Dataset]:
    case = make_case(tmp_path_factory.mktemp("case"))
    segs = {t: write_segs(*case, t) for t in Tracer}
    return {"FDG": write_tracer_sr(*case, Tracer.FDG, segs[Tracer.FDG]), "pair": write_pair_sr(*case, segs)}


@pytest.mark.parametrize("name", ["FDG", "pair"])
def test_every_container_lists_its_items_and_numbers_are_short_and_still_exact(reports: dict[str, Dataset], name: str) -> None:
    items = [reports[name], *srtree.walk(reports[name])]
    assert {item.ContinuityOfContent for item in items if item.ValueType == "CONTAINER"} == {"SEPARATE"}
    for measured in (item.MeasuredValueSequence[0] for item in items if item.ValueType == "NUM"):
        assert len(str(measured.NumericValue)) <= 9
        assert float(measured.NumericValue) == pytest.approx(measured.FloatingPointValue, rel=1e-5)


def test_measurements_of_one_concept_are_told_apart_in_a_sentence(reports: dict[str, Dataset]) -> None:
    lesion = srtree.groups(reports["FDG"])["F1"]
    (sentence,) = lesion.texts["Comment"]
    for name, derivation in (("SUVmean", "Mean"), ("SUVmax", "Maximum"), ("SUVpeak", "Peak Value Within ROI")):
        assert f"{name} {lesion.value('SUVbw', derivation):.4g} g/ml" in sentence
    assert "Metabolic Volume 3.84 ml" in sentence
    (site,) = srtree.groups(reports["pair"])["M2"].texts["Comment"]
    assert "Number of lesions (Fluorodeoxyglucose F^18^) 1; Number of lesions (Pentixafor Ga^68^) 0" in site


@pytest.mark.parametrize(
    ("value", "stored", "said"),
    [(1234567.8, "1234568", "1234568"), (2.0, "2", "2"), (0.000123456789, "0.000123457", "0.0001235")],
)
def test_large_and_small_numbers(value: float, stored: str, said: str) -> None:
    item = Measurement(codes.METABOLIC_VOLUME, value, codes.MILLILITRE)[0]
    group = Dataset()
    group.ValueType, group.ContentSequence = "CONTAINER", [item]
    legible(group)
    assert str(item.MeasuredValueSequence[0].NumericValue) == stored
    assert spoken(item) == f"Metabolic Volume {said} ml"
    assert len(group.ContentSequence) == 1
