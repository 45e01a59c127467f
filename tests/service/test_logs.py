"""The log of a node whose disk is full, and of one whose thread ends."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

CODE = """
import logging, sys
from pathlib import Path
from service import logs
logs.set_up(Path(sys.argv[1]))
(file,) = [h for h in logging.getLogger().handlers if isinstance(h, logging.FileHandler)]
file.stream = open("/dev/full", "w")  # every write fails with ENOSPC
logs.logger().error("disk below its floor")
"""


def test_a_full_disk_costs_the_line_and_prints_no_traceback(tmp_path: Path) -> None:
    ran = subprocess.run([sys.executable, "-c", CODE, tmp_path], capture_output=True, text=True, check=False, timeout=60)
    assert "disk below its floor" in ran.stderr
    assert "Traceback" not in ran.stderr


THREAD = """
import sys, threading
from pathlib import Path
from service import logs
logs.set_up(Path(sys.argv[1]))
thread = threading.Thread(target=lambda: int("Doe^John"))
thread.start()
thread.join()
"""


def test_a_thread_that_ends_in_an_error_is_one_line_without_its_words(tmp_path: Path) -> None:
    ran = subprocess.run([sys.executable, "-c", THREAD, tmp_path], capture_output=True, text=True, check=False, timeout=60)
    (line,) = ran.stderr.splitlines()
    told = json.loads(line)
    assert (told["event"], told["error"]) == ("a thread has ended", "ValueError")
    assert "Doe" not in line
    assert json.loads((tmp_path / "duet.jsonl").read_text()) == told
