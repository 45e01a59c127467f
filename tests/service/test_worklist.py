"""The worklist's entries: nobody is missed, and every state of `duet status` can be asked for."""

from __future__ import annotations

from typing import Any

from journals import add_case, add_delivery, add_release, add_study

from service.explain import when
from service.tables import DeliveryState, JobState, StudyState, cohorts
from service.web_pages import Material, worklist_facts
from service.worklist import PAGE


def test_the_worklist_is_paged_and_filtered_and_misses_nobody(folder: Any) -> None:
    for number in range(2 * PAGE + 5):
        add_study(folder.journal, f"1.{number}", patient_id=f"P{number:03d}", last_received_at=float(number))
    add_study(folder.journal, "2.1", patient_id="HELD", state=StudyState.HELD, sentence="No PET.", last_received_at=1.0)
    material = Material(journal=folder.journal, data=folder.data, ae_title="DUET")
    found = [row["patient_id"] for number in (1, 2, 3) for row in worklist_facts(material, "", number)["rows"]]
    assert len(found) == 2 * PAGE + 6
    assert set(found) == {f"P{number:03d}" for number in range(2 * PAGE + 5)} | {"HELD"}
    assert found[0] == f"P{2 * PAGE + 4:03d}"
    assert worklist_facts(material, "", 99)["number"] == 3  # beyond the last page is the last
    (held,) = worklist_facts(material, "held", 1)["rows"]
    assert held["sentence"] == f"Held since {when(1.0)}: No PET."
    assert worklist_facts(material, "delivered", 1)["rows"] == []


def test_every_state_of_duet_status_is_one_that_can_be_asked_for(folder: Any) -> None:
    material = Material(journal=folder.journal, data=folder.data, ae_title="DUET")
    add_study(folder.journal, "1.1", state=StudyState.PAIRED)
    add_study(folder.journal, "1.2", state=StudyState.PAIRED, tracer="PentixaFor")
    add_study(folder.journal, "1.3", instances=11)
    held = {"state": JobState.HELD, "reason": "Quality"}
    numbers = {
        "queued": add_case(folder.journal, pair_uid="a"),
        "running": add_case(folder.journal, pair_uid="b", state=JobState.RUNNING),
        "on hold": add_case(folder.journal, pair_uid="c", **held),
        "releasing": add_case(folder.journal, pair_uid="d", **held),
        "held": add_case(folder.journal, pair_uid="e", state=JobState.HELD, reason="NotAPair"),
        "parked": add_case(folder.journal, pair_uid="f", state=JobState.PARKED),
        "returned": add_case(folder.journal, pair_uid="g", state=JobState.DONE, finished_at=1.0),
        "delivered": add_case(folder.journal, pair_uid="h", state=JobState.DONE, finished_at=1.0),
        "withdrawn": add_case(folder.journal, pair_uid="i", state=JobState.WITHDRAWN),
    }
    add_release(folder.journal, numbers["releasing"])
    add_delivery(folder.journal, numbers["returned"], "2.1")
    add_delivery(folder.journal, numbers["returned"], "2.2", state=DeliveryState.COMMITTED)
    add_delivery(folder.journal, numbers["delivered"], "2.3", state=DeliveryState.DELIVERED)
    with folder.journal.writing() as connection:  # an object of the cohort's report is no case's
        row = {"version": 1, "fingerprint": "", "folder": "x", "cycles": 1, "sentence": "", "made_at": 1.0}
        connection.execute(cohorts.insert().values(id=1, **row))
    add_delivery(folder.journal, None, "2.4", cohort_id=1)  # type: ignore[arg-type]
    for state, number in numbers.items():
        rows = worklist_facts(material, state, 1)["rows"]
        assert [(row["case"], row["state"]) for row in rows] == [(number, state)]
    assert [row["state"] for row in worklist_facts(material, "receiving", 1)["rows"]] == ["receiving"]
    paired = worklist_facts(material, "paired", 1)["rows"]
    assert [row["case"] for row in paired] == [numbers["delivered"]] * 2
