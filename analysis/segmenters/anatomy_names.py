"""The names of anatomical regions, and what kind each is. By name, never by number: numbers change between versions.

The names are those of TotalSegmentator's task `total`; rules use the same where they find the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum

# The skeleton that bone fractions rest on. Not in it: costal_cartilages, spinal_cord.
_BONE = re.compile(
    r"sacrum|vertebrae_\w+|(humerus|scapula|clavicula|femur|hip)(_left|_right)?|skull|rib_(left|right)_\d+|sternum|skeleton"
)
_MUSCLE = re.compile(r"(gluteus_\w+?|autochthon|iliopsoas)(_left|_right)?")
_VESSEL = re.compile(
    r"(\w+_)?(artery|vein|vena|trunk)(_left|_right)?|(superior|inferior)_vena_cava|portal_vein_and_splenic_vein"
)

BOWEL = frozenset({"bowel", "small_bowel", "colon", "duodenum", "stomach"})
KIDNEYS = {"kidney_left": "kidney_cyst_left", "kidney_right": "kidney_cyst_right"}  # organ > its cysts
LUNGS = {
    "lung_left": ("lung_upper_lobe_left", "lung_lower_lobe_left"),
    "lung_right": ("lung_upper_lobe_right", "lung_middle_lobe_right", "lung_lower_lobe_right"),
}
URINARY_TRACT = "urinary_tract"  # urine beside the organs: pelvis of a kidney, ureter, a bladder that filled between CT and PET


class Kind(StrEnum):
    """What a region is; TotalSegmentator can be asked for some kinds alone."""

    BONE = "bones"
    MUSCLE = "muscles"
    VESSEL = "vessels"
    ORGAN = "organs"


def kind_of(name: str) -> Kind:
    """The kind of a region; a name that is not known here is an organ. The aorta is one: blood pool is measured there."""
    for kind, pattern in ((Kind.BONE, _BONE), (Kind.MUSCLE, _MUSCLE), (Kind.VESSEL, _VESSEL)):
        if pattern.fullmatch(name):
            return kind
    return Kind.ORGAN


def is_bone(name: str) -> bool:
    return kind_of(name) is Kind.BONE


def of_kinds(names: Iterable[str], kinds: Iterable[Kind]) -> tuple[str, ...]:
    """The names that are of one of the kinds, in their order."""
    wanted = frozenset(kinds)
    return tuple(name for name in names if kind_of(name) in wanted)
