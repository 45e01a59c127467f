"""The whole journey as deploy/compose.yaml has it: node, scheduler and worker (TLS between them), PostgreSQL and Orthanc."""

from __future__ import annotations

import random
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from composed import Here, archive, command, settings
from nodes import NodeProcess, Orthanc, free_port, push, small_patient, until
from postgres import running
from sqlalchemy import create_engine
from sqlalchemy.exc import ProgrammingError
from workforce import Process

pytestmark = [pytest.mark.peer(name) for name in ("storescu", "echoscu", "Orthanc", "postgres", "openssl")]
OBJECTS = 6  # of a pair's results
WAITS = "SELECT value FROM facts WHERE name = 'workers' AND value LIKE 'No scheduler answers%%'"
ARRIVED = "SELECT count(*) FROM deliveries WHERE state IN ('delivered', 'committed')"


def asked(url: str, query: str) -> list[tuple[Any, ...]]:
    """A look into the journal; nothing where its tables are not made yet."""
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(query)]
    except ProgrammingError:
        return []
    finally:
        engine.dispose()


def test_a_database_that_restarts_while_images_come_loses_nothing_and_doubles_nothing(
    tmp_path: Path, program: Callable[[str], str]
) -> None:
    files = sorted(small_patient(tmp_path / "patient").rglob("*.dcm"))
    random.Random(3).shuffle(files)
    with ExitStack() as stack:
        server = stack.enter_context(running(Path(program("postgres")), {}))
        url = stack.enter_context(server.database())
        orthanc = Orthanc(tmp_path / "orthanc", program)
        node = NodeProcess(tmp_path / "node", program, orthanc.port)
        orthanc.more = archive(node.port)
        stack.enter_context(orthanc.running())
        stack.callback(node.clean_up)
        here = Here(
            data=tmp_path / "node" / "data",
            database=url.partition("@")[2],
            scheduler=free_port(),
            door=node.port,
            pages=free_port(),
            archive=orthanc.port,
        )
        node.config.write_text(settings(tmp_path, here))
        assert command("duet", node.config) == ["serve", "--config", str(node.config)], "as NodeProcess starts it"
        node.start()
        node.wait_for_door()
        until(lambda: bool(asked(url, WAITS)), "the node waits for its scheduler", 30)
        assert "No scheduler answers" in node.status(), "and says so"
        half = len(files) // 2
        assert push(program, node.port, files[:half])
        server.stop()
        assert not push(program, node.port, files[half : half + 1]), "what cannot be recorded is not acknowledged"
        server.start()
        assert push(program, node.port, files[half:])
        others = []
        for service, more in (("scheduler", ("--port", str(here.scheduler))), ("worker", ("--no-gpu",))):
            others.append(Process(tmp_path / f"{service}.log", *command(service, node.config, *more)))
            stack.callback(others[-1].kill)
        until(lambda: asked(url, ARRIVED) == [(OBJECTS,)], lambda: f"all delivered\n{node.told()}", 180)
        assert "delivered" in node.status()
        assert f"Works for tls://127.0.0.1:{here.scheduler}" in others[1].log
        assert len(orthanc.holds()) == OBJECTS
        assert f"{len(files)} objects received: {len(files)} filed." in node.status()
        assert node.log().count("study begun") == 2
        assert list((here.data / "locks").iterdir()) == []
        with urllib.request.urlopen(f"http://127.0.0.1:{here.pages}/healthz", timeout=10) as answer:
            assert answer.status == 200, "what compose.yaml asks for the node's health"
        assert [node.stop(), *(other.stop() for other in reversed(others))] == [0, 0, 0]
