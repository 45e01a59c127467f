"""C-STORE as bytes: against pynetdicom, which encodes the request and the answer by other code."""

from __future__ import annotations

from io import BytesIO

import pytest
from pydicom.uid import CTImageStorage
from pynetdicom.dimse_messages import C_ECHO_RQ, C_STORE_RQ, C_STORE_RSP
from pynetdicom.dimse_primitives import C_ECHO, C_STORE
from pynetdicom.pdu import P_DATA_TF

from service.receiver_stores import answer, store_request

CONTEXT = 5


def primitive(uid: str) -> C_STORE:
    found = C_STORE()
    found.MessageID, found.Priority = 7, 0
    found.AffectedSOPClassUID, found.AffectedSOPInstanceUID = CTImageStorage, uid
    found.DataSet = BytesIO(b"\x08\x00")
    return found


def command_of(message: C_STORE_RQ | C_ECHO_RQ) -> bytes:
    """What pynetdicom would send of a message as its command set."""
    first = next(iter(message.encode_msg(CONTEXT, 16384)))
    return bytes(first.presentation_data_value_list[0][1][1:])


@pytest.mark.parametrize("uid", ["1.2.3", "1.2.34", "1.2.826.0.1.3680043.8.498.49716315502098036834272333060779596807"])
def test_the_request_is_read_and_answered_as_pynetdicom_does(uid: str) -> None:
    message = C_STORE_RQ()
    message.primitive_to_message(primitive(uid))
    request = store_request(CONTEXT, command_of(message))
    assert request is not None
    assert (request.message_id, request.sop_class_uid, request.sop_instance_uid) == (7, CTImageStorage, uid)

    wanted = C_STORE()
    wanted.MessageIDBeingRespondedTo, wanted.Status = 7, 0xA700
    wanted.AffectedSOPClassUID, wanted.AffectedSOPInstanceUID = CTImageStorage, uid
    response = C_STORE_RSP()
    response.primitive_to_message(wanted)
    (pieces,) = response.encode_msg(CONTEXT, 16384)
    assert answer(request, 0xA700) == P_DATA_TF(pieces).encode()


def test_what_is_no_store_is_left_to_others() -> None:
    echo = C_ECHO()
    echo.MessageID = 1
    message = C_ECHO_RQ()
    message.primitive_to_message(echo)
    assert store_request(CONTEXT, command_of(message)) is None


def _without_uid() -> bytes:
    message = C_STORE_RQ()
    message.primitive_to_message(primitive("1.2.3"))
    return command_of(message).replace(b"1.2.3\0", b"\0" * 6)


@pytest.mark.parametrize(
    "command",
    [b"", b"\0" * 7, bytes(range(40)), b"\0\0\0\1\xff\xff\xff\xff", _without_uid(), _without_uid()[:-3]],
    ids=["nothing", "a header cut off", "another group", "4 GB", "no UID", "cut off"],
)
def test_rubbish_is_no_request(command: bytes) -> None:
    with pytest.raises(ValueError, match="command set"):
        store_request(CONTEXT, command)
