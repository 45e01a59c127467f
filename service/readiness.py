"""When a study is looked at: as soon as something shows that it is whole, and after silence where nothing does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import exists, select

from service.casebook import StudyRow
from service.journal import Journal
from service.tables import Ending, associations, instances, studies


class Ready(StrEnum):
    """NOT_YET: more may come any moment; BY_EVIDENCE: looked at, and judged where it shows to be whole; BY_SILENCE: judged."""

    NOT_YET = "not yet"
    BY_EVIDENCE = "by evidence"
    BY_SILENCE = "by silence"


@dataclass(frozen=True, slots=True, kw_only=True)
class IntakeSettings:
    """[intake]. A study that shows to be whole is judged after settle_s without a new object; one that does not after
    silence_s, or patience_s where its sender was cut off or still holds its association open.

    ask_archives: every [[archive]] is asked how many objects it has of a study that arrives; a series that is here in part
    is waited for.
    """

    settle_s: float = 10.0
    silence_s: float = 30.0
    patience_s: float = 300.0
    ask_archives: bool = True

    def __post_init__(self) -> None:
        for name in ("settle_s", "silence_s"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} is a finite number, 0 or more, not {getattr(self, name)}")
        if not 0 < self.patience_s < float("inf"):
            raise ValueError(f"patience_s is a finite number above 0, not {self.patience_s}")

    @property
    def soonest_s(self) -> float:
        """So long without a new object before a study is looked at at all; a short silence_s shortens it."""
        return min(self.settle_s, self.silence_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """How the associations that brought a study stand. going_on: the last one is open and has brought nothing else since;
    cut_off: one broke, and its sender has not come back and ended well; released: every one ended well, or was made good."""

    going_on: bool
    cut_off: bool
    released: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    """One association that brought objects of a study."""

    calling_ae: str
    opened_at: float
    ending: Ending


def sending(journal: Journal, row: StudyRow) -> Sending:
    """What the journal knows of a study's associations."""
    of_study = select(instances.c.association_id).where(instances.c.study_instance_uid == row.study_instance_uid).distinct()
    columns = (associations.c.id, associations.c.calling_ae, associations.c.opened_at, associations.c.ending)
    last = studies.c.last_association_id
    mine = select(last).where(studies.c.study_instance_uid == row.study_instance_uid).scalar_subquery()
    moved_on = select(exists().where(last == mine, studies.c.last_received_at > row.last_received_at))
    with journal.reading() as connection:
        found = connection.execute(select(*columns).where(associations.c.id.in_(of_study))).all()
        last_id = connection.execute(select(mine)).scalar()
        elsewhere = bool(connection.execute(moved_on).scalar())
    brought = [Brought(calling_ae=a.calling_ae, opened_at=a.opened_at, ending=Ending(a.ending)) for a in found]
    broken = [each for each in brought if each.ending is Ending.BROKEN and not _made_good(each, brought)]
    open_last = any(a.id == last_id and a.ending == Ending.OPEN for a in found)
    return Sending(
        going_on=open_last and not elsewhere,
        cut_off=bool(broken),
        released=bool(brought) and not broken and all(each.ending is not Ending.OPEN for each in brought),
    )


def _made_good(broken: Brought, others: Sequence[Brought]) -> bool:
    """Whether the same sender came back later and ended well."""
    return any(
        each.calling_ae == broken.calling_ae and each.opened_at > broken.opened_at and each.ending is Ending.RELEASED
        for each in others
    )


def quiet_s(row: StudyRow, now: float) -> float:
    """Seconds without a new object; a clock that was set back does not hold a study up."""
    return abs(now - row.last_received_at)


def readiness(row: StudyRow, sent: Sending, settings: IntakeSettings, now: float) -> Ready:
    """By what a study may be judged now. It is looked at for evidence once for each number of objects."""
    quiet = quiet_s(row, now)
    patient = sent.cut_off or sent.going_on
    if quiet >= (settings.patience_s if patient else settings.silence_s):
        return Ready.BY_SILENCE
    if quiet < settings.soonest_s or sent.going_on or row.checked_instances == row.instances:
        return Ready.NOT_YET
    return Ready.BY_EVIDENCE
