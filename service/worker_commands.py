"""`duet scheduler` and `duet worker`: the two kinds of process that carry cases to other hosts."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from analysis.errors import BadSettings
from service import logs
from service.config import load

CONFIG = typer.Option("--config", help="duet.toml, whose [node] scheduler is meant where none is named.")
Config = Annotated[Path | None, CONFIG]
LEAVE_S = 5.0  # a scheduler that does not answer for so long when a worker takes its leave is left without


def scheduler(
    host: Annotated[
        str, typer.Option(help="Where it listens. Whoever reaches it can run programs on every worker.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8786,
) -> None:
    """Hand cases from a node to workers, also on other hosts. Needs no memory: the journal is the truth."""
    logs.to_standard_error()
    asyncio.run(_until_told(lambda stop: _schedule(host, port, stop)))


def worker(
    scheduler: Annotated[str, typer.Option("--scheduler", help="tcp://host:8786")] = "",
    gpu: Annotated[
        bool | None, typer.Option(help="Whether it takes cases that ask for a GPU; else whether there is one.")
    ] = None,
    config: Config = None,
) -> None:
    """Compute one case at a time for a node that sees the same data folder under the same path. SIGTERM gives it back."""
    address = scheduler or load(config).node.scheduler
    if not address:
        raise BadSettings("Say whose worker this is: --scheduler tcp://host:8786, or [node] scheduler of --config.")
    from service.dask_runner import resources, warm_up

    logs.to_standard_error()
    offered = resources(gpu=_sees_gpu() if gpu is None else gpu)
    warm_up()
    asyncio.run(_until_told(lambda stop: _work(address, offered, stop)))


def _sees_gpu() -> bool:
    if shutil.which("nvidia-smi") is None:
        return False
    from analysis.segmenters.device import seen_gpu  # loads torch, which takes seconds

    return seen_gpu() is not None


async def _until_told(work: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """Run until SIGTERM or Ctrl-C."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await work(stop)


async def _schedule(host: str, port: int, stop: asyncio.Event) -> None:
    import dask

    from service.dask_runner import QUIET

    dask.config.set(QUIET)
    from distributed import Scheduler

    try:
        async with Scheduler(host=host, port=port, dashboard=False) as begun:
            typer.echo(f"The scheduler listens on {begun.address}. Research use only. Ctrl-C ends it.")
            await stop.wait()
    except OSError as error:
        raise BadSettings(f"{host}:{port} cannot be opened: {error.strerror}.") from None


async def _work(address: str, offered: dict[str, float], stop: asyncio.Event) -> None:
    """Serve one scheduler after the other that appears at the address."""
    import dask

    from service.dask_runner import COMPUTING, LOOK_AGAIN_S, QUIET, listens

    dask.config.set(QUIET)
    said = ""
    while not stop.is_set():
        if not COMPUTING.locked() and await asyncio.to_thread(
            listens, address
        ):  # a case of a scheduler that is gone ends first
            await _serve(address, offered, stop)
            said = ""
        elif not said:
            said = f"No scheduler answers at {address}; it is waited for."
            logs.logger().warning(said)
        await _pause(stop, 0.0 if stop.is_set() else LOOK_AGAIN_S / 5)


async def _serve(address: str, offered: dict[str, float], stop: asyncio.Event) -> None:
    """Work for the scheduler until it goes, or until this process is to end."""
    from distributed import Worker

    alone: dict[str, Any] = {"nthreads": 1, "memory_limit": 0, "dashboard": False}
    try:
        begun = await Worker(address, resources=offered, **alone)
    except (OSError, TimeoutError):
        return
    typer.echo(f"Works for {address}, one case at a time; offers {', '.join(offered)}. Research use only. Ctrl-C ends it.")
    ends = [asyncio.create_task(begun.finished()), asyncio.create_task(stop.wait())]
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    if stop.is_set():
        await _leave(begun)
    ends[1].cancel()


async def _leave(begun: Any) -> None:
    """Give back what is being computed: the scheduler has it run by others, and counts no failure."""
    from service.dask_runner import COMPUTING

    expected = {"address": begun.address, "expected": True, "close": False, "stimulus_id": "duet-worker-ends"}
    try:
        await asyncio.wait_for(begun.scheduler.unregister(**expected), LEAVE_S)
        await asyncio.wait_for(begun.close(timeout=1, executor_wait=False, nanny=False), LEAVE_S)
    except (OSError, TimeoutError):
        logs.logger().warning("the scheduler did not answer to the leave")
    if COMPUTING.locked():
        os._exit(0)  # a thread that computes cannot be interrupted, and Python would wait for it


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
