"""Coded regions: every class of TotalSegmentator, against its own table, the standard's, and that of AAPM TG-263."""

from __future__ import annotations

import csv
import importlib.resources
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from factories import Box, make_case
from pydicom import Dataset, dcmread
from pydicom.sr._concepts_dict import concepts
from totalsegmentator.map_to_binary import class_map

from analysis.patient.lesions import readable
from analysis.values import Site
from dicom_io.anatomy_codes import BEYOND_THE_STANDARD, BONE, SOFT_TISSUE, region_code, region_codes
from dicom_io.results import write_case

CLASSES = tuple(class_map["total"].values())

# HL7 mCODE, value set of the structures of AAPM TG-263: "Bone structure of first rib" (body structure) and so on, and
# "Structure of first sacral vertebra".
TG263_RIBS = (
    *("48535007", "78247007", "25888004", "25523003", "15339008", "59558009"),
    *("24915002", "5953002", "22565002", "77644006", "58830002", "43993008"),
)
TG263_S1 = "65985001"

# Where TotalSegmentator's table is not followed: name > its code, ours, what the standard says of theirs.
DIFFERENT = {
    "subclavian_artery_left": ("29700009", "36765005", "Right Subclavian Artery"),
    "subclavian_artery_right": ("29700009", "36765005", "Right Subclavian Artery"),
    "atrial_appendage_left": ("68786006", "33626005", ""),
    "gluteus_maximus_left": ("181674001", "206007", ""),
    "gluteus_maximus_right": ("181674001", "206007", ""),
    "kidney_cyst_left": ("367643001", "64033007", "Cyst"),  # a kind of finding, not a place
    "kidney_cyst_right": ("367643001", "64033007", "Cyst"),
}


def in_the_standard(value: str) -> set[str]:
    return {entry[value][0] for entry in concepts["SCT"].values() if value in entry}


@pytest.fixture(scope="module")
def theirs() -> Mapping[str, tuple[str, str]]:
    """Class > code and side of TotalSegmentator's own table."""
    table = importlib.resources.files("totalsegmentator") / "resources" / "totalsegmentator_snomed_mapping.csv"
    kind, side = "SegmentedPropertyTypeCodeSequence.CodeValue", "SegmentedPropertyTypeModifierCodeSequence.CodeValue"
    place = "AnatomicRegionModifierSequence.CodeValue"
    rows = csv.DictReader(table.read_text(encoding="utf-8").splitlines())
    return {row["Structure"]: (row[kind], row[side] or row[place]) for row in rows}


@pytest.mark.parametrize("name", CLASSES)
def test_every_class_has_the_code_of_totalsegmentators_table(theirs: Mapping[str, tuple[str, str]], name: str) -> None:
    code, side = region_code(name)
    value, laterality = theirs[name]
    if name in DIFFERENT:
        refused, expected, meaning = DIFFERENT[name]
        assert (value, code.value) == (refused, expected)
        assert not meaning or meaning in in_the_standard(refused)
    else:
        assert code.value == value
    if name != "atrial_appendage_left":  # its code says the side
        assert (side.value if side else "") == laterality


@pytest.mark.parametrize("name", CLASSES)
def test_every_class_is_coded_as_itself_also_in_words(name: str) -> None:
    for site in Site:
        assert region_code(readable(name), site) == region_code(f"near {readable(name)}", site) == region_code(name)
    assert region_code(name)[0] not in (BONE, SOFT_TISSUE)


def test_the_standard_has_every_code_but_those_that_are_named() -> None:
    assert {c.value for c in region_codes() if not in_the_standard(c.value)} == {c.value for c in BEYOND_THE_STANDARD}


def test_ribs_and_the_first_sacral_vertebra_are_those_of_tg_263() -> None:
    for side in ("left", "right"):
        assert [region_code(f"rib_{side}_{n}")[0].value for n in range(1, 13)] == list(TG263_RIBS)
    assert region_code("vertebrae_S1")[0].value == TG263_S1


def verhoeff(digits: str) -> int:
    """0 for a number whose last digit is its Verhoeff check digit, as that of every SNOMED CT identifier is."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        permuted = int(digit)
        for _ in range(place % 8):
            permuted = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)[permuted]
        total = in_dihedral_group(total, permuted)
    return total


def in_dihedral_group(a: int, b: int) -> int:
    """The product of two turns (0..4) or flips (5..9) of a pentagon; after a flip, turns run backwards."""
    turned = (a + b if a < 5 else a - b) % 5
    return turned if (a < 5) == (b < 5) else turned + 5


def test_every_snomed_code_has_its_check_digit() -> None:
    assert verhoeff("2363") == 0  # the published example: 236 has the check digit 3
    assert [c.value for c in region_codes() if verhoeff(c.value) != 0] == []
    assert verhoeff("24915003") != 0


def test_levels_reach_segments_reports_and_tables(tmp_path: Path) -> None:
    """By name and by code, a rib with its side."""
    places = {
        "vertebra L3": ("36470004", None),
        "rib left 7": ("24915002", "7771000"),
        "near rib right 12": ("43993008", "24028007"),
        "left femur": ("71341001", "7771000"),
        "sacrum": ("54735007", None),
    }
    boxes = tuple(Box(at=(2 + 4 * n, 12, 12), size=(2, 3, 3), fdg=7.0, region=name) for n, name in enumerate(places))
    pair, analysis = make_case(tmp_path / "in", boxes)
    write_case(tmp_path / "out", pair, analysis)
    segments = dcmread(tmp_path / "out" / "seg-fdg.dcm").SegmentSequence
    for segment, (name, (code, side)) in zip(segments, places.items(), strict=True):
        region = segment.AnatomicRegionSequence[0]
        assert name in segment.SegmentLabel
        assert (region.CodeValue, region.CodingSchemeDesignator) == (code, "SCT")
        sides = [item.CodeValue for item in region.get("AnatomicRegionModifierSequence", [])]
        assert sides == ([side] if side else [])
    report = dcmread(tmp_path / "out" / "sr-fdg.dcm")
    assert finding_sites(report)[: len(places)] == list(places.values())  # organs of reference follow
    rows = list(csv.DictReader((tmp_path / "out" / "lesions.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["region"] for row in rows] == list(places)
    results = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    assert [lesion["region"] for lesion in results["lesions"]] == list(places)


def finding_sites(dataset: Dataset) -> list[tuple[str, str | None]]:
    """(code, laterality) of every finding site (363698007 SCT) of a group of the report, in its order."""
    found = []
    for item in dataset.get("ContentSequence", []):
        concept = item.ConceptNameCodeSequence[0].CodeValue if "ConceptNameCodeSequence" in item else ""
        if concept == "363698007":
            sides = [x.ConceptCodeSequence[0].CodeValue for x in item.get("ContentSequence", [])]
            found.append((item.ConceptCodeSequence[0].CodeValue, sides[0] if sides else None))
        else:
            found += finding_sites(item)
    return found
