"""Recovery: finishing what a process that died, or a store that was away, has left pending."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime

from flashdrop.redis_client import redis
from orders import ledger
from orders.order import pending_order
from orders.settlement import REFUSED, STILL_PENDING, Outcome, forgetting, settle
from sales import catalogue, stock
from sales.gate import Reservation
from sales.published import PublishedSale

log = logging.getLogger(__name__)


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
            if result.outcome not in STILL_PENDING:
                details = {"sku": sale.sku, "order_id": result.order.id, "shopper_id": reservation.shopper_id}
                log.info("order finished afterwards: %s", result.outcome.name.lower(), extra=details)
            if result.outcome in REFUSED:
                await ledger.give_up(result.order, reservation.reserved_at)
        beyond = [one for one, result in zip(found, settled, strict=True) if result.outcome is Outcome.BEYOND_SETTINGS]
        finished += sum(result.outcome not in STILL_PENDING for result in settled)
        if beyond:
            await _beyond_settings(sale, beyond)
    await forgetting().drain()
    if finished:
        log.info("sale %s: finished %d pending orders", sale.sku, finished)
    return finished


async def _beyond_settings(sale: PublishedSale, reservations: Sequence[Reservation]) -> None:
    """Reservations beyond the ledger's stock or limit: made before the stock was lowered, or made up by a wrong gate.

    The first were sold in good faith: the stock was lowered too far and is corrected, and they are settled in the next
    round. The second are given up, and the gate is stopped. Settings that have moved on meanwhile are judged next time.
    """
    for reservation in reservations:
        log.warning(
            "sale %s: units %s, slots %s are beyond its settings", sale.sku, reservation.units, reservation.slots
        )
    invented = [reservation for reservation in reservations if _is_invented(sale, reservation)]
    if len(invented) < len(reservations):
        highest = max(max(one.units) for one in reservations if one not in invented)
        await catalogue.raise_stock_to(sale, highest)
        return
    current = await catalogue.get(sale.id)
    if current is None or current.version != sale.version:
        return
    for reservation in invented:
        await ledger.give_up(pending_order(reservation), reservation.reserved_at)
    # Stopped first: what is released would be handed out again at once.
    await stock.fence(redis(), sale.id, max(one.epoch for one in invented))
    await stock.release(redis(), sale.id, [(one.shopper_id, one.order_id) for one in invented])


def _is_invented(sale: PublishedSale, reservation: Reservation) -> bool:
    """Whether no settings that were ever published could have allowed this."""
    if max(reservation.units) > sale.highest_stock or max(reservation.slots) > sale.highest_limit:
        return True
    return reservation.version >= sale.version
