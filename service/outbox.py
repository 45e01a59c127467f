"""What must arrive where, until it did: C-STORE to each destination, tried again with growing delays, in a case's order."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.filereader import read_file_meta_info
from pynetdicom import AE
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from service import postings
from service.journal import Journal
from service.logs import logger
from service.postings import DeliveryRow
from service.sockets import PROMPT, undisturbed
from service.worker import backoff

SUCCESS = 0x0000
WARNINGS = (0xB000, 0xB006, 0xB007)  # stored, with a remark
_URL = re.compile(r"dicom://(?P<ae>[^@/:]{1,16})@(?P<host>[^:/]+|\[[0-9a-fA-F:]+\]):(?P<port>\d+)/?")


class UndeliveredError(Exception):
    """A destination could not be reached or did not take an object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """[[destination]]. url: dicom://AE_TITLE@host:port."""

    name: str
    url: str

    def __post_init__(self) -> None:
        if not _URL.fullmatch(self.url):
            raise ValueError("url is written dicom://AE_TITLE@host:port (STOW-RS is not built yet)")

    @property
    def address(self) -> tuple[str, str, int]:
        """(AE title, host, port)."""
        match = _URL.fullmatch(self.url)
        assert match is not None  # noqa: S101  checked at construction
        return match["ae"], match["host"].strip("[]"), int(match["port"])


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverySettings:
    """[delivery]. Seconds before a refused object is tried again, doubled each time up to the longest.

    deliver_held: send also results that a quality check would hold back; their reports and pictures say so. False keeps them
    here until this is true again.
    """

    first_retry_s: float = 5.0
    longest_retry_s: float = 600.0
    deliver_held: bool = True


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
        for _, case in groupby(rows, key=lambda row: row.job_id):
            if not self._send_case(list(case)):
                return

    def _send_case(self, rows: Sequence[DeliveryRow]) -> bool:
        """One association for one case; False where the destination cannot be reached at all."""
        sent = 0
        try:
            for remark in send([self._data / row.path for row in rows], self._destination, self._ae_title):
                postings.delivered(self._journal, rows[sent].id, remark, time.time())
                sent += 1
        except UndeliveredError as error:
            self._postpone(rows[sent:], str(error))
            return sent > 0
        logger().info("case delivered", destination=self._destination.name, objects=sent)
        return True

    def _postpone(self, rows: Sequence[DeliveryRow], sentence: str) -> None:
        delay = backoff(rows[0].failures, self._settings.first_retry_s, self._settings.longest_retry_s)
        logger().warning("not delivered", destination=self._destination.name, error=sentence, again_in_s=delay)
        postings.postpone(self._journal, [row.id for row in rows], sentence, time.time() + delay)


def send(paths: Sequence[Path], destination: Destination, ae_title: str) -> Iterator[str]:
    """Send objects in order over one association; yields a remark ("" as a rule) for each that arrived.

    Raises UndeliveredError at the first that did not.
    """
    assoc = _associate(paths, destination, ae_title)
    try:
        with undisturbed(assoc):
            for path in paths:
                yield _send_one(assoc, path)
    finally:
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


def _associate(paths: Sequence[Path], destination: Destination, ae_title: str) -> Any:
    ae = _requestor(ae_title)
    metas = [read_file_meta_info(path) for path in paths]
    # At most 128 contexts may be proposed; a case needs a handful.
    for sop_class, syntax in dict.fromkeys((m.MediaStorageSOPClassUID, m.TransferSyntaxUID) for m in metas):
        ae.add_requested_context(sop_class, syntax)
    called, host, port = destination.address
    assoc = ae.associate(host, port, ae_title=called, evt_handlers=PROMPT)
    if not assoc.is_established:
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


def _send_one(assoc: Any, path: Path) -> str:
    try:
        status = assoc.send_c_store(dcmread(path))
    except (ValueError, RuntimeError) as error:  # no context was accepted for it, or the association has ended
        raise UndeliveredError(f"{path.name}: {error}") from None
    code = getattr(status, "Status", None)
    if code is None:
        raise UndeliveredError(f"{path.name}: the connection broke before the archive answered.")
    if code == SUCCESS:
        return ""
    if code in WARNINGS:
        return f"stored with the remark 0x{code:04X}"
    raise UndeliveredError(f"{path.name}: refused with status 0x{code:04X} {status.get('ErrorComment', '')}".strip() + ".")
