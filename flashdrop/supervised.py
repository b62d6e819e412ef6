"""Loops that live as long as their process: the one way to run one.

A round that raises, whatever it raises, is logged and counted, and the loop goes on after a pause that grows. `failing`
says which loops of this event loop are in trouble, for readiness.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable

from prometheus_client import Counter

from flashdrop.loops import PerLoop

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 2.0
# Rounds take a second and less; one that has not ended by now waits for something that won't come.
STUCK_SECONDS = 30.0
FAILURES = Counter("flashdrop_loop_failures_total", "Rounds of a background loop that failed.", ["loop"])
log = logging.getLogger(__name__)


class Loop:
    """Awaits `round_` again and again until stopped. A round does its own waiting."""

    def __init__(self, name: str, round_: Callable[[], Awaitable[object]]) -> None:
        self.name = name
        self._round = round_
        self._failed_in_a_row = 0
        self._ended_at = time.monotonic()
        FAILURES.labels(name)  # shown before anything was counted
        self._task = asyncio.get_running_loop().create_task(self._run(), name=name)
        _running().add(self)

    @property
    def is_failing(self) -> bool:
        """Whether the last round failed, or one does not end."""
        return bool(self._failed_in_a_row) or time.monotonic() - self._ended_at > STUCK_SECONDS

    async def stop(self) -> None:
        """Break the round off and return once it has ended. Repeating it is harmless."""
        _running().discard(self)
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _run(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        while True:
            try:
                await self._round()
            except (Exception, asyncio.CancelledError) as error:
                if task.cancelling():
                    raise
                # Not ours to be cancelled: something that the round waited for was.
                await self._failed(error)
            else:
                if task.cancelling():  # the Redis client now and then hands out an answer in place of being cancelled
                    raise asyncio.CancelledError
                self._failed_in_a_row = 0
                self._ended_at = time.monotonic()

    async def _failed(self, error: BaseException) -> None:
        pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(self._failed_in_a_row, 10))
        self._failed_in_a_row += 1
        self._ended_at = time.monotonic()
        FAILURES.labels(self.name).inc()
        log.error("background loop %s failed; going on in %.1f s", self.name, pause, exc_info=error)
        await asyncio.sleep(pause)


_running: PerLoop[set[Loop]] = PerLoop(set)


def failing() -> list[str]:
    """The names of this event loop's loops that are in trouble."""
    return sorted(loop.name for loop in _running() if loop.is_failing)
