"""A node between two destinations, killed between stored and committed: nothing is lost, nothing is sent twice, all is told."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from deliveries import posted
from hostile_web import HostileServer, uid_of
from nodes import NodeProcess, Orthanc, free_port, until

from service.journal import open_journal

STORED = "SELECT count(*) FROM deliveries WHERE destination = 'pacs' AND state = 'stored' AND asks > 0"
COMMITTED = "SELECT count(*) FROM deliveries WHERE destination = 'pacs' AND state = 'committed'"
SENT = "SELECT max(stored_at) FROM deliveries WHERE destination = 'pacs'"
OBJECTS = 6


@pytest.mark.peer("Orthanc")
@pytest.mark.timeout(120)
def test_a_node_that_is_killed_before_the_commitment_asks_again(
    tmp_path: Path, scan: Any, program: Callable[[str], str]
) -> None:
    with socket.socket() as silent, Orthanc(tmp_path / "orthanc", program).running() as archive:
        silent.bind(("127.0.0.1", 0))
        silent.listen(50)  # accepts TCP and never says a word
        port = silent.getsockname()[1]
        more = f'commitment = "require"\n[[destination]]\nname = "silent"\nurl = "dicom://S@127.0.0.1:{port}"\n'
        node = NodeProcess(tmp_path / "node", program, archive.port, more)
        data = tmp_path / "node" / "data"
        data.mkdir()
        journal = open_journal("", data)
        posted(SimpleNamespace(data=data, journal=journal), scan, cases=2, destinations=("pacs", "silent"))
        journal.close()
        try:
            node.start()  # the archive does not know the node: what it stores it cannot answer for
            until(lambda: node.ask(STORED) == [(OBJECTS,)], f"all stored\n{node.log()[-3000:]}", 60)
            node.kill()
            sent = node.ask(SENT)
            assert node.ask(COMMITTED) == [(0,)]
            archive.know("DUET", node.port)
            node.start()
            until(lambda: node.ask(COMMITTED) == [(OBJECTS,)], f"all committed\n{node.log()[-3000:]}", 60)
            assert node.ask(SENT) == sent  # nothing was sent again
            assert "pacs: 3 of 3, 3 committed. silent: 0 of 3" in node.status()
            assert len(archive.holds()) == OBJECTS
        finally:
            node.clean_up()


DONE = "SELECT count(*), sum(failures) FROM deliveries WHERE state = 'delivered'"


@pytest.mark.peer("storescp")
@pytest.mark.timeout(120)
def test_what_is_killed_while_results_are_on_their_way_loses_none_and_sends_at_most_one_twice(
    tmp_path: Path, scan: Any, program: Callable[[str], str]
) -> None:
    """The process that computes cases, then the whole node; to dcmtk's storescp and by STOW-RS."""
    sent: Counter[str] = Counter()

    def answer(request: bytes) -> Iterator[bytes]:
        sent[uid_of(request)] += 1
        time.sleep(0.05)
        body = json.dumps({"00081199": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": [uid_of(request)]}}]}})
        yield b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(body), body.encode())

    archive, port = tmp_path / "archive", free_port()
    archive.mkdir()
    with HostileServer(answer).running() as web:
        more = f'[[destination]]\nname = "web"\nurl = "{web.url}"\n'
        node = NodeProcess(tmp_path / "node", program, port, more)
        data = tmp_path / "node" / "data"
        data.mkdir()
        journal = open_journal("", data)
        uids = posted(SimpleNamespace(data=data, journal=journal), scan, cases=50, destinations=("pacs", "web"))
        journal.close()
        receiver = subprocess.Popen([program("storescp"), "-od", archive, "-uf", "--accept-all", str(port)])
        try:
            node.start()
            until(lambda: len(sent) > 5 and node.workers(), "results go out, and a worker is there", 60)
            for worker in node.workers():
                worker.kill()
            seen = len(sent)
            until(lambda: len(sent) > seen + 5, "they go on", 30)
            node.kill()
            twice = sum(sent.values())
            node.start()
            until(lambda: node.ask(DONE) == [(300, 0)], f"all delivered\n{node.log()[-3000:]}", 60)
        finally:
            node.clean_up()
            receiver.terminate()
            receiver.wait(timeout=10)
    assert twice < 150, "the node was killed in the middle"
    assert set(sent) == {uid for case in uids for uid in case}
    assert sum(sent.values()) <= 151
    assert len(list(archive.iterdir())) == 150
