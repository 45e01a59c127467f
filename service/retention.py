"""[retention]: received files that are needed no more are deleted; results, journal and what was decided are kept.

What goes: the images of studies whose cases were delivered everywhere, of studies that never found a partner, and objects
that are of no use; each so many days after, and never while a pair could still form or a sender counts on them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from sqlalchemy import Connection

from service import audit_events
from service.bounds import check_not_negative
from service.inbox import Inbox
from service.journal import Journal
from service.logs import logger
from service.retention_marks import (
    DELETED,
    Group,
    Member,
    Promised,
    groups,
    images_of,
    mark_rows,
    mark_studies,
    objects,
    purge_ledger,
    sweep,
    unused,
)
from service.tables import StudyState

DAY_S = 86400.0
HOUR_S = 3600.0
GROUPS, WASTE = 20, 2000  # that are marked in one transaction: the door waits meanwhile


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionSettings:
    """[retention], in days; 0: kept for ever.

    images_days_after_delivery: after a case's last object was delivered, the images of its studies. waiting_days: a study
    without a case. unused_days: what is neither PET nor CT or cannot be read. promised_days: at least so long stays what a
    sender was told is kept. ledger_days: requests for storage commitment that are over.
    """

    images_days_after_delivery: int = 0
    waiting_days: int = 0
    unused_days: int = 0
    promised_days: int = 30
    ledger_days: int = 365

    def __post_init__(self) -> None:
        check_not_negative(**{name: getattr(self, name) for name in self.__dataclass_fields__})


@dataclass(frozen=True, slots=True, kw_only=True)
class Going:
    """What goes: studies and their images, objects of no use, and the paths of all of them."""

    studies: tuple[str, ...] = ()
    images: int = 0
    unused: int = 0
    paths: tuple[str, ...] = ()


class Retention:
    """Deletes what may go. max_days: [pairing], between the two studies of a pair."""

    def __init__(self, journal: Journal, inbox: Inbox, settings: RetentionSettings, max_days: int) -> None:
        self._journal, self._inbox, self._settings, self._max_days = journal, inbox, settings, max_days
        self._promised = Promised()
        self._last: float | None = None
        self._clean = False  # whether every marked file is known to be gone

    def hourly(self, now: float) -> None:
        """One step at the start and one each hour; a clock that was set back does not stop it."""
        if self._last is None or abs(now - self._last) >= HOUR_S:
            self.step(now)
            self._last = now

    def step(self, now: float) -> None:
        """Delete everything that may go by now. Raises OSError; what is left then goes at the next step."""
        if not self._clean:  # a node was killed between mark and deletion, or the disk did not allow it
            sweep(self._journal, self._inbox.data, self._inbox.files())
        self._clean = False
        while (gone := self._mark(now)).paths:
            audit_events.deleted(self._journal, gone.studies, now)
            count, size = sweep(self._journal, self._inbox.data, gone.paths)
            told = {"studies": len(gone.studies), "images": gone.images, "unused": gone.unused, "files": count}
            logger().info("deleted by retention", **told, megabytes=round(size / 1e6))
        self._clean = True
        if self._settings.ledger_days:
            with self._journal.writing() as connection:
                rows = purge_ledger(connection, now - self._settings.ledger_days * DAY_S, self._told_after(now))
            if rows:
                logger().info("old ledger rows taken out", rows=rows)

    def would_go(self, now: float) -> Going:
        """What a step would delete, without doing it."""
        with self._journal.reading() as connection:
            chosen = list(self._due(connection, now))
            members = _members(chosen)
            found = [objects(connection, images_of(member)) for member in members]
            waste = self._waste(connection, now)
        images = [path for rows in found for _, _, path in rows]
        paths = (*images, *(path for _, path in waste))
        return Going(studies=_uids(members), images=len(images), unused=len(waste), paths=paths)

    def _mark(self, now: float) -> Going:
        with self._journal.writing() as connection:
            chosen = list(islice(self._due(connection, now), GROUPS))
            members = _members(chosen)
            paths = [path for member in members for _, _, path in objects(connection, images_of(member))]
            waste = self._waste(connection, now)[:WASTE]
            images = mark_studies(connection, members, now)
            mark_rows(connection, [number for number, _ in waste], now)
        return Going(studies=_uids(members), images=images, unused=len(waste), paths=(*paths, *(path for _, path in waste)))

    def _due(self, connection: Connection, now: float) -> Iterator[Group]:
        """Studies that go together now."""
        if not (self._settings.images_days_after_delivery or self._settings.waiting_days):
            return
        promised = self._promised.since(connection, self._told_after(now))
        for group in groups(connection):
            if self._may_go(group, now):
                uids = {uid for member in group.members for _, uid, _ in objects(connection, images_of(member))}
                if uids and not uids & promised:
                    yield group

    def _may_go(self, group: Group, now: float) -> bool:
        """Whether its time has come. Held and parked studies never go: an operator has not decided on them yet."""
        if any(now < self._last_partner(member) for member in group.members):
            return False
        if any(member.state not in (StudyState.PAIRED, StudyState.WAITING) for member in group.members):
            return False
        received = max(member.last_received_at for member in group.members)
        waits = not group.cases or any(_waits_for_slices(member) for member in group.members)
        if waits and not _over(received, self._settings.waiting_days, now):
            return False
        return not group.cases or (
            group.delivered_at is not None
            and _over(max(group.delivered_at, received), self._settings.images_days_after_delivery, now)
        )

    def _last_partner(self, member: Member) -> float:
        """When the last day is over on which a partner could be acquired, a day for time zones added."""
        try:
            day = datetime.strptime(member.study_date, "%Y%m%d").replace(tzinfo=UTC)
        except ValueError:
            return member.last_received_at + (self._max_days + 2) * DAY_S
        return day.timestamp() + (self._max_days + 2) * DAY_S

    def _waste(self, connection: Connection, now: float) -> list[tuple[int, str]]:
        """(row, path) of what is of no use and may go."""
        if not self._settings.unused_days:
            return []
        promised = self._promised.since(connection, self._told_after(now))
        rows = objects(connection, unused(now - self._settings.unused_days * DAY_S))
        return [(number, path) for number, uid, path in rows if uid not in promised]

    def _told_after(self, now: float) -> float:
        return now - self._settings.promised_days * DAY_S


def _over(since: float, days: int, now: float) -> bool:
    """Whether so many days have passed; of 0 days never."""
    return days > 0 and now >= since + days * DAY_S


def _waits_for_slices(member: Member) -> bool:
    return member.state is StudyState.WAITING and member.reason not in ("", DELETED)


def _members(chosen: list[Group]) -> list[Member]:
    return [member for group in chosen for member in group.members]


def _uids(members: list[Member]) -> tuple[str, ...]:
    return tuple(member.study_instance_uid for member in members)


def sentence(going: Going, data: Path) -> str:
    """What would go, for an operator."""
    if not going.paths:
        return "Nothing would be deleted by [retention] now."
    size = sum((data / path).stat().st_size for path in going.paths if (data / path).is_file())
    return (
        f"[retention] would delete now: {going.images} images of {len(going.studies)} studies, "
        f"{going.unused} objects of no use; {size / 1e6:.0f} MB."
    )
