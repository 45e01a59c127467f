"""What [retention] lets go and what it never does; at real files, the real journal and a clock that is handed in."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from associations import close_association, open_association
from pydicom import dcmread, dcmwrite
from sqlalchemy import select, update

from analysis.errors import BadSettings
from analysis.values import Tracer
from service import arrivals, audit, casebook, commitments, entries, intake, postings, recovery
from service.audit import AuditSettings
from service.config import build
from service.destinations import Kept
from service.intake import Rules
from service.keeping import SUCCESS, StoreHandler
from service.postings import Posting
from service.readiness import IntakeSettings
from service.retention import DAY_S, Retention, RetentionSettings, sentence
from service.retention_marks import mark_studies
from service.tables import (
    DeliveryState,
    InstanceState,
    JobState,
    PromiseState,
    StudyState,
    deliveries,
    instances,
    jobs,
    studies,
)
from service.tallies import objects_here

RULES = Rules(intake=IntakeSettings(silence_s=30, patience_s=300))
SENT = datetime(2026, 3, 13, tzinfo=UTC).timestamp()  # the scans are of 10 and 12 March, pairs of at most 30 days
DELIVERED = SENT + DAY_S
LAST_PARTNER = datetime(2026, 4, 13, tzinfo=UTC).timestamp()  # 12 March + 30 days, a day for time zones, and over
AFTER = DELIVERED + 100 * DAY_S
WEEK = RetentionSettings(images_days_after_delivery=7)


def retention(folder: Any, settings: RetentionSettings = WEEK) -> Retention:
    return Retention(folder.journal, folder.inbox, settings, RULES.pairing.max_days)


def judged(folder: Any, now: float) -> list[casebook.StudyRow]:
    intake.step(folder.journal, folder.data, RULES, now)
    return casebook.studies_of(folder.journal)


def files(folder: Any) -> set[str]:
    return set(folder.inbox.files())


def pair_of(scan: Any, **changes: Any) -> list[Any]:
    return [ds for tracer in (Tracer.FDG, Tracer.PENTIXAFOR) for ds in scan(tracer=tracer, **changes).datasets()]


def received(folder: Any, datasets: Sequence[Any], now: float = SENT) -> list[str]:
    paths: list[str] = folder.receive(datasets, now=now)
    judged(folder, now + 1000)
    return paths


def delivered(folder: Any, state: DeliveryState = DeliveryState.DELIVERED, at: float = DELIVERED) -> None:
    """Every open case is analysed, and its one object is so far on its way."""
    while (job := casebook.claim(folder.journal, at)) is not None:
        posting = Posting(destination="pacs", sop_instance_uid=f"2.25.{job.id}", path=f"cases/{job.pair_uid}/sr.dcm")
        casebook.finish(folder.journal, job.id, [posting], at)
    with folder.journal.writing() as connection:
        over = at if state in (DeliveryState.DELIVERED, DeliveryState.COMMITTED) else None
        connection.execute(update(deliveries).values(state=state, delivered_at=over))


@pytest.fixture
def done(folder: Any, scan: Any) -> Any:
    """A pair whose case was delivered everywhere."""
    received(folder, pair_of(scan))
    delivered(folder)
    return folder


def test_by_default_nothing_is_ever_deleted(done: Any) -> None:
    before = files(done)
    retention(done, RetentionSettings()).step(AFTER + 1e9)
    assert files(done) == before


def test_the_images_go_when_delivered_and_no_partner_can_come_and_rows_results_and_sentences_stay(done: Any) -> None:
    before = files(done)
    assert len(before) == 20
    retention(done).step(LAST_PARTNER - 1)
    assert files(done) == before
    retention(done).step(LAST_PARTNER)
    assert files(done) == set()
    with done.journal.reading() as connection:
        rows = connection.execute(select(instances.c.state, instances.c.deleted_at)).all()
    assert set(rows) == {(InstanceState.DELETED, LAST_PARTNER)}
    assert len(rows) == 20
    for row in casebook.studies_of(done.journal):
        assert (row.state, row.instances, row.settled) == (StudyState.PAIRED, 0, True)
        assert row.sentence.startswith("Its images were deleted by [retention] on 2026-04-13;")
    assert [job.state for job in casebook.jobs_of(done.journal)] == [JobState.DONE]
    assert recovery.recover(done.journal, done.inbox, AFTER) == 0
    assert [row.state for row in judged(done, AFTER)] == [StudyState.PAIRED] * 2
    assert objects_here(done.journal, casebook.studies_of(done.journal)[0].study_instance_uid) == {}


def test_whose_images_were_deleted_is_entered_into_the_audit_trail(done: Any, tmp_path: Path) -> None:
    audit.set_up(tmp_path / "logs", AuditSettings(), "DUET")
    try:
        retention(done).step(LAST_PARTNER)
    finally:
        audit.close()
    messages = [json.loads(line)["AuditMessage"] for line in (tmp_path / "logs" / "audit.jsonl").read_text().splitlines()]
    told = {}
    for message in messages:
        assert message["EventIdentification"]["EventID"]["csd-code"] == "110105"  # DICOM Study Deleted
        study, patient = message["ParticipantObjectIdentification"]
        counted = study["ParticipantObjectDescription"]["SOPClass"]
        told[study["ParticipantObjectID"]] = (
            patient["ParticipantObjectID"],
            sum(int(each["NumberOfInstances"]) for each in counted),
        )
    assert told == {row.study_instance_uid: (row.patient_id, 10) for row in casebook.studies_of(done.journal)}


def test_the_days_are_counted_from_the_last_delivery(folder: Any, scan: Any) -> None:
    received(folder, pair_of(scan))
    delivered(folder, at=LAST_PARTNER)
    retention(folder).step(LAST_PARTNER + 7 * DAY_S - 1)
    assert len(files(folder)) == 20
    retention(folder).step(LAST_PARTNER + 7 * DAY_S)
    assert files(folder) == set()


@pytest.mark.parametrize("state", [DeliveryState.PENDING, DeliveryState.STORED, DeliveryState.PARKED])
def test_while_a_destination_is_owed_something_all_stays(folder: Any, scan: Any, state: DeliveryState) -> None:
    received(folder, pair_of(scan))
    delivered(folder, state)
    retention(folder).step(AFTER)
    assert len(files(folder)) == 20


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.RUNNING, JobState.HELD, JobState.PARKED])
def test_a_case_that_is_not_finished_keeps_its_images_and_those_of_every_case_it_shares_a_study_with(
    done: Any, state: JobState
) -> None:
    with done.journal.writing() as connection:
        first = dict(connection.execute(select(jobs)).one()._mapping)
        other = {"id": 9, "pair_uid": "2.25.9", "pentixafor_study": "1.2.9", "state": state, "finished_at": None}
        connection.execute(jobs.insert().values(**{**first, **other}))
    retention(done, RetentionSettings(images_days_after_delivery=7, waiting_days=7)).step(AFTER)
    assert len(files(done)) == 20


def test_a_case_without_any_destination_keeps_its_images(folder: Any, scan: Any) -> None:
    received(folder, pair_of(scan))
    while (job := casebook.claim(folder.journal, DELIVERED)) is not None:
        casebook.finish(folder.journal, job.id, [], DELIVERED)
    retention(folder).step(AFTER)
    assert len(files(folder)) == 20


@pytest.mark.parametrize("state", [StudyState.HELD, StudyState.PARKED])
def test_what_an_operator_must_decide_on_stays(done: Any, state: StudyState) -> None:
    one = casebook.studies_of(done.journal)[0].study_instance_uid
    with done.journal.writing() as connection:
        connection.execute(update(studies).where(studies.c.study_instance_uid == one).values(state=state))
    retention(done, RetentionSettings(images_days_after_delivery=7, waiting_days=7)).step(AFTER)
    assert len(files(done)) == 20


def test_while_a_patient_is_being_judged_nothing_of_him_goes(done: Any) -> None:
    casebook.settle(done.journal, [], [], AFTER)
    with done.journal.writing() as connection:
        connection.execute(update(studies).where(studies.c.tracer == "FDG").values(settled_instances=-1))
    retention(done).step(AFTER)
    assert len(files(done)) == 20


def test_a_study_without_a_partner_goes_by_a_rule_of_its_own(folder: Any, scan: Any) -> None:
    received(folder, scan().datasets())
    retention(folder).step(AFTER)
    assert len(files(folder)) == 10
    by_waiting = RetentionSettings(waiting_days=60)
    retention(folder, by_waiting).step(SENT + 60 * DAY_S - 1)
    assert len(files(folder)) == 10
    retention(folder, by_waiting).step(SENT + 60 * DAY_S)
    assert files(folder) == set()
    assert casebook.waiting_for_partner(folder.journal) == []


def test_the_other_tracer_that_comes_too_late_is_told_what_was_deleted(folder: Any, scan: Any) -> None:
    received(folder, scan().datasets())
    retention(folder, RetentionSettings(waiting_days=60)).step(AFTER)
    folder.receive(scan(tracer=Tracer.PENTIXAFOR).datasets(), now=AFTER)
    fdg, pentixafor = judged(folder, AFTER + 1000)
    assert (
        "The FDG study of 20260310 was here: 10 of its images were deleted by [retention] on 2026-06-22;" in pentixafor.sentence
    )
    assert "send the whole study again" in pentixafor.sentence
    assert (fdg.state, fdg.instances) == (StudyState.WAITING, 0)
    assert casebook.jobs_of(folder.journal) == []
    folder.receive(scan().datasets(), now=AFTER + 2000)
    assert [row.state for row in judged(folder, AFTER + 3000)] == [StudyState.PAIRED] * 2
    assert len(casebook.jobs_of(folder.journal)) == 1


def test_a_late_slice_is_told_that_the_rest_was_deleted_and_makes_no_new_case(done: Any, scan: Any) -> None:
    retention(done).step(AFTER)
    done.receive(scan().datasets()[:3], now=AFTER)
    fdg, pentixafor = judged(done, AFTER + 1000)
    assert fdg.state is StudyState.WAITING
    assert fdg.sentence == "7 of its images were deleted by [retention] on 2026-06-22; send the whole study again."
    assert pentixafor.state is StudyState.PAIRED
    assert [job.state for job in casebook.jobs_of(done.journal)] == [JobState.DONE]


def test_the_whole_pair_sent_again_is_filed_anew_and_its_case_is_not_made_twice(done: Any, scan: Any) -> None:
    retention(done).step(AFTER)
    done.receive(scan().datasets(), now=AFTER)
    fdg, _ = judged(done, AFTER + 1000)
    assert "finished case. Of that one's other study: 10 of its images were deleted by [retention]" in fdg.sentence
    done.receive(scan(tracer=Tracer.PENTIXAFOR).datasets(), now=AFTER + 2000)
    assert [(row.state, row.instances) for row in judged(done, AFTER + 3000)] == [(StudyState.PAIRED, 10)] * 2
    assert [job.state for job in casebook.jobs_of(done.journal)] == [JobState.DONE]
    retention(done).step(AFTER + 3000 + 7 * DAY_S)
    assert files(done) == set()


def test_a_half_that_comes_back_alone_is_not_paired_with_a_third_study(done: Any, scan: Any) -> None:
    retention(done).step(AFTER)
    done.receive(scan(tracer=Tracer.PENTIXAFOR).datasets(), now=AFTER)
    judged(done, AFTER + 1000)
    third = {f"{kind}Date": "20260401" for kind in ("Study", "Series", "Acquisition")}
    done.receive(scan(tracer=Tracer.FDG, words=third).datasets(), now=AFTER + 2000)
    judged(done, AFTER + 3000)
    assert len(casebook.jobs_of(done.journal)) == 1


def test_objects_of_no_use_go_by_a_rule_of_their_own(folder: Any, scan: Any) -> None:
    other = scan().datasets()[:2]
    for ds in other:
        ds.Modality = "MR"
    paths = received(folder, [*other, *scan(words={"PatientID": "P9"}).datasets()])
    retention(folder, RetentionSettings(unused_days=3)).step(SENT + 3 * DAY_S - 1)
    assert files(folder) == set(paths)
    retention(folder, RetentionSettings(unused_days=3)).step(SENT + 3 * DAY_S)
    assert files(folder) == set(paths[2:])
    folder.receive(other, now=AFTER)
    judged(folder, AFTER + 1)
    with folder.journal.reading() as connection:
        assert (
            connection.execute(select(instances.c.state).where(instances.c.path.in_(paths[:2]))).scalars().all()
            == ["ignored"] * 2
        )


def test_what_an_operator_has_taken_away_is_left_to_him(folder: Any, scan: Any) -> None:
    paths = received(folder, scan().datasets())
    (folder.data / paths[0]).rename(folder.data / "aside.dcm")
    casebook.unsettle_all(folder.journal)
    judged(folder, SENT + 2000)
    retention(folder, RetentionSettings(waiting_days=1, unused_days=1)).step(AFTER)
    (folder.data / "aside.dcm").rename(folder.data / paths[0])
    recovery.recover(folder.journal, folder.inbox, AFTER)
    assert [row.path for row in arrivals.unread(folder.journal)] == [paths[0]]


def _promise(folder: Any, ds: Any, told_at: float | None) -> None:
    kept = Kept(sop_class_uid=str(ds.SOPClassUID), sop_instance_uid=str(ds.SOPInstanceUID))
    commitments.take_request(folder.journal, "2.25.77", "SCANNER", [kept], told_at or AFTER, told_at or AFTER)
    if told_at is not None:
        (promise,) = commitments.open_promises(folder.journal, told_at)
        commitments.end_promise(folder.journal, promise.id, PromiseState.TOLD, "", told_at)


@pytest.mark.parametrize("told_at", [None, AFTER - 30 * DAY_S + 1])
def test_what_a_sender_was_told_is_kept_stays_so_long_as_the_statement_says(
    done: Any, scan: Any, told_at: float | None
) -> None:
    _promise(done, scan().datasets()[0], told_at)
    retention(done).step(AFTER)
    assert len(files(done)) == 20
    retention(done).step(AFTER + DAY_S)
    assert len(files(done)) == (20 if told_at is None else 0)


def test_a_deleted_object_is_not_answered_for(done: Any, scan: Any) -> None:
    uid = str(scan().datasets()[0].SOPInstanceUID)
    assert arrivals.kept_as(done.journal, uid) != []
    assert arrivals.present(done.journal, done.data, [uid]) == {uid}
    _marked(done)  # the file is still there
    assert arrivals.kept_as(done.journal, uid) == []
    assert arrivals.present(done.journal, done.data, [uid]) == set()


def _marked(folder: Any) -> None:
    retention_ = retention(folder)
    with folder.journal.writing() as connection:
        members = [member for group in retention_._due(connection, AFTER) for member in group.members]
        assert mark_studies(connection, members, AFTER) == 20


def test_what_is_sent_again_between_mark_and_deletion_is_kept(done: Any, scan: Any) -> None:
    _marked(done)
    paths = done.receive(scan().datasets(), now=AFTER)
    retention(done).step(AFTER)
    assert files(done) == set(paths)


def test_an_object_that_comes_just_when_it_is_deleted_is_on_disk_before_it_is_acknowledged(
    done: Any, scan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The door finds the earlier copy and writes none; retention deletes it; only then does the door write the row."""
    write, deleted = entries.write, []

    def late(journal: Any, lot: Any) -> None:
        retention(done).step(AFTER)
        deleted.append(files(done) == set())
        write(journal, lot)

    monkeypatch.setattr(entries, "write", late)
    ds = scan().datasets()[0]
    assert StoreHandler(done.inbox, done.journal, 0.0)._on_store(_event(ds)) == SUCCESS
    assert deleted == [True]
    assert arrivals.present(done.journal, done.data, [str(ds.SOPInstanceUID)]) == {str(ds.SOPInstanceUID)}
    retention(done).hourly(AFTER)
    assert len(files(done)) == 1


def _event(ds: Any) -> Any:
    buffer = io.BytesIO()
    dcmwrite(buffer, ds, enforce_file_format=True)
    meta = dcmread(io.BytesIO(buffer.getvalue())).file_meta
    start = 144 + int(meta.FileMetaInformationGroupLength)
    peer = SimpleNamespace(ae_title="CT", address="127.0.0.1")
    return SimpleNamespace(
        assoc=type("Association", (), {"requestor": peer, "is_acceptor": True})(),
        request=SimpleNamespace(AffectedSOPClassUID=ds.SOPClassUID, AffectedSOPInstanceUID=ds.SOPInstanceUID),
        context=SimpleNamespace(transfer_syntax=meta.TransferSyntaxUID),
        encoded_dataset=lambda include_meta: buffer.getvalue()[start:],  # noqa: ARG005
    )


_KILLED = """
import os, signal, sys
from pathlib import Path
from service import retention
from service.inbox import Inbox
from service.journal import open_journal
from service.retention import Retention, RetentionSettings
data = Path(sys.argv[1])
real = Path.unlink
left = [int(sys.argv[2])]
def unlink(path, missing_ok=False):
    if path.suffix == ".dcm":
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
    real(path, missing_ok=missing_ok)
Path.unlink = unlink
Retention(open_journal("", data), Inbox(data), RetentionSettings(images_days_after_delivery=7), 30).step(float(sys.argv[3]))
"""


@pytest.mark.parametrize("after", [0, 7])
def test_a_node_killed_between_mark_and_deletion_ends_it_at_the_next_start(done: Any, after: int) -> None:
    ran = subprocess.run([sys.executable, "-c", _KILLED, str(done.data), str(after), str(AFTER)], check=False)
    assert ran.returncode == -signal.SIGKILL
    assert len(files(done)) == 20 - after
    assert recovery.recover(done.journal, done.inbox, AFTER) == 0
    assert [row.state for row in judged(done, AFTER)] == [StudyState.PAIRED] * 2
    retention(done).hourly(AFTER)
    assert files(done) == set()


def test_a_disk_that_does_not_allow_it_is_asked_again(done: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = retention(done)
    kept.hourly(SENT)
    with monkeypatch.context() as read_only:
        read_only.setattr(Path, "unlink", _refused)
        with pytest.raises(OSError, match="Read-only"):
            kept.step(AFTER)
    assert len(files(done)) == 20
    kept.step(AFTER)
    assert files(done) == set()


def _refused(_path: Path) -> None:
    raise OSError(30, "Read-only file system")


def test_what_would_go_is_told_and_not_done(done: Any) -> None:
    going = retention(done).would_go(AFTER)
    assert (len(going.studies), going.images, going.unused, len(set(going.paths))) == (2, 20, 0, 20)
    assert "would delete now: 20 images of 2 studies, 0 objects of no use;" in sentence(going, done.data)
    assert len(files(done)) == 20
    assert sentence(retention(done).would_go(SENT), done.data) == "Nothing would be deleted by [retention] now."


def test_it_looks_each_hour_and_a_clock_that_was_set_back_does_not_stop_it(done: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[float] = []
    hourly = retention(done)
    monkeypatch.setattr(hourly, "step", looked.append)
    for now in (1e6, 1e6 + 3599, 1e6 + 3600, 5.0, 6.0):
        hourly.hourly(now)
    assert looked == [1e6, 1e6 + 3600, 5.0]


def test_old_ledger_rows_are_taken_out_and_open_ones_stay(folder: Any, scan: Any) -> None:
    used = open_association(folder.journal, "CT", "127.0.0.1", 1.0)
    unnamed = open_association(folder.journal, "CT", "127.0.0.1", 1.0)
    for number in (used, unnamed):
        close_association(folder.journal, number, arrivals.Ending.RELEASED, 2.0)
    still_open = open_association(folder.journal, "CT", "127.0.0.1", 1.0)
    folder.receive(scan().datasets()[:1], association_id=used)
    ds = scan().datasets()[0]
    _promise(folder, ds, 100.0)
    commitments.enter(folder.journal, commitments.Request(transaction_uid="1", destination="pacs", asked_at=1.0), [], 2.0)
    commitments.enter(
        folder.journal, commitments.Request(transaction_uid="2", destination="pacs", asked_at=300 * DAY_S), [], 2.0
    )
    commitments.take_request(folder.journal, "3", "SCANNER", [], 1.0, 1.0)
    retention(folder, RetentionSettings()).step(366 * DAY_S)
    with folder.journal.reading() as connection:
        ask: Callable[[str], list[Any]] = lambda words: list(connection.exec_driver_sql(words).scalars())  # noqa: E731
        assert ask("SELECT id FROM associations ORDER BY id") == [used, still_open]
        assert ask("SELECT transaction_uid FROM commitments") == ["2"]
        assert ask("SELECT transaction_uid FROM promises") == ["3"]


def test_days_are_whole_numbers_from_0_on() -> None:
    with pytest.raises(BadSettings, match="unused_days is a finite number, 0 or more, not -1"):
        build(RetentionSettings, {"unused_days": -1}, where="duet.toml: [retention]")


def test_owed_is_what_postings_say_is_owed() -> None:
    over = {DeliveryState.DELIVERED, DeliveryState.COMMITTED}
    assert set(postings.OWED) == set(DeliveryState) - over


def test_a_data_folder_without_an_inbox_has_nothing_to_go(folder: Any, tmp_path: Path) -> None:
    assert retention(folder).would_go(AFTER).paths == ()
