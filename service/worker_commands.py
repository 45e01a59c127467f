"""`duet scheduler` and `duet worker`: the two kinds of process that carry cases to other hosts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from analysis.errors import BadSettings

Config = Annotated[Path | None, typer.Option("--config", help="duet.toml, whose [node] scheduler is meant.")]


def scheduler(
    host: Annotated[
        str, typer.Option(help="Where it listens. Whoever reaches it can run programs on every worker.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8786,
) -> None:
    """Hand cases from a node to workers, also on other hosts. Needs no memory: the journal is the truth."""
    from service.worker_process import schedule

    schedule(host, port)


def worker(
    scheduler: Annotated[str, typer.Option("--scheduler", help="tcp://host:8786")] = "",
    gpu: Annotated[
        bool | None, typer.Option(help="Whether it takes cases that ask for a GPU; else whether there is one.")
    ] = None,
    config: Config = None,
) -> None:
    """Compute one case at a time for a node that sees the same data folder under the same path. SIGTERM gives it back."""
    from service.bounds import check_scheduler
    from service.config import load
    from service.worker_process import work

    address = scheduler or load(config).node.scheduler
    if not address:
        raise BadSettings("Say whose worker this is: --scheduler tcp://host:8786, or [node] scheduler of --config.")
    try:
        check_scheduler("", address)
    except ValueError as error:
        raise BadSettings(f"{error}.") from None
    work(address, gpu=gpu)
