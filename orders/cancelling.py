"""Cancelling: an order is given up, and its units go back on sale.

The ledger decides first, in one atomic update; from then on nothing counts the units as this order's. Then the gate is
told. The order stays marked meanwhile, so that the worker tells the gate if that failed, and in any case once more: a
rebuild that had read the ledger before may have put the order back into the gate after it was told. Telling is
harmless, however often. A unit is on sale again within seconds, whatever dies in between.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from datetime import UTC, datetime, timedelta

from flashdrop.mongo_client import PyMongoError
from flashdrop.redis_client import RedisError, redis
from orders import ledger, ledger_desk
from orders.ledger_desk import Event, OrderRecord
from orders.order import Order
from sales import catalogue, stock

# When the gate is told once more: past any rebuild that was under way.
AGAIN_AFTER = timedelta(seconds=60)
# Left to the process that cancelled.
GRACE = timedelta(seconds=1)
AT_ONCE = 500
REASON_MAX = 500
log = logging.getLogger(__name__)


class CannotCancel(Exception):
    """The order is not open; `record` says what it is, None where the ledger has no such order."""

    def __init__(self, record: OrderRecord | None) -> None:
        super().__init__(record.state.value if record else "no such order")
        self.record = record


async def cancel(order_id: str, by: str, reason: str) -> OrderRecord:
    """Cancel an open order for `reason`. Its shopper may buy again at once, and so may anybody.

    Cancelling twice is told as it is: the second time finds it cancelled.

    Raises:
        CannotCancel: it is fulfilled, given up already, or not there.
        pymongo.errors.PyMongoError: the ledger can't be asked; whether it was cancelled is unknown, repeating is safe.
    """
    event = Event(datetime.now(UTC), "cancelled", by, reason[:REASON_MAX])
    record = await ledger_desk.cancel(order_id, event)
    if record is None:
        raise CannotCancel(await ledger_desk.read(order_id))
    details = {"sku": record.order.sku, "order_id": order_id, "shopper_id": record.order.shopper_id}
    log.info("order cancelled", extra=details)
    try:
        await _release([record.order])
        await ledger_desk.tell_again([order_id], event.at + AGAIN_AFTER)
    except RedisError as error:
        log.warning("order %s is cancelled; the worker will put its units back on sale: %s", order_id, error)
    except PyMongoError as error:
        log.warning("order %s is cancelled and its units are on sale; the worker will look again: %s", order_id, error)
    return record


async def finish_cancelled(now: datetime | None = None) -> int:
    """Tell the gate of cancelled orders whose turn it is. Returns how many. For the worker.

    Raises:
        pymongo.errors.PyMongoError, redis.exceptions.RedisError: a store is away; they keep their mark.
    """
    now = now or datetime.now(UTC)
    marked = await ledger_desk.to_release(now - GRACE, AT_ONCE)
    if not marked:
        return 0
    await _release([order for order, _ in marked])
    for sale_id in await catalogue.archived_among({order.sale_id for order, _ in marked}):
        # No gate, and no worker that would count: what is left is what the ledger holds.
        sale = await catalogue.get(sale_id)
        if sale is not None:
            await catalogue.set_available(sale_id, sale.stock - (await ledger.tally(sale_id)).units)
    first, last = [[order.id for order, told in marked if told is was_told] for was_told in (False, True)]
    if first:
        await ledger_desk.tell_again(first, now + AGAIN_AFTER)
    if last:
        await ledger_desk.released(last)
    return len(marked)


async def _release(orders: list[Order]) -> None:
    """Have the gate give up whatever it holds of `orders`."""
    by_sale: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    for order in orders:
        by_sale[order.sale_id].append((order.shopper_id, order.id))
    for sale_id, held in by_sale.items():
        await stock.release(redis(), sale_id, held)
