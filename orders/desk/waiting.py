"""Orders that are being confirmed: they stand in the gate's log only, and the desk shows them beside the ledger's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from flashdrop.redis_client import redis
from orders import ledger
from orders.ledger_desk import Wanted
from orders.order import Order, pending_order
from sales import stock

# Newest first; with more than this, what matters is that the ledger is away.
SHOWN = 50
READ_AT_ONCE = 500
READ_AT_MOST = 5000


class Waiting(NamedTuple):
    """Orders being confirmed that match, newest first, and whether there are more than that."""

    orders: list[Order]
    has_more: bool


async def waiting(wanted: Wanted, sale_ids: Sequence[str]) -> Waiting:
    """What the gate's logs of `sale_ids` hold of `wanted`. What is in the ledger already is left out.

    Raises:
        redis.exceptions.RedisError, pymongo.errors.PyMongoError: a store can't be asked.
    """
    found: list[Order] = []
    has_more = False
    counts = await stock.pending_counts(redis(), list(sale_ids))
    for sale_id, count in zip(sale_ids, counts, strict=True):
        read, after = 0, "-"
        while read < min(count, READ_AT_MOST):
            entries = await stock.pending(redis(), sale_id, count=READ_AT_ONCE, after=after)
            if not entries:
                break
            read, after = read + len(entries), entries[-1].entry_id
            found += [order for order in map(pending_order, entries) if matches(order, wanted)]
        has_more |= count > READ_AT_MOST
    found = sorted(found, key=lambda order: (order.reserved_at, order.id), reverse=True)
    shown = found[:SHOWN]
    # Read after the gate: what has left its log since is in the ledger, and listed from there.
    known = await ledger.find([order.id for order in shown]) if shown else {}
    return Waiting([order for order in shown if order.id not in known], has_more or len(found) > SHOWN)


def matches(order: Order, wanted: Wanted) -> bool:
    """Whether a reservation is one of those that are searched for."""
    return (
        (wanted.sale_id is None or wanted.sale_id == order.sale_id)
        and (wanted.order_id is None or wanted.order_id == order.id)
        and (wanted.shopper_id is None or wanted.shopper_id == order.shopper_id)
        and (wanted.unit is None or wanted.unit in order.units)
        and (wanted.since is None or wanted.since <= order.reserved_at)
        and (wanted.until is None or order.reserved_at < wanted.until)
    )
