"""`duet scheduler` and `duet worker`: the two kinds of process that carry cases to other hosts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from analysis.errors import BadSettings

if TYPE_CHECKING:
    from distributed.security import Security

Config = Annotated[Path | None, typer.Option("--config", help="duet.toml, whose [node] scheduler is meant.")]


def scheduler(
    host: Annotated[
        str, typer.Option(help="Where it listens. Whoever reaches it can run programs on every worker.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8786,
    config: Config = None,
) -> None:
    """Hand cases from a node to workers, also on other hosts. Needs no memory: the journal is the truth.

    Where [node] scheduler of --config is tls://, it speaks TLS with the certificates of [tls].
    """
    from service.bounds import is_local
    from service.worker_process import schedule

    security, insecure = _security(config)
    if security is None and not insecure and not is_local(f"tcp://{host}:{port}"):
        raise BadSettings(
            f"Whoever reaches {host} could run code on every worker: name a --config with scheduler = "
            '"tls://host:port" and certificates in [tls], or with scheduler_insecure = true.'
        )
    schedule(host, port, security)


def worker(
    scheduler: Annotated[str, typer.Option("--scheduler", help="tcp://host:8786, or tls:// with [tls] of --config.")] = "",
    gpu: Annotated[
        bool | None, typer.Option(help="Whether it takes cases that ask for a GPU; else whether there is one.")
    ] = None,
    config: Config = None,
) -> None:
    """Compute one case at a time for a node that sees the same data folder under the same path. SIGTERM gives it back."""
    from service.bounds import check_scheduler, is_local
    from service.config import load
    from service.worker_process import work

    address = scheduler or load(config).node.scheduler
    if not address:
        raise BadSettings("Say whose worker this is: --scheduler tcp://host:8786, or [node] scheduler of --config.")
    try:
        check_scheduler("", address)
    except ValueError as error:
        raise BadSettings(f"{error}.") from None
    security, insecure = _security(config, address)
    if security is None and not insecure and not is_local(address):
        raise BadSettings(f"{address} is another machine and speaks no TLS: write tls://, or scheduler_insecure = true.")
    os.umask(0o077)  # results are patients' data: for the node's user alone
    work(address, gpu=gpu, security=security)


def _security(config: Path | None, address: str = "") -> tuple[Security | None, bool]:
    """What a scheduler or worker of these settings shows and demands, and whether it may do without. Raises BadSettings."""
    from service.config import load
    from service.dask_security import security_of
    from service.tls import TlsSettings

    settings = load(config)
    node = settings.node
    return security_of(address or node.scheduler, settings.section("tls", TlsSettings)), node.scheduler_insecure
