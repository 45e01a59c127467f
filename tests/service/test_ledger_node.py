"""A node between two destinations, killed between stored and committed: nothing is lost, nothing is sent twice, all is told."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from deliveries import posted
from nodes import NodeProcess, Orthanc, until

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
