"""Reads a TID 1500 report by nothing but pydicom, so that what is compared was not parsed by the code that wrote it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from pydicom import Dataset


@dataclass
class Group:
    """One measurement group. numbers: (concept, derivation, finding site) > value; units likewise; codes, texts by concept."""

    name: str = ""
    uid: str = ""
    numbers: dict[tuple[str, str, str], float] = field(default_factory=dict)
    units: dict[tuple[str, str, str], str] = field(default_factory=dict)
    codes: dict[str, str] = field(default_factory=dict)
    texts: dict[str, list[str]] = field(default_factory=dict)
    segment: tuple[str, int] | None = None
    source_series: str = ""

    def value(self, concept: str, derivation: str = "", site: str = "") -> float | None:
        return self.numbers.get((concept, derivation, site))


def meaning(sequence: list[Dataset]) -> str:
    return str(sequence[0].CodeMeaning)


def concept(item: Dataset) -> str:
    return meaning(item.ConceptNameCodeSequence) if "ConceptNameCodeSequence" in item else ""


def children(item: Dataset) -> list[Dataset]:
    return list(item.get("ContentSequence", []))


def walk(item: Dataset) -> Iterator[Dataset]:
    for child in children(item):
        yield child
        yield from walk(child)


def statements(ds: Dataset) -> list[str]:
    """The sentences of the qualitative evaluations."""
    container = next(x for x in children(ds) if concept(x) == "Qualitative Evaluations")
    return [str(x.TextValue) for x in children(container)]


def groups(ds: Dataset) -> dict[str, Group]:
    """Tracking identifier > group."""
    container = next(x for x in children(ds) if concept(x) == "Imaging Measurements")
    found = [_group(x) for x in children(container)]
    assert len({g.name for g in found}) == len(found)
    return {g.name: g for g in found}


def _group(container: Dataset) -> Group:
    group = Group()
    for item in children(container):
        name, kind = concept(item), item.ValueType
        if kind == "NUM":
            _number(group, name, item)
        elif name == "Tracking Identifier":
            group.name = str(item.TextValue)
        elif name == "Tracking Unique Identifier":
            group.uid = str(item.UID)
        elif name == "Source Series for Segmentation":
            group.source_series = str(item.UID)
        elif kind == "TEXT":
            group.texts.setdefault(name, []).append(str(item.TextValue))
        elif kind == "CODE":
            group.codes[name] = meaning(item.ConceptCodeSequence)
        elif kind == "IMAGE":
            reference = item.ReferencedSOPSequence[0]
            group.segment = (str(reference.ReferencedSOPInstanceUID), int(reference.ReferencedSegmentNumber))
    return group


def _number(group: Group, name: str, item: Dataset) -> None:
    modifiers = {concept(x): meaning(x.ConceptCodeSequence) for x in children(item) if x.ValueType == "CODE"}
    key = (name, modifiers.get("Derivation", ""), modifiers.get("Finding Site", modifiers.get("Measurement Method", "")))
    if name == "SUVbw":
        key = (name, modifiers.get("Derivation", ""), modifiers.get("Finding Site", ""))
    measured = item.MeasuredValueSequence[0]
    assert key not in group.numbers, key
    group.numbers[key] = float(measured.get("FloatingPointValue", measured.NumericValue))
    group.units[key] = str(measured.MeasurementUnitsCodeSequence[0].CodeValue)


def references(ds: Dataset) -> dict[str, set[str]]:
    """Study UID > SOP instance UIDs that the report names as evidence."""
    found: dict[str, set[str]] = {}
    for keyword in ("CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence"):
        for study in ds.get(keyword, []):
            for series in study.ReferencedSeriesSequence:
                uids = {str(x.ReferencedSOPInstanceUID) for x in series.ReferencedSOPSequence}
                found.setdefault(str(study.StudyInstanceUID), set()).update(uids)
    return found
