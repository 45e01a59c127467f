"""The patient's measures from a header, and what turns other forms of SUV into SUVbw."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pydicom import Dataset

from analysis.errors import NotQuantifiable
from analysis.values import NOTHING, Body
from dicom_io.elements import number, text
from dicom_io.studies import Series


def body(series: Series) -> Body:
    """Weight in kg, height in m, sex. Weights above 1000 are in grams, heights above 3 in centimetres.

    Raises NotQuantifiable: there is no weight, or none of a person.
    """
    weight = number(series.header, "PatientWeight")
    if weight is None or weight <= 0:
        raise NotQuantifiable(
            f"PatientWeight {_said(series)}: SUV needs the patient's weight; correct the header at its source."
        )
    weight = weight / 1000 if weight > 1000 else weight
    if not 1 <= weight <= 500:
        raise NotQuantifiable(f"PatientWeight is {weight:g} kg, which is no person's; correct the header at its source.")
    height = number(series.header, "PatientSize") or 0.0
    height = height / 100 if height > 3 else height
    sex = text(series.header, "PatientSex").upper()
    return Body(
        weight_kg=weight,
        height_m=height if 0.3 <= height <= 2.8 else None,
        sex=sex if sex in {"M", "F", "O"} else None,
    )


def _said(series: Series) -> str:
    """What stands there instead of a weight."""
    said = written(series.header, "PatientWeight")
    return f"is {said[:20]!r}" if said else "is missing"


def written(header: Dataset, keyword: str) -> str:
    """What an element of one value holds as it was written, also where pydicom cannot convert it; "" where it is absent."""
    found = header.get_item(keyword) if keyword in header else None
    value = None if found is None else found.value
    said = value.decode("ascii", "replace") if isinstance(value, bytes) else "" if value is None else str(value)
    return said.strip(" \0")


def unit_notes(series: Series) -> tuple[str, ...]:
    """Sentences on measures that were taken in another unit than DICOM's."""
    weight, height = (number(series.header, keyword) or 0.0 for keyword in ("PatientWeight", "PatientSize"))
    notes = []
    if weight > 1000:
        notes.append(f"PatientWeight is {weight:g} and was taken as grams ({weight / 1000:g} kg).")
    if height > 3:
        notes.append(f"PatientSize is {height:g} and was taken as centimetres ({height / 100:g} m).")
    return tuple(notes)


def surface_m2(weight_kg: float, height_m: float) -> float:
    """Body surface by Du Bois and Du Bois (1916)."""
    return float(0.007184 * weight_kg**0.425 * (height_m * 100) ** 0.725)


def _lean_120(weight: float, height: float, male: bool) -> float:
    """The older SUVType LBM: Morgan et al. (1994), James' formula with 120 for men."""
    return 1.10 * weight - 120 * (weight / (height * 100)) ** 2 if male else _lean_james(weight, height, male)


def _lean_james(weight: float, height: float, male: bool) -> float:
    """James (1976)."""
    ratio = (weight / (height * 100)) ** 2
    return 1.10 * weight - 128 * ratio if male else 1.07 * weight - 148 * ratio


def _lean_janmahasatian(weight: float, height: float, male: bool) -> float:
    """Janmahasatian et al. (2005)."""
    index = weight / height**2
    return 9270 * weight / (6680 + 216 * index) if male else 9270 * weight / (8780 + 244 * index)


def _ideal(weight: float, height: float, male: bool) -> float:
    """Ideal body weight as in Sugawara et al. (1999)."""
    del weight
    excess = height * 100 - 152
    return 48.0 + 1.06 * excess if male else 45.5 + 0.91 * excess


_FORMS: dict[str, Callable[[float, float, bool], float]] = {
    "LBM": _lean_120,
    "LBMJAMES128": _lean_james,
    "LBMJANMA": _lean_janmahasatian,
    "IBW": _ideal,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What turns values of one SUVType into SUVbw. rule: its name; others: other readings of the same type > their factor."""

    rule: str
    factor: float
    others: Mapping[str, float] = field(default_factory=lambda: NOTHING)
    notes: tuple[str, ...] = ()


def to_body_weight(suv_type: str, patient: Body) -> Form:
    """The factor from a value of the given SUVType ("" is BW) to SUVbw.

    Raises NotQuantifiable: the type is unknown, or needs a height or sex that the header lacks.
    """
    kind = suv_type.upper() or "BW"
    if kind == "BW":
        return Form(rule="stored as SUVbw", factor=1.0)
    if kind not in _FORMS and kind != "BSA":
        raise NotQuantifiable(f"SUVType is {kind}, which is not known here; send the series in Bq/ml.")
    if patient.height_m is None:
        raise NotQuantifiable(f"SUVType is {kind}: turning it into SUVbw needs PatientSize; send the series in Bq/ml.")
    rule = f"stored as SUV by {kind}, turned into SUVbw"
    if kind == "BSA":
        return Form(rule=rule, factor=patient.weight_kg * 1000 / (surface_m2(patient.weight_kg, patient.height_m) * 10_000))
    if patient.sex is None:
        raise NotQuantifiable(f"SUVType is {kind}: turning it into SUVbw needs PatientSex M, F or O; send the series in Bq/ml.")
    other = {"LBM read as LBMJAMES128": _factor("LBMJAMES128", kind, patient)} if kind == "LBM" else {}
    return Form(rule=rule, factor=_factor(kind, kind, patient), others=other, notes=_form_notes(kind, patient))


def _form_notes(kind: str, patient: Body) -> tuple[str, ...]:
    notes = []
    if kind == "LBM" and patient.sex != "F":  # the two formulas are one for women
        notes.append("SUVType is LBM, which does not say by which formula; James' with 120 for men was taken.")
    if patient.sex == "O":
        notes.append(f"PatientSex is O: {kind} was taken as the mean of its formulas for men and women.")
    return tuple(notes)


def _factor(form: str, kind: str, patient: Body) -> float:
    """Weight over the mass of a formula; of sex "O" the mean of both formulas, as the IBSI manual for SUV has it."""
    sexes = {"M": (True,), "F": (False,), "O": (True, False)}[patient.sex or "O"]
    masses = [_FORMS[form](patient.weight_kg, patient.height_m or 0.0, male) for male in sexes]
    if min(masses) <= 0:
        raise NotQuantifiable(
            f"SUVType is {kind}, but its formula gives no positive mass for this patient; send the series in Bq/ml."
        )
    return patient.weight_kg * len(masses) / sum(masses)
