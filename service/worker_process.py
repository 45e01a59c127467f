"""A scheduler, or a worker of one, as a process that runs until SIGTERM or Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import dask
import typer

from analysis.errors import BadSettings
from service import logs
from service.dask_runner import COMPUTING, LOOK_AGAIN_S, QUIET, listens, resources, warm_up

if TYPE_CHECKING:
    from distributed.security import Security

LEAVE_S = 5.0  # a scheduler that does not answer for so long when a worker takes its leave is left without


def schedule(host: str, port: int, security: Security | None = None) -> None:
    """Hand out cases. Raises BadSettings where the address cannot be opened."""
    logs.to_standard_error()
    dask.config.set(QUIET)
    asyncio.run(_until_told(lambda stop: _schedule((host, port), security, stop)))


def work(address: str, *, gpu: bool | None, security: Security | None = None) -> None:
    """Compute cases for whoever schedules at the address. gpu: None where torch is to be asked; security: for tls://."""
    logs.to_standard_error()
    dask.config.set(QUIET)
    from distributed import Worker

    offered = resources(gpu=_sees_gpu() if gpu is None else gpu)
    warm_up()
    begin = partial(Worker, address, resources=offered, security=security, nthreads=1, memory_limit=0, dashboard=False)
    asyncio.run(_until_told(lambda stop: _work(address, begin, stop)))


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


async def _schedule(address: tuple[str, int], security: Security | None, stop: asyncio.Event) -> None:
    from distributed import Scheduler

    host, port = address
    spoken: dict[str, Any] = {"protocol": "tls", "security": security} if security else {}
    try:
        async with Scheduler(host=host, port=port, dashboard=False, **spoken) as begun:
            typer.echo(f"The scheduler listens on {begun.address}. Research use only. Ctrl-C ends it.")
            await stop.wait()
    except RuntimeError as error:  # Dask's word for whatever stops a server from starting
        if not isinstance(error.__cause__, OSError):
            raise
        raise BadSettings(f"{host}:{port} cannot be opened: {os.strerror(error.__cause__.errno or 0)}.") from None


async def _work(address: str, begin: Callable[[], Any], stop: asyncio.Event) -> None:
    """Serve one scheduler after the other that appears at the address."""
    said = False
    while not stop.is_set():
        if COMPUTING.locked():  # a case of a scheduler that is gone; it is ended first
            pass
        elif await asyncio.to_thread(listens, address):
            await _serve(address, begin, stop)
            said = False
        elif not said:
            said = True
            logs.logger().warning("no scheduler answers; it is waited for", address=address)
        await _pause(stop, LOOK_AGAIN_S / 5)


async def _serve(address: str, begin: Callable[[], Any], stop: asyncio.Event) -> None:
    """Work for the scheduler until it goes, or until this process is to end."""
    try:
        begun = await begin()
    except (OSError, TimeoutError, RuntimeError) as error:
        logs.logger().warning("the scheduler does not take this worker", error=type(error).__name__)
        return
    typer.echo(
        f"Works for {address}, one case at a time; offers {', '.join(begun.state.total_resources)}. Research use only. "
        "Ctrl-C ends it."
    )
    ends = [asyncio.create_task(begun.finished()), asyncio.create_task(stop.wait())]
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    if stop.is_set():
        await _leave(begun)
    ends[1].cancel()


async def _leave(begun: Any) -> None:
    """Give back what is being computed: the scheduler has it run by others, and counts no failure."""
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
