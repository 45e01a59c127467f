"""`duet restore`: a new data folder on which a node goes on; what the backup does not hold is told; nothing by halves."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from old_journals import fill, old_journal, rows
from postgres import Postgres
from sqlalchemy import select, update

from analysis.errors import BadSettings
from analysis.values import Tracer
from service import casebook, intake, recovery
from service.arrivals import GONE
from service.backup import Wish, back_up
from service.backup_restore import Request, restore
from service.config import Settings
from service.inbox import Inbox
from service.intake import Rules
from service.journal import Journal, open_journal
from service.journal_folder import FACT
from service.journal_upgrade import BackupSettings, upgraded_journal
from service.overview import overview
from service.postings import Posting
from service.readiness import IntakeSettings
from service.render import Page
from service.tables import InstanceState, JobState, StudyState, instances, jobs

RULES = Rules(intake=IntakeSettings(silence_s=30, patience_s=300))
KEPT = "journal.sqlite"


def silent(_message: str, _fraction: float) -> None:
    """Nobody watches."""


def backup_of(folder: Any, target: Path, *, images: bool = False) -> Path:
    made, _ = back_up(Settings(tables={"node": {"data": str(folder.data)}}), Wish(target=target, images=images), silent)
    return made


def put_back(backup: Path, data: Path) -> tuple[Journal, str]:
    told = " ".join(restore(Request(backup=backup, data=data), silent))
    return open_journal("", data), told


def judged(journal: Journal, data: Path, now: float) -> list[casebook.StudyRow]:
    intake.step(journal, data, RULES, now)
    return casebook.studies_of(journal)


def received_pair(folder: Any, scan: Any) -> casebook.JobRow:
    for tracer in (Tracer.FDG, Tracer.PENTIXAFOR):
        folder.receive(scan(tracer=tracer).datasets())
    judged(folder.journal, folder.data, 1000.0)
    (job,) = casebook.jobs_of(folder.journal)
    return job


def finished(folder: Any) -> casebook.JobRow:
    job = casebook.claim(folder.journal, 2000.0)
    assert job is not None
    case = folder.data / "cases" / job.pair_uid
    case.mkdir(parents=True)
    (case / "sr.dcm").write_text("report")
    posting = Posting(destination="pacs", sop_instance_uid="2.25.1", path=f"cases/{job.pair_uid}/sr.dcm")
    casebook.finish(folder.journal, job.id, [posting], 2000.0)
    return job


def test_with_images_everything_is_there_again_and_goes_on(folder: Any, scan: Any, tmp_path: Path) -> None:
    received_pair(folder, scan)
    job = finished(folder)
    backup = backup_of(folder, tmp_path / "b.tar", images=True)
    journal, told = put_back(backup, tmp_path / "new")
    before, after = rows(f"sqlite:///{folder.data / KEPT}"), rows(f"sqlite:///{tmp_path / 'new' / KEPT}")
    assert {**after, "facts": [row for row in after["facts"] if row["name"] not in ("restored", FACT)]} == before
    for path in (*Inbox(folder.data).files(), f"cases/{job.pair_uid}/sr.dcm"):
        assert (tmp_path / "new" / path).read_bytes() == (folder.data / path).read_bytes()
    assert "1 cases, 0 cohort reports, 20 received images" in told
    assert "not in the backup" not in told
    assert "What came after the backup was made is not known here" in told
    assert [row.state for row in judged(journal, tmp_path / "new", 3000.0)] == [StudyState.PAIRED] * 2
    assert any(line.startswith("Restored ") and "is to be sent again" in line for line in Page().lines(overview(journal)))


def test_without_images_a_finished_case_is_kept_and_its_studies_say_so(folder: Any, scan: Any, tmp_path: Path) -> None:
    received_pair(folder, scan)
    finished(folder)
    journal, told = put_back(backup_of(folder, tmp_path / "b.tar"), tmp_path / "new")
    assert "20 received objects are in the journal and not in the backup" in told
    for row in judged(journal, tmp_path / "new", 3000.0):
        assert (row.state, row.settled) == (StudyState.PAIRED, True)
        assert row.sentence == "Its images are not in the backup that was restored; its finished case is kept."
    assert [job.state for job in casebook.jobs_of(journal)] == [JobState.DONE]


def test_without_images_an_unfinished_case_says_what_is_to_be_sent_and_is_made_when_it_came(
    folder: Any, scan: Any, tmp_path: Path
) -> None:
    received_pair(folder, scan)
    assert casebook.claim(folder.journal, 2000.0) is not None  # it is running
    data = tmp_path / "new"
    journal, _ = put_back(backup_of(folder, tmp_path / "b.tar"), data)
    casebook.resume(journal, 3000.0)
    with journal.reading() as connection:
        assert set(connection.execute(select(instances.c.state, instances.c.sentence))) == {(InstanceState.IGNORED, GONE)}
    for row in judged(journal, data, 3000.0):
        assert row.state is StudyState.WAITING
        assert "No file of the study is in the inbox any more" in row.sentence
        assert "send it again" in row.sentence
    assert [job.state for job in casebook.jobs_of(journal)] == [JobState.WITHDRAWN]
    folder.journal, folder.data, folder.inbox = journal, data, Inbox(data)
    folder.inbox.prepare()
    for tracer in (Tracer.FDG, Tracer.PENTIXAFOR):
        folder.receive(scan(tracer=tracer).datasets(), now=4000.0)
    assert [row.state for row in judged(journal, data, 5000.0)] == [StudyState.PAIRED] * 2
    assert [job.state for job in casebook.jobs_of(journal)] == [JobState.QUEUED]


def test_an_image_that_came_after_the_journal_was_copied_is_entered_at_the_start(
    folder: Any, scan: Any, tmp_path: Path
) -> None:
    late = folder.receive(scan().datasets())
    with folder.journal.writing() as connection:
        connection.execute(instances.delete().where(instances.c.path == late[0]))
    data = tmp_path / "new"
    journal, _ = put_back(backup_of(folder, tmp_path / "b.tar", images=True), data)
    assert recovery.recover(journal, Inbox(data), 3000.0) == 1


def test_results_that_are_not_in_the_backup_are_told(folder: Any, scan: Any, tmp_path: Path) -> None:
    received_pair(folder, scan)
    job = finished(folder)
    (folder.data / "cases" / job.pair_uid / "sr.dcm").unlink()
    _, told = put_back(backup_of(folder, tmp_path / "b.tar"), tmp_path / "new")
    assert "The results of 1 case(s) are in the journal and not in the backup." in told


@pytest.mark.parametrize("there", ["file", "node.lock"])
def test_a_folder_that_is_not_empty_is_left_alone(folder: Any, tmp_path: Path, there: str) -> None:
    backup = backup_of(folder, tmp_path / "b.tar")
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / there).touch()
    with pytest.raises(BadSettings, match="is not empty"):
        put_back(backup, tmp_path / "new")
    assert [path.name for path in (tmp_path / "new").iterdir()] == [there]


def test_a_damaged_backup_touches_nothing(folder: Any, scan: Any, tmp_path: Path) -> None:
    folder.receive(scan().datasets())
    backup = backup_of(folder, tmp_path / "b.tar", images=True)
    content = bytearray(backup.read_bytes())
    content[600] ^= 1
    backup.write_bytes(content)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(BadSettings, match=r"is damaged: 1 of its files are not what was written, the first is journal\.sqlite"):
        put_back(backup, tmp_path / "new")
    assert sorted(tmp_path.iterdir()) == before


def test_a_backup_of_a_later_duet_or_of_another_database_is_refused(
    folder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = backup_of(folder, tmp_path / "b.tar")
    with pytest.raises(BadSettings, match=r"its journal is of SQLite: leave \[node\] journal empty"):
        restore(Request(backup=backup, data=tmp_path / "new", journal="postgresql+psycopg://127.0.0.1:9/x"), silent)
    monkeypatch.setattr("service.backup_restore.HEAD", "0001")
    with pytest.raises(BadSettings, match="of a later duet"):
        put_back(backup, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_backup_of_the_first_revision_is_restored_and_upgraded_by_the_node_that_starts(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir()
    old_journal(f"sqlite:///{old / KEPT}", "0001")
    fill(f"sqlite:///{old / KEPT}")
    made, _ = back_up(Settings(tables={"node": {"data": str(old)}}), Wish(target=tmp_path / "b.tar"), silent)
    restore(Request(backup=made, data=tmp_path / "new"), silent)
    journal = upgraded_journal("", tmp_path / "new", BackupSettings())
    assert len(casebook.jobs_of(journal)) == 6
    journal.close()


@pytest.mark.peer("postgres")
def test_a_journal_of_postgresql_goes_into_an_empty_database_and_nowhere_else(
    folder: Any, scan: Any, tmp_path: Path, postgres: Postgres
) -> None:
    with postgres.databases() as make:
        url, new = make(), make()
        journal = open_journal(url, folder.data)
        folder.journal.close()
        (folder.data / KEPT).unlink()
        folder.journal = journal
        received_pair(folder, scan)
        finished(folder)
        settings = Settings(tables={"node": {"data": str(folder.data), "journal": url}})
        backup, _ = back_up(settings, Wish(target=tmp_path / "b.tar"), silent)
        for address, told in (("", "of PostgreSQL: name a new, empty database"), (url, "holds a journal already")):
            with pytest.raises(BadSettings, match=told):
                restore(Request(backup=backup, data=tmp_path / "new", journal=address), silent)
        told = " ".join(restore(Request(backup=backup, data=tmp_path / "new", journal=new), silent))
        assert "20 received objects are in the journal and not in the backup" in told
        assert [job.state for job in casebook.jobs_of(open_journal(new, tmp_path))] == [JobState.DONE]
        assert not (tmp_path / "new" / "journal.pgdump").exists()
        journal.close()


_KILLED = """
import os, signal, sys
from pathlib import Path
from service import backup_restore
point = sys.argv[3]
def die(*_words, **_named):
    os.kill(os.getpid(), signal.SIGKILL)
if point == "stock":
    backup_restore._take_stock = die
elif point == "sync":
    backup_restore.sync_tree = die
elif point == "rename":
    Path.rename = die
backup_restore.restore(backup_restore.Request(backup=Path(sys.argv[1]), data=Path(sys.argv[2])), lambda _m, _f: None)
"""


@pytest.mark.parametrize("point", ["stock", "sync", "rename"])
def test_a_restore_that_is_killed_leaves_nothing_under_the_name_and_can_be_done_again(
    folder: Any, scan: Any, tmp_path: Path, point: str
) -> None:
    folder.receive(scan().datasets())
    backup = backup_of(folder, tmp_path / "b.tar", images=True)
    words = [sys.executable, "-c", _KILLED, str(backup), str(tmp_path / "new"), point]
    assert subprocess.run(words, check=False).returncode == -signal.SIGKILL
    assert not (tmp_path / "new").exists()
    put_back(backup, tmp_path / "new")


def test_a_case_on_hold_keeps_its_studies_as_they_are(folder: Any, scan: Any, tmp_path: Path) -> None:
    received_pair(folder, scan)
    finished(folder)
    with folder.journal.writing() as connection:
        connection.execute(update(jobs).values(state=JobState.HELD, reason=casebook.HELD_BY_QUALITY))
    journal, _ = put_back(backup_of(folder, tmp_path / "b.tar"), tmp_path / "new")
    assert [row.state for row in judged(journal, tmp_path / "new", 3000.0)] == [StudyState.PAIRED] * 2
    assert [job.state for job in casebook.jobs_of(journal)] == [JobState.HELD]
