"""When a study is looked at: on evidence, after silence, and never while its sender holds the line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from associations import close_association, open_association
from nodes import NodeProcess, free_port, push, until

from analysis.values import Tracer
from service import casebook, intake
from service.casebook import StudyRow
from service.intake import Rules
from service.readiness import IntakeSettings, Ready, Sending, readiness, sending
from service.tables import Ending, StudyState

SETTINGS = IntakeSettings(settle_s=10, silence_s=30, patience_s=300)
ENDED_WELL = Sending(going_on=False, cut_off=False, released=True)
CUT_OFF = Sending(going_on=False, cut_off=True, released=False)
GOING_ON = Sending(going_on=True, cut_off=False, released=False)


def row(last: float = 1000.0, **words: Any) -> StudyRow:
    known: dict[str, Any] = {
        "study_instance_uid": "1", "patient_id": "P", "issuer": "", "study_date": "", "tracer": "",
        "state": StudyState.RECEIVING, "reason": "", "sentence": "", "instances": 7, "settled_instances": 0,
        "last_received_at": last, "cut_off": False,
    }  # fmt: skip
    return StudyRow(**{**known, **words})


@pytest.mark.parametrize(
    ("sent", "checked", "now", "expected"),
    [
        (ENDED_WELL, 0, 1009, Ready.NOT_YET),
        (ENDED_WELL, 0, 1010, Ready.BY_EVIDENCE),
        (ENDED_WELL, 7, 1029, Ready.NOT_YET),  # it was looked at with these objects already
        (ENDED_WELL, 7, 1030, Ready.BY_SILENCE),
        (ENDED_WELL, 5, 1011, Ready.BY_EVIDENCE),
        (CUT_OFF, 7, 1299, Ready.NOT_YET),
        (CUT_OFF, 7, 1300, Ready.BY_SILENCE),
        (GOING_ON, 0, 1299, Ready.NOT_YET),
        (GOING_ON, 0, 1300, Ready.BY_SILENCE),
        (ENDED_WELL, 0, -5000, Ready.BY_SILENCE),  # a clock that was set back does not hold a study up
    ],
)
def test_when_a_study_is_looked_at(sent: Sending, checked: int, now: float, expected: Ready) -> None:
    assert readiness(row(checked_instances=checked), sent, SETTINGS, now) is expected


def brought(folder: Any, datasets: Any, at: float, ending: Ending, ae: str = "CT1") -> int:
    number = open_association(folder.journal, ae, "127.0.0.1", at)
    folder.receive(datasets, now=at, association_id=number)
    if ending is not Ending.OPEN:
        close_association(folder.journal, number, ending, at + 1)
    intake.step(folder.journal, folder.data, Rules(intake=SETTINGS), at)
    return number


def of_study(folder: Any) -> Sending:
    (only,) = casebook.studies_of(folder.journal)
    return sending(folder.journal, only)


def test_a_sender_that_broke_off_and_comes_back_with_the_rest_has_made_it_good(folder: Any, scan: Any) -> None:
    """It does not send again what was acknowledged, so the first objects still belong to the association that broke."""
    datasets = scan().datasets()
    brought(folder, datasets[:6], 100.0, Ending.BROKEN)
    assert of_study(folder) == CUT_OFF
    brought(folder, datasets[6:], 110.0, Ending.RELEASED, ae="PET1")
    assert of_study(folder) == CUT_OFF
    brought(folder, datasets[6:], 120.0, Ending.RELEASED)
    assert of_study(folder) == ENDED_WELL


def test_of_several_associations_at_once_each_counts(folder: Any, scan: Any) -> None:
    datasets = scan().datasets()
    brought(folder, datasets[:5], 100.0, Ending.BROKEN)
    brought(folder, datasets[5:], 99.0, Ending.RELEASED)
    assert of_study(folder) == CUT_OFF


def test_an_open_association_is_still_sending_until_it_turns_to_another_study(folder: Any, scan: Any) -> None:
    number = brought(folder, scan().datasets(), 100.0, Ending.OPEN)
    assert of_study(folder) == GOING_ON
    folder.receive(scan(tracer=Tracer.PENTIXAFOR).datasets()[:1], now=105.0, association_id=number)
    intake.step(folder.journal, folder.data, Rules(intake=SETTINGS), 105.0)
    fdg = next(each for each in casebook.studies_of(folder.journal) if each.last_received_at == 100.0)
    assert not sending(folder.journal, fdg).going_on


def test_files_that_no_association_brought_show_nothing(folder: Any, scan: Any) -> None:
    folder.receive(scan().datasets())
    intake.step(folder.journal, folder.data, Rules(intake=SETTINGS), 100.0)
    assert of_study(folder) == Sending(going_on=False, cut_off=False, released=False)


@pytest.mark.parametrize(
    ("lost", "state", "reason"),
    [(None, StudyState.WAITING, ""), (4, StudyState.RECEIVING, ""), (9, StudyState.RECEIVING, "")],
)
def test_a_study_without_a_hole_is_judged_before_silence_and_one_with_a_hole_is_not(
    folder: Any, scan: Any, lost: int | None, state: StudyState, reason: str
) -> None:
    """Object 4 is the PET's last slice, which NumberOfSlices misses; without object 9 the CT ends before the PET."""
    datasets = [*scan(slices=10, modalities=("PT",)).datasets(), *scan(slices=10, modalities=("CT",)).datasets()]
    gone = {None: (), 4: (9,), 9: (18, 19)}[lost]
    brought(folder, [ds for number, ds in enumerate(datasets) if number not in gone], 100.0, Ending.RELEASED)
    intake.step(folder.journal, folder.data, Rules(intake=SETTINGS), 112.0)
    (known,) = casebook.studies_of(folder.journal)
    assert (known.state, known.reason, bool(known.evidence)) == (state, reason, lost is None)
    intake.step(folder.journal, folder.data, Rules(intake=SETTINGS), 131.0)
    (known,) = casebook.studies_of(folder.journal)
    assert known.settled


@pytest.mark.peer("storescu")
@pytest.mark.peer("echoscu")
def test_a_running_node_does_not_wait_for_silence_where_a_study_is_whole(
    tmp_path: Path, program: Callable[[str], str], scan: Any
) -> None:
    """With an hour of silence to wait for; a late slice then reopens the pair and gives a new version."""
    whole = [*scan(slices=10, modalities=("PT",)).datasets(), *scan(slices=12, modalities=("CT",)).datasets()]
    partner = scan(tracer=Tracer.PENTIXAFOR).datasets()
    files = []
    for number, ds in enumerate([*whole, *partner]):
        files.append(tmp_path / f"{number:02d}.dcm")
        ds.save_as(files[-1], enforce_file_format=True)
    node = NodeProcess(tmp_path / "node", program, free_port())
    node.config.write_text(node.config.read_text().replace("silence_s = 1.5", "settle_s = 1.0\nsilence_s = 3600.0"))
    versions = "SELECT version FROM jobs ORDER BY id"
    try:
        node.start()
        node.wait_for_door()
        assert push(program, node.port, [*files[:21], *files[22:]])
        until(lambda: node.ask(versions) == [(1,)], "a case of both studies")
        assert push(program, node.port, files[21:22])
        until(lambda: node.ask(versions) == [(1,), (2,)], "a second version")
    finally:
        node.clean_up()
