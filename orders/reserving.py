"""Purchases on their way to the gate, in batches: one script call decides whatever came meanwhile."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from flashdrop import metrics
from flashdrop.batching import Batcher
from flashdrop.loops import PerLoop
from flashdrop.redis_client import redis
from orders import sessions
from sales import stock, tally
from sales.board import board
from sales.gate import Answer, Wish
from sales.published import PublishedSale

RESERVE_SECONDS = 3.0


class Reservations:
    """One batcher for each sale: a script call touches one sale's keys."""

    def __init__(self) -> None:
        redis()  # made first, so that it is closed last
        tally.writer()
        sessions.watcher()
        self._batchers: dict[str, Batcher[Wish, Answer]] = {}
        self._sales: dict[str, PublishedSale] = {}

    def submit(self, sale: PublishedSale, wish: Wish) -> Awaitable[Answer]:
        """The gate's answer, in a batch with whatever else waits for this sale.

        Raises:
            Overloaded: too many are waiting.
        """
        self._sales[sale.id] = sale
        batcher = self._batchers.get(sale.id)
        if batcher is None:
            self._forget_what_is_gone()
            # Whoever was told "try again" must not be sold something behind their back.
            batcher = self._batchers[sale.id] = Batcher(
                self._flush_for(sale.id), patience_seconds=RESERVE_SECONDS, skips_abandoned=True
            )
        return batcher.submit(wish)

    def _forget_what_is_gone(self) -> None:
        """Sales that the board has let go of, and for which nothing is under way."""
        known = board().sales
        for sale_id in [one for one, batcher in self._batchers.items() if one not in known and batcher.is_idle]:
            del self._batchers[sale_id], self._sales[sale_id]

    @property
    def waiting(self) -> int:
        """Purchases that no batch has taken yet."""
        return sum(batcher.waiting for batcher in self._batchers.values())

    async def drain(self) -> None:
        """Wait for every batch under way."""
        for batcher in self._batchers.values():
            await batcher.drain()

    def _flush_for(self, sale_id: str) -> Callable[[list[Wish]], Awaitable[list[Answer]]]:
        async def flush(batch: list[Wish]) -> list[Answer]:
            metrics.BATCH_SIZE.labels("reserve").observe(len(batch))
            return await stock.reserve(redis(), sale_id, self._sales[sale_id].epoch, batch)

        return flush


reservations: PerLoop[Reservations] = PerLoop(Reservations, Reservations.drain)
