"""A shopper's orders, wherever they stand: confirmed ones in the ledger, pending ones in the gate's log."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from flashdrop.batching import Batcher, Overloaded
from flashdrop.loops import PerLoop
from flashdrop.mongo_client import PyMongoError, mongo, within
from flashdrop.redis_client import RedisError, redis
from orders import ledger
from orders.identity import Shopper, may_see
from orders.order import Order, OrderStatus, pending_order
from sales import stock
from sales.board import board
from sales.doubts import OF_LEDGER
from sales.gate import Reservation
from sales.stock import ShopperInSale

# Whoever is waiting for a page is told "we don't know" rather than kept waiting.
LEDGER_SECONDS = 2.0
GATE_SECONDS = 3.0
# A sale, or None for all of them, and a shopper.
LedgerQuestion = tuple[str | None, str]
log = logging.getLogger(__name__)


class HistoryUnknown(Exception):
    """Nothing was found, and a store could not be asked or has lost something: we don't know, and don't guess."""


@dataclass(frozen=True, slots=True)
class History:
    """`visible` are the orders this browser may read, newest first; `has_hidden`: there are more that hold units."""

    visible: list[Order]
    has_hidden: bool
    hidden_sessions: frozenset[str] = frozenset()
    """Sessions that bought what this browser may not read."""


async def history_in(shopper: Shopper, sale_id: str) -> History:
    """The shopper's orders in one sale. What many ask at once is asked of the stores in batches.

    Raises:
        HistoryUnknown: nothing was found, and a store is away or has lost something.
    """
    question = (sale_id, shopper.id)
    return await _history(shopper, [question], question)


async def history_of(shopper: Shopper, sale_ids: Sequence[str]) -> History:
    """The shopper's orders in all sales; `sale_ids` are those whose gate may hold pending ones. In batches, too.

    Raises:
        HistoryUnknown: nothing was found, and a store is away or has lost something.
    """
    return await _history(shopper, [(sale_id, shopper.id) for sale_id in sale_ids], (None, shopper.id))


async def _history(shopper: Shopper, of_gate: list[ShopperInSale], of_ledger: LedgerQuestion) -> History:
    # The gate first: what has left its log by then is in the ledger, so nothing falls between the two readings.
    found: dict[str, Order] = {}
    is_gate_known = True
    try:
        found = {
            reservation.order_id: pending_order(reservation) for reservation in await gate_questions().submit(of_gate)
        }
    except (RedisError, TimeoutError, Overloaded) as error:
        log.warning("the gate can't be asked for pending orders: %s", error)
        is_gate_known = False
    try:
        found |= {order.id: order for order in await ledger_questions().submit(of_ledger)}
    except (PyMongoError, TimeoutError, Overloaded) as error:
        if not found:
            raise HistoryUnknown from error
    if not found and not (is_gate_known and _is_ledger_sound()):
        raise HistoryUnknown
    orders = sorted(found.values(), key=lambda order: order.reserved_at, reverse=True)
    visible = [order for order in orders if may_see(shopper, order)]
    hidden = [order for order in orders if not may_see(shopper, order)]
    bought_by = frozenset(order.session_id for order in hidden if order.status is not OrderStatus.RELEASED)
    return History(visible, any(order.units for order in hidden), bought_by)


async def find_order(order_id: str) -> Order | None:
    """One order of the ledger, for whoever holds its receipt link.

    Raises:
        HistoryUnknown: the ledger can't be asked, or may have lost it.
    """
    try:
        found = (await within(LEDGER_SECONDS, ledger.find([order_id]))).get(order_id)
    except (PyMongoError, TimeoutError) as error:
        raise HistoryUnknown from error
    if found is None and not _is_ledger_sound():
        raise HistoryUnknown
    return found


def _is_ledger_sound() -> bool:
    """Whether what the ledger doesn't have never was there."""
    return OF_LEDGER.isdisjoint(board().doubts)


async def _ask_gate(questions: list[list[ShopperInSale]]) -> list[list[Reservation]]:
    """For each caller the pending reservations of all sales it asked about."""
    answers = iter(await stock.pending_of(redis(), [one for asked in questions for one in asked]))
    return [[reservation for _ in asked for reservation in next(answers)] for asked in questions]


async def _ask_ledger(questions: list[LedgerQuestion]) -> list[list[Order]]:
    by_sale: defaultdict[str | None, list[str]] = defaultdict(list)
    for sale_id, shopper_id in questions:
        by_sale[sale_id].append(shopper_id)
    found: dict[LedgerQuestion, list[Order]] = {}
    for sale_id, shopper_ids in by_sale.items():
        answers = await ledger.of_shoppers(shopper_ids, sale_id)
        found |= {(sale_id, shopper_id): orders for shopper_id, orders in zip(shopper_ids, answers, strict=True)}
    return [found[question] for question in questions]


def _new_gate_questions() -> Batcher[list[ShopperInSale], list[Reservation]]:
    redis()  # made first, so that it is closed last
    return Batcher(_ask_gate, patience_seconds=GATE_SECONDS, skips_abandoned=True)


def _new_ledger_questions() -> Batcher[LedgerQuestion, list[Order]]:
    mongo()
    return Batcher(_ask_ledger, patience_seconds=LEDGER_SECONDS, skips_abandoned=True)


gate_questions: PerLoop[Batcher[list[ShopperInSale], list[Reservation]]] = PerLoop(_new_gate_questions, Batcher.drain)
ledger_questions: PerLoop[Batcher[LedgerQuestion, list[Order]]] = PerLoop(_new_ledger_questions, Batcher.drain)
