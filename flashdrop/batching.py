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
        max_in_flight: calls of `flush` under way at once. Beside the first only full batches leave: what comes later
            does better in one large batch than in two small ones.
        patience_seconds: how long a caller waits; then its future brings `TimeoutError`. The work goes on.
        skips_abandoned: leave out what nobody waits for any more when its turn comes.
        on_late: is told the result of an item whose caller has given up waiting.
    """

    def __init__(
        self,
        flush: Callable[[list[T]], Awaitable[Sequence[R]]],
        *,
        max_batch: int = 256,
        max_queue: int = 8192,
        max_in_flight: int = 2,
        patience_seconds: float | None = None,
        skips_abandoned: bool = False,
        on_late: Callable[[R], None] | None = None,
    ) -> None:
        self._flush = flush
        self._max_batch = max_batch
        self._max_queue = max_queue
        self._max_in_flight = max_in_flight
        self.patience_seconds = patience_seconds
        self._skips_abandoned = skips_abandoned
        self._on_late = on_late
        self._queue: deque[tuple[T, asyncio.Future[R] | None]] = deque()
        # When each caller's patience ends. All have the same, so the queue is in order and one timer serves it.
        self._patience: deque[tuple[float, asyncio.Future[R]]] = deque()
        self._patience_timer: asyncio.TimerHandle | None = None
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
        if self.patience_seconds is not None:
            deadline = loop.time() + self.patience_seconds
            self._patience.append((deadline, future))
            if self._patience_timer is None:
                self._patience_timer = loop.call_at(deadline, self._end_patience)
        self._plan_takeoff(loop)
        return future

    def hand_over(self, items: Sequence[T]) -> None:
        """Queue `items` whose results nobody waits for; a failure is logged.

        Raises:
            Overloaded: the queue is full.
        """
        if len(self._queue) + len(items) > self._max_queue:
            raise Overloaded
        self._queue.extend((item, None) for item in items)
        self._plan_takeoff(asyncio.get_running_loop())

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits and no batch is under way."""
        return not self._queue and not self._flights

    async def drain(self) -> None:
        """Wait until everything taken on has its result."""
        while self._flights or self._queue:
            await asyncio.gather(*self._flights)
            await asyncio.sleep(0)

    def _plan_takeoff(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._takeoff_planned and self._may_take_off():
            # One turn of the loop later, so that all that is ready now shares the first batch.
            self._takeoff_planned = True
            loop.call_soon(self._take_off)

    def _may_take_off(self) -> bool:
        under_way = len(self._flights)
        return not under_way or (under_way < self._max_in_flight and len(self._queue) >= self._max_batch)

    def _end_patience(self) -> None:
        loop, self._patience_timer = asyncio.get_running_loop(), None
        while self._patience:
            deadline, future = self._patience[0]
            if not future.done():
                if deadline > loop.time():
                    self._patience_timer = loop.call_at(deadline, self._end_patience)
                    return
                _fail(future, TimeoutError())
            self._patience.popleft()

    def _take_off(self) -> None:
        self._takeoff_planned = False
        while self._queue and self._may_take_off():
            size = min(self._max_batch, len(self._queue))
            batch = [self._queue.popleft() for _ in range(size)]
            if self._skips_abandoned:
                batch = [(item, future) for item, future in batch if future is None or not future.done()]
            if not batch:
                continue
            flight = asyncio.get_running_loop().create_task(self._fly(batch))
            self._flights.add(flight)
            flight.add_done_callback(self._landed)

    def _landed(self, flight: asyncio.Task[None]) -> None:
        self._flights.discard(flight)
        self._take_off()

    async def _fly(self, batch: list[tuple[T, asyncio.Future[R] | None]]) -> None:
        try:
            results = await self._flush([item for item, _ in batch])
            if len(results) != len(batch):
                raise RuntimeError(f"flush answered {len(results)} of {len(batch)} items")
        except Exception as error:
            if any(future is None for _, future in batch):
                log.warning("a batch that nobody waits for failed: %r", error)
            for _, future in batch:
                if future is not None and not future.done():
                    _fail(future, error)
            return
        for (_, future), result in zip(batch, results, strict=True):
            if future is None:
                continue
            if not future.done():
                future.set_result(result)
            elif self._on_late is not None:
                self._tell_late(self._on_late, result)

    def _tell_late(self, tell: Callable[[R], None], result: R) -> None:
        try:
            tell(result)
        except Exception as error:  # the others of the batch still wait for theirs
            context = {"message": "a late result could not be told", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)


def _fail(future: asyncio.Future[R], error: Exception) -> None:
    future.set_exception(error)
    future.exception()  # a caller that went away must not cause a "never retrieved" warning
