"""The commands for other hosts say what is wrong with them in a sentence; their work is tested in test_dask_runner."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest


def ran(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "service.cli", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_a_worker_without_an_address_says_how_it_is_given_one() -> None:
    done = ran("worker")
    assert done.returncode == 2
    assert done.stderr.strip() == (
        "duet: Say whose worker this is: --scheduler tcp://host:8786, or [node] scheduler of --config."
    )


def test_a_scheduler_whose_port_is_taken_says_so() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = ran("scheduler", "--port", str(port))
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1] == f"duet: 127.0.0.1:{port} cannot be opened: Address already in use."


@pytest.mark.parametrize("address", ["host:8786", "http://host:8786", "tcp://host", "tcp://:8786", "tcp://host:99999"])
def test_an_address_that_is_none_is_told(address: str) -> None:
    done = ran("worker", "--scheduler", address)
    assert done.returncode == 2
    assert done.stderr.strip() == f"duet: {address!r} is no scheduler's address; it is written tcp://host:8786."
