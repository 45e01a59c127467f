"""SUVbw against reference objects, published factors and vendors' headers; and what must be refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom import Dataset
from pydicom.sequence import Sequence

from analysis.errors import NotQuantifiable
from analysis.values import Tracer
from dicom_io.headers import read_folder
from dicom_io.inspection import suv_report
from dicom_io.studies import Instance, Series
from dicom_io.suv import suv_conversion
from dicom_io.suv_body import surface_m2
from dicom_io.volumes import read_pet

DROS = ["DRO_0_0", "DRO_1_0", "DRO_2_0", "DRO_2_4", "DRO_3_0", "DRO_3_1", "DRO_3_2", "DRO_4_0", "DRO_5_0"]
HEADERS = [
    "CPS_AND_BQML_AC_DT_-_S_DT",
    "GE_MEDICAL_AND_BQML",
    "PHILIPS_CNTS_AND_SUV",
    "RADIOPHARM_DATETIME_UNDEFINED",
    "SIEMENS",
]
LAMBDA_F18 = math.log(2) / 6588
PER_BQ = 70_000 / 3e8  # the factory's patient: 70 kg, 300 MBq


@pytest.mark.parametrize("case", DROS)
def test_reference_objects(shared_data: Path, case: str) -> None:
    """Digital reference objects of IBSI (oncoray/suv_computation): 0.20, 1.00 and 4.00 within 0.03 SUV."""
    folder = shared_data / "suv" / "dro"
    expected = json.loads((folder / "expected.json").read_text())
    report = suv_report(folder / case / "PT")
    volume = read_pet(report.pet)
    stored = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / case / "mask" / "DRO_mask.nii.gz")))
    inside = volume.values[stored > 0]
    found = {"min": inside.min(), "median": np.median(inside), "max": inside.max()}
    assert found == pytest.approx(expected["quantiles"], abs=expected["tolerance"])


def vendor_series(file: Path) -> Series:
    """A series of the header elements that calculate-suv publishes as JSON."""
    return Series(instances=tuple(Instance(path=file, header=_vendor_header(w)) for w in json.loads(file.read_text())))


def _vendor_header(words: dict[str, Any]) -> Dataset:
    ds, item = Dataset(), Dataset()
    for keyword, value in words.items():
        if keyword.startswith("Radio"):
            setattr(item, keyword, value)
        elif keyword != "PhilipsPETPrivateGroup":
            setattr(ds, keyword, value)
    ds.RadiopharmaceuticalInformationSequence = Sequence([item])
    if "SUVScaleFactor" in words["PhilipsPETPrivateGroup"]:
        block = ds.private_block(0x7053, "Philips PET Private Group", create=True)
        block.add_new(0x00, "DS", words["PhilipsPETPrivateGroup"]["SUVScaleFactor"])
    return ds


@pytest.mark.parametrize("case", HEADERS)
def test_vendor_headers(shared_data: Path, case: str) -> None:
    """Factors of real Siemens, GE, Philips and CPS headers (cornerstonejs/calculate-suv)."""
    folder = shared_data / "suv" / "headers"
    expected = json.loads((folder / "expected.json").read_text())[case]
    assert suv_conversion(vendor_series(folder / f"{case}-instances.json")).factor == pytest.approx(expected, rel=1e-6)


def test_a_series_time_after_the_acquisition_is_told(shared_data: Path) -> None:
    """The CPS header read by SeriesTime errs by 33 % (docs/METHOD.md 1)."""
    conversion = suv_conversion(vendor_series(shared_data / "suv" / "headers" / "CPS_AND_BQML_AC_DT_-_S_DT-instances.json"))
    assert any("+33.3 %" in warning for warning in conversion.warnings)


@pytest.mark.parametrize(("folder", "factor", "rel"), [("fdg", 4.2111e-4, 1e-5), ("pentixafor", 1.30149e-3, 1e-5)])
def test_real_pair(shared_data: Path, folder: str, factor: float, rel: float) -> None:
    """Published beside the scan; GE's private time, shifted to 1959 by de-identification, must not count."""
    report = suv_report(shared_data / "pair1" / folder)
    assert report.conversion.factor == pytest.approx(factor, rel=rel)
    assert report.tracer is (Tracer.FDG if folder == "fdg" else Tracer.PENTIXAFOR)
    assert report.conversion.warnings == ()
    assert all(not other.difference_percent or abs(other.difference_percent) < 0.01 for other in report.conversion.alternatives)
    assert "1959" in next((x.why_not for x in report.conversion.alternatives if "0009,100D" in x.rule), "1959")


def test_real_uncorrected_series_is_refused(shared_data: Path) -> None:
    with pytest.raises(NotQuantifiable, match="not corrected"):
        suv_report(shared_data / "pair1" / "fdg" / "nac")


def factor(scans, **changes: Any) -> float:
    return suv_conversion(scans.series(scans.pet(**changes))).factor


def decayed(seconds: float) -> float:
    return PER_BQ * math.exp(LAMBDA_F18 * seconds)


def test_start_is_the_series_time(scans) -> None:
    conversion = suv_conversion(scans.series(scans.pet()))
    assert conversion.factor == pytest.approx(decayed(3600), rel=1e-12)
    assert conversion.uptake_min == 60
    assert "SeriesTime" in conversion.rule


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"item": {"RadionuclideTotalDose": "300"}}, decayed(3600)),
        ({"PatientWeight": "70000"}, decayed(3600)),
        ({"PatientSize": "170"}, decayed(3600)),
        (
            {"item": {"RadiopharmaceuticalStartTime": None, "RadiopharmaceuticalStartDateTime": "20260310090000.00 "}},
            decayed(3600),
        ),
        ({"item": {"RadiopharmaceuticalStartDateTime": "19590301090000"}}, decayed(3600)),
        ({"item": {"RadiopharmaceuticalStartDateTime": "20260310080000"}}, decayed(7200)),
        (
            {"item": {"RadiopharmaceuticalStartDateTime": "20260310080000+0000"}, "TimezoneOffsetFromUTC": "+0100"},
            decayed(3600),
        ),
        (
            {"SeriesTime": "001000", "AcquisitionTime": "001000", "item": {"RadiopharmaceuticalStartTime": "231000"}},
            decayed(3600),
        ),
        ({"DecayCorrection": "ADMIN"}, PER_BQ),
        ({"SeriesTime": "120000"}, decayed(3600)),
        ({"Units": "GML"}, 1.0),
        ({"Units": "GML", "SUVType": "BW"}, 1.0),
        ({"Units": "CM2ML"}, 70_000 / (surface_m2(70, 1.7) * 10_000)),
        # Female, 70 kg, 1.70 m, by hand.
        ({"Units": "GML", "SUVType": "LBMJAMES128"}, 70 / (1.07 * 70 - 148 * (70 / 170) ** 2)),
        ({"Units": "GML", "SUVType": "LBMJANMA"}, 70 / (9270 * 70 / (8780 + 244 * 70 / 1.7**2))),
        ({"Units": "GML", "SUVType": "IBW"}, 70 / (45.5 + 0.91 * (170 - 152))),
        ({"Units": "GML", "SUVType": "LBM", "PatientSex": "M"}, 70 / (1.10 * 70 - 120 * (70 / 170) ** 2)),
    ],
)
def test_forms_of_one_scan(scans, changes: dict[str, Any], expected: float) -> None:
    assert factor(scans, **changes) == pytest.approx(expected, rel=1e-9)


def test_du_bois_surface() -> None:
    """70 kg and 1.70 m: 1.81 m2 in Du Bois and Du Bois' table (Arch Intern Med 1916;17:863)."""
    assert surface_m2(70, 1.70) == pytest.approx(1.81, abs=0.005)


def test_not_decay_corrected_slices_have_their_own_factor(scans) -> None:
    slices = scans.pet(2, DecayCorrection="NONE")
    slices[1].AcquisitionTime = "100500"
    x = LAMBDA_F18 * 120
    within = x / (1 - math.exp(-x))
    assert suv_conversion(scans.series(slices)).factors == pytest.approx(
        [within * decayed(3600), within * decayed(3900)], rel=1e-9
    )


def test_frames_with_a_moment_of_their_own_are_taken_from_it(scans) -> None:
    """IBSI manual for SUV: an enhanced object that was not decay corrected, from FrameReferenceDateTime of each frame."""
    slices = scans.pet(2, DecayCorrection="NONE", FrameReferenceDateTime="20260310100100.000", AcquisitionTime=None)
    slices[1].FrameReferenceDateTime = "20260310100600"
    assert suv_conversion(scans.series(slices)).factors == pytest.approx([decayed(3660), decayed(3960)], rel=1e-12)


def test_back_computing_where_the_series_time_is_late(scans) -> None:
    """Two beds of 120 s; their FrameReferenceTime counts from 10:00 to the average count time, half a frame to 0.1 s."""
    slices = scans.pet(2, SeriesTime="113000", FrameReferenceTime="60000")
    slices[1].AcquisitionTime, slices[1].FrameReferenceTime = "100200", "180000"
    conversion = suv_conversion(scans.series(slices))
    assert conversion.factors == pytest.approx([decayed(3600)] * 2, rel=1e-4)
    assert "FrameReferenceTime" in conversion.rule
    assert [other.rule for other in conversion.alternatives] == ["SeriesTime", "earliest AcquisitionTime"]


def ge(slices: list[Dataset], moment: str) -> list[Dataset]:
    for ds in slices:
        ds.private_block(0x0009, "GEMS_PETD_01", create=True).add_new(0x0D, "DT", moment)
    return slices


def test_ge_scan_time_counts_before_back_computing(scans) -> None:
    slices = ge(scans.pet(2, SeriesTime="113000", AcquisitionTime="101000"), "20260310100000.00")
    conversion = suv_conversion(scans.series(slices))
    assert conversion.factor == pytest.approx(decayed(3600), rel=1e-9)
    assert "GE scan time" in conversion.rule


@pytest.mark.parametrize("moment", ["19591224100000.00", "20260310110000", "nonsense"])
def test_implausible_ge_scan_time_does_not_count(scans, moment: str) -> None:
    slices = ge(scans.pet(2, SeriesTime="113000", AcquisitionTime="101000"), moment)
    assert suv_conversion(scans.series(slices)).factor == pytest.approx(decayed(4200), rel=1e-9)


def test_decay_factor_is_checked(scans) -> None:
    x = LAMBDA_F18 * 120
    within = x / (1 - math.exp(-x))
    fitting = scans.pet(2, DecayFactor=f"{within:.5f}")
    assert suv_conversion(scans.series(fitting)).warnings == ()
    apart = scans.pet(2, DecayFactor=f"{within * math.exp(LAMBDA_F18 * 600):.5f}")
    assert "DecayFactor" in suv_conversion(scans.series(apart)).warnings[0]


def philips(slices: list[Dataset], **scales: str) -> list[Dataset]:
    for ds in slices:
        block = ds.private_block(0x7053, "Philips PET Private Group", create=True)
        for element, value in scales.items():
            block.add_new({"suv": 0x00, "activity": 0x09}[element], "DS", value)
    return slices


def test_a_philips_suv_factor_alone_holds_only_for_decay_corrected_counts(scans) -> None:
    """QIBA's rules for SUV ask for decay corrected images before the factor: beds of other times would err by their decay."""
    bare = philips(scans.pet(2, Units="CNTS", DecayCorrection="NONE", CorrectedImage=["ATTN"]), suv="0.0007")
    with pytest.raises(NotQuantifiable, match=r"\(7053,1009\) is missing"):
        suv_conversion(scans.series(bare))


def test_philips_counts(scans) -> None:
    both = suv_conversion(scans.series(philips(scans.pet(2, Units="CNTS"), suv="0.0007", activity="1.0")))
    assert both.factor == pytest.approx(0.0007)
    assert [other.suv_factor for other in both.alternatives] == pytest.approx([decayed(3600)], rel=1e-9)
    assert "(7053,1009)" in both.warnings[0]
    assert both.dose_bq == 3e8
    zero = philips(scans.pet(2, Units="CNTS"), suv="0.0", activity="3.0")
    assert suv_conversion(scans.series(zero)).factor == pytest.approx(3 * decayed(3600), rel=1e-9)
    activity = philips(scans.pet(2), suv="0.0007", activity="3.0")
    assert suv_conversion(scans.series(activity)).factor == pytest.approx(decayed(3600), rel=1e-9)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"PatientWeight": None}, "PatientWeight"),
        ({"PatientWeight": "0"}, "PatientWeight"),
        ({"item": {"RadionuclideTotalDose": None}}, "RadionuclideTotalDose"),
        ({"item": {"RadionuclideTotalDose": "0"}}, "RadionuclideTotalDose"),
        ({"item": {"RadionuclideHalfLife": "0"}}, "RadionuclideHalfLife"),
        ({"item": {"RadiopharmaceuticalStartTime": None}}, "RadiopharmaceuticalStart"),
        ({"RadiopharmaceuticalInformationSequence": Sequence([])}, "0 items"),
        ({"RadiopharmaceuticalInformationSequence": Sequence([Dataset(), Dataset()])}, "2 items"),
        ({"Units": "PROPCNTS"}, "PROPCNTS"),
        ({"Units": "PROPCPS"}, "PROPCPS"),
        ({"Units": "1CM"}, "1CM"),
        ({"Units": None}, "Units"),
        ({"Units": "CNTS"}, "CNTS"),
        ({"Units": "GML", "SUVType": "XYZ"}, "XYZ"),
        ({"Units": "GML", "SUVType": "LBM", "PatientSize": None}, "PatientSize"),
        ({"Units": "GML", "SUVType": "IBW", "PatientSex": None}, "PatientSex"),
        ({"Units": "GML", "SUVType": "IBW", "PatientSex": "U"}, "PatientSex"),
        ({"Units": "GML", "SUVType": "IBW", "PatientSize": "0"}, "PatientSize"),
        ({"Units": "CM2ML", "SUVType": "BW"}, "CM2ML"),
        ({"CorrectedImage": ["ATTN", "SCAT"]}, "DECY"),
        ({"item": {"RadionuclideTotalDose": "-3e8"}}, "RadionuclideTotalDose"),
        ({"item": {"RadionuclideTotalDose": "370000"}}, "MBq/kg"),
        ({"AcquisitionTime": None}, "AcquisitionTime is missing"),
        ({"RescaleIntercept": "-5"}, "RescaleIntercept"),
        ({"CorrectedImage": ["DECY", "SCAT"]}, "ATTN"),
        ({"CorrectedImage": None}, "attenuation"),
        ({"AttenuationCorrectionMethod": "NONE"}, "AttenuationCorrectionMethod"),
        ({"SeriesDescription": "PET NAC WB"}, "not corrected"),
        ({"SeriesType": ["DYNAMIC", "IMAGE"]}, "DYNAMIC"),
        ({"SeriesType": ["GATED", "IMAGE"]}, "GATED"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.130"}, "enhanced"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.128.1"}, "legacy"),
        ({"DecayCorrection": None}, "DecayCorrection"),
        ({"DecayCorrection": "OTHER"}, "DecayCorrection"),
        ({"item": {"RadiopharmaceuticalStartTime": "110000"}}, "23.0 h"),
        ({"item": {"RadiopharmaceuticalStartDateTime": "20260309200000"}}, "14.0 h"),
        ({"tracer": "PentixaFor", "item": {"RadiopharmaceuticalStartTime": "053000"}}, "4.5 h"),
        ({"SeriesTime": None, "AcquisitionTime": None}, "Time"),
    ],
)
def test_what_is_refused(scans, changes: dict[str, Any], word: str) -> None:
    with pytest.raises(NotQuantifiable, match=word) as caught:
        factor(scans, **changes)
    assert str(caught.value).endswith(".")


def test_a_malformed_weight_is_no_weight(scans, tmp_path: Path) -> None:
    path = scans.write(tmp_path, scans.pet(1, PatientWeight="70.25"))[0]
    path.write_bytes(path.read_bytes().replace(b"70.25 ", b"heavy "))
    with pytest.raises(NotQuantifiable, match="PatientWeight"):
        suv_conversion(Series(instances=tuple(read_folder(tmp_path)[0])))


@pytest.mark.parametrize(("weight", "said"), [("-70", "is '-70'"), ("0", "is '0'"), (None, "is missing")])
def test_a_refusal_says_what_stands_there_and_of_which_series(scans, weight: str | None, said: str) -> None:
    with pytest.raises(NotQuantifiable, match=rf"^PT 'PET AC' of study 'Torso': PatientWeight {said}:"):
        factor(scans, PatientWeight=weight, StudyDescription="Torso")


def test_a_slice_without_slope_is_refused(scans) -> None:
    slices = scans.pet(3)
    del slices[2].RescaleSlope
    with pytest.raises(NotQuantifiable, match="'PET AC': Slice 3 has no RescaleSlope"):
        suv_conversion(scans.series(slices))


def test_an_excerpt_without_any_slope_gives_its_factor_and_says_so(scans) -> None:
    slices = scans.pet(3)
    for ds in slices:
        del ds.RescaleSlope
    assert any("no RescaleSlope" in word for word in suv_conversion(scans.series(slices)).warnings)


def test_other_units_are_told(scans) -> None:
    changes = {"PatientWeight": "70000", "PatientSize": "170", "item": {"RadionuclideTotalDose": "300"}}
    found = suv_conversion(scans.series(scans.pet(2, **changes)))
    assert found.factor == pytest.approx(factor(scans))
    assert [word for word in ("grams", "centimetres", "MBq") if any(word in x for x in found.warnings)] == [
        "grams",
        "centimetres",
        "MBq",
    ]


def test_slices_that_disagree_are_refused(scans) -> None:
    slices = scans.pet(3)
    slices[2].PatientWeight = "71"
    with pytest.raises(NotQuantifiable, match="PatientWeight"):
        suv_conversion(scans.series(slices))
