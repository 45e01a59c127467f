"""Anybody's measurement report (TID 1500), read back: the groups with what was measured, where, and on which segment.

Concepts are known by their code under SCT and its predecessors SRT and SNM3, since older writers use these. What a maker
left out stays empty; nothing is guessed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset
from pydicom.sr.coding import Code

from analysis.errors import UnusableImage
from dicom_io.codes import UNSAID, read_code
from dicom_io.elements import items, number, text
from dicom_io.headers import read_object

# Code values of the concepts of TID 1410, 1411, 1501 and 1419 that are read, each with the older ones for the same thing.
_GROUP = {"125007"}
_TRACKING_ID, _TRACKING_UID = {"112039"}, {"112040"}
_FINDING = {"121071"}
_CATEGORY = {"276214006", "C0332307", "121070"}
_SITE = {"363698007", "G-C0E3"}
_LATERALITY = {"272741003", "G-C171"}
_DERIVATION, _METHOD = {"121401"}, {"370129005", "G-C036"}
_SEGMENTS = {"121191", "121214"}  # Referenced Segment, Referenced Segmentation Frame
_SOURCE_SERIES = {"121232"}
_PROCEDURE = {"121058"}
_FRAMEWORK = _FINDING | _CATEGORY | _SITE
# A real tree is some ten levels deep; a deeper one is a loop of some kind or an attack.
_DEEPEST = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One number. value: None where the item bears none, qualifier then says why (or is empty). unit: UCUM as a rule."""

    concept: Code
    value: float | None
    unit: Code
    derivation: Code | None = None
    method: Code | None = None
    site: Code | None = None
    qualifier: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasurementGroup:
    """One measurement group; empty where its maker said nothing.

    segment: SOP instance UID of the SEG and segment number. evaluations: concept and what was said of it in words.
    """

    tracking_id: str
    tracking_uid: str
    finding: Code | None
    category: Code | None
    sites: tuple[Code, ...]
    laterality: Code | None
    segment: tuple[str, int] | None
    source_series_uids: tuple[str, ...]
    measurements: tuple[Measured, ...]
    evaluations: tuple[tuple[Code, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A structured report. verified: VerificationFlag is VERIFIED; texts: its sentences outside of any group."""

    title: Code
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    description: str
    verified: bool
    procedures: tuple[Code, ...]
    texts: tuple[str, ...]
    groups: tuple[MeasurementGroup, ...]


def read_sr(given: Dataset | Path) -> Report:
    """A structured report of any maker; one without measurement groups is a Report without groups.

    Raises NotDicom: the file cannot be read. Raises UnusableImage: another kind of object, or a content tree that is broken.
    """
    ds = read_object(given)
    if text(ds, "Modality") != "SR" and "ContentSequence" not in ds:
        raise UnusableImage("The object is no structured report; send a DICOM SR.")
    if text(ds, "ValueType") not in ("CONTAINER", ""):
        raise UnusableImage("The structured report's root is no container; export the report again.")
    containers = list(_groups(ds, 0)) or list(_number_holders(ds, 0))
    return Report(
        title=read_code(items(ds, "ConceptNameCodeSequence")) or UNSAID,
        study_instance_uid=text(ds, "StudyInstanceUID"),
        series_instance_uid=text(ds, "SeriesInstanceUID"),
        sop_instance_uid=text(ds, "SOPInstanceUID"),
        description=text(ds, "SeriesDescription"),
        verified=text(ds, "VerificationFlag") == "VERIFIED",
        procedures=tuple(_coded_values(items(ds, "ContentSequence"), _PROCEDURE)),
        texts=tuple(_sentences(ds, 0)),
        groups=tuple(_group(container) for container in containers),
    )


def _groups(container: Dataset, depth: int) -> Iterator[Dataset]:
    """Every measurement group below a container, in the document's order."""
    for item in _containers(container, depth):
        if _named(item, _GROUP):
            yield item
        else:
            yield from _groups(item, depth + 1)


def _number_holders(container: Dataset, depth: int) -> Iterator[Dataset]:
    """Every container that holds numbers, which stand for groups where a maker follows no template."""
    if any(text(item, "ValueType") == "NUM" for item in items(container, "ContentSequence")):
        yield container
    for item in _containers(container, depth):
        yield from _number_holders(item, depth + 1)


def _containers(container: Dataset, depth: int) -> Iterator[Dataset]:
    if depth > _DEEPEST:
        raise UnusableImage("The structured report is nested deeper than any report is; export it again.")
    return (item for item in items(container, "ContentSequence") if text(item, "ValueType") == "CONTAINER")


def _sentences(container: Dataset, depth: int) -> Iterator[str]:
    """TEXT items that belong to no measurement group, without those that only describe the observer."""
    for item in items(container, "ContentSequence") if depth <= _DEEPEST else ():
        if text(item, "RelationshipType") == "HAS OBS CONTEXT":
            continue
        if text(item, "ValueType") == "TEXT" and text(item, "TextValue"):
            yield text(item, "TextValue")
        elif not _named(item, _GROUP):
            yield from _sentences(item, depth + 1)


def _within(container: Dataset, depth: int) -> Iterator[Dataset]:
    """What a group holds; of a measurement group also what its maker put into containers of its own."""
    deeper = _named(container, _GROUP) or depth > 0
    for item in items(container, "ContentSequence") if depth <= _DEEPEST else ():
        yield item
        if deeper and text(item, "ValueType") == "CONTAINER":
            yield from _within(item, depth + 1)


def _group(container: Dataset) -> MeasurementGroup:
    content = tuple(_within(container, 0))
    sites = list(_coded_values(content, _SITE))
    site_items = [item for item in content if _named(item, _SITE)]
    laterality = next((c for item in site_items for c in _coded_values(items(item, "ContentSequence"), _LATERALITY)), None)
    return MeasurementGroup(
        tracking_id=next((text(i, "TextValue") for i in content if _named(i, _TRACKING_ID)), ""),
        tracking_uid=next((text(i, "UID") for i in content if _named(i, _TRACKING_UID)), ""),
        finding=next(_coded_values(content, _FINDING), None),
        category=next(_coded_values(content, _CATEGORY), None),
        sites=tuple(sites),
        laterality=laterality,
        segment=next((s for i in content if _named(i, _SEGMENTS) and (s := _segment(i)) is not None), None),
        source_series_uids=tuple(text(i, "UID") for i in content if _named(i, _SOURCE_SERIES)),
        measurements=tuple(_measured(i) for i in content if text(i, "ValueType") == "NUM"),
        evaluations=tuple(_evaluations(content)),
    )


def _evaluations(content: Iterable[Dataset]) -> Iterator[tuple[Code, str]]:
    """What is said in words or codes, beside the template's own framework."""
    for item in content:
        name, kind = read_code(items(item, "ConceptNameCodeSequence")), text(item, "ValueType")
        if name is None or name.value in _FRAMEWORK | _TRACKING_ID:
            continue
        if kind == "TEXT":
            yield name, text(item, "TextValue")
        elif kind == "CODE" and (said := read_code(items(item, "ConceptCodeSequence"))) is not None:
            yield name, said.meaning


def _measured(item: Dataset) -> Measured:
    found, inner = items(item, "MeasuredValueSequence"), items(item, "ContentSequence")
    value = number(found[0], "NumericValue") if found else None
    precise = number(found[0], "FloatingPointValue") if found else None
    value = precise if precise is not None and value is not None and math.isfinite(precise) else value
    why = read_code(items(item, "NumericValueQualifierCodeSequence"))
    return Measured(
        concept=read_code(items(item, "ConceptNameCodeSequence")) or UNSAID,
        value=value,
        unit=(read_code(items(found[0], "MeasurementUnitsCodeSequence")) if found else None) or UNSAID,
        derivation=next(_coded_values(inner, _DERIVATION), None),
        method=next(_coded_values(inner, _METHOD), None),
        site=next(_coded_values(inner, _SITE), None),
        qualifier="" if why is None else why.meaning,
    )


def _segment(item: Dataset) -> tuple[str, int] | None:
    for reference in items(item, "ReferencedSOPSequence"):
        segment = number(reference, "ReferencedSegmentNumber")
        if segment is not None and text(reference, "ReferencedSOPInstanceUID"):
            return text(reference, "ReferencedSOPInstanceUID"), int(segment)
    return None


def _named(item: Dataset, values: set[str]) -> bool:
    name = read_code(items(item, "ConceptNameCodeSequence"))
    return name is not None and name.value in values


def _coded_values(content: Iterable[Dataset], values: set[str]) -> Iterator[Code]:
    for item in content:
        if _named(item, values) and (code := read_code(items(item, "ConceptCodeSequence"))) is not None:
            yield code
