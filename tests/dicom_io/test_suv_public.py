"""Headers as they stand in public: excerpts without images, times that were taken away, other languages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from analysis.errors import NotDicom, NotQuantifiable
from dicom_io.headers import read_instance
from dicom_io.inspection import suv_report
from dicom_io.suv import suv_conversion

LATE = {  # dcm2niix, issue 983: a Siemens scan from the injection on, of which minutes 50 to 70 were reconstructed
    "SeriesTime": "162016.000000",
    "AcquisitionTime": "171015.000000",
    "ActualFrameDuration": "1200000",
    "FrameReferenceTime": "3592700",
    "DecayFactor": "1.45951",
}


def conversion(scans: Any, **changes: Any) -> Any:
    return suv_conversion(scans.series(scans.pet(2, **changes)))


@pytest.mark.parametrize(("given", "before_s"), [("162000", 16), ("162030", -14)])
def test_a_late_part_of_a_scan_from_the_injection_on(scans, given: str, before_s: int) -> None:
    """Its DecayFactor tells that SeriesTime is what it is corrected to, also where the injection came seconds later."""
    found = conversion(scans, **LATE, PatientWeight="70", item={"RadiopharmaceuticalStartTime": given})
    assert found.factor == pytest.approx(70_000 / 3e8 * 2 ** (before_s / 6588), rel=1e-9)
    check = next(other for other in found.alternatives if other.rule.startswith("DecayFactor"))
    assert abs(check.difference_percent or 0.0) < 0.1
    assert any("switched on before" in warning for warning in found.warnings) == (before_s < 0)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"item": {"RadiopharmaceuticalStartTime": "101000"}}, r"StartTime gives -0.2 h \(23.8 h if it was the day before\)"),
        ({"item": {"RadiopharmaceuticalStartTime": "", "RadiopharmaceuticalStartDateTime": "20260309080000"}}, "26.0 h"),
        ({"item": {"RadiopharmaceuticalStartDateTime": "20260310230000"}}, "StartDateTime gives -13.0 h"),
        ({"item": {"RadiopharmaceuticalStartTime": "000000"}}, "The administration is at 00:00:00, 10.0 h"),
        (
            {"SeriesTime": "000000", "AcquisitionTime": "000000", "item": {"RadiopharmaceuticalStartTime": "150000"}},
            "The scan is",
        ),
        ({"item": {"RadiopharmaceuticalStartTime": "235000"}, "SeriesTime": "000000", "AcquisitionTime": "000000"}, ""),
        ({"SeriesDate": None, "AcquisitionDate": None, "StudyDate": None, "ContentDate": None}, "The times have no date"),
        ({"SeriesDescription": "PET MIP"}, "projection"),
        ({"SeriesDescription": "TEP non corrig\u00e9"}, "not corrected"),
        ({"SeriesDescription": "PET sans AC"}, "not corrected"),
        ({"SeriesDescription": "WB EM NO CTAC"}, "not corrected"),
        ({"SeriesDescription": "PET no corregido"}, "not corrected"),
        ({"AttenuationCorrectionMethod": "uncorrected"}, "AttenuationCorrectionMethod"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7", "Units": None}, "secondary capture"),
    ],
)
def test_the_sentence_names_the_cause(scans, changes: dict[str, Any], word: str) -> None:
    if not word:  # minutes over midnight are no time that was taken away
        assert conversion(scans, **changes).uptake_min == 10
        return
    with pytest.raises(NotQuantifiable, match=word):
        conversion(scans, **changes)


@pytest.mark.parametrize(
    "words", ["PET AC w/o MoCo", "PET Body w/o contrast", "1 NO TOF AC", "Non-gated AC", "PET AC nasopharynx"]
)
def test_a_corrected_series_is_not_mistaken(scans, words: str) -> None:
    assert conversion(scans, SeriesDescription=words).factor > 0


def test_headers_without_images_give_a_factor(scans, tmp_path: Path) -> None:
    """As calculate-suv keeps its vendors' headers: a factor, and nothing to measure. A cut file beside whole ones is none."""
    paths = scans.write(tmp_path, scans.pet(3))
    whole = suv_report(tmp_path).conversion.factor
    for path in paths:
        ds = dcmread(path)
        del ds.PixelData, ds.Modality
        ds.save_as(path)
    report = suv_report(tmp_path)
    assert report.conversion.factor == whole
    assert any("headers without pixel data" in warning for warning in report.warnings)
    with pytest.raises(NotDicom, match="cut off"):
        read_instance(paths[0])
