"""Codes against pydicom's copy of the standard's context groups."""

from __future__ import annotations

import pytest
from pydicom.sr._concepts_dict import concepts
from pydicom.sr.coding import Code

from analysis.values import Site, Unit
from dicom_io import codes
from dicom_io.anatomy_codes import BEYOND_THE_STANDARD

# In the standard's text, or free as UCUM says, but not in pydicom's table: PS3.16 TID 1500 row 12, and UCUM's own units.
OF_UCUM = {"ml", "g", "/m", "{lesions}", "{cycles}", "{patients}"}
NOT_IN_TABLE = {"C0034375"} | OF_UCUM | {code.value for code in BEYOND_THE_STANDARD}


@pytest.mark.parametrize("code", [c for c in codes.standard_codes() if c.value not in NOT_IN_TABLE], ids=lambda c: c.value)
def test_standard_codes_have_their_meaning_in_the_standard(code: Code) -> None:
    scheme = concepts[code.scheme_designator]
    assert code.meaning in {entry[code.value][0] for entry in scheme.values() if code.value in entry}


def test_the_unit_of_suv_is_the_one_of_the_values() -> None:
    assert codes.SUV.value == Unit.SUV.value


@pytest.mark.parametrize(
    ("region", "site", "meaning", "side"),
    [
        ("vertebra_L3", Site.MEDULLARY, "L3 vertebra", None),
        ("vertebrae_T12", Site.MEDULLARY, "T12 vertebra", None),
        ("rib_left_7", Site.MEDULLARY, "Seventh rib", "Left"),
        ("near rib right 12", Site.EXTRAMEDULLARY, "Twelfth rib", "Right"),
        ("left ribs", Site.MEDULLARY, "Rib", "Left"),
        ("right femur", Site.MEDULLARY, "Femur", "Right"),
        ("urinary_bladder", None, "Bladder", None),
        ("gallbladder", None, "Gallbladder", None),
        ("kidney_left", None, "Kidney", "Left"),
        ("axillary lymph node", Site.EXTRAMEDULLARY, "Lymph Node", None),
        ("somewhere", Site.MEDULLARY, "Bone", None),
        ("somewhere", Site.EXTRAMEDULLARY, "Soft tissue", None),
    ],
)
def test_regions_by_name(region: str, site: Site | None, meaning: str, side: str | None) -> None:
    code, laterality = codes.region_code(region, site)
    assert code.meaning == meaning
    assert (laterality.meaning if laterality else None) == side


def test_own_codes_fit_the_short_value_and_differ() -> None:
    long = [codes.own_code(f"SUVmean[FDG medullary number {n}]", "x") for n in range(50)]
    assert all(len(c.value) <= 16 for c in long)
    assert len({c.value for c in long}) == 50
