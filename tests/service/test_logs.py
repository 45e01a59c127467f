"""The log of a node whose disk is full."""

from __future__ import annotations

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
