"""Makes a report legible where it is shown as plain text.

Viewers without templates (OHIF, many archives) show of each item its name, its value and its unit's code, and nothing
that lies below it: three SUVs of a lesion look alike there, and a value has as many digits as NumericValue.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydicom import DataElement, Dataset
from pydicom.tag import Tag
from pydicom.valuerep import DS

from dicom_io import codes
from dicom_io.sr_items import text

DIGITS = 6
_CONTINUITY = Tag("ContinuityOfContent")
_SHOWN_DIGITS = 4
_LONGEST = 1024
# What tells measurements of one concept apart. The method that SUVbw always has says nothing new.
_SHORT: Mapping[tuple[str, str], str] = {
    (codes.SUVBW.value, codes.MEAN.value): "SUVmean",
    (codes.SUVBW.value, codes.MAXIMUM.value): "SUVmax",
    (codes.SUVBW.value, codes.PEAK.value): "SUVpeak",
}
_DERIVATION = "121401"
_UNSAID = (codes.SUVBW_METHOD.value, codes.TOTAL.value)


def legible(report: Dataset) -> None:
    """Changes a tree of content: items on lines of their own, short numbers, and a sentence of each group's measurements.

    The exact value stays in FloatingPointValue (PS3.3 C.18.1), the sentence is a Comment (121106, DCM).
    """
    # An element of its own: a shared item's must not change with it (see sr_items).
    report[_CONTINUITY] = DataElement(_CONTINUITY, "CS", "SEPARATE")
    children = [(item.ValueType, item) for item in report.get("ContentSequence", [])]
    numbers = [item for value_type, item in children if value_type == "NUM"]
    for item in numbers:
        _shorten(item.MeasuredValueSequence[0])
    if any(_modifiers(item) for item in numbers):
        report.ContentSequence.append(_comment(numbers))
    for value_type, item in children:
        if value_type == "CONTAINER":
            legible(item)


def _shorten(measured: Dataset) -> None:
    if "FloatingPointValue" in measured:
        measured.NumericValue = DS(_digits(float(measured.FloatingPointValue), DIGITS))


def _comment(numbers: list[Dataset]) -> Dataset:
    return text(codes.COMMENT, "; ".join(spoken(item) for item in numbers)[:_LONGEST])


def spoken(item: Dataset) -> str:
    """A measurement as a reader says it: `SUVmax 12.61 g/ml`, `Number of lesions (FDG) 3`."""
    concept, measured = item.ConceptNameCodeSequence[0], item.MeasuredValueSequence[0]
    modifiers = _modifiers(item)
    short = _SHORT.get((concept.CodeValue, modifiers.get(_DERIVATION, ("", ""))[0]))
    more = [meaning for name, (_, meaning) in modifiers.items() if not (short and name == _DERIVATION)]
    unit = measured.MeasurementUnitsCodeSequence[0].CodeValue.partition("{")[0]
    words = [short or concept.CodeMeaning, *(f"({meaning})" for meaning in more), _number(measured)]
    return " ".join([*words, unit] if unit else words)


def _number(measured: Dataset) -> str:
    return _digits(float(measured.get("FloatingPointValue", measured.NumericValue)), _SHOWN_DIGITS)


def _digits(value: float, digits: int) -> str:
    """So many significant digits, and no power of ten for a large number."""
    return f"{value:.0f}" if 10**digits <= abs(value) < 10**15 else f"{value:.{digits}g}"


def _modifiers(item: Dataset) -> dict[str, tuple[str, str]]:
    """Code of the modifier's concept > value and meaning, of what lies below a measurement and tells it from others."""
    children = [x for x in item.get("ContentSequence", []) if x.ValueType == "CODE"]
    found = {x.ConceptNameCodeSequence[0].CodeValue: x.ConceptCodeSequence[0] for x in children}
    return {name: (code.CodeValue, code.CodeMeaning) for name, code in found.items() if code.CodeValue not in _UNSAID}
