"""Storage commitment (PS3.4 J) as its provider: senders are told what this node keeps of what they sent.

A request is journalled before it is acknowledged, and answered by a thread of its own, also after a restart: on a new
association where a [[sender]] section names the address, else on the one that the request came on, by the process that serves
that association.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from pydicom import Dataset
from pynetdicom import build_role
from sqlalchemy.exc import SQLAlchemyError

from service import arrivals, commitments
from service.commitment import (
    ASK_ACTION,
    CONFLICT,
    INVALID_ARGUMENT,
    MODEL,
    NO_SUCH_INSTANCE,
    PROCESSING_FAILURE,
    WELL_KNOWN,
    reference,
)
from service.commitments import Promise
from service.destinations import Kept, Sender, UndeliveredError
from service.inbox import Inbox
from service.journal import Journal
from service.logs import logger
from service.postings import LOT
from service.sockets import undisturbed
from service.storage import SUCCESS, associate, leave, why_not
from service.tables import PromiseState
from service.worker import backoff

ALL_KEPT, SOME_LOST = 1, 2  # event types, PS3.4 J.3.3
NO_SUCH_ACTION = 0x0123
FIRST_RETRY_S, LONGEST_RETRY_S = 5.0, 3600.0
HELD_S = 300.0  # so long the process that serves the association has for its answer; then the association counts as gone
MOST_CALLS = 100  # about four days


class Promises:
    """Answers senders that ask whether this node keeps what they sent. A request is journalled, then answered."""

    def __init__(self, journal: Journal, inbox: Inbox, ae_title: str, senders: Sequence[Sender]) -> None:
        self._journal, self._inbox, self._ae_title = journal, inbox, ae_title
        self._senders: Mapping[str, Sender] = {sender.ae_title: sender for sender in senders}
        self._waiting: dict[str, Any] = {}  # transaction UID > the association that it came on

    def take(self, event: Any) -> tuple[int, None]:
        """Handles N-ACTION: success when the request is in the journal."""
        if event.action_type != ASK_ACTION:
            return NO_SUCH_ACTION, None
        try:
            ds = event.action_information
            transaction = str(ds.TransactionUID)
            objects = [_kept(item) for item in ds.ReferencedSOPSequence]
        except (AttributeError, ValueError, TypeError, KeyError):
            return INVALID_ARGUMENT, None
        if not objects or not 0 < len(transaction) <= 64:
            return INVALID_ARGUMENT, None
        calling = str(event.assoc.requestor.ae_title).strip()
        now = time.time()
        due = now if calling in self._senders else now + HELD_S
        try:
            commitments.take_request(self._journal, transaction, calling, objects, now, due)
        except SQLAlchemyError as error:
            logger().error("commitment request not recorded", error=type(error).__name__)
            return PROCESSING_FAILURE, None
        if calling not in self._senders:
            self._waiting[transaction] = event.assoc
        return SUCCESS, None

    def step(self) -> None:
        """Answer what is due, and whoever waits here."""
        self._answer_all(commitments.open_promises(self._journal, time.time()))
        self.answer_waiting()

    def answer_waiting(self) -> None:
        """Answer those who wait on an association of this process."""
        waiting = list(self._waiting)[:LOT]
        found = commitments.promises_of(self._journal, waiting)
        for over in {*waiting} - {promise.transaction_uid for promise in found}:
            self._waiting.pop(over, None)
        self._answer_all(found)

    def _answer_all(self, promises: Sequence[Promise]) -> None:
        for promise in promises:
            try:
                self._answer(promise)
            except UndeliveredError as error:
                self._later(promise, str(error))
            else:
                commitments.end_promise(self._journal, promise.id, PromiseState.TOLD, "", time.time())
                self._waiting.pop(promise.transaction_uid, None)

    def _answer(self, promise: Promise) -> None:
        """Raises UndeliveredError."""
        report, event_type = self._report(promise)
        sender = self._senders.get(promise.calling_ae)
        assoc = self._waiting.get(promise.transaction_uid) if sender is None else _call_back(sender, self._ae_title)
        if assoc is None or not assoc.is_established:
            raise UndeliveredError(f"{promise.calling_ae} has gone; a [[sender]] section would name its address.")
        try:
            with undisturbed(assoc):
                status, _ = assoc.send_n_event_report(report, event_type, MODEL, WELL_KNOWN)
        except (RuntimeError, ValueError):
            status = Dataset()
        finally:
            if sender is not None:
                leave(assoc)
        if status.get("Status") != SUCCESS:
            raise UndeliveredError(f"{promise.calling_ae} did not take the answer on its request for storage commitment.")

    def _report(self, promise: Promise) -> tuple[Dataset, int]:
        """The event information and its type: what is kept here, and what is not and why."""
        found = [(each, self._failure(each)) for each in promise.objects]
        ds = Dataset()
        ds.TransactionUID, ds.RetrieveAETitle = promise.transaction_uid, self._ae_title
        if kept := [reference(each) for each, failure in found if failure is None]:
            ds.ReferencedSOPSequence = kept
        failed = [(reference(each), failure) for each, failure in found if failure is not None]
        if not failed:
            return ds, ALL_KEPT
        for item, failure in failed:
            item.FailureReason = failure
        ds.FailedSOPSequence = [item for item, _ in failed]
        logger().warning("not all is kept that a sender asked for", kept=len(found) - len(failed), lost=len(failed))
        return ds, SOME_LOST

    def _failure(self, asked: Kept) -> int | None:
        """Why this node does not answer for an object; None where it is on disk, under the class that the sender names."""
        known = arrivals.kept_as(self._journal, asked.sop_instance_uid)
        there = {sop_class for sop_class, path in known if (self._inbox.data / path).is_file()}
        if not there:
            return NO_SUCH_INSTANCE
        return None if asked.sop_class_uid in there else CONFLICT

    def _later(self, promise: Promise, sentence: str) -> None:
        """Try again for some days where there is an address; without one nobody can be told any more."""
        logger().warning("commitment request not answered", calling_ae=promise.calling_ae, error=sentence)
        if promise.calling_ae not in self._senders or promise.failures + 1 >= MOST_CALLS:
            commitments.end_promise(self._journal, promise.id, PromiseState.UNTOLD, sentence, time.time())
            self._waiting.pop(promise.transaction_uid, None)
            return
        delay = backoff(promise.failures, FIRST_RETRY_S, LONGEST_RETRY_S)
        commitments.postpone_promise(self._journal, promise.id, sentence, time.time() + delay)


def _kept(item: Dataset) -> Kept:
    return Kept(sop_class_uid=str(item.ReferencedSOPClassUID), sop_instance_uid=str(item.ReferencedSOPInstanceUID))


def _call_back(sender: Sender, ae_title: str) -> Any:
    """An association on which this node is the provider. Raises UndeliveredError."""
    address = (sender.ae_title, sender.host, sender.port)
    role = build_role(MODEL, scp_role=True)
    assoc = associate(address, ae_title, [(MODEL, None)], roles=[role], trust=sender.trust)
    if not assoc.is_established:
        refused = f"{sender.ae_title} accepts no report of storage commitment from this node."
        raise UndeliveredError(refused if assoc.rejected_contexts else why_not(assoc, address))
    return assoc
