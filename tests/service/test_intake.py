"""From received objects to jobs: every study is waiting, held with a sentence, or in a pair. The clock is handed in."""

from __future__ import annotations

from typing import Any

import pytest
from associations import close_association, open_association
from pydicom.uid import generate_uid

from analysis.values import Tracer
from dicom_io.tracers import SiteRule, TracerRules
from service import arrivals, casebook, intake
from service.casebook import StudyRow
from service.intake import Rules
from service.overview import overview
from service.readiness import IntakeSettings
from service.tables import Ending, InstanceState, JobState, StudyState

RULES = Rules(intake=IntakeSettings(silence_s=30, patience_s=300))
LATER = 1000.0


def step(folder: Any, now: float = LATER) -> None:
    intake.step(folder.journal, folder.data, RULES, now)


def study(folder: Any) -> StudyRow:
    (row,) = casebook.studies_of(folder.journal)
    return row


def both(scan: Any, **changes: Any) -> list[Any]:
    return [*scan(tracer=Tracer.FDG, **changes).datasets(), *scan(tracer=Tracer.PENTIXAFOR, **changes).datasets()]


def test_a_study_is_receiving_until_there_was_silence(folder: Any, scan: Any) -> None:
    folder.receive(scan().datasets(), now=100.0)
    step(folder, now=129.0)
    assert study(folder).state is StudyState.RECEIVING
    assert study(folder).instances == 10
    step(folder, now=131.0)
    assert study(folder).state is StudyState.WAITING


def test_a_sender_that_was_cut_off_is_given_more_time(folder: Any, scan: Any) -> None:
    number = open_association(folder.journal, "CT1", "127.0.0.1", 99.0)
    folder.receive(scan().datasets(), now=100.0, association_id=number)
    close_association(folder.journal, number, Ending.BROKEN, 101.0)
    step(folder, now=200.0)
    assert study(folder).cut_off
    assert study(folder).state is StudyState.RECEIVING
    step(folder, now=401.0)
    assert study(folder).state is StudyState.WAITING


def test_a_sender_that_came_back_is_not_cut_off_any_more(folder: Any, scan: Any) -> None:
    first = open_association(folder.journal, "CT1", "127.0.0.1", 99.0)
    folder.receive(scan().datasets(), now=100.0, association_id=first)
    step(folder, now=101.0)
    arrivals.break_open_associations(folder.journal, 102.0)
    second = open_association(folder.journal, "CT1", "127.0.0.1", 110.0)
    folder.receive(scan().datasets(), now=110.0, association_id=second)
    close_association(folder.journal, second, Ending.RELEASED, 111.0)
    step(folder, now=119.0)
    assert study(folder).state is StudyState.RECEIVING
    step(folder, now=121.0)
    assert study(folder).state is StudyState.WAITING
    assert study(folder).instances == 10


def test_a_lone_study_waits_for_its_partner_and_says_so(folder: Any, scan: Any) -> None:
    folder.receive(scan().datasets())
    step(folder)
    assert study(folder).state is StudyState.WAITING
    assert study(folder).tracer == "FDG"
    assert "PentixaFor" in study(folder).sentence
    assert casebook.jobs_of(folder.journal) == []


def test_the_late_partner_makes_the_pair(folder: Any, scan: Any) -> None:
    folder.receive(scan().datasets())
    step(folder)
    folder.receive(scan(tracer=Tracer.PENTIXAFOR).datasets(), now=LATER)
    step(folder, now=LATER + 100)
    assert {row.state for row in casebook.studies_of(folder.journal)} == {StudyState.PAIRED}
    (job,) = casebook.jobs_of(folder.journal)
    assert job.state is JobState.QUEUED
    assert job.version == 1
    assert len(job.paths("fdg")) == len(job.paths("pentixafor")) == 10


def test_looking_again_changes_nothing(folder: Any, scan: Any) -> None:
    folder.receive(both(scan))
    step(folder)
    before = (casebook.studies_of(folder.journal), casebook.jobs_of(folder.journal))
    folder.receive(both(scan), now=LATER)
    step(folder, now=LATER + 100)
    casebook.unsettle_all(folder.journal)
    step(folder, now=LATER + 200)
    after = (casebook.studies_of(folder.journal), casebook.jobs_of(folder.journal))
    assert [job.pair_uid for job in after[1]] == [job.pair_uid for job in before[1]]
    assert [row.state for row in after[0]] == [row.state for row in before[0]]


def test_a_missing_slice_waits_and_the_late_slice_makes_the_pair(folder: Any, scan: Any) -> None:
    datasets = both(scan)
    late = datasets.pop(2)
    folder.receive(datasets)
    step(folder)
    fdg = next(row for row in casebook.studies_of(folder.journal) if row.reason)
    assert fdg.state is StudyState.WAITING
    assert "missing" in fdg.sentence
    assert casebook.jobs_of(folder.journal) == []
    folder.receive([late], now=LATER)
    step(folder, now=LATER + 100)
    assert len(casebook.jobs_of(folder.journal)) == 1


def test_a_missing_end_of_a_pet_waits_too(folder: Any, scan: Any) -> None:
    datasets = scan().datasets()
    folder.receive(datasets[:4] + datasets[5:])
    step(folder)
    assert study(folder).state is StudyState.WAITING
    assert "4 of the 5 slices" in study(folder).sentence


def test_a_slice_after_the_run_gives_a_new_version(folder: Any, scan: Any) -> None:
    folder.receive([*scan(modalities=("PT",)).datasets(), *scan(slices=6, modalities=("CT",)).datasets()[:5]])
    folder.receive(scan(tracer=Tracer.PENTIXAFOR).datasets())
    step(folder)
    (first,) = casebook.jobs_of(folder.journal)
    casebook.claim(folder.journal, LATER)
    casebook.finish(folder.journal, first.id, [], LATER)
    folder.receive(scan(slices=6, modalities=("CT",)).datasets()[5:], now=LATER)
    step(folder, now=LATER + 100)
    done, new = casebook.jobs_of(folder.journal)
    assert (done.state, done.version) == (JobState.DONE, 1)
    assert (new.state, new.version) == (JobState.QUEUED, 2)
    assert new.pair_uid != done.pair_uid


def test_a_job_that_is_out_of_date_is_withdrawn(folder: Any, scan: Any) -> None:
    folder.receive([*scan(modalities=("PT",)).datasets(), *scan(slices=6, modalities=("CT",)).datasets()[:5]])
    folder.receive(scan(tracer=Tracer.PENTIXAFOR).datasets())
    step(folder)
    running = casebook.claim(folder.journal, LATER)
    assert running is not None
    folder.receive(scan(slices=6, modalities=("CT",)).datasets()[5:], now=LATER)
    step(folder, now=LATER + 100)
    assert not casebook.finish(folder.journal, running.id, [], LATER + 200)
    assert [job.state for job in casebook.jobs_of(folder.journal)] == [JobState.WITHDRAWN, JobState.QUEUED]


@pytest.mark.parametrize(
    ("changes", "reason", "words"),
    [
        ({"words": {"PatientWeight": None}}, "NotQuantifiable", "weight"),
        ({"tracer": Tracer.PENTIXAFOR, "item": {"Radiopharmaceutical": "68Ga-PSMA-11"}}, "UnknownTracer", "PSMA"),
        ({"tracer": Tracer.PENTIXAFOR, "item": {"Radiopharmaceutical": "Solution"}}, "UnknownTracer", "nothing names"),
        ({"modalities": ("PT",)}, "NoUsableCt", "no CT"),
        ({"modalities": ("CT",)}, "NoUsablePet", "no PET"),
        ({"pet_words": {"CorrectedImage": ["DECY"]}}, "NoUsablePet", "ATTN"),
        ({"words": {"PatientID": ""}}, "IdentityConflict", "no Patient ID"),
    ],
)
def test_a_study_that_cannot_be_used_is_held_with_one_sentence(
    folder: Any, scan: Any, changes: dict[str, Any], reason: str, words: str
) -> None:
    paths = folder.receive(scan(**changes).datasets())
    step(folder)
    row = study(folder)
    assert (row.state, row.reason) == (StudyState.HELD, reason)
    assert words.lower() in row.sentence.lower()
    assert "Muster" not in row.sentence
    assert all((folder.data / path).is_file() for path in paths)


def test_two_people_with_one_patient_id_are_held_and_never_paired(folder: Any, scan: Any) -> None:
    folder.receive(scan().datasets())
    folder.receive(scan(tracer=Tracer.PENTIXAFOR, words={"PatientBirthDate": "19710203"}).datasets())
    step(folder)
    rows = casebook.studies_of(folder.journal)
    assert {(row.state, row.reason) for row in rows} == {(StudyState.HELD, "IdentityConflict")}
    assert all("birth date" in row.sentence for row in rows)
    assert casebook.jobs_of(folder.journal) == []


def test_objects_that_are_neither_pet_nor_ct_are_kept_with_a_word(folder: Any, scan: Any) -> None:
    other = scan(words={"Modality": "MR"}).datasets()[:3]
    folder.receive(other)
    step(folder)
    (line,) = overview(folder.journal).unused
    assert line.count == 3
    assert (line.state, "Neither PET nor CT" in line.sentence) == (InstanceState.IGNORED, True)


def test_a_result_of_our_own_that_comes_back_is_no_input(folder: Any, scan: Any) -> None:
    folder.receive(both(scan))
    step(folder)
    job = casebook.claim(folder.journal, LATER)
    assert job is not None
    own = scan(words={"Modality": "SEG", "SOPInstanceUID": generate_uid(entropy_srcs=["own"])}).datasets()[:1]
    posting = casebook.Posting(destination="pacs", sop_instance_uid=str(own[0].SOPInstanceUID), path="x")
    casebook.finish(folder.journal, job.id, [posting], LATER)
    folder.receive(own, now=LATER)
    step(folder, now=LATER + 100)
    assert any("result of this node" in line.sentence for line in overview(folder.journal).unused)
    assert len(casebook.jobs_of(folder.journal)) == 1


def test_a_damaged_file_is_told_and_kept(folder: Any, scan: Any) -> None:
    path = folder.receive(scan().datasets())[0]
    whole = (folder.data / path).read_bytes()
    (folder.data / path).write_bytes(whole[: len(whole) - 50])
    step(folder)
    rejected = [line for line in overview(folder.journal).unused if line.state == InstanceState.REJECTED]
    assert len(rejected) == 1
    assert "cut off" in rejected[0].sentence
    assert (folder.data / path).is_file()


def test_new_rules_of_the_site_bring_a_held_study_back(folder: Any, scan: Any) -> None:
    words = {"StationName": "PET7"}
    folder.receive(scan(tracer=Tracer.PENTIXAFOR, item={"Radiopharmaceutical": "Solution"}, words=words).datasets())
    step(folder)
    assert study(folder).state is StudyState.HELD
    casebook.unsettle_all(folder.journal)
    rules = Rules(intake=RULES.intake, tracers=TracerRules(rules=(SiteRule(tracer=Tracer.PENTIXAFOR, station="PET7"),)))
    intake.step(folder.journal, folder.data, rules, LATER)
    assert study(folder).state is StudyState.WAITING
