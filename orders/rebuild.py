"""Rebuilding a gate that is lost or stale from what the ledger holds.

While it runs the sale answers `503 SALE_NOT_READY`. The epoch fences it: it is raised first, gates of every older one
are stopped, and only a stopped gate whose log is settled is replaced.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from time import perf_counter

from redis.asyncio.lock import Lock

from flashdrop import metrics
from flashdrop.redis_client import RedisError, redis
from orders import ledger
from orders.indexes import unguarded
from orders.recovery import finish_pending
from sales import catalogue, stock
from sales.building import Holding
from sales.gate import Load
from sales.published import PublishedSale

PROGRESS_EVERY = 10_000
RENEW_SECONDS = stock.LEASE_SECONDS / 5
log = logging.getLogger(__name__)


class RebuildImpossible(Exception):
    """The gate can't be rebuilt now: reservations stand whose outcome is not known. Try again."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """The sale under its new epoch. `took_effect` is false when a newer rebuild was already in force."""

    sale: PublishedSale
    orders: int
    seconds: float
    took_effect: bool


async def rebuild(sale: PublishedSale, on_progress: Callable[[int, int], None] = lambda done, total: None) -> Rebuilt:
    """Stop the gate, finish what its log holds, and load it from the ledger under a new epoch. Safe to repeat.

    `on_progress` hears how many orders were read, of how many, every `PROGRESS_EVERY` orders and at the end.

    Raises:
        RebuildImpossible: somebody else is at it, the log holds reservations whose outcome is unknown, or the ledger
            lacks a unique index: what it holds can't be relied on, and what the log holds must not be written.
        pymongo.errors.PyMongoError, redis.exceptions.RedisError: a store is away; the gate stays stopped.
    """
    problem = await unguarded()
    if problem is not None:
        raise RebuildImpossible(f"sale {sale.sku}: {problem}")
    lease = stock.rebuild_lease(redis(), sale.id)
    if not await lease.acquire():
        raise RebuildImpossible(f"sale {sale.sku}: somebody else is rebuilding it")
    outcome = "failed"
    try:
        result = await _rebuild(sale, lease, on_progress)
        outcome = "in_force" if result.took_effect else "superseded"
        metrics.REBUILD_SECONDS.observe(result.seconds)
        return result
    finally:
        metrics.REBUILDS.labels(outcome).inc()
        with contextlib.suppress(RedisError):
            await lease.release()


async def _rebuild(sale: PublishedSale, lease: Lock, on_progress: Callable[[int, int], None]) -> Rebuilt:
    started = perf_counter()
    raised = await catalogue.raise_epoch(sale.id)
    if raised is None:
        raise RebuildImpossible(f"sale {sale.sku}: the ledger no longer has it")
    await stock.fence(redis(), raised.id, raised.epoch - 1)
    await finish_pending(raised)
    total = (await ledger.tally(raised.id)).orders
    highest = await ledger.highest_unit(raised.id)
    if highest > raised.stock:  # lowered while no gate could say what is held
        raised = await catalogue.raise_stock_to(raised, highest) or raised
    read, renewed_at = 0, started

    async def holdings() -> AsyncIterator[Holding]:
        nonlocal read
        async for holding in ledger.holdings(raised.id):
            read += 1
            yield holding
            if read % PROGRESS_EVERY == 0:
                on_progress(read, total)

    async def renew() -> None:
        nonlocal renewed_at
        if perf_counter() - renewed_at > RENEW_SECONDS:
            await lease.reacquire()
            renewed_at = perf_counter()

    outcome = await stock.load(redis(), raised, holdings(), renew)
    on_progress(read, read)
    if outcome is Load.UNSETTLED:
        raise RebuildImpossible(f"sale {sale.sku}: reservations are still being confirmed")
    result = Rebuilt(raised, read, perf_counter() - started, outcome is Load.IN_FORCE)
    log.warning(
        "sale %s: gate rebuilt from %d orders in %.2f s, epoch %d", sale.sku, read, result.seconds, raised.epoch
    )
    return result
