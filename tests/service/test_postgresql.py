"""What differs on a real PostgreSQL server: strict lengths and signs, many writers, many connections, one that goes away."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from associations import open_association
from duet_command import duet
from nodes import NodeProcess, free_port
from postgres import Postgres, running
from sqlalchemy import create_engine, func, select
from sqlalchemy.exc import SQLAlchemyError
from workforce import queue_job

from analysis.errors import BadSettings
from service import arrivals, casebook, intake, outcomes, postings, releases
from service.arrivals import Arrival
from service.intake import Rules
from service.journal import MIGRATIONS, Journal, open_journal
from service.postings import Posting
from service.tables import InstanceState, JobState, instances, metadata

pytestmark = pytest.mark.peer("postgres")


@pytest.fixture
def url(postgres: Postgres) -> Iterator[str]:
    with postgres.database() as address:
        yield address


@pytest.fixture
def journal(url: str, tmp_path: Path) -> Iterator[Journal]:
    opened = open_journal(url, tmp_path)
    yield opened
    opened.close()


def arrival(number: int, **words: Any) -> Arrival:
    given = {"sop_class_uid": "1.2", "sop_instance_uid": f"1.2.{number}", "digest": "d", "path": f"inbox/{number}.dcm"}
    return Arrival(**{**given, "received_at": 1.0, **words})


def count(journal: Journal) -> int:
    with journal.reading() as connection:
        return int(connection.execute(select(func.count()).select_from(instances)).scalar_one())


def test_a_journal_of_the_first_revision_is_upgraded_and_keeps_its_case(url: str, tmp_path: Path) -> None:
    script = ScriptDirectory(str(MIGRATIONS), version_locations=[str(MIGRATIONS)])
    engine = create_engine(url)
    steps = {"fn": lambda begun, _context: script._upgrade_revs("0001", begun)}
    with EnvironmentContext(Config(), script, **steps) as environment, engine.begin() as connection:
        environment.configure(connection=connection, transactional_ddl=True)
        environment.run_migrations()
        connection.exec_driver_sql(
            "INSERT INTO jobs (pair_uid, patient_id, issuer, fdg_study, pentixafor_study, version, inputs, state, reason,"
            " sentence, progress, failures, next_try_at, created_at)"
            " VALUES ('2.25.7', 'P1', '', '1.2', '1.3', 1, '{}', 'held', 'Quality', 'Look.', '', 0, 0, 5)"
        )
    engine.dispose()
    # A node that starts, and a command beside it.
    code = "import sys; from service.journal import Journal; Journal(sys.argv[1]).migrate()"
    with subprocess.Popen([sys.executable, "-c", code, url]) as beside:
        first = Journal(url)
        first.migrate()
    assert beside.returncode == 0
    second = open_journal(url, tmp_path)
    with first.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        assert connection.exec_driver_sql("SELECT ranks_at FROM jobs").scalar() == 5
        kind = "SELECT data_type FROM information_schema.sequences WHERE sequence_name = 'instances_id_seq'"
        assert connection.exec_driver_sql(kind).scalar() == "bigint"
    releases.release(first, "1", by="A. Operator", why="Looked at.", now=1.0)
    (due,) = releases.due(second, 2.0)
    assert releases.complete(second, due.given, [Posting(destination="pacs", sop_instance_uid="1", path="a.dcm")], 3.0)
    assert [row.path for row in postings.due(first, "pacs", 1e12)] == ["a.dcm"]
    assert releases.one_case(first, "2.25.").state is JobState.DONE
    first.close()
    second.close()


def test_an_object_that_comes_again_is_seen_again(journal: Journal) -> None:
    arrivals.record(journal, arrival(1))
    arrivals.record(journal, arrival(1, received_at=9.0))
    assert [row.received_at for row in arrivals.unread(journal)] == [9.0]


def test_a_glance_at_one_object(journal: Journal) -> None:
    one = arrival(1)
    arrivals.record(journal, one, arrival(2))
    assert arrivals.known_path(journal, one.sop_instance_uid, one.digest) == one.path
    assert arrivals.known_path(journal, one.sop_instance_uid, "another") is None


def test_sixty_four_associations_at_once_beside_a_long_writer_lose_nothing(journal: Journal) -> None:
    def send(number: int) -> None:
        association = open_association(journal, f"AE{number}", "127.0.0.1", 1.0)
        for each in range(5):
            assert arrivals.record(journal, arrival(number * 100 + each, association_id=association)) == [True]

    def send_again(number: int) -> list[bool]:
        return arrivals.record(journal, arrival(7, association_id=number + 1))  # all of them send this one

    with ThreadPoolExecutor(64) as senders:
        with journal.writing():
            for done in [senders.submit(send, number) for number in range(64)]:
                done.result(timeout=60)
            again = [senders.submit(send_again, number) for number in range(64)]  # they wait for the writer
        assert sorted(done.result(timeout=60) for done in again) == [[False]] * 63 + [[True]]
    assert count(journal) == 64 * 5 + 1


def test_a_view_does_not_change_while_it_is_looked_at_and_writes_nothing(journal: Journal) -> None:
    with journal.reading() as connection:
        query = select(func.count()).select_from(instances)
        before = connection.execute(query).scalar()
        arrivals.record(journal, arrival(1))
        assert connection.execute(query).scalar() == before
        with pytest.raises(SQLAlchemyError, match="read-only"):
            connection.execute(instances.delete())


def test_one_writes_at_a_time_also_from_another_process(journal: Journal, url: str, tmp_path: Path) -> None:
    other, order = open_journal(url, tmp_path), []

    def write() -> None:
        with other.writing():
            order.append("second")

    with journal.writing():
        thread = threading.Thread(target=write)
        thread.start()
        time.sleep(0.3)
        order.append("first")
    thread.join()
    other.close()
    assert order == ["first", "second"]


def test_signs_that_no_database_takes_are_replaced(journal: Journal) -> None:
    number = queue_job(journal, "2.25.1", [])
    casebook.claim(journal, 1.0)
    casebook.set_aside(journal, number, JobState.HELD, "Reason", "A\0B \udce9 ö")
    (job,) = casebook.jobs_of(journal)
    assert job.sentence == "A\ufffdB \ufffd ö"
    journal.remember("a\0b", "\udce9")
    assert journal.fact("a\0b") == "\ufffd"


LONG = {"PatientID": "P" * 65, "IssuerOfPatientID": "I" * 65, "StudyInstanceUID": "1." + "2" * 63}


@pytest.mark.parametrize("keyword", LONG)
def test_what_is_longer_than_dicom_allows_is_kept_and_told_and_stops_nothing(
    keyword: str, url: str, tmp_path: Path, folder_of: Any, scan: Any
) -> None:
    folder = folder_of(tmp_path, url)
    folder.receive(scan(words={keyword: LONG[keyword]}, slices=2).datasets())
    folder.receive(scan(slices=3).datasets())
    intake.step(folder.journal, folder.data, Rules(), 1000.0)
    assert [study.instances for study in casebook.studies_of(folder.journal)] == [6]
    with folder.journal.reading() as connection:
        rows = (
            connection.execute(select(instances.c.sentence).where(instances.c.state == InstanceState.REJECTED)).scalars().all()
        )
    assert len(rows) == 4
    assert set(rows) == {f"{keyword} has {len(LONG[keyword])} characters, DICOM allows 64; correct it and send it again."}
    folder.journal.close()


def test_a_server_that_is_restarted_is_waited_for(program: Any, tmp_path: Path) -> None:
    with running(Path(program("postgres"))) as server, server.database() as url:
        journal = open_journal(url, tmp_path)
        arrivals.record(journal, arrival(1))
        server.stop()
        with pytest.raises(SQLAlchemyError):  # the door answers "processing failure", and the sender sends it again
            arrivals.record(journal, arrival(2))
        with pytest.raises(BadSettings, match="cannot be used"):
            open_journal(url, tmp_path)
        server.start()
        for number in (1, 2):
            arrivals.record(journal, arrival(number))
        assert count(journal) == 2
        assert outcomes.outcomes_of(journal) == {}
        journal.close()


@pytest.mark.peer("echoscu")
def test_a_node_whose_database_is_away_says_so_and_comes_up_once_it_is_back(program: Any, tmp_path: Path) -> None:
    with running(Path(program("postgres"))) as server, server.database() as url:
        node = NodeProcess(tmp_path / "node", program, free_port())
        node.config.write_text(node.config.read_text().replace("[node]", f'[node]\njournal = "{url}"'))
        server.stop()
        try:
            node.start()
            assert node.ended() == 2
            (told,) = node.log().splitlines()
            assert told.startswith("duet: The journal 127.0.0.1:")
            assert "see whether it can be reached" in told
            server.start()
            node.start()  # as its supervisor does, see tests/test_deploy.py
            node.wait_for_door()
        finally:
            node.clean_up()


def test_a_journal_without_one_of_its_tables_is_told_in_a_sentence(url: str, journal: Journal, tmp_path: Path) -> None:
    with journal.writing() as connection:
        connection.exec_driver_sql("DROP TABLE associations CASCADE")
    (tmp_path / "duet.toml").write_text(f'[node]\njournal = "{url}"\ndata = "{tmp_path / "data"}"\n')
    ran = duet("serve", "--config", tmp_path / "duet.toml")
    assert (ran.returncode, len(ran.stderr.splitlines())) == (2, 1)
    assert 'cannot be used (relation "associations" does not exist' in ran.stderr
