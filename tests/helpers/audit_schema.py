"""The audit message schema of PS3.15 A.5.1 as tables: which attributes and elements stand where, and in what order."""

from __future__ import annotations

import base64
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

Check = Callable[[str], object]
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)").fullmatch


def one_of(*words: str) -> Check:
    return words.__contains__


def upto(last: int) -> Check:
    return [str(number) for number in range(1, last + 1)].__contains__


def binary(text: str) -> bool:
    return bool(base64.b64decode(text, validate=True))


@dataclass(frozen=True, kw_only=True)
class Shape:
    """needed and allowed: attributes; children: (name, least, most), in order; text: what the element holds."""

    needed: Mapping[str, Check] = field(default_factory=dict)
    allowed: Mapping[str, Check] = field(default_factory=dict)
    children: Sequence[tuple[str, int, int]] = ()
    text: Check | None = None


MANY = 10_000
CODED = Shape(needed={"csd-code": bool, "codeSystemName": bool, "originalText": bool}, allowed={"displayName": bool})
SHAPES = {
    "AuditMessage": Shape(
        children=[
            ("EventIdentification", 1, 1),
            ("ActiveParticipant", 1, MANY),
            ("AuditSourceIdentification", 1, 1),
            ("ParticipantObjectIdentification", 0, MANY),
        ]
    ),
    "EventIdentification": Shape(
        needed={"EventDateTime": TIME, "EventOutcomeIndicator": one_of("0", "4", "8", "12")},
        allowed={"EventActionCode": one_of(*"CRUDE")},
        children=[("EventID", 1, 1), ("EventTypeCode", 0, MANY), ("EventOutcomeDescription", 0, 1)],
    ),
    "EventID": CODED,
    "EventTypeCode": CODED,
    "EventOutcomeDescription": Shape(text=bool),
    "ActiveParticipant": Shape(
        needed={"UserID": bool, "UserIsRequestor": one_of("true", "false", "1", "0")},
        allowed={
            "AlternativeUserID": bool,
            "UserName": bool,
            "NetworkAccessPointID": bool,
            "NetworkAccessPointTypeCode": upto(5),
        },
        children=[("RoleIDCode", 0, MANY), ("MediaIdentifier", 0, 1)],
    ),
    "RoleIDCode": CODED,
    "AuditSourceIdentification": Shape(
        needed={"AuditSourceID": bool}, allowed={"AuditEnterpriseSiteID": bool}, children=[("AuditSourceTypeCode", 0, MANY)]
    ),
    "AuditSourceTypeCode": Shape(needed={"csd-code": upto(9)}),
    "ParticipantObjectIdentification": Shape(
        needed={"ParticipantObjectID": bool},
        allowed={
            "ParticipantObjectTypeCode": upto(4),
            "ParticipantObjectTypeCodeRole": upto(26),
            "ParticipantObjectDataLifeCycle": upto(15),
            "ParticipantObjectSensitivity": bool,
        },
        children=[
            ("ParticipantObjectIDTypeCode", 1, 1),
            ("ParticipantObjectName", 0, 1),
            ("ParticipantObjectQuery", 0, 1),
            ("ParticipantObjectDetail", 0, MANY),
            ("ParticipantObjectDescription", 0, MANY),
        ],
    ),
    "ParticipantObjectIDTypeCode": CODED,
    "ParticipantObjectName": Shape(text=bool),
    "ParticipantObjectQuery": Shape(text=binary),
    "ParticipantObjectDetail": Shape(needed={"type": bool, "value": binary}),
    "ParticipantObjectDescription": Shape(children=[("MPPS", 0, MANY), ("Accession", 0, MANY), ("SOPClass", 0, MANY)]),
    "SOPClass": Shape(needed={"NumberOfInstances": str.isdigit}, allowed={"UID": re.compile(r"[0-9.]{1,64}").fullmatch}),
}


def check(element: ET.Element) -> None:
    """Fails where an element is not as the schema has it."""
    shape, where = SHAPES[element.tag], ET.tostring(element).decode()[:400]
    assert set(shape.needed) <= set(element.attrib) <= set(shape.needed) | set(shape.allowed), where
    for name, value in element.attrib.items():
        assert (shape.needed.get(name) or shape.allowed[name])(value), (name, value)
    assert shape.text(element.text or "") if shape.text else not (element.text or "").strip(), where
    names = [child.tag for child in element]
    order = [name for name, _, _ in shape.children]
    assert names == sorted(names, key=order.index), where
    for name, least, most in shape.children:
        assert least <= names.count(name) <= most, (name, where)
    if element.tag == "ParticipantObjectIdentification":  # a name or a query
        assert names.count("ParticipantObjectName") + names.count("ParticipantObjectQuery") == 1, where
    for child in element:
        check(child)
