"""The whole journey where several hosts share it: PostgreSQL, a scheduler and a worker in processes of their own, Orthanc."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from nodes import NodeProcess, Orthanc, push, small_patient, until
from postgres import running
from workforce import workforce

pytestmark = [pytest.mark.peer(name) for name in ("storescu", "echoscu", "Orthanc", "postgres")]


def test_a_database_that_restarts_while_images_come_loses_nothing_and_doubles_nothing(
    tmp_path: Path, program: Callable[[str], str]
) -> None:
    files = sorted(small_patient(tmp_path / "patient").rglob("*.dcm"))
    random.Random(3).shuffle(files)
    with ExitStack() as stack:
        archive = stack.enter_context(Orthanc(tmp_path / "orthanc", program).running())
        server = stack.enter_context(running(Path(program("postgres")), {}))
        url = stack.enter_context(server.database())
        workers = stack.enter_context(workforce(tmp_path))
        node = NodeProcess(tmp_path / "node", program, archive.port)
        stack.callback(node.clean_up)
        words = f'[node]\njournal = "{url}"\nscheduler = "{workers.address}"'
        node.config.write_text(node.config.read_text().replace("[node]", words, 1))
        node.start()
        node.wait_for_door()
        until(lambda: "No scheduler answers" in node.status(), "the node waits for its scheduler, and says so", 30)
        half = len(files) // 2
        assert push(program, node.port, files[:half])
        server.stop()
        assert not push(program, node.port, files[half : half + 1]), "what cannot be recorded is not acknowledged"
        server.start()
        assert push(program, node.port, files[half:])
        workers.scheduler()
        workers.worker("--no-gpu")
        until(lambda: "delivered" in node.status(), f"all delivered\n{node.status()}\n{node.log()[-3000:]}", 180)
        assert len(archive.holds()) == 6
        assert f"{len(files)} objects received: {len(files)} filed." in node.status()
        assert list((tmp_path / "node" / "data" / "locks").iterdir()) == []
        assert node.stop() == 0
