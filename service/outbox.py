"""What must arrive where, until it did: sent in a case's order, tried again with growing delays, at last answered for."""

from __future__ import annotations

import time
import urllib.parse
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.uid import Comprehensive3DSRStorage, EnhancedSRStorage

from dicom_io.sr_enhanced import enhanced_uid
from service import audit_events, commitments, postings, storage, stow
from service.audit_events import Batch
from service.commitment import NotOfferedError, Question, Reports, ask
from service.destinations import Answer, BrokenError, Commitment, DeliverySettings, Destination, Kept, Parcel, UndeliveredError
from service.journal import Journal
from service.logs import logger
from service.postings import DeliveryRow
from service.worker import backoff

MOST_ASKS = 8  # requests for commitment without a report, where none is required: 20 minutes of refusals, or a day of silence


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What the outboxes of a node share. ae_title: the node's own."""

    journal: Journal
    data: Path
    ae_title: str
    settings: DeliverySettings


class Outbox:
    """Delivers to one destination."""

    def __init__(self, destination: Destination, desk: Desk) -> None:
        self._destination, self._journal, self._data = destination, desk.journal, desk.data
        self._settings, self._ae_title = desk.settings, desk.ae_title
        self._reports = Reports(desk.journal, desk.settings)

    def step(self) -> None:
        """Send what is due now, then ask for the commitments that are due."""
        rows = postings.due(self._journal, self._destination.name, time.time())
        for case in _by_case(rows):
            if not self._send_case(case):
                break
        for case in _by_case(commitments.to_ask(self._journal, self._destination.name, time.time())):
            self._ask(case)
            break  # of one case at a time: what is to be sent does not wait for reports

    def _send_case(self, rows: Sequence[DeliveryRow]) -> bool:
        """One association for one case; False where the destination cannot be reached, or is no longer."""
        left, taken, otherwise, arrived = list(rows), 0, [], Counter[str]()
        try:
            for answer in self._offer([Parcel(path=self._data / row.path, sent_as=row.sent_as) for row in rows]):
                row = left.pop(0)
                taken += answer.taken
                if answer.taken:
                    arrived[self._kind(row)] += 1
                    postings.stored(self._journal, row.id, answer.sentence, time.time(), ask=self._destination.asked)
                elif answer.kind_refused and (other := self._other(row)) is not None:
                    otherwise.append(row.id)
                    postings.send_as(self._journal, row.id, other)
                else:
                    nor = " Nor does it take the report as Comprehensive 3D SR." if row.sent_as and answer.kind_refused else ""
                    self._postpone([row], answer.sentence + nor)
        except UndeliveredError as error:
            # The object on which an association broke must not take it along for ever: the others stay due, without it.
            self._postpone(left[:1] if isinstance(error, BrokenError) else left, str(error))
            return False
        finally:
            self._audit(rows, arrived)
        event = "case delivered" if taken == len(rows) else "case delivered in part"
        logger().info(event, destination=self._destination.name, objects=taken, refused=len(rows) - taken)
        return not otherwise or self._send_case(postings.rows_of(self._journal, otherwise))

    def _audit(self, rows: Sequence[DeliveryRow], arrived: Mapping[str, int]) -> None:
        host = urllib.parse.urlsplit(self._destination.url).hostname if self._destination.web else self._destination.address[1]
        batch = Batch(
            ae_title=self._ae_title,
            destination=self._destination.url,
            address=host or "",
            job_id=rows[0].job_id,
            delivered=arrived,
        )
        audit_events.sent(self._journal, batch)

    def _kind(self, row: DeliveryRow) -> str:
        kept = self._kept(row)
        return "unknown" if kept is None else kept.sop_class_uid

    def _offer(self, parcels: Sequence[Parcel]) -> Iterator[Answer]:
        if self._destination.web:
            return stow.offer(parcels, self._destination)
        return storage.offer(parcels, self._destination, self._ae_title)

    def _other(self, row: DeliveryRow) -> Kept | None:
        """As what a report is sent where its kind is refused; where that is refused, too, it begins anew as itself."""
        if row.sent_as is not None:
            postings.send_as(self._journal, row.id, None)
            return None
        try:
            kind = read_file_meta_info(self._data / row.path).MediaStorageSOPClassUID
        except (OSError, InvalidDicomError):
            return None
        if kind != Comprehensive3DSRStorage:
            return None
        logger().info("report goes as Enhanced SR", destination=self._destination.name, object=Path(row.path).name)
        return Kept(sop_class_uid=str(EnhancedSRStorage), sop_instance_uid=enhanced_uid(row.sop_instance_uid))

    def _ask(self, rows: Sequence[DeliveryRow]) -> None:
        """Ask for the commitment on one case's objects, unless that was in vain too often."""
        if not self._destination.asked:  # it was when they were sent
            self._without(rows, "")
            return
        in_vain = [row for row in rows if row.asks >= MOST_ASKS and not self._required]
        if in_vain:
            last = in_vain[0].sentence
            self._without(in_vain, f"Stored; asked {MOST_ASKS} times for its commitment, in vain. {last}".strip())
        asked = {row.id: row for row in rows if row not in in_vain}
        objects = {row.id: kept for row in asked.values() if (kept := self._kept(row)) is not None}
        gone = [row for row in asked.values() if row.id not in objects]
        if gone:
            self._end_or_later(gone, "Stored; its file has gone from here, so that its commitment cannot be asked for.")
        if objects:
            self._ask_of([asked[number] for number in objects], list(objects.values()))

    def _ask_of(self, rows: Sequence[DeliveryRow], objects: Sequence[Kept]) -> None:
        again_at = time.time() + self._settings.commitment_patience_s
        question = Question(objects=objects, delivery_ids=[row.id for row in rows], again_at=again_at)
        try:
            ask(question, self._destination, self._ae_title, self._journal, self._reports)
        except NotOfferedError as error:
            if self._required:
                self._ask_later(rows, f'{error} [[destination]] commitment is "require".')
            else:  # nor is there one for what waits to be asked for behind these
                self._without(commitments.to_ask(self._journal, self._destination.name, time.time()), "")
        except UndeliveredError as error:
            self._ask_later(rows, str(error))

    @property
    def _required(self) -> bool:
        return self._destination.commitment is Commitment.REQUIRE

    def _end_or_later(self, rows: Sequence[DeliveryRow], sentence: str) -> None:
        """No commitment is to be had now: where none is required that is the end of it."""
        self._ask_later(rows, sentence) if self._required else self._without(rows, sentence)

    def _kept(self, row: DeliveryRow) -> Kept | None:
        """The object as the destination has it; None where its file is gone."""
        if row.sent_as is not None:
            return row.sent_as
        try:
            meta = read_file_meta_info(self._data / row.path)
        except (OSError, InvalidDicomError):
            return None
        return Kept(sop_class_uid=str(meta.MediaStorageSOPClassUID), sop_instance_uid=row.sop_instance_uid)

    def _without(self, rows: Sequence[DeliveryRow], sentence: str) -> None:
        commitments.without(self._journal, [row.id for row in rows], sentence, time.time())
        if sentence:
            logger().warning("delivered without commitment", destination=self._destination.name, objects=len(rows))

    def _ask_later(self, rows: Sequence[DeliveryRow], sentence: str) -> None:
        delay = self._delay(max(row.failures for row in rows))
        logger().warning("no commitment", destination=self._destination.name, error=sentence, again_in_s=delay)
        commitments.ask_later(self._journal, [row.id for row in rows], sentence, time.time() + delay)

    def _postpone(self, rows: Sequence[DeliveryRow], sentence: str) -> None:
        for failures in {row.failures for row in rows}:
            delay = self._delay(failures)
            alike = [row.id for row in rows if row.failures == failures]
            logger().warning("not delivered", destination=self._destination.name, error=sentence, again_in_s=delay)
            postings.postpone(self._journal, alike, sentence, time.time() + delay)

    def _delay(self, failures: int) -> float:
        return backoff(failures, self._settings.first_retry_s, self._settings.longest_retry_s)


def _by_case(rows: Sequence[DeliveryRow]) -> Iterator[list[DeliveryRow]]:
    for _, case in groupby(rows, key=lambda row: (row.job_id, row.cohort_id)):
        yield list(case)
