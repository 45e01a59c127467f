"""Storage commitment (PS3.4 J) as its user: destinations are asked to answer for what they stored.

A report may come on the association of its request, or later on a new one to this node's door; `Reports` hears both.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pydicom import Dataset
from pydicom.uid import generate_uid
from pynetdicom import evt
from pynetdicom.dimse_messages import N_EVENT_REPORT_RSP
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)
from sqlalchemy.exc import SQLAlchemyError

from service import commitments
from service.commitments import Report, Request
from service.destinations import DeliverySettings, Destination, Kept, UndeliveredError
from service.journal import Journal
from service.logs import logger
from service.sockets import undisturbed
from service.storage import SUCCESS, associate, leave, why_not
from service.traces import ids_of_objects
from service.worker import backoff

ASK_ACTION = 1  # PS3.4 J.3.2
PROCESSING_FAILURE, NO_SUCH_INSTANCE, INVALID_ARGUMENT, CONFLICT = 0x0110, 0x0112, 0x0115, 0x0119
# FailureReason, PS3.3 C.14.1.1
REASONS = {
    PROCESSING_FAILURE: "processing failure",
    NO_SUCH_INSTANCE: "it has no such object",
    0x0213: "its resources are at their limit",
    0x0122: "it does not support the SOP class",
    CONFLICT: "SOP class and instance do not fit",
    0x0131: "the transaction UID is used already",
}
WAIT_S = 3.0  # for a report on the association of the request
MODEL, WELL_KNOWN = str(StorageCommitmentPushModel), str(StorageCommitmentPushModelInstance)


class NotOfferedError(UndeliveredError):
    """The destination knows no storage commitment."""


class Reports:
    """Takes reports of destinations, on whichever association they come."""

    def __init__(self, journal: Journal, settings: DeliverySettings) -> None:
        self._journal = journal
        self._delay_s = partial(backoff, first_s=settings.first_retry_s, longest_s=settings.longest_retry_s)

    def hear(self, event: Any) -> tuple[int, None]:
        """Handles N-EVENT-REPORT: success when the report is in the journal."""
        report = read_report(event)
        if report is None:
            return INVALID_ARGUMENT, None
        try:
            resent = commitments.settle(self._journal, report, time.time(), self._delay_s)
        except SQLAlchemyError as error:
            logger().error("commitment report not recorded", error=type(error).__name__)
            return PROCESSING_FAILURE, None
        if resent is None:
            logger().warning("commitment report that nobody asked for", calling_ae=event.assoc.requestor.ae_title.strip())
            return INVALID_ARGUMENT, None
        log = logger().warning if report.failed else logger().info
        named = ids_of_objects(self._journal, (*report.committed, *report.failed))
        log("commitment report", **named, committed=len(report.committed), refused=len(report.failed), sent_again=resent)
        return SUCCESS, None


def read_report(event: Any) -> Report | None:
    """What an N-EVENT-REPORT says; None where it says nothing that can be understood."""
    try:
        ds = event.event_information
        failed = ds.get("FailedSOPSequence") or []
        return Report(
            transaction_uid=str(ds.TransactionUID),
            committed=[str(item.ReferencedSOPInstanceUID) for item in ds.get("ReferencedSOPSequence") or []],
            failed={str(item.ReferencedSOPInstanceUID): _reason(item.get("FailureReason")) for item in failed},
        )
    except (AttributeError, ValueError, TypeError, KeyError):
        return None


def _reason(code: int | None) -> str:
    return REASONS.get(code, f"reason 0x{code:04X}") if isinstance(code, int) else "no reason given"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Objects that a destination is to answer for, with their rows in the journal; again_at: when it is asked again."""

    objects: Sequence[Kept]
    delivery_ids: Sequence[int]
    again_at: float


def ask(question: Question, destination: Destination, ae_title: str, journal: Journal, reports: Reports) -> None:
    """Ask once, on an association of its own, and wait a moment for the report.

    Raises NotOfferedError where the destination accepts no storage commitment, UndeliveredError where it cannot be reached
    or does not take the request.
    """
    answer = _Answer(reports)
    assoc = associate(destination.address, ae_title, [(MODEL, None)], handlers=answer.handlers, trust=destination.trust)
    if not assoc.is_established:
        if assoc.rejected_contexts:
            raise NotOfferedError(f"{destination.name} offers no storage commitment.")
        raise UndeliveredError(why_not(assoc, destination.address))
    try:
        request = Request(transaction_uid=str(generate_uid()), destination=destination.name, asked_at=time.time())
        commitments.enter(journal, request, question.delivery_ids, question.again_at)  # first: the report may be quicker
        _request(assoc, request.transaction_uid, question.objects, destination)
        _await(assoc, request.transaction_uid, journal)
        answer.wait_until_sent()
    finally:
        leave(assoc)


class _Answer:
    """Our answer to a report that comes on the association of the request. pynetdicom gives it from a thread of its own, and a
    release that overtakes it would leave the destination without one."""

    def __init__(self, reports: Reports) -> None:
        self._reports = reports
        self._heard = self._begun = False
        self._sent = threading.Event()
        self.handlers: list[Any] = [
            (evt.EVT_N_EVENT_REPORT, self._on_report),
            (evt.EVT_DIMSE_SENT, self._on_message),
            (evt.EVT_PDU_SENT, self._on_pdu),
        ]

    def wait_until_sent(self) -> None:
        if self._heard:
            self._sent.wait(WAIT_S)

    def _on_report(self, event: Any) -> tuple[int, None]:
        self._heard = True
        return self._reports.hear(event)

    def _on_message(self, event: Any) -> None:
        self._begun |= isinstance(event.message, N_EVENT_REPORT_RSP)  # one PDU, which follows

    def _on_pdu(self, _: Any) -> None:
        if self._begun:
            self._sent.set()


def _request(assoc: Any, transaction_uid: str, objects: Sequence[Kept], destination: Destination) -> None:
    ds = Dataset()
    ds.TransactionUID = transaction_uid
    ds.ReferencedSOPSequence = [reference(each) for each in objects]
    try:
        with undisturbed(assoc):
            status, _ = assoc.send_n_action(ds, ASK_ACTION, MODEL, WELL_KNOWN)
    except RuntimeError:
        status = Dataset()
    code = status.get("Status")
    if code != SUCCESS:
        said = "no answer" if code is None else f"status 0x{code:04X}"
        raise UndeliveredError(
            f"{destination.name} did not take the request for storage commitment ({said}); "
            "it may have to know this node's AE title and address."
        )


def _await(assoc: Any, transaction_uid: str, journal: Journal) -> None:
    deadline = time.monotonic() + WAIT_S
    while assoc.is_established and time.monotonic() < deadline and not commitments.answered(journal, transaction_uid):
        time.sleep(0.05)


def reference(kept: Kept) -> Dataset:
    """An object as an item of a sequence of references."""
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = kept.sop_class_uid, kept.sop_instance_uid
    return item
