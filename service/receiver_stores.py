"""C-STORE as it is on the wire (PS3.7 9.3.1): the request's few elements, and the answer as one PDU."""

from __future__ import annotations

import struct
from dataclasses import dataclass

C_STORE_RQ, C_STORE_RSP, NO_DATASET = 0x0001, 0x8001, 0x0101
# Elements of group 0000.
SOP_CLASS_UID, COMMAND, MESSAGE_ID, ANSWERED_ID, DATASET_TYPE, STATUS, SOP_INSTANCE_UID = (
    0x0002,
    0x0100,
    0x0110,
    0x0120,
    0x0800,
    0x0900,
    0x1000,
)
P_DATA_TF, LAST_COMMAND = 0x04, 0x03
LONGEST_UID = 64

_ELEMENT = struct.Struct("<HHL")
_LENGTH = struct.Struct("<HHLL")
_MIDDLE = struct.Struct("<" + 4 * "HHLH")
_PDU = struct.Struct(">BBLLBB")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreRequest:
    """What a sender announces before the object comes. context: number of the presentation context."""

    context: int
    message_id: int
    sop_class_uid: str
    sop_instance_uid: str


def store_request(context: int, command: bytes) -> StoreRequest | None:
    """The request in a command set (implicit VR little endian); None where it is something else. Raises ValueError."""
    elements = _elements(command)
    if _number(elements, COMMAND) != C_STORE_RQ or _number(elements, DATASET_TYPE) == NO_DATASET:
        return None
    return StoreRequest(
        context=context,
        message_id=_number(elements, MESSAGE_ID),
        sop_class_uid=_uid(elements, SOP_CLASS_UID),
        sop_instance_uid=_uid(elements, SOP_INSTANCE_UID),
    )


def answer(request: StoreRequest, status: int) -> bytes:
    """The response, as the PDU that is sent."""
    sop_class, instance = _padded(request.sop_class_uid), _padded(request.sop_instance_uid)
    middle = _MIDDLE.pack(
        *(0, COMMAND, 2, C_STORE_RSP),
        *(0, ANSWERED_ID, 2, request.message_id),
        *(0, DATASET_TYPE, 2, NO_DATASET),
        *(0, STATUS, 2, status),
    )
    first, last = _ELEMENT.pack(0, SOP_CLASS_UID, len(sop_class)), _ELEMENT.pack(0, SOP_INSTANCE_UID, len(instance))
    content = b"".join((first, sop_class, middle, last, instance))
    command = _LENGTH.pack(0, 0, 4, len(content)) + content
    return _PDU.pack(P_DATA_TF, 0, len(command) + 6, len(command) + 2, request.context, LAST_COMMAND) + command


def _elements(command: bytes) -> dict[int, bytes]:
    """Element number > value. Raises ValueError."""
    found, at = {}, 0
    while at < len(command):
        if at + _ELEMENT.size > len(command):
            raise ValueError("a command set ends within an element")
        group, element, length = _ELEMENT.unpack_from(command, at)
        at += _ELEMENT.size
        if group != 0 or at + length > len(command):
            raise ValueError("no command set")
        found[element] = bytes(command[at : at + length])
        at += length
    return found


def _number(elements: dict[int, bytes], element: int) -> int:
    value = elements.get(element, b"")
    if len(value) != 2:
        raise ValueError(f"a command set without (0000,{element:04x})")
    return int.from_bytes(value, "little")


def _uid(elements: dict[int, bytes], element: int) -> str:
    uid = elements.get(element, b"").rstrip(b"\0 ").decode("ascii")
    if not 0 < len(uid) <= LONGEST_UID:
        raise ValueError(f"a command set without a UID in (0000,{element:04x})")
    return uid


def _padded(uid: str) -> bytes:
    return uid.encode("ascii") + b"\0" * (len(uid) % 2)
