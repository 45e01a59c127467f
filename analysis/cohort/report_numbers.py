"""How numbers are written: p with two digits, intervals, units, and a dash with its reason where a number is missing."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

MISSING = "–"
_DIGITS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
# UCUM > what a reader expects; any other unit is written as it is.
_UNITS = {
    "1": "",
    "g/ml{SUVbw}": "SUV",
    "{SUVbw}g/ml": "SUV",
    "a": "years",
    "mo": "months",
    "d": "days",
    "/m": "1/m",
    "m-1": "1/m",
    "kg/m2": "kg/m²",
    "mg/l": "mg/l",
}


def number(value: float, digits: int = 2) -> str:
    """At least `digits` significant digits, never an exponent below a million, and a true minus sign."""
    if math.isnan(value):
        return MISSING
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    if abs(value) >= 1e6 or abs(value) < 1e-4:
        return _minus(f"{value:.{digits - 1}e}")
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return _minus(f"{value:.{decimals}f}")


def fixed(value: float, decimals: int = 2) -> str:
    """A number with that many decimals, for numbers that stand below each other."""
    if math.isnan(value) or math.isinf(value):
        return number(value)
    return _minus(f"{value:.{decimals}f}")


def p_value(p: float) -> str:
    """Two significant digits without the leading zero; "< .001", "> .99"."""
    if math.isnan(p):
        return MISSING
    if p < 0.001:
        return "< .001"
    if p > 0.99:
        return "> .99"
    decimals = 1 - math.floor(math.log10(p))
    return f"{p:.{decimals}f}".removeprefix("0")


def interval(value: float, low: float, high: float, digits: int = 2) -> str:
    """ "3.9 (1.4 to 11)"; the number alone where neither end is known."""
    if math.isnan(value):
        return MISSING
    if math.isnan(low) and math.isnan(high):
        return number(value, digits)
    return f"{number(value, digits)} ({number(low, digits)} to {number(high, digits)})"


def spread(value: float, low: float, high: float) -> str:
    """An estimate around zero with its interval, all with the decimals that its far end deserves: "0.01 (−0.89 to 0.91)"."""
    far = max((abs(end) for end in (value, low, high) if math.isfinite(end)), default=1.0)
    decimals = max(0, 1 - math.floor(math.log10(far))) if far > 0 else 2
    if math.isnan(value) or decimals > 4:
        return interval(value, low, high)
    if math.isnan(low) and math.isnan(high):
        return number(value)
    return f"{fixed(value, decimals)} ({fixed(low, decimals)} to {fixed(high, decimals)})"


def percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.0f} %" if whole else MISSING


def unit_of(ucum: str) -> str:
    return _UNITS.get(ucum, ucum)


def with_unit(words: str, ucum: str) -> str:
    """The words, and the unit where there are both."""
    unit = unit_of(ucum)
    return f"{words} {unit}" if unit and words != MISSING else words


def counted(n: int, one: str, many: str = "") -> str:
    return f"{n} {one if n == 1 else many or one + 's'}"


def joined(words: Sequence[str]) -> str:
    """ "a, b and c"."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else ""


def mark(place: int) -> str:
    return str(place).translate(_DIGITS)


@dataclass(slots=True, kw_only=True)
class Footnotes:
    """The reasons for missing numbers of one table, each told once; gives the marks that stand in the cells."""

    told: dict[str, int] = field(default_factory=dict)

    def cell(self, words: str, why: str) -> str:
        """The words; with a mark where they are a dash and the reason is known."""
        if words != MISSING or not why:
            return words
        return MISSING + mark(self.told.setdefault(why, len(self.told) + 1))

    @property
    def sentences(self) -> tuple[str, ...]:
        return tuple(f"{mark(place)} {why}" for why, place in self.told.items())


class Letters:
    """Patients by letter, A to Z, then AA, in the order in which they appear. Tables hold identifiers, the report letters."""

    def __init__(self, patients: Iterable[str]) -> None:
        self.of = {patient: _letter(place) for place, patient in enumerate(dict.fromkeys(patients))}

    def at(self, patient: str) -> str:
        """The patient's letter; empty for one who is not in the table."""
        return self.of.get(patient, "")

    def without_names(self, sentence: str) -> str:
        """The sentence with each identifier of the cohort exchanged for its letter.

        Identifiers of fewer than five digits and nothing else stay: they cannot be told from a count.
        """
        named = sorted((p for p in self.of if not (p.isdigit() and len(p) < 5)), key=len, reverse=True)
        for patient in named:
            sentence = re.sub(rf"(?<!\w){re.escape(patient)}(?!\w)", f"patient {self.of[patient]}", sentence)
        return sentence


def _letter(place: int) -> str:
    place, last = divmod(place, 26)
    return (_letter(place - 1) if place else "") + chr(ord("A") + last)


def _minus(text: str) -> str:
    return text.replace("-", "−")
