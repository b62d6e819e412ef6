"""The process that makes the load: its event loop, its limits, and how much it does at once."""

from __future__ import annotations

import asyncio
import gc
import resource
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

import uvloop

from flashdrop import loops

# Open files that are neither a shopper's connection nor a viewer's socket: stores, logs, code.
SPARE_FILES = 500
LOOK_SECONDS = 0.05
T = TypeVar("T")


def run(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run `work` on uvloop and close the stores' clients that it used.

    Python's garbage collector rests meanwhile: its pauses would be measured as the shop's.
    """

    async def main() -> T:
        try:
            return await work()
        finally:
            await loops.close_all()

    gc.disable()
    try:
        return uvloop.run(main())
    finally:
        gc.enable()


async def side_by_side(work: Iterable[Coroutine[Any, Any, None]], at_once: int) -> None:
    """Do all of `work`, at most `at_once` at a time. The first failure ends it, as an `ExceptionGroup`."""
    waiting = iter(work)

    async def one_after_another() -> None:
        for one in waiting:
            await one

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(one_after_another())


async def wait_until(check: Callable[[], bool], seconds: float) -> None:
    """Return once `check` says yes, or when the time is up."""
    deadline = time.perf_counter() + seconds
    while not check():
        if time.perf_counter() > deadline:
            return
        await asyncio.sleep(LOOK_SECONDS)


def allow_open_files(count: int) -> None:
    """Let this process, and those that it starts from now on, have `count` connections open.

    Raises:
        RuntimeError: the system does not allow that many.
    """
    wanted = count + SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    try:
        highest = hard if hard == resource.RLIM_INFINITY else max(hard, wanted)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, highest))
    except (ValueError, OSError) as error:
        raise RuntimeError(f"{wanted:,} open files are needed and {hard:,} allowed: raise `ulimit -Hn`.") from error
