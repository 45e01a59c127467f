"""What the stored values of an enhanced PET mean: its real world value mappings in the words of the classic PET.

Units are UCUM codes of PS3.16 CID 84 ("Bq/ml", "{SUVbw}g/ml", "cm2/ml"); older objects put the annotation last.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from pydicom import Dataset

from dicom_io.elements import codes, number, text

# Bq/ml per unit.
_ACTIVITY = {"Bq": 1.0, "kBq": 1e3, "MBq": 1e6}
_MILLILITRE = re.compile(r"/(?:m[lL]|cm3)$")
_SUV_TYPES = {
    "": "BW",
    "suv": "BW",
    "suvbw": "BW",
    "suvlbm": "LBM",
    "suvlbm(janma)": "LBMJANMA",
    "suvlbm(james128)": "LBMJAMES128",
    "suvibw": "IBW",
    "suvbsa": "BSA",
}
_COUNTS = {("", "counts"): "CNTS", ("/s", "counts"): "CPS", ("", "propcounts"): "PROPCNTS", ("/s", "propcounts"): "PROPCPS"}
# Which of several mappings of the same values is taken: activity, then SUV by body weight, then other forms of SUV.
_PREFERRED = (("BQML", ""), ("GML", "BW"), ("GML", ""), ("CM2ML", ""), ("CNTS", ""))


class UnclearError(ValueError):
    """Why the frames of an object cannot be read, as the end of a sentence that begins with "it"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """value = slope x stored + intercept, in the classic PET's Units (PS3.3 C.8.9.1) and SUVType ("" where it is no SUV)."""

    units: str
    suv_type: str = ""
    slope: float
    intercept: float


def classic_units(code: str) -> tuple[str, str, float]:
    """Units, SUVType and the factor to them of a UCUM code; a code that is not known stands for itself."""
    annotations = re.findall(r"\{(.*?)\}", code)
    said, base = (annotations[0] if annotations else "").lower(), re.sub(r"\{.*?\}", "", code).strip()
    per_ml = _MILLILITRE.search(base)
    if per_ml and (amount := _ACTIVITY.get(base[: per_ml.start()])) is not None and not said:
        return "BQML", "", amount
    if per_ml and base[: per_ml.start()] == "g":
        return "GML", _SUV_TYPES.get(said, said.upper()), 1.0
    if per_ml and base[: per_ml.start()] == "cm2" and said in {"", "suvbsa"}:
        return "CM2ML", "BSA", 1.0
    return _COUNTS.get((base, said), code), "", 1.0


def scale(mappings: Sequence[Dataset]) -> Scale | None:
    """The mapping to be used of one frame's RealWorldValueMappingSequence; None where there is none.

    Raises UnclearError: it is a table, it has no slope, or the same unit is mapped in two ways.
    """
    found = [(_units(item), item) for item in mappings]
    for kind in _PREFERRED:
        fitting = {_scale(item, units) for units, item in found if units[0] == kind[0] and kind[1] in {"", units[1]}}
        if len(fitting) > 1:
            raise UnclearError(f"maps its stored values to {kind[0]} in {len(fitting)} ways (RealWorldValueMappingSequence)")
        if fitting:
            return fitting.pop()
    return None if not found else _scale(found[0][1], found[0][0])


def _units(item: Dataset) -> tuple[str, str, float]:
    """Of one mapping, as classic_units has them."""
    named = [code for code, _, _ in codes(item, "MeasurementUnitsCodeSequence")]
    return classic_units(named[0]) if named else ("", "", 1.0)


def _scale(item: Dataset, units: tuple[str, str, float]) -> Scale:
    slope, intercept = number(item, "RealWorldValueSlope"), number(item, "RealWorldValueIntercept")
    if slope is None or not math.isfinite(slope) or "RealWorldValueLUTData" in item:
        label = text(item, "LUTLabel")[:16]
        raise UnclearError(f"maps its stored values without a slope (RealWorldValueMappingSequence {label!r})")
    return Scale(units=units[0], suv_type=units[1], slope=slope * units[2], intercept=(intercept or 0.0) * units[2])
