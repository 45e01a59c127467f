"""Elements of source images as our own objects may bear them.

Scanners write ages without a unit, dates of zeros and numbers of twenty digits: highdicom stumbles over them, archives
refuse them. What identifies the patient or the study is never cut: archives match by it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping

from pydicom import Dataset
from pydicom.datadict import dictionary_VM
from pydicom.dataelem import DataElement
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag, Tag

from dicom_io.elements import MALFORMED, read_date, read_time

_IDENTITY = {"PatientID", "IssuerOfPatientID", "AccessionNumber", "StudyID"}
_LENGTHS = {"LO": 64, "SH": 16}
_AGE = re.compile(r"\d{3}[DWMY]")


def copied(element: DataElement) -> DataElement:
    """An element of our own, as pydicom changes elements in place; text beyond its VR's length is cut, the identity never."""
    value = element.value
    if element.keyword not in _IDENTITY and element.VR in _LENGTHS:
        if isinstance(value, MultiValue) and value and dictionary_VM(element.tag) == "1":
            value = value[0]
        value = value[: _LENGTHS[element.VR]] if isinstance(value, str) else value
    return DataElement(element.tag, element.VR, value)


def legal(header: Dataset, tag: BaseTag) -> DataElement | None:
    """The element, its value put right where that is sure; None where it is malformed or not what its VR allows."""
    try:
        element = copied(header[tag])
    except MALFORMED:
        return None
    if element.VR not in _LEGAL or element.is_empty:
        return element
    several = isinstance(element.value, MultiValue)
    words = [_LEGAL[element.VR](str(one).strip()) for one in (element.value if several else [element.value])]
    if any(one is None for one in words):
        return None
    return DataElement(element.tag, element.VR, words if several else words[0])


def word(header: Dataset, keyword: str) -> str:
    """The element's legal value as text, "" where there is none."""
    element = legal(header, Tag(keyword)) if keyword in header else None
    return "" if element is None or element.is_empty else str(element.value)


def _date(given: str) -> str | None:
    found = read_date(given)
    return f"{found:%Y%m%d}" if found and found.year >= 1000 else None


def _time(given: str) -> str | None:
    return given.replace(":", "")[:13] if read_time(given) is not None else None


def _decimal(given: str) -> str | None:
    try:
        number = float(given)
    except ValueError:
        return None
    if not math.isfinite(number):
        return None
    return given if len(given) <= 16 else f"{number:.9g}"


_LEGAL: Mapping[str, Callable[[str], str | None]] = {
    "DA": _date,
    "TM": _time,
    "DS": _decimal,
    "AS": lambda given: given if _AGE.fullmatch(given) else None,
}
