"""Other forms of SUV turned into SUVbw, against published numbers."""

from __future__ import annotations

import pytest

from analysis.values import Body
from dicom_io.suv_body import to_body_weight

MAN = Body(weight_kg=75, height_m=1.85, sex="M")


@pytest.mark.parametrize(
    ("kind", "published"), [("BSA", 198.13758427117767), ("LBM", 627.7757487216948), ("LBMJANMA", 609.1533588651974)]
)
def test_forms_of_calculate_suv(kind: str, published: float) -> None:
    """cornerstonejs/calculate-suv, test/calculateSUVScalingFactors.test.ts: factors of a man of 75 kg and 1.85 m, SUVbw 750."""
    assert 750 / to_body_weight(kind, MAN).factor == pytest.approx(published, rel=1e-12)


@pytest.mark.parametrize(("kind", "sex", "stored"), [("IBW", "O", 3.966), ("LBMJAMES128", "M", 3.229)])
def test_reference_objects_as_another_program_read_them(kind: str, sex: str, stored: float) -> None:
    """IBSI's objects of 70 kg and 1.75 m with SUVbw 4.000, as Aliza 2.7.4 showed their stored values (oncoray/suv_computation,
    submissions/Aliza): ideal weight of Sugawara et al. (1999), of sex O the mean; James (1976) with 128."""
    form = to_body_weight(kind, Body(weight_kg=70, height_m=1.75, sex=sex))
    assert stored * form.factor == pytest.approx(4.0, abs=1.5e-3)
    assert bool(form.notes) == (sex == "O")


def test_lbm_does_not_say_by_which_formula() -> None:
    """The older type, by 120 for men (Morgan et al. 1994); for women both formulas are one."""
    form = to_body_weight("LBM", MAN)
    assert form.factor == pytest.approx(75 / (1.10 * 75 - 120 * (75 / 185) ** 2))
    assert form.others == {"LBM read as LBMJAMES128": pytest.approx(75 / (1.10 * 75 - 128 * (75 / 185) ** 2))}
    assert "LBM" in form.notes[0]
    woman = to_body_weight("LBM", Body(weight_kg=75, height_m=1.85, sex="F"))
    assert (woman.factor, woman.notes) == (pytest.approx(next(iter(woman.others.values()))), ())
