"""The command `duet`, each time in a process of its own, forked from one that has already imported what commands need.

A command spends 1.5 s of a core on imports and 0.1 s on its work, and the tests give some hundred commands. What a fresh
interpreter does is asked where it matters: test_house.py and the first tests of test_cli.py start one.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

NEEDED = ("service.cli", "service.desk", "service.render", "service.checks", "service.folders", "service.showing")
_STREAMS = ("stdin", "stdout", "stderr")
_server: subprocess.Popen[str] | None = None


def duet(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """A command as subprocess.run would give it, with this process's environment."""
    with TemporaryDirectory(prefix="duet-command-") as folder:
        files = [os.devnull, *(str(Path(folder) / name) for name in _STREAMS[1:])]
        asked = {"words": [*map(str, words)], "cwd": str(cwd or Path.cwd()), "files": files, "environment": {**os.environ}}
        status = _asked(json.dumps(asked))
        told = [Path(file).read_text(encoding="utf-8") for file in files[1:]]
    return subprocess.CompletedProcess(asked["words"], status, *told)


def end() -> None:
    """End the process that the commands are forked from; the next command starts another."""
    global _server  # noqa: PLW0603 - one for all tests of a process
    if _server is not None:
        _server.kill()
        _server.communicate()
        _server = None


def _asked(line: str) -> int:
    global _server  # noqa: PLW0603
    if _server is None:
        command = [sys.executable, "-P", __file__]
        _server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert _server.stdin is not None
    assert _server.stdout is not None
    try:
        print(line, file=_server.stdin, flush=True)
        return int(_server.stdout.readline())
    except BaseException:  # the test's time is over: who comes next must not wait for this command
        end()
        raise


def _serve() -> None:
    """Fork for each line that comes in, and answer with the command's exit status."""
    for name in NEEDED:
        import_module(name)
    gc.freeze()  # what is shared with the children is not copied by their looking for garbage
    lines, answers = (os.fdopen(os.dup(number), mode) for number, mode in ((0, "r"), (1, "w")))
    for line in iter(lines.readline, ""):
        child = os.fork()
        if child == 0:
            _run(json.loads(line))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), file=answers, flush=True)


def _run(asked: dict[str, Any]) -> None:
    """In the child: become the command. Never returns; an error ends it as it ends the true one."""
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["cwd"])
    for number, file in enumerate(asked["files"]):
        os.dup2(os.open(file, os.O_RDWR | os.O_CREAT, 0o600), number)
    sys.argv, status = ["duet", *asked["words"]], 0
    try:
        import_module("service.cli").main()
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 0
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # taking all modules down again would cost more than most commands


if __name__ == "__main__":
    _serve()
