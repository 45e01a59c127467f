"""At a node's start: files that lie in the inbox without a row, and what an operator has moved while it was away."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from analysis.errors import NotDicom
from dicom_io.headers import read_instance
from service import arrivals
from service.arrivals import Arrival
from service.inbox import Inbox, content_digest
from service.journal import Journal


def recover(journal: Journal, inbox: Inbox, now: float) -> int:
    """Enter files that lie in the inbox without a row (written just before a kill, or put there by hand); returns how many.

    Where an operator has moved a file away or back, what rests on it is judged anew.
    """
    arrivals.reconsider(journal, lambda path: (inbox.data / path).is_file())
    count, files = 0, inbox.files()
    while lot := list(islice(files, arrivals.LOT)):  # an inbox may hold more names than fit into memory
        lost = arrivals.unrecorded(journal, sorted(lot))
        for path in lost:
            arrivals.record(journal, found(inbox.data, path, now))
        count += len(lost)
    return count


def found(data: Path, path: str, now: float) -> Arrival:
    """A file without a row as if it had just arrived; one that is no DICOM goes by its content alone."""
    content = (data / path).read_bytes()
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
