"""The cases that the IBSI manual for SUV lists for its reference objects, as headers (oncoray/suv_computation, DRO_list.csv).

The manual's patient: 70 kg, 1.75 m, sex O; 368.08 MBq of F-18 at 10:00, reference time 11:00. True SUV is stored value times
the factor asserted here. Formulas as in the manual: James, Janmahasatian, Sugawara, Du Bois.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
from pydicom import Dataset

from analysis.errors import NotQuantifiable
from dicom_io.suv import suv_conversion

W, H, D, T = 70.0, 1.75, 368.08e6, 6586.2
PER_BQ = W * 1000 / D
ONE_HOUR = PER_BQ * 2 ** (3600 / T)
LAMBDA = math.log(2) / T
JAMES = {"M": 1.10 * W - 128 * (W / 175) ** 2, "F": 1.07 * W - 148 * (W / 175) ** 2}
JANMA = {"M": 9270 * W / (6680 + 216 * W / H**2), "F": 9270 * W / (8780 + 244 * W / H**2)}
IDEAL = {"M": 48.0 + 1.06 * 23, "F": 45.5 + 0.91 * 23}
SURFACE_CM2 = 0.007184 * W**0.425 * 175**0.725 * 10_000
TRACER = {
    "Radiopharmaceutical": "FDG",
    "RadionuclideTotalDose": "368080000.0",
    "RadionuclideHalfLife": "6586.2",
    "RadiopharmaceuticalStartTime": "100000.000000",
    "RadiopharmaceuticalStartDateTime": "20250101100000.000000",
}
ZR89 = {"Radiopharmaceutical": "Zr89", "RadionuclideHalfLife": "282240", "RadionuclideTotalDose": "74000000"}
# Scans of 603 s whose first acquisition began at 11:02:30 and whose series was written at 11:30.
LATE = {"SeriesTime": "113000", "AcquisitionTime": "110230", "ActualFrameDuration": "603000"}
AVERAGE = math.log(LAMBDA * 603 / (1 - math.exp(-LAMBDA * 603))) / LAMBDA


def scan(scans: Any, item: dict[str, Any] | None = None, **changes: Any) -> list[Dataset]:
    words = {
        "PatientWeight": "70.0",
        "PatientSize": "1.75",
        "PatientSex": "O",
        "Manufacturer": "Synthetic",
        **{f"{name}Date": "20250101" for name in ("Study", "Series", "Acquisition")},
        **{f"{name}Time": "110000.000000" for name in ("Study", "Series", "Acquisition")},
        "FrameReferenceTime": "150000.0",
        "ActualFrameDuration": "300000",
        "DecayFactor": "1.0",
    }
    return scans.pet(2, item={**TRACER, **(item or {})}, **{**words, **changes})


def with_private(slices: list[Dataset], group: int, creator: str, values: dict[int, tuple[str, str]]) -> list[Dataset]:
    for ds in slices:
        block = ds.private_block(group, creator, create=True)
        for element, (vr, value) in values.items():
            block.add_new(element, vr, value)
    return slices


def mean(masses: dict[str, float], sex: str) -> float:
    return masses[sex] if sex in masses else sum(masses.values()) / 2


@pytest.mark.parametrize(
    ("dro", "changes", "expected"),
    [
        ("0_0", {}, ONE_HOUR),
        ("2_0", {"Units": "GML"}, 1.0),
        *[
            (f"2_1_{n}", {"Units": "GML", "SUVType": "LBMJAMES128", "PatientSex": s}, W / mean(JAMES, s))
            for n, s in enumerate("MFO")
        ],
        *[(f"2_2_{n}", {"Units": "GML", "SUVType": "IBW", "PatientSex": s}, W / mean(IDEAL, s)) for n, s in enumerate("MFO")],
        ("2_3", {"Units": "CM2ML"}, W * 1000 / SURFACE_CM2),
        *[
            (f"2_6_{n}", {"Units": "GML", "SUVType": "LBMJANMA", "PatientSex": s}, W / mean(JANMA, s))
            for n, s in enumerate("MFO")
        ],
        ("3_0", {"item": {"RadionuclideTotalDose": "368.08"}}, ONE_HOUR),
        ("3_1", {"DecayCorrection": "ADMIN"}, PER_BQ),
        ("3_2_0", {**LATE, "Manufacturer": "SIEMENS", "FrameReferenceTime": f"{(150 + AVERAGE) * 1000:.3f}"}, ONE_HOUR),
        ("3_2_1", {**LATE, "Manufacturer": "GE MEDICAL SYSTEMS", "FrameReferenceTime": "150000"}, ONE_HOUR),
        ("3_2_2", {**LATE, "Manufacturer": "Philips", "FrameReferenceTime": f"{(150 + AVERAGE) * 1000:.3f}"}, ONE_HOUR),
        ("3_2_3", {**LATE, "FrameReferenceTime": f"{(150 + AVERAGE) * 1000:.3f}"}, ONE_HOUR),
        *[
            (f"3_5_{n}", {"Manufacturer": maker, "FrameReferenceTime": "0"}, ONE_HOUR)
            for n, maker in enumerate(("SIEMENS", "GE MEDICAL SYSTEMS", "Philips", "Synthetic"))
        ],
        ("4_0", {"item": {"RadiopharmaceuticalStartTime": None}}, ONE_HOUR),
        ("4_1", {"item": {"RadiopharmaceuticalStartDateTime": None}}, ONE_HOUR),
        (
            "4_2",
            {
                "SeriesTime": "003000",
                "AcquisitionTime": "003000",
                "item": {"RadiopharmaceuticalStartTime": "233000", "RadiopharmaceuticalStartDateTime": None},
            },
            ONE_HOUR,
        ),
        (
            "4_3",
            {
                "SeriesTime": "003000",
                "AcquisitionTime": "003000",
                "item": {"RadiopharmaceuticalStartTime": None, "RadiopharmaceuticalStartDateTime": "20241231233000"},
            },
            ONE_HOUR,
        ),
        (
            "4_4",
            {
                "SeriesTime": "003000",
                "AcquisitionTime": "003000",
                "AcquisitionDate": "19000101",
                "FrameReferenceTime": "0",
                "item": {"RadiopharmaceuticalStartTime": None, "RadiopharmaceuticalStartDateTime": "20241231233000"},
            },
            ONE_HOUR,
        ),
        (
            "4_5",
            {"item": {**ZR89, "RadiopharmaceuticalStartDateTime": "20241230110000", "RadiopharmaceuticalStartTime": "110000"}},
            W * 1000 / 74e6 * 2 ** (172_800 / 282_240),
        ),
        ("5_0", {"item": {"RadionuclideHalfLife": "4057.7"}}, PER_BQ * 2 ** (3600 / 4057.7)),
    ],
)
def test_valid(scans, dro: str, changes: dict[str, Any], expected: float) -> None:
    assert suv_conversion(scans.series(scan(scans, **changes))).factor == pytest.approx(expected, rel=1e-7), dro


@pytest.mark.parametrize("creator", [True, False], ids=["with its creator", "creator lost"])
@pytest.mark.parametrize(
    ("dro", "group", "element", "value", "changes", "expected"),
    [
        ("2_4", 0x7053, 0x00, ("DS", "0.0005"), {"Units": "CNTS", "Manufacturer": "Philips"}, 0.0005),
        ("2_5", 0x7053, 0x09, ("DS", "1.5"), {"Units": "CNTS", "Manufacturer": "Philips"}, 1.5 * ONE_HOUR),
        ("3_3_0", 0x0071, 0x22, ("DT", "20250101110000.000000"), {**LATE, "Manufacturer": "SIEMENS"}, ONE_HOUR),
        ("3_3_1", 0x0009, 0x0D, ("DT", "20250101110000.00"), {**LATE, "Manufacturer": "GE MEDICAL SYSTEMS"}, ONE_HOUR),
    ],
)
def test_private(
    scans,
    *,
    dro: str,
    group: int,
    element: int,
    value: tuple[str, str],
    changes: dict[str, Any],
    expected: float,
    creator: bool,
) -> None:
    names = {0x7053: "Philips PET Private Group", 0x0071: "SIEMENS MED PT", 0x0009: "GEMS_PETD_01"}
    slices = with_private(scan(scans, **changes), group, names[group], {element: value})
    if not creator:
        for ds in slices:
            del ds[group, 0x0010]
    assert suv_conversion(scans.series(slices)).factor == pytest.approx(expected, rel=1e-9), dro


@pytest.mark.parametrize(
    ("dro", "maker", "units", "scale"),
    [
        ("3_4_0", "SIEMENS", "BQML", 1.0),
        ("3_4_1", "GE", "BQML", 1.0),
        ("3_4_2", "Philips", "CNTS", 1.5),
        ("3_4_3", "", "BQML", 1.0),
    ],
)
def test_not_decay_corrected_slices_of_two_times(scans, dro: str, maker: str, units: str, scale: float) -> None:
    """Philips' one factor to SUV cannot hold for slices of two times: the one to Bq/ml is taken."""
    slices = scan(scans, DecayCorrection="NONE", CorrectedImage=["ATTN"], Manufacturer=maker, Units=units)
    slices[1].AcquisitionTime = "111000"
    slices = with_private(slices, 0x7053, "Philips PET Private Group", {0: ("DS", "0.0007"), 9: ("DS", "1.5")})
    within = LAMBDA * 300 / (1 - math.exp(-LAMBDA * 300))
    expected = [scale * PER_BQ * within * 2 ** (seconds / T) for seconds in (3600, 4200)]
    assert suv_conversion(scans.series(slices)).factors == pytest.approx(expected, rel=1e-9), dro


@pytest.mark.parametrize(
    ("dro", "changes", "word"),
    [
        ("2_0", {"PatientWeight": None}, "PatientWeight is missing"),
        ("2_1", {"PatientWeight": "0"}, "PatientWeight is '0'"),
        ("2_2", {"Units": "GML", "SUVType": "IBW", "PatientSex": None}, "needs PatientSex"),
        ("2_3", {"Units": "GML", "SUVType": "IBW", "PatientSex": "X"}, "needs PatientSex"),
        ("2_4", {"Units": "GML", "SUVType": "IBW", "PatientSize": None}, "needs PatientSize"),
        ("2_5", {"Units": "GML", "SUVType": "IBW", "PatientSize": "0"}, "needs PatientSize"),
        ("2_6", {"Units": "CNTS", "Manufacturer": "Philips"}, r"without Philips' scale factors"),
        ("2_7", {"Units": "PROPCNTS"}, "Units are PROPCNTS"),
        ("3_0", {"item": {"RadionuclideTotalDose": None}}, "RadionuclideTotalDose is missing"),
        ("3_1", {"item": {"RadionuclideTotalDose": "-368080000"}}, "RadionuclideTotalDose is missing, zero or no number"),
        ("3_2", {**LATE, "FrameReferenceTime": "449900", "ActualFrameDuration": None}, "ActualFrameDuration is missing"),
        (
            "4_0",
            {"item": {"RadiopharmaceuticalStartTime": None, "RadiopharmaceuticalStartDateTime": None}},
            "Neither RadiopharmaceuticalStartDateTime",
        ),
        ("4_1", {"item": {**ZR89, "RadiopharmaceuticalStartDateTime": None}}, "alone does not tell the day"),
        (
            "4_2",
            {"item": {**ZR89, "RadiopharmaceuticalStartDateTime": "19000101110000", "RadiopharmaceuticalStartTime": None}},
            "can be believed",
        ),
        ("5_0", {"item": {"RadionuclideHalfLife": None}}, "RadionuclideHalfLife is missing"),
    ],
)
def test_error(scans, dro: str, changes: dict[str, Any], word: str) -> None:
    with pytest.raises(NotQuantifiable, match=word) as caught:
        suv_conversion(scans.series(scan(scans, **changes)))
    assert str(caught.value).endswith("."), dro


def test_no_frame_duration_is_needed_of_ge(scans) -> None:
    """The manual refuses a missing ActualFrameDuration of all makers but GE."""
    changes = {**LATE, "FrameReferenceTime": "150000", "ActualFrameDuration": None, "Manufacturer": "GE MEDICAL SYSTEMS"}
    assert suv_conversion(scans.series(scan(scans, **changes))).factor == pytest.approx(ONE_HOUR, rel=1e-9)
