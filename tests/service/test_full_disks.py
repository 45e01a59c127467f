"""A node of which one disk, or the only one, is full: it starts, its door answers, and it goes on once there is room."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from disks import fill, small_disk
from nodes import NodeProcess, free_port, push, until

pytestmark = [pytest.mark.peer(name) for name in ("storescu", "echoscu")]
RECEIVED = "SELECT count(*) FROM instances"


def files(scan: Any, folder: Path) -> list[Path]:
    folder.mkdir()
    paths = []
    for number, ds in enumerate(scan(slices=3).datasets()):
        paths.append(folder / f"{number}.dcm")
        ds.save_as(paths[-1], enforce_file_format=True)
    return paths


def test_a_node_starts_on_a_full_disk_and_goes_on_once_there_is_room(
    tmp_path: Path, scan: Any, program: Callable[[str], str]
) -> None:
    sent = files(scan, tmp_path / "sent")
    node = NodeProcess(tmp_path / "node", program, free_port(), web=True)
    with small_disk(tmp_path / "node" / "data", 24) as disk:
        try:
            node.start()
            node.wait_for_door()
            assert push(program, node.port, sent[:1])
            node.kill()
            ballast = fill(disk)
            node.start()
            node.wait_for_door()
            assert not push(program, node.port, sent[1:2])
            ballast.unlink()
            until(lambda: push(program, node.port, sent[1:]), f"objects are taken\n{node.log()[-2000:]}", 30)
            until(lambda: node.ask(RECEIVED) == [(len(sent),)], "each has its row", 30)
        finally:
            node.clean_up()


def test_full_logs_hold_nobody_up_and_no_line_is_a_half(tmp_path: Path, scan: Any, program: Callable[[str], str]) -> None:
    sent = files(scan, tmp_path / "sent")
    node = NodeProcess(tmp_path / "node", program, free_port())
    with small_disk(tmp_path / "node" / "data" / "logs", 1) as logs:
        try:
            node.start()
            node.wait_for_door()
            with (logs / "audit.jsonl").open("a") as trail:  # the next record ends beyond the page, and there is no other page
                room = -(trail.tell() + 100) % 4096
                trail.write(json.dumps(" " * (room - 3)) + "\n")
            ballast = fill(logs)
            assert push(program, node.port, sent[:3])
            until(lambda: "audit record not written" in node.log(), "what is not entered is told", 30)
            ballast.unlink()
            assert push(program, node.port, sent[3:])
            until(lambda: "study begun" in (logs / "duet.jsonl").read_text(), "the log goes on", 30)
            node.kill()
            for name in ("duet.jsonl", "audit.jsonl"):
                assert [json.loads(line) for line in (logs / name).read_text().splitlines()]
        finally:
            node.clean_up()
