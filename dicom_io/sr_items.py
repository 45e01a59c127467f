"""Items of a report's tree: what a report says often is made once by highdicom and shared, the rest are copies with new values.

Building every item with highdicom took most of the time of a report. Shared items are read-only by agreement: whoever wants
another value makes a copy with `like`. Codes are compared with their meaning here, which `Code` leaves out.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import pydicom
from highdicom.sr import (
    AlgorithmIdentification,
    CodedConcept,
    ContainerContentItem,
    FindingSite,
    Measurement,
    MeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    ReferencedSegment,
    RelationshipTypeValues,
    SourceSeriesForSegmentation,
    TextContentItem,
    TrackingIdentifier,
)
from pydicom import DataElement, Dataset
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.sr.coding import Code
from pydicom.tag import Tag
from pydicom.valuerep import DS

from analysis.values import Model
from dicom_io import codes
from dicom_io.derived import ascii_text, printable

Words = tuple[str, ...]  # a Code's value, scheme, meaning and version
_MOST = 4096  # items kept; a case has some hundred


def like(prototype: Dataset, **values: Any) -> Dataset:
    """A copy that shares the prototype's elements but for those of the keywords given; a list becomes a sequence."""
    return Dataset({**dict(prototype.items()), **{element.tag: element for element in map(_element, values, values.values())}})


def _element(keyword: str, value: Any) -> DataElement:
    tag, vr = _tag(keyword)
    return DataElement(tag, vr, pydicom.Sequence(value) if vr == "SQ" else value, already_converted=vr in ("SQ", "DS", "FD"))


@lru_cache
def _tag(keyword: str) -> tuple[pydicom.tag.BaseTag, str]:
    tag = Tag(tag_for_keyword(keyword) or 0)
    return tag, dictionary_VR(tag)


def _code(words: Words | None) -> Code | None:
    return None if words is None else Code(*words)


@lru_cache(_MOST)
def concept(words: Words) -> CodedConcept:
    """The code as a sequence item. Shared."""
    return CodedConcept(*words)


def text(name: Code, value: str) -> Dataset:
    """TEXT, at most 1024 characters of ASCII."""
    return like(_text(tuple(name)), TextValue=ascii_text(value, 1024))


def unicode_text(name: Code, value: str) -> Dataset:
    """TEXT, at most 1024 characters of any kind, for an object in Unicode."""
    return like(_text(tuple(name)), TextValue=printable(value, 1024))


@lru_cache(_MOST)
def _text(name: Words) -> Dataset:
    return TextContentItem(name=concept(name), value="-", relationship_type=RelationshipTypeValues.CONTAINS)


def evaluation(name: Code, value: Code) -> Dataset:
    """CODE. Shared."""
    return _evaluation(tuple(name), tuple(value))


@lru_cache(_MOST)
def _evaluation(name: Words, value: Words) -> Dataset:
    return QualitativeEvaluation(concept(name), concept(value))[0]


def finding_site(region: Code, side: Code | None = None) -> Dataset:
    """Where a finding lies. Shared."""
    return _site(tuple(region), None if side is None else tuple(side))


@lru_cache(_MOST)
def _site(region: Words, side: Words | None) -> FindingSite:
    return FindingSite(concept(region), laterality=_code(side))


@lru_cache(_MOST)
def algorithm(model: Model) -> Sequence[Dataset]:
    """What made a finding. Shared."""
    return tuple(
        AlgorithmIdentification(
            ascii_text(model.name),
            ascii_text(model.version),
            family=codes.ARTIFICIAL_INTELLIGENCE,
            manufacturer=ascii_text(model.manufacturer),
        )
    )


def segment(seg: Dataset, number: int, series_uid: str) -> list[Dataset]:
    """The segment of this number in a segmentation that was made of this series."""
    image, source = _segment(str(seg.SOPClassUID), str(seg.SOPInstanceUID), series_uid)
    reference = like(image.ReferencedSOPSequence[0], ReferencedSegmentNumber=number)
    return [like(image, ReferencedSOPSequence=[reference]), source]


@lru_cache(_MOST)
def _segment(class_uid: str, instance_uid: str, series_uid: str) -> Sequence[Dataset]:
    return tuple(ReferencedSegment(class_uid, instance_uid, 1, source_series=SourceSeriesForSegmentation(series_uid)))


def number(
    name: Code,
    value: float,
    unit: Code,
    *,
    derivation: Code | None = None,
    method: Code | None = None,
    site: Code | None = None,
) -> Dataset:
    """NUM of a finite value, exact in FloatingPointValue."""
    prototype = _number(*(None if code is None else tuple(code) for code in (name, unit, derivation, method, site)))
    measured = prototype.MeasuredValueSequence[0]
    item = like(measured, NumericValue=DS(value, auto_format=True), FloatingPointValue=value)
    return like(prototype, MeasuredValueSequence=[item])


@lru_cache(_MOST)
def _number(name: Words, unit: Words, derivation: Words | None, method: Words | None, site: Words | None) -> Dataset:
    sites = [FindingSite(concept(site))] if site is not None else None
    made = Measurement(
        concept(name), 1.0, concept(unit), derivation=_code(derivation), method=_code(method), finding_sites=sites
    )
    return made[0]


@lru_cache(_MOST)
def _group(template: str, category: Words | None, finding: Words) -> tuple[Dataset, tuple[Dataset, ...]]:
    """The container, and the items that every group of the kind begins with; the first two are the tracking identifier."""
    made = MeasurementsAndQualitativeEvaluations(
        TrackingIdentifier(uid="1.2.3", identifier="-"), finding_type=_code(finding), finding_category=_code(category)
    )[0]
    made.ContentTemplateSequence[0].TemplateIdentifier = template
    return made, tuple(made.ContentSequence)


def group(template: str, tracking: tuple[str, str], finding: tuple[Code | None, Code], content: Sequence[Dataset]) -> Dataset:
    """A measurement group (TID 1411 or 1501). tracking: UID and identifier; finding: category and type; content: the rest, in
    the templates' order: sites, algorithm, measurements, evaluations, segment, texts."""
    category, kind = finding
    container, first = _group(template, None if category is None else tuple(category), tuple(kind))
    uid, identifier = tracking
    named = [like(x, TextValue=identifier) if x.ValueType == "TEXT" else like(x, UID=uid) for x in first[:2]]
    return like(container, ContentSequence=[*named, *first[2:], *content])


def container(name: Code, items: Sequence[Dataset]) -> Dataset:
    """A container of these items."""
    made = ContainerContentItem(name, relationship_type=RelationshipTypeValues.CONTAINS)
    return like(made, ContentSequence=items)
