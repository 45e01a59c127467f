"""The lock of a case: one holder at a time, and none after its holder's death."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from service.case_lock import only_worker

HOLD = """
import sys, time
from pathlib import Path
from service.case_lock import only_worker
with only_worker(Path(sys.argv[1])) as mine:
    print(mine, flush=True)
    time.sleep(60)
"""


def test_the_lock_of_a_killed_process_is_free_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "cases" / "2.25.7"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == "True"
        with only_worker(folder) as mine:
            assert not mine
        with only_worker(folder.with_name("2.25.8")) as other:
            assert other
        holder.kill()
        holder.wait()
        with only_worker(folder) as mine:
            assert mine


def test_a_lock_within_one_process_has_one_holder_and_leaves_no_file(tmp_path: Path) -> None:
    folder = tmp_path / "cases" / "2.25.7"
    with only_worker(folder) as first, only_worker(folder) as second:
        assert (first, second) == (True, False)
    assert list((tmp_path / "locks").iterdir()) == []
