"""What must arrive where, until it did: C-STORE to each destination, tried again with growing delays, in a case's order."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pynetdicom import AE
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from service import postings
from service.bounds import check_ae_title, check_port, check_positive
from service.journal import Journal
from service.logs import logger
from service.postings import DeliveryRow
from service.sockets import PROMPT, undisturbed
from service.worker import backoff

SUCCESS = 0x0000
WARNINGS = (0xB000, 0xB006, 0xB007)  # stored, with a remark
_URL = re.compile(r"dicom://(?P<ae>[^@/:]{1,16})@(?P<host>[A-Za-z0-9._-]+|\[[0-9a-fA-F:]+\]):(?P<port>[0-9]+)/?")


class UndeliveredError(Exception):
    """A destination could not be reached, or did not take an object."""


class BrokenError(UndeliveredError):
    """The association ended before an object was answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """[[destination]]. url: dicom://AE_TITLE@host:port."""

    name: str
    url: str

    def __post_init__(self) -> None:
        if not _URL.fullmatch(self.url):
            raise ValueError("url is written dicom://AE_TITLE@host:port (STOW-RS is not built yet)")
        title, _, port = self.address
        check_ae_title("the AE title in url", title)
        check_port("the port in url", port)

    @property
    def address(self) -> tuple[str, str, int]:
        """(AE title, host, port)."""
        match = _URL.fullmatch(self.url)
        assert match is not None  # noqa: S101  checked at construction
        return match["ae"], match["host"].strip("[]"), int(match["port"])


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverySettings:
    """[delivery]. Seconds before a refused object is tried again, doubled each time up to the longest.

    deliver_held: send also results that a quality check holds, unseen; their reports and pictures say so. False keeps each
    such case here until an operator releases it.
    """

    first_retry_s: float = 5.0
    longest_retry_s: float = 600.0
    deliver_held: bool = False

    def __post_init__(self) -> None:
        check_positive(first_retry_s=self.first_retry_s, longest_retry_s=self.longest_retry_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a destination said to one object. sentence: why it was refused, or a remark ("" as a rule)."""

    taken: bool
    sentence: str = ""


class Outbox:
    """Delivers to one destination."""

    def __init__(
        self, destination: Destination, settings: DeliverySettings, journal: Journal, data: Path, ae_title: str
    ) -> None:
        self._destination, self._settings, self._journal = destination, settings, journal
        self._data, self._ae_title = data, ae_title

    def step(self) -> None:
        """Send what is due now."""
        rows = postings.due(self._journal, self._destination.name, time.time())
        for _, case in groupby(rows, key=lambda row: (row.job_id, row.cohort_id)):
            if not self._send_case(list(case)):
                return

    def _send_case(self, rows: Sequence[DeliveryRow]) -> bool:
        """One association for one case; False where the destination cannot be reached, or is no longer."""
        left, taken = list(rows), 0
        try:
            for answer in offer([self._data / row.path for row in rows], self._destination, self._ae_title):
                row = left.pop(0)
                taken += answer.taken
                if answer.taken:
                    postings.delivered(self._journal, row.id, answer.sentence, time.time())
                else:
                    self._postpone([row], answer.sentence)
        except UndeliveredError as error:
            # The object on which an association broke must not take it along for ever: the others stay due, without it.
            self._postpone(left[:1] if isinstance(error, BrokenError) else left, str(error))
            return False
        event = "case delivered" if taken == len(rows) else "case delivered in part"
        logger().info(event, destination=self._destination.name, objects=taken, refused=len(rows) - taken)
        return True

    def _postpone(self, rows: Sequence[DeliveryRow], sentence: str) -> None:
        for failures in {row.failures for row in rows}:
            delay = backoff(failures, self._settings.first_retry_s, self._settings.longest_retry_s)
            alike = [row.id for row in rows if row.failures == failures]
            logger().warning("not delivered", destination=self._destination.name, error=sentence, again_in_s=delay)
            postings.postpone(self._journal, alike, sentence, time.time() + delay)


def send(paths: Sequence[Path], destination: Destination, ae_title: str) -> Iterator[str]:
    """Send objects in order over one association; yields a remark ("" as a rule) for each that arrived.

    Raises UndeliveredError at the first that did not.
    """
    for answer in offer(paths, destination, ae_title):
        if not answer.taken:
            raise UndeliveredError(answer.sentence)
        yield answer.sentence


def offer(paths: Sequence[Path], destination: Destination, ae_title: str) -> Iterator[Answer]:
    """Send objects in order over one association; yields the answer to each, also where it is a refusal.

    Raises UndeliveredError where no association can be had, BrokenError where it ends before an object was answered.
    """
    metas, answers = {}, {}
    for path in paths:
        try:
            metas[path] = read_file_meta_info(path)
        except (OSError, InvalidDicomError) as error:
            answers[path] = _unreadable(path, error)
    assoc = _associate(list(metas.values()), destination, ae_title) if metas else None
    try:
        with nullcontext() if assoc is None or not assoc.is_established else undisturbed(assoc):
            for path in paths:
                yield answers.get(path) or _offer_one(assoc, path)
    finally:
        if assoc is not None:
            assoc.release() if assoc.is_established else assoc.abort()


def echo(destination: Destination, ae_title: str) -> None:
    """C-ECHO. Raises UndeliveredError."""
    ae = _requestor(ae_title)
    ae.add_requested_context(Verification)
    called, host, port = destination.address
    assoc = ae.associate(host, port, ae_title=called, evt_handlers=PROMPT)
    if not assoc.is_established:
        raise UndeliveredError(_why_not(assoc, destination))
    status = assoc.send_c_echo()
    assoc.release()
    if getattr(status, "Status", None) != SUCCESS:
        raise UndeliveredError(f"{destination.name} does not answer C-ECHO.")


def _associate(metas: Sequence[FileMetaDataset], destination: Destination, ae_title: str) -> Any:
    """An association; one that is not established is one on which the peer accepts none of these kinds of object."""
    ae = _requestor(ae_title)
    # At most 128 contexts may be proposed; a case needs a handful.
    for sop_class, syntax in dict.fromkeys((m.MediaStorageSOPClassUID, m.TransferSyntaxUID) for m in metas):
        ae.add_requested_context(sop_class, syntax)
    called, host, port = destination.address
    assoc = ae.associate(host, port, ae_title=called, evt_handlers=PROMPT)
    if not assoc.is_established and not assoc.rejected_contexts:
        raise UndeliveredError(_why_not(assoc, destination))
    return assoc


def _requestor(ae_title: str) -> AE:
    ae = AE(ae_title=ae_title)
    ae.connection_timeout = ae.acse_timeout = 10
    ae.dimse_timeout = ae.network_timeout = 60
    return ae


def _why_not(assoc: Any, destination: Destination) -> str:
    called, host, port = destination.address
    if assoc.is_rejected:
        return f"{called} at {host}:{port} refuses this node; add its AE title there."
    return f"{called} at {host}:{port} cannot be reached."


def _offer_one(assoc: Any, path: Path) -> Answer:
    try:
        ds = dcmread(path)
    except (OSError, InvalidDicomError) as error:
        return _unreadable(path, error)
    if not any(context.abstract_syntax == ds.get("SOPClassUID") for context in assoc.accepted_contexts):
        kind = ds.file_meta.MediaStorageSOPClassUID.name
        return Answer(taken=False, sentence=f"{path.name}: the archive accepts no objects of this kind ({kind}).")
    try:
        status = assoc.send_c_store(ds)
    except RuntimeError:
        raise BrokenError(f"{path.name}: the archive ended the association.") from None
    except (ValueError, AttributeError) as error:  # its transfer syntax was not accepted, or it lacks an element
        return Answer(taken=False, sentence=f"{path.name}: {error}")
    return _answer(path, status)


def _answer(path: Path, status: Dataset) -> Answer:
    code = status.get("Status")
    if code is None:
        raise BrokenError(f"{path.name}: the connection broke before the archive answered.")
    if code == SUCCESS:
        return Answer(taken=True)
    if code in WARNINGS:
        return Answer(taken=True, sentence=f"stored with the remark 0x{code:04X}")
    remark = f"{path.name}: refused with status 0x{code:04X} {status.get('ErrorComment', '')}"
    return Answer(taken=False, sentence=f"{remark.strip()}.")


def _unreadable(path: Path, error: Exception) -> Answer:
    return Answer(taken=False, sentence=f"{path.name} cannot be read: {getattr(error, 'strerror', None) or 'no DICOM file'}.")
