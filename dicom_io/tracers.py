"""Which tracer a study shows, which PET is to be measured, and which CT belongs to it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase

from analysis.errors import BadSettings, NotQuantifiable, UnknownTracer
from analysis.values import Tracer
from dicom_io.choice import Chosen, choose_ct, choose_pet, name
from dicom_io.correction import GE_CREATOR
from dicom_io.elements import codes, described, items, number, private, text
from dicom_io.slices import slice_grid
from dicom_io.studies import Series, Study, TracerStudy
from dicom_io.suv import suv_conversion
from dicom_io.suv_times import started


class Isotope(StrEnum):
    """The two isotopes that are told apart."""

    F18 = "F-18"
    GA68 = "Ga-68"


ISOTOPE_OF = {Tracer.FDG: Isotope.F18, Tracer.PENTIXAFOR: Isotope.GA68}
# Half-lives in s that makers write for the isotope.
HALF_LIVES = {Isotope.F18: (6500.0, 6700.0), Isotope.GA68: (4000.0, 4120.0)}
# The same code values occur under SCT, SRT, SNM3 and 99SDM.
ISOTOPE_CODES = {"77004003": Isotope.F18, "C-111A1": Isotope.F18, "35337001": Isotope.GA68, "C-131A3": Isotope.GA68}
FDG_CODES = {"35321007", "C-B1031"}

_ISOTOPE_TEXT = {
    Isotope.F18: re.compile(r"(?<!\d)\^?18\^?[ -]?F(?![a-z])|(?<![a-z])F[ -]?\^?18\^?(?!\d)|fluorine", re.IGNORECASE),
    Isotope.GA68: re.compile(r"(?<!\d)\^?68\^?[ -]?Ga(?![a-z])|(?<![a-z])Ga[ -]?\^?68\^?(?!\d)|\^68\^ ?gallium", re.IGNORECASE),
}
_TRACER_TEXT = {
    Tracer.FDG: re.compile(r"fdg|fluorodeoxy|fludeoxy", re.IGNORECASE),
    Tracer.PENTIXAFOR: re.compile(r"pentixa|cxcr-?4", re.IGNORECASE),
}
# Tracers that share an isotope with one of ours. One of them named beside the activity outweighs any description.
_OTHER_TRACER = re.compile(
    r"psma|folastat|gozetotide|dota[ -]?(?:tate|toc|noc)|dotreotide|fapi|choline|fluciclovine|florbeta|flutemetamol"
    r"|flortaucipir|fluoroestradiol|fluorothymidine|fluoroethyl|misonidazole|exendin|dopa|fluoride|(?<![a-z])(?:naf|fet|fes|flt|fmiso|fch|dcfpyl|pylarify|netspot|illuccix|locametz|ubiquicidin|macroaggregat)(?![a-z])",
    re.IGNORECASE,
)
_DESCRIPTIONS = (
    "SeriesDescription",
    "StudyDescription",
    "ProtocolName",
    "RequestedProcedureDescription",
    "PerformedProcedureStepDescription",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteRule:
    """What a site knows of its own studies: where each given pattern fits, the PET shows `tracer`.

    Patterns compare without case; * stands for any text. ae_title: who sent the files; station: StationName; protocol:
    ProtocolName or SeriesDescription. The isotope must still be the tracer's.
    """

    tracer: Tracer
    ae_title: str = ""
    station: str = ""
    protocol: str = ""

    def __post_init__(self) -> None:
        if not (self.ae_title or self.station or self.protocol):
            raise BadSettings("A tracer rule of the site must name an AE title, a station or a protocol.")

    def fits(self, series: Series) -> bool:
        """Whether every given pattern fits the series."""
        header = series.header
        sender = text(getattr(header, "file_meta", None) or header, "SourceApplicationEntityTitle")
        said = {
            self.ae_title: (sender, text(header, "StationAETitle")),
            self.station: (text(header, "StationName"),),
            self.protocol: (text(header, "ProtocolName"), series.description),
        }
        return all(_any_fits(pattern, found) for pattern, found in said.items() if pattern)


def _any_fits(pattern: str, found: tuple[str, ...]) -> bool:
    return any(fnmatchcase(word.casefold(), pattern.casefold()) for word in found if word)


@dataclass(frozen=True, slots=True, kw_only=True)
class TracerRules:
    """Site rules, the first that fits counts; none by default."""

    rules: tuple[SiteRule, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Identified:
    """A tracer and the words that show it."""

    tracer: Tracer
    evidence: str


NO_RULES = TracerRules()


def recognise(study: Study, rules: TracerRules = NO_RULES) -> TracerStudy:
    """The study with its tracer, the PET to be measured, its CT, and when the tracer was injected.

    Raises NoUsablePet, UnknownTracer, NoUsableCt, and, where the chosen series cannot be measured, IncompleteSeries or
    NotQuantifiable; in this order of looking.
    """
    _require_date(study)
    pet = choose_pet(study)
    identified = identify(pet.series, rules)
    _require_one_tracer(identified.tracer, pet, rules)
    ct = choose_ct(study, pet.series)
    for series in (pet.series, ct.series):
        slice_grid(series)
    conversion = suv_conversion(pet.series)
    unknown = "" if conversion.administered else "The time of injection is unknown; the scan's start stands for it."
    return TracerStudy(
        study=study,
        tracer=identified.tracer,
        injected=conversion.administered or started(pet.series) or study.started,
        pet=pet.series,
        ct=ct.series,
        remarks=(f"{identified.tracer}: {identified.evidence}.", *pet.remarks, *ct.remarks, *((unknown,) if unknown else ())),
    )


def _require_date(study: Study) -> None:
    if study.started.year < 1900:
        raise NotQuantifiable(
            "The study bears no date, so it can neither be decay corrected nor paired; correct it at its source."
        )


def _require_one_tracer(tracer: Tracer, pet: Chosen, rules: TracerRules) -> None:
    """Raises UnknownTracer where another PET that fits shows the other tracer: one study, one tracer."""
    for other in pet.others:
        try:
            found = identify(other, rules).tracer
        except UnknownTracer:
            continue
        if found is not tracer:
            raise UnknownTracer(
                f"The study holds a PET of each tracer ({name(pet.series)}, {name(other)}); send each as a study of its own."
            )


def identify(pet: Series, rules: TracerRules = NO_RULES) -> Identified:
    """The tracer that a PET's header shows: isotope by half-life, code, text; then the compound by code, text, site rule.

    Raises UnknownTracer, which names the elements that were looked at.
    """
    isotope, shown_by = _isotope(pet)
    specific = list(_compound_texts(pet))
    other = next(((where, said) for where, said in specific if _OTHER_TRACER.search(said)), None)
    if other is not None:
        contrary = _contrary(pet, Tracer.FDG if isotope is Isotope.F18 else Tracer.PENTIXAFOR)
        raise UnknownTracer(
            f"{name(pet)} shows {isotope} and {other[0]} is {other[1]!r}: neither FDG nor PentixaFor{contrary}."
        )
    if isotope is Isotope.F18 and FDG_CODES & {code for code, _, _ in _radiopharmaceutical_codes(pet)}:
        return Identified(tracer=Tracer.FDG, evidence=f"{isotope} by {shown_by}, FDG by RadiopharmaceuticalCodeSequence")
    tracer = Tracer.FDG if isotope is Isotope.F18 else Tracer.PENTIXAFOR
    for where, said in (*specific, *_description_texts(pet)):
        if _TRACER_TEXT[tracer].search(said):
            _require_no_other(pet, tracer)
            return Identified(tracer=tracer, evidence=f"{isotope} by {shown_by}, {tracer} by {where} {said!r}")
    if any(rule.tracer is tracer and rule.fits(pet) for rule in rules.rules):
        return Identified(tracer=tracer, evidence=f"{isotope} by {shown_by}, {tracer} by a rule of the site")
    raise UnknownTracer(_unresolved(pet, tracer, isotope))


def _contrary(pet: Series, tracer: Tracer) -> str:
    """The description that names the tracer all the same, as part of a sentence; "" where none does."""
    said = next((f"{where} {words!r}" for where, words in _description_texts(pet) if _TRACER_TEXT[tracer].search(words)), "")
    return f", though {said} names {tracer}; correct the header at its source" if said else ""


def _require_no_other(pet: Series, tracer: Tracer) -> None:
    """Raises UnknownTracer where the series' own description names another tracer than the one found."""
    said = text(pet.header, "SeriesDescription")
    if _OTHER_TRACER.search(said):
        raise UnknownTracer(
            f"{name(pet)}: one element names {tracer}, SeriesDescription another tracer; correct the header at its source."
        )


def _unresolved(pet: Series, tracer: Tracer, isotope: Isotope) -> str:
    looked = ", ".join(f"{where} {said!r}" for where, said in (*_compound_texts(pet), *_description_texts(pet)))
    return (
        f"{name(pet)} shows {isotope}, but nothing names {tracer} (looked at: {looked or 'no element says anything'}); "
        "correct the header or add a rule for this site."
    )


def _radiopharmaceutical(pet: Series) -> Iterator[tuple[str, str]]:
    for item in items(pet.header, "RadiopharmaceuticalInformationSequence"):
        yield from described(item, "Radiopharmaceutical")


def _radiopharmaceutical_codes(pet: Series) -> list[tuple[str, str, str]]:
    found = items(pet.header, "RadiopharmaceuticalInformationSequence")
    return [code for item in found for code in codes(item, "RadiopharmaceuticalCodeSequence")]


def _compound_texts(pet: Series) -> Iterator[tuple[str, str]]:
    """(element, text) of what is written beside the activity."""
    yield from _radiopharmaceutical(pet)
    for _, _, meaning in _radiopharmaceutical_codes(pet):
        if meaning:
            yield "RadiopharmaceuticalCodeSequence", meaning
    if maker := private(pet.header, GE_CREATOR, (0x0009, 0x36)):
        yield "the scanner's private tracer name", str(maker)


def _description_texts(pet: Series) -> Iterator[tuple[str, str]]:
    """(element, text) of what describes the series, the study and the request."""
    yield from described(pet.header, *_DESCRIPTIONS)
    for request in items(pet.header, "RequestAttributesSequence"):
        yield from described(request, "RequestedProcedureDescription", "ScheduledProcedureStepDescription")
    for keyword in ("ProcedureCodeSequence", "RequestedProcedureCodeSequence"):
        yield from ((keyword, meaning) for _, _, meaning in codes(pet.header, keyword) if meaning)


def _isotope(pet: Series) -> tuple[Isotope, str]:
    """The isotope and the element that shows it: half-life first, then code, then text. Raises UnknownTracer."""
    found = items(pet.header, "RadiopharmaceuticalInformationSequence")
    if len(found) != 1:
        raise UnknownTracer(
            f"{name(pet)} has {len(found)} items in RadiopharmaceuticalInformationSequence where one is needed."
        )
    half_life = number(found[0], "RadionuclideHalfLife")
    if half_life:
        for isotope, (low, high) in HALF_LIVES.items():
            if low <= half_life <= high:
                return isotope, f"its half-life of {half_life:g} s"
        raise UnknownTracer(
            f"{name(pet)} has a RadionuclideHalfLife of {half_life:g} s, which is neither that of F-18 nor of Ga-68."
        )
    radionuclides = codes(found[0], "RadionuclideCodeSequence")
    for value, _, _ in radionuclides:
        if value in ISOTOPE_CODES:
            return ISOTOPE_CODES[value], f"RadionuclideCodeSequence {value}"
    for where, said in (*(("RadionuclideCodeSequence", m) for _, _, m in radionuclides if m), *_compound_texts(pet)):
        for isotope, pattern in _ISOTOPE_TEXT.items():
            if pattern.search(said):
                return isotope, f"{where} {said!r}"
    raise UnknownTracer(
        f"{name(pet)} does not show its isotope: RadionuclideHalfLife, RadionuclideCodeSequence and Radiopharmaceutical "
        "say nothing of it."
    )
