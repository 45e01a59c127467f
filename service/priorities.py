"""Who goes first: a patient who was just scanned before a cohort of the past, and nobody waits for ever."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from service.bounds import check_not_negative

_DAY_S = 86400.0
_FOR_EVER_S = 1e9  # thirty years: behind everything that comes meanwhile


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """[engine]. A pair whose newest study is older than retrospective_days goes behind all others, until it has waited
    longest_wait_h; 0 days: no pair does; 0 hours: however long it waits."""

    retrospective_days: int = 60
    longest_wait_h: float = 168.0

    def __post_init__(self) -> None:
        check_not_negative(retrospective_days=self.retrospective_days, longest_wait_h=self.longest_wait_h)


def ranks_at(settings: EngineSettings, newest_study: str, now: float) -> float:
    """The moment that a case ranks by, the earliest first: when it is entered, or for a retrospective one so much later.

    newest_study: the later StudyDate of the pair. A date that is none says nothing, and the case counts as clinical.
    """
    if not settings.retrospective_days or _age_days(newest_study, now) <= settings.retrospective_days:
        return now
    return now + (settings.longest_wait_h * 3600.0 or _FOR_EVER_S)


def _age_days(date: str, now: float) -> float:
    try:
        taken = datetime.strptime(date, "%Y%m%d").replace(tzinfo=UTC)
    except ValueError:
        return 0.0
    return (now - taken.timestamp()) / _DAY_S
