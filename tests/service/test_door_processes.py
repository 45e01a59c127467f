"""Several processes behind one port: what one of them, or the node itself, takes with it when it dies, and that the callers
see one door. Real processes, dcmtk's storescu and a sender written out by hand."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import door_alone
import psutil
import pytest
from certificates import Authority
from door_crowd import children, crowd, first_to_lose, lives, rows
from door_peers import BrokenError, Peer, nothing_lost, send, some_object
from nodes import free_port, until
from pydicom import Dataset, dcmwrite
from pynetdicom import AE, evt
from pynetdicom.sop_class import StorageCommitmentPushModel  # type: ignore[attr-defined]
from structlog.testing import capture_logs

from service import door_processes
from service.counts import BYTES, COUNTS, OBJECTS
from service.door_process import Plan
from service.door_processes import Processes
from service.receiver import ReceiverSettings
from service.tls import TlsSettings

SUCCESS, FAILURE = 0x0000, 0x0110


@pytest.mark.peer("storescu")
def test_four_senders_are_shared_out_and_the_node_counts_them_all(
    folder: Any, scan: Any, port: int, tmp_path: Path, program: Callable[[str], str]
) -> None:
    """dcmtk's storescu; which of the processes serves whom is told by the journal."""
    before, bytes_before = COUNTS.of(OBJECTS).get("stored", 0), sum(COUNTS.of(BYTES).values())
    datasets = scan(slices=8, modalities=("CT",)).datasets()
    for number, ds in enumerate(datasets):
        dcmwrite(tmp_path / f"{number}.dcm", ds, enforce_file_format=True)
    with crowd(folder, port, 2):
        command = [program("storescu"), "-aec", "DUET", "127.0.0.1", str(port)]
        files = [str(tmp_path / f"{number}.dcm") for number in range(8)]
        senders = [subprocess.Popen([*command, *files[2 * k : 2 * k + 2]]) for k in range(4)]
        assert [sender.wait(60) for sender in senders] == [0] * 4
    served = rows(folder)
    assert sorted(Counter(door for door, _ in served).values()) == [2, 2]
    assert {ending for _, ending in served} == {"released"}
    with folder.journal.reading() as connection:
        stored = connection.exec_driver_sql("SELECT sop_instance_uid FROM instances").scalars().all()
    assert sorted(stored) == sorted(str(ds.SOPInstanceUID) for ds in datasets)
    assert COUNTS.of(OBJECTS)["stored"] - before == 8
    assert sum(COUNTS.of(BYTES).values()) - bytes_before > 0
    assert children() == []


def test_a_process_that_is_killed_takes_its_own_callers_alone(folder: Any, port: int) -> None:
    """What it had acknowledged is there; its association counts as broken; the other one's goes on; it is started anew."""
    objects = [some_object() for _ in range(40)]
    with crowd(folder, port, 2) as behind, Peer(port) as first, Peer(port) as second, capture_logs() as lines:
        first.associate()
        second.associate()
        told = {sent.uid: sent.digest for sent in objects[:10] if first.store(sent) == SUCCESS}
        told |= {sent.uid: sent.digest for sent in objects[10:20] if second.store(sent) == SUCCESS}
        victim = first_to_lose(children(), first)
        until(lambda: behind.ready == 1, "its end is noticed")
        until(lambda: behind.ready == 2, "another is ready")
        told |= {sent.uid: sent.digest for sent in objects[20:30] if second.store(sent) == SUCCESS}
        with pytest.raises(BrokenError):
            first.store(objects[30])
        told |= send(port, objects[30:])
        second.release()
        assert victim.pid not in [each.pid for each in children()]
    assert len(told) == 40
    nothing_lost(folder.data, told)
    assert Counter(ending for _, ending in rows(folder)) == {"broken": 1, "released": 2}
    assert "a door process has ended and is started anew" in [line["event"] for line in lines]


def test_rows_that_a_killed_process_had_not_written_are_written_for_it(folder: Any, port: int) -> None:
    """The journal is locked while objects come, so that no row can be written; then the process is killed."""
    with crowd(folder, port, 1) as behind:
        with folder.journal.writing(), Peer(port) as peer:
            peer.associate()
            objects = [some_object() for _ in range(5)]
            told = {sent.uid: sent.digest for sent in objects if peer.store(sent) == SUCCESS}
            assert len(told) == 5
            children()[0].send_signal(signal.SIGKILL)
            time.sleep(0.1)
        until(lambda: len(recorded(folder)) == 5, "the rows are there")
        until(lambda: behind.ready == 1, "another is ready")
    nothing_lost(folder.data, told)


def test_a_journal_that_is_locked_is_said_of_every_process(folder: Any, port: int) -> None:
    """Another program writes in it and does not end: objects are taken for some seconds, then refused, then taken again."""
    objects = [some_object() for _ in range(3)]
    with crowd(folder, port, 1) as behind, Peer(port) as peer:
        peer.associate()
        with folder.journal.writing():
            assert peer.store(objects[0]) == SUCCESS
            until(lambda: behind.behind, "the rows wait for too long")
            assert peer.store(objects[1]) == FAILURE
        until(lambda: not behind.behind, "the journal is written again")
        assert [peer.store(sent) for sent in objects[1:]] == [SUCCESS] * 2
        peer.release()
    nothing_lost(folder.data, {sent.uid: sent.digest for sent in objects})


def recorded(folder: Any) -> list[str]:
    with folder.journal.reading() as connection:
        return [str(row[0]) for row in connection.exec_driver_sql("SELECT path FROM instances")]


def test_with_the_node_all_its_processes_end(folder_of: Any, tmp_path: Path, port: int) -> None:
    """SIGKILL of the node; the next one has port and folder for itself, and everything that was acknowledged."""
    data, objects = tmp_path / "node", [some_object() for _ in range(30)]
    command = [sys.executable, door_alone.__file__, str(data), str(port), "2"]
    told: dict[str, str] = {}
    first = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert first.stdout is not None
    assert first.stdout.readline() == b"ready\n"
    left = [psutil.Process(each.pid) for each in psutil.Process(first.pid).children()]
    assert len(left) == 2
    with Peer(port) as peer:
        peer.associate()
        told |= {sent.uid: sent.digest for sent in objects[:15] if peer.store(sent) == SUCCESS}
        peer.say(peer.whole(objects[15])[:9000])
        first.kill()
        first.wait()
        assert peer.closed()
    until(lambda: not any(map(lives, left)), "its processes have ended")
    second = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert second.stdout is not None
    assert second.stdout.readline() == b"ready\n"
    told |= send(port, objects[15:])
    second.send_signal(signal.SIGTERM)
    assert second.wait(30) == 0
    first.stdout.close()
    second.stdout.close()
    assert len(told) == 30
    nothing_lost(data, told)


def test_the_places_are_those_of_all_processes_together(folder: Any, port: int) -> None:
    with crowd(folder, port, 2, associations=2, negotiation_timeout_s=0.5), ThreadPoolExecutor(1) as pool:
        first, second = Peer(port).associate(), Peer(port).associate()
        with Peer(port) as third, pytest.raises(BrokenError):  # put off after half a second
            third.associate()
        waiting = pool.submit(lambda: Peer(port).associate())
        first.release()
        late = waiting.result()
        assert late.echo() == SUCCESS
        for peer in (second, late):
            peer.release()


def test_a_request_for_commitment_is_answered_by_the_process_that_serves_it(folder: Any, port: int) -> None:
    """Objects came by another process a moment before; nobody is called back, for no [[sender]] is named."""
    sent = [some_object() for _ in range(3)]
    reports: list[tuple[int, Dataset]] = []

    def hear(event: Any) -> tuple[int, None]:
        reports.append((event.event_type, event.event_information))
        return SUCCESS, None

    ae = AE(ae_title="SCANNER")
    ae.add_requested_context(StorageCommitmentPushModel)
    with crowd(folder, port, 2), Peer(port) as storing:
        storing.associate()
        assert [storing.store(each) for each in sent] == [SUCCESS] * 3
        assoc = ae.associate("127.0.0.1", port, ae_title="DUET", evt_handlers=[(evt.EVT_N_EVENT_REPORT, hear)])
        ds, items = Dataset(), []
        for each in sent:
            item = Dataset()
            item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.128", each.uid
            items.append(item)
        ds.TransactionUID, ds.ReferencedSOPSequence = "1.2.3.4", items
        status, _ = assoc.send_n_action(ds, 1, StorageCommitmentPushModel, "1.2.840.10008.1.20.1.1")
        assert status.Status == SUCCESS
        until(lambda: reports, "the report")
        assoc.release()
        storing.release()
    assert [kind for kind, _ in reports] == [1]  # PS3.4 J.3.3: all kept
    assert {item.ReferencedSOPInstanceUID for item in reports[0][1].ReferencedSOPSequence} == {each.uid for each in sent}
    assert len({door for door, _ in rows(folder)}) == 1
    with folder.journal.reading() as connection:
        assert connection.exec_driver_sql("SELECT state FROM promises").scalars().all() == ["told"]


@pytest.mark.peer("openssl")
@pytest.mark.peer("storescu")
def test_tls_is_spoken_by_the_processes(
    folder: Any, scan: Any, port: int, tmp_path: Path, program: Callable[[str], str]
) -> None:
    """dcmtk's storescu +tls with a client certificate; one without is refused, and the node's audit trail says so."""
    authority = Authority(tmp_path, program)
    node, caller = authority.pair("DUET"), authority.pair("SCANNER")
    tls = TlsSettings(
        host="127.0.0.1", port=free_port(), certificate_file=node.certificate, key_file=node.key, ca_file=authority.file
    )
    dcmwrite(tmp_path / "one.dcm", scan(slices=1, modalities=("CT",)).datasets()[0], enforce_file_format=True)
    ends = ["-to", "5", "-aec", "DUET", "127.0.0.1", str(tls.port), str(tmp_path / "one.dcm")]
    known = ["+tls", str(caller.key), str(caller.certificate), "+cf", str(authority.file)]
    with crowd(folder, port, 1, tls=tls):
        assert subprocess.run([program("storescu"), *known, *ends], check=False).returncode == 0
        nobody = [program("storescu"), "+tla", "+cf", str(authority.file), *ends]
        assert subprocess.run(nobody, check=False, capture_output=True).returncode != 0
    assert [(door is None, ending) for door, ending in rows(folder)] == [(False, "released")]
    trail = (folder.data / "logs" / "audit.jsonl").read_text(encoding="utf-8")
    assert "TLS handshake failed" in trail


def test_where_no_process_can_be_started_the_node_serves_its_callers(
    folder: Any, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    sent = some_object()
    with capture_logs() as lines, crowd(folder, port, 1, ready=False) as behind:
        until(lambda: "a door process has ended and is started anew" in [line["event"] for line in lines], "it is told")
        assert behind.ready == 0
        told = send(port, [sent])
    nothing_lost(folder.data, told)
    assert rows(folder) == [(None, "released")]


def test_a_process_that_hangs_gets_no_callers_and_is_replaced(folder: Any, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door_processes, "SILENT_S", 1.0)
    objects = [some_object() for _ in range(4)]
    with crowd(folder, port, 2) as behind:
        hung = children()[0]
        hung.suspend()
        until(lambda: behind.ready == 1, "it is noticed")
        told = {}
        for sent in objects:
            told |= send(port, [sent])
        with monkeypatch.context() as patch:
            patch.setattr(door_processes, "HUNG_S", 1.0)
            until(lambda: hung not in children(), "it is killed")
        until(lambda: behind.ready == 2, "another takes its place")
    nothing_lost(folder.data, told)
    assert len({door for door, _ in rows(folder)}) == 1


@pytest.mark.parametrize(
    ("for_the_caller", "word"),
    [(False, "no more connections can be open, a caller was let go"), (True, "a caller could not be served")],
)
def test_a_process_without_descriptors_lets_a_caller_go_and_lives_on(
    folder: Any, port: int, for_the_caller: bool, word: str
) -> None:
    """One with none for the connection, or with that one and none for what an association needs."""
    sent = some_object()
    with crowd(folder, port, 1), capture_logs() as lines:
        process = children()[0]
        usual = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
        used = {int(each.name) for each in Path(f"/proc/{process.pid}/fd").iterdir()}
        free = min(set(range(len(used) + 1)) - used)
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (free + for_the_caller, usual[1]))
        with Peer(port, timeout=10) as peer:
            assert peer.closed()
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, usual)
        told = send(port, [sent])
        assert children() == [process]
        until(lambda: word in [each["event"] for each in lines], "it is told")
    nothing_lost(folder.data, told)
    assert [door is None for door, _ in rows(folder)] == [False]


def test_the_lock_on_the_folder_lasts_as_long_as_a_process(folder: Any, port: int) -> None:
    """An old process that cannot end yet, for instance for a disk that hangs, must not meet the next node."""
    plan = Plan(ae_title="DUET", data=folder.data, receiver=ReceiverSettings(host="127.0.0.1", port=port, processes=1))
    lock = os.open(folder.data / "node.lock", os.O_RDWR | os.O_CREAT)
    with door_alone.kept(behind := Processes(plan, folder.journal, folder.inbox, keep_open=[lock])):
        until(lambda: behind.ready == 1, "it is ready")
        held = {Path(each.path).name for each in children()[0].open_files()}
    os.close(lock)
    assert "node.lock" in held
