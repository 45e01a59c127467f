"""What lies in the inbox without a row: written just before the node was killed, or put there by hand."""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path

from analysis.errors import NotDicom
from dicom_io.headers import read_instance
from service import arrivals
from service.arrivals import Arrival
from service.inbox import Inbox, content_digest, sync_file
from service.journal import Journal
from service.logs import logger

_OURS = re.compile(r"[0-9a-f]{24}-(?P<digest>[0-9a-f]{16})\.dcm")
_SYNTAX = b"\x02\x00\x10\x00UI"  # the transfer syntax in the door's meta information; its length follows


def recover(journal: Journal, inbox: Inbox, now: float) -> int:
    """At start: enter_files. Where an operator has moved a file away or back, what rests on it is judged anew."""
    arrivals.reconsider(journal, lambda path: (inbox.data / path).is_file())
    return enter_files(journal, inbox, now)


def enter_files(journal: Journal, inbox: Inbox, now: float) -> int:
    """Enter files that lie in the inbox without a row; returns how many. Each is on disk before its row is.

    A file that a power cut tore is left as it is: its sender was not told that it is here, sends it again, and replaces it.
    """
    entered = torn = 0
    files = inbox.files()
    while lot := list(islice(files, arrivals.LOT)):  # an inbox may hold more names than fit into memory
        for path in arrivals.unrecorded(journal, sorted(lot)):
            content = (inbox.data / path).read_bytes()
            if _torn(inbox.data / path, content):
                torn += 1
                continue
            sync_file(inbox.data / path)
            arrivals.record(journal, _found(inbox.data, path, content, now))
            entered += 1
    if torn:
        logger().warning("files that were not written to their end are left until they are sent again", count=torn)
    return entered


def _torn(path: Path, content: bytes) -> bool:
    """Whether a file bears a name that the door gives, and not the content that it gave it for."""
    ours = _OURS.fullmatch(path.name)
    if ours is None:
        return False
    end = 144 + int.from_bytes(content[140:144], "little")
    at = content.find(_SYNTAX, 144, end) + len(_SYNTAX)
    syntax = content[at + 2 : at + 2 + int.from_bytes(content[at : at + 2], "little")].rstrip(b"\0")
    return not content_digest(syntax.decode("ascii", "replace"), content[end:]).startswith(ours["digest"])


def _found(data: Path, path: str, content: bytes, now: float) -> Arrival:
    """A file without a row as if it had just arrived; one that is no DICOM goes by its content alone."""
    try:
        header = read_instance(data / path).header
    except NotDicom:
        return Arrival(sop_class_uid="", sop_instance_uid="", digest=content_digest("", content), path=path, received_at=now)
    start = 144 + header.file_meta.get("FileMetaInformationGroupLength", -144)
    return Arrival(
        sop_class_uid=str(header.SOPClassUID),
        sop_instance_uid=str(header.SOPInstanceUID),
        digest=content_digest(str(header.file_meta.TransferSyntaxUID), content[start:]),
        path=path,
        received_at=now,
    )
