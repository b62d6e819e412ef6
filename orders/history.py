"""A shopper's orders, wherever they stand: confirmed ones in the ledger, pending ones in the gate's log."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from flashdrop.batching import Batcher, Overloaded
from flashdrop.loops import PerLoop
from flashdrop.mongo_client import PyMongoError, mongo, within
from flashdrop.redis_client import RedisError, redis
from orders import ledger
from orders.identity import Shopper
from orders.order import Order, pending_order
from orders.placing import may_see
from sales import stock
from sales.gate import Reservation
from sales.stock import ShopperInSale

# Whoever is waiting for a page is told "we don't know" rather than kept waiting.
LEDGER_SECONDS = 2.0
GATE_SECONDS = 3.0
log = logging.getLogger(__name__)


class HistoryUnknown(Exception):
    """Nothing was found, and a store could not be asked: we don't know, and don't guess."""


@dataclass(frozen=True, slots=True)
class History:
    """`visible` are the orders this browser may read, newest first; `has_hidden`: another browser has more."""

    visible: list[Order]
    has_hidden: bool


async def history_in(shopper: Shopper, sale_id: str) -> History:
    """The shopper's orders in one sale. What many ask at once is asked of the stores in batches.

    Raises:
        HistoryUnknown: nothing was found, and a store is away.
    """
    question = (sale_id, shopper.id)
    return await _history(
        shopper, lambda: gate_questions().submit(question), lambda: ledger_questions().submit(question)
    )


async def history_of(shopper: Shopper, sale_ids: Sequence[str]) -> History:
    """The shopper's orders in all sales; `sale_ids` are those whose gate may hold pending ones.

    Raises:
        HistoryUnknown: nothing was found, and a store is away.
    """
    questions = [(sale_id, shopper.id) for sale_id in sale_ids]

    async def pending() -> list[Reservation]:
        return [one for found in await stock.pending_of(redis(), questions) for one in found]

    return await _history(shopper, pending, lambda: within(LEDGER_SECONDS, ledger.of_shopper(shopper.id)))


async def _history(
    shopper: Shopper,
    pending: Callable[[], Awaitable[list[Reservation]]],
    confirmed: Callable[[], Awaitable[list[Order]]],
) -> History:
    # The gate first: what has left its log by then is in the ledger, so nothing falls between the two readings.
    found: dict[str, Order] = {}
    is_gate_known = True
    try:
        found = {reservation.order_id: pending_order(reservation) for reservation in await pending()}
    except (RedisError, TimeoutError, Overloaded) as error:
        log.warning("the gate can't be asked for pending orders: %s", error)
        is_gate_known = False
    try:
        found |= {order.id: order for order in await confirmed()}
    except (PyMongoError, TimeoutError, Overloaded) as error:
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


async def _ask_gate(questions: list[ShopperInSale]) -> list[list[Reservation]]:
    return await stock.pending_of(redis(), questions)


async def _ask_ledger(questions: list[ShopperInSale]) -> list[list[Order]]:
    by_sale: defaultdict[str, list[str]] = defaultdict(list)
    for sale_id, shopper_id in questions:
        by_sale[sale_id].append(shopper_id)
    found: dict[ShopperInSale, list[Order]] = {}
    for sale_id, shopper_ids in by_sale.items():
        answers = await ledger.of_shoppers_in(sale_id, shopper_ids)
        found |= {(sale_id, shopper_id): orders for shopper_id, orders in zip(shopper_ids, answers, strict=True)}
    return [found[question] for question in questions]


def _new_gate_questions() -> Batcher[ShopperInSale, list[Reservation]]:
    redis()  # made first, so that it is closed last
    return Batcher(_ask_gate, patience_seconds=GATE_SECONDS, skips_abandoned=True)


def _new_ledger_questions() -> Batcher[ShopperInSale, list[Order]]:
    mongo()
    return Batcher(_ask_ledger, patience_seconds=LEDGER_SECONDS, skips_abandoned=True)


gate_questions: PerLoop[Batcher[ShopperInSale, list[Reservation]]] = PerLoop(_new_gate_questions, Batcher.drain)
ledger_questions: PerLoop[Batcher[ShopperInSale, list[Order]]] = PerLoop(_new_ledger_questions, Batcher.drain)
