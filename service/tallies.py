"""What archives count of a study that arrives here, as the journal keeps it, and what follows for its being whole."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field
from typing import Any

from sqlalchemy import func, or_, select

from service.journal import Journal
from service.tables import InstanceState, instances, studies, tallies

RECENT_S = 86400.0  # a study that was judged before an archive could be asked is still asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesCount:
    """A PET or CT series as an archive has it; objects is None where it does not count."""

    modality: str
    objects: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """One archive's count of a study. study: objects of all series together, where it counts no single series."""

    series: Mapping[str, SeriesCount] = field(default_factory=dict)
    study: int | None = None

    def lacking(self, here: Mapping[str, int]) -> str:
        """Which series are here in part, in words. One of which nothing is here may never have been meant for this node."""
        parts = [
            f"{here[uid]} of the {counted.objects} objects of the {counted.modality} series {uid}"
            for uid, counted in sorted(self.series.items())
            if counted.objects is not None and 0 < here.get(uid, 0) < counted.objects
        ]
        if not parts and self.study is not None and set(self.series) <= set(here):
            arrived = sum(here[uid] for uid in self.series)
            parts = [f"{arrived} of the {self.study} objects of the study"] if arrived < self.study else []
        return ", ".join(parts)

    def all_here(self, here: Mapping[str, int]) -> bool:
        """Whether all PET and CT that the archive has is here, and it has both."""
        if {counted.modality for counted in self.series.values()} != {"PT", "CT"} or self.lacking(here):
            return False
        counted = self.study is not None or all(series.objects is not None for series in self.series.values())
        return counted and set(self.series) <= set(here)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What all archives count of one study. asks: in a row without a last word; sentence: of those that did not answer."""

    asked_at: float
    next_ask_at: float | None = None
    asks: int = 1
    told: Mapping[str, Count] = field(default_factory=dict)
    sentence: str = ""

    def shortage(self, here: Mapping[str, int]) -> str:
        """What archives have of the series that arrive here and is not here, in a sentence; "" where nothing is."""
        short = {archive: words for archive, count in self.told.items() if (words := count.lacking(here))}
        if not short:
            return ""
        listed = "; ".join(f"{archive} counts more: {words} have arrived" for archive, words in short.items())
        return f"Not all has come: {listed}. The rest must be sent, or brought by duet retrieve."

    def complete(self, here: Mapping[str, int]) -> str:
        """The archive of which all is here, "" where there is none."""
        if self.shortage(here):
            return ""
        return next((archive for archive, count in self.told.items() if count.all_here(here)), "")


def tally_of(journal: Journal, study_instance_uid: str) -> Tally | None:
    """The last one; None where no archive was asked."""
    query = select(tallies).where(tallies.c.study_instance_uid == study_instance_uid)
    with journal.reading() as connection:
        row = connection.execute(query).first()
    if row is None:
        return None
    return Tally(
        asked_at=row.asked_at,
        next_ask_at=row.next_ask_at,
        asks=row.asks,
        told={archive: _count(told) for archive, told in json.loads(row.told).items()},
        sentence=row.sentence,
    )


def _count(told: Mapping[str, Any]) -> Count:
    series = {uid: SeriesCount(modality=modality, objects=objects) for uid, (modality, objects) in told["series"].items()}
    return Count(series=series, study=told["study"])


def remember_tally(journal: Journal, study_instance_uid: str, tally: Tally) -> None:
    """Keep the last tally of a study in place of the one before."""
    told = {
        archive: {"series": {uid: astuple(each) for uid, each in count.series.items()}, "study": count.study}
        for archive, count in tally.told.items()
    }
    row = {
        "study_instance_uid": study_instance_uid,
        "asked_at": tally.asked_at,
        "next_ask_at": tally.next_ask_at,
        "asks": tally.asks,
        "told": json.dumps(told),
        "sentence": tally.sentence,
    }
    with journal.writing() as connection:
        connection.execute(tallies.delete().where(tallies.c.study_instance_uid == study_instance_uid))
        connection.execute(tallies.insert().values(**row))


def to_be_counted(journal: Journal, now: float, settle_s: float) -> list[str]:
    """Studies of which archives are to be asked: something has come and now nothing does, or their last word is open."""
    recent = or_(studies.c.instances != studies.c.settled_instances, studies.c.last_received_at > now - RECENT_S)
    quiet = func.abs(now - studies.c.last_received_at) >= settle_s
    unasked = or_(tallies.c.asked_at.is_(None), tallies.c.asked_at < studies.c.last_received_at)
    due = tallies.c.next_ask_at <= now
    joined = studies.outerjoin(tallies, tallies.c.study_instance_uid == studies.c.study_instance_uid)
    query = (
        select(studies.c.study_instance_uid)
        .select_from(joined)
        .where(or_((recent & quiet & unasked), due))
        .order_by(studies.c.last_received_at)
    )
    with journal.reading() as connection:
        return [str(uid) for uid in connection.execute(query).scalars()]


def objects_here(journal: Journal, study_instance_uid: str) -> dict[str, int]:
    """How many objects of each series of a study have arrived and were not deleted, two versions of one counted once."""
    number = func.count(instances.c.sop_instance_uid.distinct())
    query = (
        select(instances.c.series_instance_uid, number)
        .where(instances.c.study_instance_uid == study_instance_uid, instances.c.state != InstanceState.DELETED)
        .group_by(instances.c.series_instance_uid)
    )
    with journal.reading() as connection:
        return {str(uid): int(count) for uid, count in connection.execute(query)}
