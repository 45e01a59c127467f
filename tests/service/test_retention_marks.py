"""Which studies hang together by their cases, which days lie between two dates, and what was deleted of a study."""

from __future__ import annotations

import math
from typing import Any

import networkx
import pytest
from deliveries import job
from sqlalchemy import update

from service import casebook, intake
from service.intake import Rules
from service.readiness import IntakeSettings
from service.retention_marks import _connected, days_between, deleted_of, groups, mark_rows
from service.tables import StudyState, instances, jobs, studies

RULES = Rules(intake=IntakeSettings(silence_s=30, patience_s=300))


@pytest.mark.parametrize("seed", range(5))
def test_studies_are_grouped_as_the_components_of_their_graph(seed: int) -> None:
    """networkx is the judge."""
    graph = networkx.gnm_random_graph(30, 15, seed=seed)
    ties = [(str(one), str(other)) for one, other in graph.edges]
    found = list(_connected(ties, map(str, graph.nodes)))
    assert sorted(map(sorted, found)) == sorted(sorted(map(str, part)) for part in networkx.connected_components(graph))


def test_one_study_of_several_cases_ties_them_all(folder: Any) -> None:
    with folder.journal.writing() as connection:
        for number, (fdg, pentixafor) in enumerate((("1", "2"), ("3", "2"), ("4", "5"))):
            connection.execute(jobs.insert().values(**{**job(number), "fdg_study": fdg, "pentixafor_study": pentixafor}))
        for uid in "123456":
            connection.execute(studies.insert().values(**_study(uid, settled=uid != "5")))
        found = groups(connection)
    assert [[member.study_instance_uid for member in group.members] for group in found] == [["1", "2", "3"], ["6"]]
    assert [(group.cases, group.delivered_at) for group in found] == [(2, None), (0, None)]


def _study(uid: str, *, settled: bool) -> dict[str, Any]:
    words = dict.fromkeys(("issuer", "tracer", "reason", "sentence"), "")
    numbers = {"instances": 3, "settled_instances": 3 if settled else 2, "last_received_at": 1.0}
    return {
        **words,
        **numbers,
        "study_instance_uid": uid,
        "patient_id": uid,
        "study_date": "20260310",
        "state": StudyState.PAIRED,
    }


@pytest.mark.parametrize(
    ("one", "other", "days"), [("20240228", "20240301", 2), ("20250301", "20250228", 1), ("", "20250301", math.inf)]
)
def test_days_between_two_dates(one: str, other: str, days: float) -> None:
    assert days_between(one, other) == days


def test_what_was_deleted_of_a_study_counts_until_the_object_is_here_again_in_any_form(folder: Any, scan: Any) -> None:
    folder.receive(scan().datasets())
    intake.step(folder.journal, folder.data, RULES, 1000.0)
    (row,) = casebook.studies_of(folder.journal)
    assert deleted_of(folder.journal, row.study_instance_uid) is None
    with folder.journal.writing() as connection:
        assert mark_rows(connection, [1, 2, 6], 86400.0) == 3
    deleted = deleted_of(folder.journal, row.study_instance_uid)
    assert deleted is not None
    assert (deleted.objects, deleted.at, deleted.half) == (3, 86400.0, True)
    assert deleted.sentence == "3 of its images were deleted by [retention] on 1970-01-02; send the whole study again."
    with folder.journal.writing() as connection:  # one came again, with other bytes
        connection.execute(
            update(instances).where(instances.c.id == 3).values(sop_instance_uid=scan().datasets()[0].SOPInstanceUID)
        )
    deleted = deleted_of(folder.journal, row.study_instance_uid)
    assert deleted is not None
    assert deleted.objects == 2


def test_a_study_goes_with_none_of_its_patient_under_judgement(folder: Any) -> None:
    with folder.journal.writing() as connection:
        for uid, settled in (("1", True), ("2", False)):
            connection.execute(studies.insert().values(**{**_study(uid, settled=settled), "patient_id": "P"}))
        assert groups(connection) == []
