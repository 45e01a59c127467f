"""Clinical before retrospective, and no case waits for ever; ranks by hand from the settings' own sentences."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from workforce import queue_job

from analysis.values import Tracer
from service import casebook, intake
from service.casebook import claim
from service.intake import Rules
from service.priorities import EngineSettings, ranks_at

NOON = datetime(2026, 3, 20, 12, tzinfo=UTC).timestamp()
HOUR = 3600.0


def test_a_pair_of_the_past_ranks_behind_all_that_comes_within_its_longest_wait() -> None:
    settings = EngineSettings(retrospective_days=60, longest_wait_h=10)
    old, new = ranks_at(settings, "20250101", NOON), ranks_at(settings, "20260319", NOON + 9.9 * HOUR)
    assert new < old < ranks_at(settings, "20260319", NOON + 10.1 * HOUR)


@pytest.mark.parametrize(
    ("date", "days", "hours", "behind"),
    [
        ("20260119", 60, 1, HOUR * 0),  # sixty days before
        ("20260117", 60, 1, HOUR),
        ("20260117", 0, 1, 0.0),
        ("20260117", 60, 0, 1e9),
        ("", 60, 1, 0.0),
        ("2026AB01", 60, 1, 0.0),
        ("20300101", 60, 1, 0.0),
    ],
)
def test_what_ranks_where(date: str, days: int, hours: float, behind: float) -> None:
    midnight = datetime(2026, 3, 20, tzinfo=UTC).timestamp()
    assert ranks_at(EngineSettings(retrospective_days=days, longest_wait_h=hours), date, midnight) == midnight + behind


def test_intake_ranks_a_pair_by_its_newer_study(folder: Any, scan: Any) -> None:
    folder.receive([*scan().datasets(), *scan(tracer=Tracer.PENTIXAFOR).datasets()], now=NOON)
    rules = Rules(engine=EngineSettings(retrospective_days=8, longest_wait_h=1))  # of 10 and 12 March 2026
    later = NOON + 9 * HOUR  # more than eight days after midnight of the twelfth
    intake.step(folder.journal, folder.data, rules, later)
    queue_job(folder.journal, "2.25.1", [], ranks_at=later + HOUR - 1)
    queue_job(folder.journal, "2.25.2", [], ranks_at=later + HOUR + 1)
    (mine,) = [job.pair_uid for job in casebook.jobs_of(folder.journal) if job.pair_uid not in ("2.25.1", "2.25.2")]
    order = [claim(folder.journal, later + 1e6) for _ in range(3)]
    assert [job.pair_uid for job in order if job] == ["2.25.1", mine, "2.25.2"]


def test_a_case_that_waits_for_its_next_try_does_not_stop_those_behind_it(folder: Any) -> None:
    first, second = queue_job(folder.journal, "2.25.1", []), queue_job(folder.journal, "2.25.2", [], ranks_at=5.0)
    taken = claim(folder.journal, 10.0)
    assert taken is not None
    assert taken.id == first
    casebook.try_again(folder.journal, first, "It failed.", 100.0)
    assert getattr(claim(folder.journal, 50.0), "id", None) == second
    assert claim(folder.journal, 50.0) is None
    assert getattr(claim(folder.journal, 100.0), "id", None) == first
