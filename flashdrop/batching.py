"""Micro-batching: what arrives while one round trip is under way travels together in the next.

There is no timer, so an idle system adds no latency; a busy one amortises each round trip over all that waits. The
same idea carries group commit in databases (DeWitt et al., "Implementation Techniques for Main Memory Database
Systems", 1984). The batcher owns its work: a caller that is cancelled gives up the answer, not the work.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")
log = logging.getLogger(__name__)


class Overloaded(Exception):
    """The queue is full; nothing was taken on. Try again later."""


class Batcher(Generic[T, R]):
    """Gathers items and hands them to `flush` in batches.

    Args:
        flush: takes a batch (1 to `max_batch` items, in arrival order) and returns one result for each, in the same
            order; an exception it raises reaches every caller of that batch.
        max_batch: items in one call of `flush`.
        max_queue: items that may wait; one more raises `Overloaded`.
        max_in_flight: calls of `flush` under way at once.
        skips_abandoned: leave out what nobody waits for any more when its turn comes.
    """

    def __init__(
        self,
        flush: Callable[[list[T]], Awaitable[Sequence[R]]],
        *,
        max_batch: int = 256,
        max_queue: int = 8192,
        max_in_flight: int = 2,
        skips_abandoned: bool = False,
    ) -> None:
        self._flush = flush
        self._max_batch = max_batch
        self._max_queue = max_queue
        self._max_in_flight = max_in_flight
        self._skips_abandoned = skips_abandoned
        self._queue: deque[tuple[T, asyncio.Future[R]]] = deque()
        self._flights: set[asyncio.Task[None]] = set()
        self._takeoff_planned = False

    @property
    def waiting(self) -> int:
        """Items queued and not yet handed to `flush`."""
        return len(self._queue)

    def submit(self, item: T) -> asyncio.Future[R]:
        """Queue `item`; the future brings its result. Cancelling the future does not undo the work.

        Raises:
            Overloaded: the queue is full.
        """
        if len(self._queue) >= self._max_queue:
            raise Overloaded
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        self._queue.append((item, future))
        if not self._takeoff_planned and len(self._flights) < self._max_in_flight:
            # One turn of the loop later, so that all that is ready now shares the first batch.
            self._takeoff_planned = True
            loop.call_soon(self._take_off)
        return future

    async def drain(self) -> None:
        """Wait until everything taken on has its result."""
        while self._flights or self._queue:
            await asyncio.gather(*self._flights)
            await asyncio.sleep(0)

    def _take_off(self) -> None:
        self._takeoff_planned = False
        while self._queue and len(self._flights) < self._max_in_flight:
            size = min(self._max_batch, len(self._queue))
            batch = [self._queue.popleft() for _ in range(size)]
            if self._skips_abandoned:
                batch = [(item, future) for item, future in batch if not future.cancelled()]
            if not batch:
                continue
            flight = asyncio.get_running_loop().create_task(self._fly(batch))
            self._flights.add(flight)
            flight.add_done_callback(self._landed)

    def _landed(self, flight: asyncio.Task[None]) -> None:
        self._flights.discard(flight)
        self._take_off()

    async def _fly(self, batch: list[tuple[T, asyncio.Future[R]]]) -> None:
        try:
            results = await self._flush([item for item, _ in batch])
            if len(results) != len(batch):
                raise RuntimeError(f"flush answered {len(results)} of {len(batch)} items")
        except Exception as error:
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
                    future.exception()  # a caller that went away must not cause a "never retrieved" warning
            return
        for (_, future), result in zip(batch, results, strict=True):
            if not future.done():
                future.set_result(result)
