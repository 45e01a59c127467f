"""The missing half: when one tracer of a pair has arrived, the archives are asked for the other, and it is brought."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from service import casebook
from service.casebook import StudyRow
from service.keeping import StoreHandler
from service.logs import logger
from service.overview import moment
from service.retrieval import Archive, ArchiveError, RetrievalSettings, Wanted, dicom_date
from service.retrieval_answers import studies
from service.retrieval_link import Link
from service.retrieval_study import Holdings, fetch
from service.searches import Search, remember_search, search_of
from service.traces import study_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """Whom to ask, and for what. max_days: between the two studies of a pair, at most."""

    archives: Sequence[Archive]
    settings: RetrievalSettings
    max_days: int
    ae_title: str


class MissingHalf:
    """Looks for one study after the other. Which tracer a study has is seen when it is here: no archive tells."""

    def __init__(self, asking: Asking, holdings: Holdings, store_handler: StoreHandler) -> None:
        self._asking, self._holdings, self._store_handler = asking, holdings, store_handler
        self._next: dict[str, float] = {}

    def step(self) -> None:
        """Search for one study that waits, where it is time."""
        for row in casebook.waiting_for_partner(self._holdings.journal):
            now = time.time()
            if self._due_at(row) <= now:
                search = self._search(row, now)
                remember_search(self._holdings.journal, row.study_instance_uid, search)
                self._next[row.study_instance_uid] = self._after(row, search)
                return

    def _due_at(self, row: StudyRow) -> float:
        if row.study_instance_uid not in self._next:
            before = search_of(self._holdings.journal, row.study_instance_uid)
            self._next[row.study_instance_uid] = 0.0 if before is None else self._after(row, before)
        return self._next[row.study_instance_uid]

    def _after(self, row: StudyRow, search: Search) -> float:
        """When it is searched again: never, where the archives have answered after the last day of a possible partner."""
        day = dicom_date(row.study_date)
        asked = datetime.fromtimestamp(search.asked_at, UTC).date()
        over = day is None or asked > day + timedelta(days=self._asking.max_days + 1)  # a day for time zones
        return float("inf") if over and search.answered else search.asked_at + self._asking.settings.ask_again_s

    def _search(self, row: StudyRow, now: float) -> Search:
        day = dicom_date(row.study_date)
        if day is None:
            return Search(asked_at=now, answered=True, sentence="It has no date, so no archive was asked for a partner.")
        span = timedelta(days=self._asking.max_days)
        try:
            wanted = Wanted(patient_id=row.patient_id, issuer=row.issuer, first=day - span, last=day + span)
        except ValueError:
            return Search(
                asked_at=now, answered=True, sentence="No archive can be asked for a Patient ID with *, ? or a backslash."
            )
        told = [self._ask(archive, wanted, row) for archive in self._asking.archives]
        sentence = f"Searched {moment(now)}: {' '.join(sentence for sentence, _ in told)}"
        return Search(asked_at=now, answered=all(answered for _, answered in told), sentence=sentence)

    def _ask(self, archive: Archive, wanted: Wanted, row: StudyRow) -> tuple[str, bool]:
        """What one archive had and sent, in a sentence, and whether that is all."""
        try:
            with Link(archive, self._asking.ae_title, self._store_handler) as link:
                found = studies(link, wanted)
                others = [study for study in found.studies if study.study_uid != row.study_instance_uid]
                brought = [got for study in others if (got := fetch(link, study, self._holdings, _untold)) is not None]
        except ArchiveError as error:
            return str(error), False
        moved, missing = sum(each.moved for each in brought), sum(each.missing for each in brought)
        named = study_id(self._holdings.journal, row.study_instance_uid)
        words = {"studies": len(brought), "moved": moved, "missing": missing}
        logger().info("archive asked for a missing half", archive=archive.name, study=named, **words)
        told = " ".join(filter(None, (*(each.sentence for each in brought), found.doubt)))
        if not brought:
            return (
                f"{archive.name} has no other PET study within {self._asking.max_days} days. {told}".strip(),
                not found.doubt,
            )
        what = f"{archive.name} has {len(brought)} other PET study(s); {moved} objects moved, {missing} missing."
        return f"{what} {told}".strip(), all(each.complete for each in brought) and not found.doubt


def _untold(_here: int, _whole: int) -> None:
    """Nobody watches."""
