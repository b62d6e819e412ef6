"""Recovery: finishing what a process that died, or a store that was away, has left pending."""

from __future__ import annotations

import logging
from datetime import datetime

from flashdrop.redis_client import redis
from orders import ledger
from orders.order import pending_order
from orders.settlement import Outcome, forgetting, settle
from sales import catalogue, stock
from sales.published import PublishedSale
from sales.stock import Reservation

log = logging.getLogger(__name__)

REFUSED = (Outcome.ALREADY_BOUGHT, Outcome.KEY_REUSED, Outcome.GATE_STALE)


async def finish_pending(sale: PublishedSale, before: datetime | None = None) -> int:
    """Settle the sale's pending reservations made before `before`, oldest first. Returns how many it settled.

    Whoever waits for one of them was told "pending" or nothing at all, so a refusal is written down as a `released`
    order for them to find. One beyond the ledger's settings waits until it is known which store is wrong.

    Raises:
        pymongo.errors.PyMongoError, redis.exceptions.RedisError: a store is away; what is pending stays so.
    """
    finished, after = 0, "-"
    while found := await stock.pending(redis(), sale.id, before=before, after=after):
        after = found[-1].entry_id
        settled = await settle(found, {sale.id: sale})
        for reservation, result in zip(found, settled, strict=True):
            if result.outcome in REFUSED:
                await ledger.give_up(result.order, reservation.reserved_at)
            if result.outcome is Outcome.PENDING:
                await _beyond_settings(sale, reservation)
            else:
                finished += 1
    await forgetting().drain()
    if finished:
        log.info("sale %s: finished %d pending orders", sale.sku, finished)
    return finished


async def _beyond_settings(sale: PublishedSale, reservation: Reservation) -> None:
    """Beyond the ledger's stock or limit: sold before the stock was lowered, or made up by a gate that is wrong.

    In the first case the stock was lowered too far and is corrected; the reservation is settled in the next round. In
    the second the order is given up and the gate stopped.
    """
    highest = max(reservation.units)
    log.warning(
        "sale %s: units %s, slots %s are beyond the stock of %d or the limit of %d",
        sale.sku,
        reservation.units,
        reservation.slots,
        sale.stock,
        sale.highest_limit,
    )
    if reservation.version < sale.version and await catalogue.raise_stock_to(sale, highest):
        return
    await ledger.give_up(pending_order(reservation), reservation.reserved_at)
    await stock.release(redis(), sale.id, [(reservation.shopper_id, reservation.order_id)])
    await stock.fence(redis(), sale.id, sale.epoch)
