"""A shopper's orders, wherever they stand: confirmed ones in the ledger, pending ones in the gate's log."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from flashdrop.mongo_client import PyMongoError, within
from flashdrop.redis_client import RedisError, redis
from orders import ledger
from orders.identity import Shopper
from orders.order import Order, pending_order
from orders.placing import may_see
from sales import stock

# Whoever is waiting for a page is told "we don't know" rather than kept waiting.
LEDGER_SECONDS = 2.0
log = logging.getLogger(__name__)


class HistoryUnknown(Exception):
    """Nothing was found, and a store could not be asked: we don't know, and don't guess."""


@dataclass(frozen=True, slots=True)
class History:
    """`visible` are the orders this browser may read, newest first; `has_hidden`: another browser has more."""

    visible: list[Order]
    has_hidden: bool


async def history_of(shopper: Shopper, sale_ids: Sequence[str], *, only_these: bool) -> History:
    """The shopper's orders. `sale_ids` are the sales whose gate may hold pending ones; `only_these` leaves out others.

    Raises:
        HistoryUnknown: nothing was found, and a store is away.
    """
    # The gate first: what has left its log by then is in the ledger, so nothing falls between the two readings.
    pending, is_gate_known = await _pending(shopper.id, sale_ids)
    found = {order.id: order for order in pending}
    try:
        only = sale_ids[0] if only_these else None
        asked = await within(LEDGER_SECONDS, ledger.of_shopper(shopper.id, only))
        found |= {order.id: order for order in asked}
    except (PyMongoError, TimeoutError) as error:
        if not found:
            raise HistoryUnknown from error
    if not found and not is_gate_known:
        raise HistoryUnknown
    orders = sorted(found.values(), key=lambda order: order.reserved_at, reverse=True)
    visible = [order for order in orders if may_see(shopper, order)]
    has_hidden = any(order.units and not may_see(shopper, order) for order in orders)
    return History(visible, has_hidden)


async def find_order(order_id: str) -> Order | None:
    """One order of the ledger, for whoever holds its receipt link.

    Raises:
        HistoryUnknown: the ledger can't be asked.
    """
    try:
        return (await within(LEDGER_SECONDS, ledger.find([order_id]))).get(order_id)
    except (PyMongoError, TimeoutError) as error:
        raise HistoryUnknown from error


async def _pending(shopper_id: str, sale_ids: Sequence[str]) -> tuple[list[Order], bool]:
    """The shopper's pending orders, and whether the gate could be asked for all of them."""
    orders: list[Order] = []
    if not sale_ids:
        return orders, True
    try:
        for sale_id, held in (await stock.held_by(redis(), sale_ids, shopper_id)).items():
            for _, entry_id in held:
                reservation = await stock.pending_entry(redis(), sale_id, entry_id)
                if reservation is not None:
                    orders.append(pending_order(reservation))
    except RedisError as error:
        log.warning("the gate can't be asked for pending orders: %s", error)
        return orders, False
    return orders, True
