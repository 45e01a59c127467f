"""Which tracer a study shows, which PET is to be measured, and which CT belongs to it. The words are data: tracers.toml."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pydicom import Dataset

from analysis.errors import NotQuantifiable, UnknownTracer
from analysis.values import Tracer
from dicom_io.choice import Chosen, choose_ct, choose_pet, name
from dicom_io.correction import GE_CREATOR
from dicom_io.elements import codes, described, items, number, private
from dicom_io.slices import slice_grid
from dicom_io.studies import Series, Study, TracerStudy
from dicom_io.suv import suv_conversion
from dicom_io.suv_times import started
from dicom_io.tracers_table import Named, plain, table

_DESCRIPTIONS = (
    "SeriesDescription",
    "StudyDescription",
    "ProtocolName",
    "RequestedProcedureDescription",
    "PerformedProcedureStepDescription",
)
MOST_QUOTED = 64
_PROCEDURES = ("ProcedureCodeSequence", "RequestedProcedureCodeSequence", "PerformedProtocolCodeSequence")


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteRule:
    """What a site knows of its own studies: where each given pattern fits, the PET shows `tracer`.

    Patterns compare without case and accents; * stands for any text. ae_title: who sent the files, or StationAETitle; station:
    StationName; protocol: ProtocolName or SeriesDescription; description: SeriesDescription or StudyDescription. The
    isotope must still be the tracer's, and no element may name another tracer.
    """

    tracer: Tracer
    ae_title: str = ""
    station: str = ""
    protocol: str = ""
    description: str = ""

    def __post_init__(self) -> None:
        given = self._patterns()
        if not given:
            raise ValueError("a tracer rule must name an ae_title, station, protocol or description")
        for key, pattern in given.items():
            if not pattern.strip("* "):
                raise ValueError(f"{key} = {pattern!r} fits every study; name a part of the text that sets the tracer apart")

    def _patterns(self) -> dict[str, str]:
        every = {
            "ae_title": self.ae_title,
            "station": self.station,
            "protocol": self.protocol,
            "description": self.description,
        }
        return {key: pattern for key, pattern in every.items() if pattern}

    def fits(self, series: Series) -> str:
        """What each given pattern fits, as words for a reader; "" where one does not fit."""
        said = {
            "ae_title": tuple(_sender(series)),
            "station": tuple(described(series.header, "StationName")),
            "protocol": tuple(described(series.header, "ProtocolName", "SeriesDescription")),
            "description": tuple(described(series.header, "SeriesDescription", "StudyDescription")),
        }
        fitting = [_first_fit(pattern, said[key]) for key, pattern in self._patterns().items()]
        return ", ".join(fitting) if all(fitting) else ""


def _sender(series: Series) -> Iterator[tuple[str, str]]:
    meta = getattr(series.header, "file_meta", None)
    if meta is not None:
        yield from described(meta, "SourceApplicationEntityTitle")
    yield from described(series.header, "StationAETitle")


def _first_fit(pattern: str, said: Iterable[tuple[str, str]]) -> str:
    wanted = re.compile(".*".join(re.escape(part) for part in plain(pattern).split("*")), re.DOTALL)
    return next((f"{where} {words!r}" for where, words in said if wanted.fullmatch(plain(words))), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class TracerRules:
    """Site rules, the first that fits counts; none by default."""

    rules: tuple[SiteRule, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Identified:
    """A tracer and the words that show it."""

    tracer: Tracer
    evidence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What one element says. beside: it stands beside the activity; own: it describes this very series."""

    where: str
    words: str
    beside: bool = False
    own: bool = False

    def names(self, what: Named) -> bool:
        """Whether it names an isotope or a compound."""
        return what.said(self.words, beside=self.beside)

    def __str__(self) -> str:
        return f"{self.where} {self.shown!r}"

    @property
    def shown(self) -> str:
        """The words as a sentence quotes them: what is longer than a DICOM text is cut."""
        return self.words if len(self.words) <= MOST_QUOTED else f"{self.words[:MOST_QUOTED]}..."


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
            found = identify(other, rules)
        except UnknownTracer:
            continue
        if found.tracer is not tracer:
            raise UnknownTracer(
                f"The study holds a PET of each tracer ({name(pet.series)} of {tracer}, {name(other)} of {found.tracer}: "
                f"{found.evidence}); send each as a study of its own."
            )


def identify(pet: Series, rules: TracerRules = NO_RULES) -> Identified:
    """The tracer that a PET's header shows: isotope by half-life, code, text; then the compound by code, text, site rule.

    Raises UnknownTracer, which names the elements that were looked at and what they say.
    """
    isotope, shown_by = _isotope(pet)
    tracer = table().tracer_with(isotope)
    compound, described_as = list(_compound(pet)), list(_descriptions(pet))
    _require_no_other(pet, tracer, [*compound, *(s for s in described_as if s.own)], isotope)
    code = next((c for c, _, _ in _compound_codes(pet) if c in table().tracers[tracer].codes), "")
    if code:
        return Identified(
            tracer=tracer, evidence=f"{isotope} by {shown_by}, {tracer} by RadiopharmaceuticalCodeSequence {code}"
        )
    named = next((s for s in (*compound, *described_as) if s.names(table().tracers[tracer])), None)
    ruled = "" if named else _by_rule(pet, tracer, rules)
    if named is None and not ruled:
        raise UnknownTracer(
            f"{name(pet)} shows {isotope} by {shown_by}, but nothing names {tracer} ({_looked_at(pet)}); "
            "correct the header or add a rule for this site."
        )
    if named is None or not named.beside:
        _require_no_rival(pet, tracer, described_as, str(named or f"a rule of the site ({ruled})"))
    return Identified(
        tracer=tracer, evidence=f"{isotope} by {shown_by}, {tracer} by {named or f'a rule of the site, which fits {ruled}'}"
    )


def _by_rule(pet: Series, tracer: Tracer, rules: TracerRules) -> str:
    return next((fits for rule in rules.rules if rule.tracer is tracer and (fits := rule.fits(pet))), "")


def _require_no_other(pet: Series, tracer: Tracer, said: Iterable[Said], isotope: str) -> None:
    """Raises UnknownTracer where an element beside the activity, or the series' own description, names another tracer."""
    others = (*table().others, table().tracers[tracer.other])
    for code, _, meaning in _compound_codes(pet):
        if (other := next((o for o in others if code in o.codes), None)) is not None:
            shown = Said(where="RadiopharmaceuticalCodeSequence", words=f"{code} {meaning}".strip())
            raise UnknownTracer(_contrary(pet, tracer, isotope, (shown, other)))
    for each in said:
        if (other := next((o for o in others if each.names(o)), None)) is not None:
            raise UnknownTracer(_contrary(pet, tracer, isotope, (each, other)))


def _contrary(pet: Series, tracer: Tracer, isotope: str, found: tuple[Said, Named]) -> str:
    """The sentence on another tracer; it tells where the header names ours all the same."""
    shown, other = found
    ours = [s for s in (*_compound(pet), *_descriptions(pet)) if s.names(table().tracers[tracer])]
    though = f", though {ours[0]} names {tracer}" if ours and ours[0].where != shown.where else ""
    what = f"{other.name}" if other.name in set(Tracer) else f"{other.name}, neither FDG nor PentixaFor"
    return (
        f"{name(pet)} shows {isotope}, and {shown.where} is {shown.shown!r}, which names {what}{though} "
        f"({_looked_at(pet)}); if it is {tracer}, correct the header at its source."
    )


def _require_no_rival(pet: Series, tracer: Tracer, said: Iterable[Said], shown: str) -> None:
    """Raises UnknownTracer where only a description or a rule speaks for ours, and a description for another tracer."""
    rival = next(((s, o) for s in said for o in table().others if s.names(o)), None)
    if rival is not None:
        raise UnknownTracer(
            f"{name(pet)} is {tracer} only by {shown}, and {rival[0]} names {rival[1].name} ({_looked_at(pet)}); "
            "correct the header at its source."
        )


def _looked_at(pet: Series) -> str:
    """Every element that was looked at and speaks, and what it says."""
    said = [str(s) for s in (*_isotope_elements(pet), *_compound(pet), *_descriptions(pet))]
    return f"looked at: {', '.join(dict.fromkeys(said)) or 'no element says anything'}"


def _radiopharmaceutical_items(pet: Series) -> tuple[Dataset, ...]:
    return items(pet.header, "RadiopharmaceuticalInformationSequence")


def _isotope_elements(pet: Series) -> Iterator[Said]:
    for item in _radiopharmaceutical_items(pet):
        yield from (Said(where=where, words=words) for where, words in described(item, "RadionuclideHalfLife"))
        for code in codes(item, "RadionuclideCodeSequence"):
            yield Said(where="RadionuclideCodeSequence", words=" ".join(word for word in code if word))


def _compound_codes(pet: Series) -> list[tuple[str, str, str]]:
    return [code for item in _radiopharmaceutical_items(pet) for code in codes(item, "RadiopharmaceuticalCodeSequence")]


def _compound(pet: Series) -> Iterator[Said]:
    """What is written beside the activity."""
    for item in _radiopharmaceutical_items(pet):
        yield from (Said(where=where, words=words, beside=True) for where, words in described(item, "Radiopharmaceutical"))
    for _, _, meaning in _compound_codes(pet):
        if meaning:
            yield Said(where="RadiopharmaceuticalCodeSequence", words=meaning, beside=True)
    maker = private(pet.header, GE_CREATOR, (0x0009, 0x36))
    if maker and str(maker).strip(" \0"):
        yield Said(where="the scanner's private tracer name", words=str(maker).strip(" \0"), beside=True)


def _descriptions(pet: Series) -> Iterator[Said]:
    """What describes the series, the study and the request."""
    for where, words in described(pet.header, *_DESCRIPTIONS):
        yield Said(where=where, words=words, own=where == "SeriesDescription")
    for request in items(pet.header, "RequestAttributesSequence"):
        said = described(request, "RequestedProcedureDescription", "ScheduledProcedureStepDescription")
        yield from (Said(where=where, words=words) for where, words in said)
    for keyword in _PROCEDURES:
        yield from (Said(where=keyword, words=meaning) for _, _, meaning in codes(pet.header, keyword) if meaning)


def _isotope(pet: Series) -> tuple[str, str]:
    """The isotope and the element that shows it: half-life first, then code, then text. Raises UnknownTracer."""
    found = _radiopharmaceutical_items(pet)
    if len(found) != 1:
        raise UnknownTracer(
            f"{name(pet)} has {len(found)} items in RadiopharmaceuticalInformationSequence where one is needed "
            f"({_looked_at(pet)}); correct the header at its source."
        )
    half_life = number(found[0], "RadionuclideHalfLife")
    if half_life:
        return _isotope_by_half_life(pet, half_life)
    by_code = [(value, known) for value, _, _ in codes(found[0], "RadionuclideCodeSequence") if (known := _known(value))]
    if by_code:
        return _only(pet, [(known.name, f"RadionuclideCodeSequence {value}") for value, known in by_code])
    meanings = [
        Said(where="RadionuclideCodeSequence", words=meaning)
        for _, _, meaning in codes(found[0], "RadionuclideCodeSequence")
        if meaning
    ]
    said = (*meanings, *_compound(pet))
    return _only(pet, [(i.name, str(s)) for s in said for i in table().isotopes.values() if s.names(i)])


def _known(value: str) -> Named | None:
    return table().isotope_by_code(value)


def _isotope_by_half_life(pet: Series, seconds: float) -> tuple[str, str]:
    for isotope, (low, high) in table().half_lives.items():
        if low <= seconds <= high:
            return isotope, f"its half-life of {seconds:g} s"
    raise UnknownTracer(
        f"{name(pet)} has a RadionuclideHalfLife of {seconds:g} s, which is neither that of F-18 nor of Ga-68 "
        f"({_looked_at(pet)}); correct the header at its source."
    )


def _only(pet: Series, shown: list[tuple[str, str]]) -> tuple[str, str]:
    """The one isotope that was shown, of ours. Raises UnknownTracer: none, several, or another."""
    names = {isotope for isotope, _ in shown}
    if len(names) == 1 and names <= set(table().isotopes):
        return shown[0]
    what = "shows two isotopes" if len(names) > 1 else f"shows {', '.join(names)}" if names else "does not show its isotope"
    raise UnknownTracer(
        f"{name(pet)} {what} where F-18 or Ga-68 is needed: RadionuclideHalfLife, RadionuclideCodeSequence and "
        f"Radiopharmaceutical do not settle it ({_looked_at(pet)}); correct the header at its source."
    )
