"""Rebuilding a gate that is lost or stale from what the ledger holds.

While it runs the sale answers `503 SALE_NOT_READY`. The epoch fences it: only a gate loaded under the epoch that the
ledger now names is believed, so a gate that comes back from the past is not.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

from flashdrop.redis_client import redis
from orders import ledger
from orders.recovery import finish_pending
from sales import catalogue, stock
from sales.published import PublishedSale

PROGRESS_EVERY = 10_000
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
        RebuildImpossible: the log still holds reservations whose outcome is unknown.
        pymongo.errors.PyMongoError, redis.exceptions.RedisError: a store is away; the gate stays stopped.
    """
    started = perf_counter()
    await stock.fence(redis(), sale.id, sale.epoch)
    await finish_pending(sale)
    if await stock.pending_count(redis(), sale.id):
        raise RebuildImpossible(f"sale {sale.sku}: reservations are still being confirmed")
    raised = await catalogue.raise_epoch(sale.id)
    if raised is None:
        raise RebuildImpossible(f"sale {sale.sku}: the ledger no longer has it")
    total = (await ledger.tally(sale.id)).orders
    held: list[ledger.Holding] = []
    async for holding in ledger.holdings(sale.id):
        held.append(holding)
        if len(held) % PROGRESS_EVERY == 0:
            on_progress(len(held), total)
    on_progress(len(held), len(held))
    took_effect = await stock.load(redis(), raised, held)
    result = Rebuilt(raised, len(held), perf_counter() - started, took_effect)
    log.warning(
        "sale %s: gate rebuilt from %d orders in %.2f s, epoch %d", sale.sku, len(held), result.seconds, raised.epoch
    )
    return result
