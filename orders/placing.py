"""Placing an order: reserve at the gate, confirm in the ledger, tell the truth. One service behind JSON and HTML."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
from enum import Enum
from time import perf_counter
from typing import NamedTuple

from flashdrop import metrics
from flashdrop.batching import Batcher, Overloaded
from flashdrop.logs import Allowance
from flashdrop.loops import PerLoop
from flashdrop.mongo_client import PyMongoError, mongo
from flashdrop.redis_client import RedisError, redis
from orders import ledger
from orders.identity import Shopper, may_see
from orders.indexes import indexes_ready
from orders.order import Order, OrderStatus, context_of, pending_order
from orders.reserving import reservations
from orders.settlement import Outcome, confirmations
from sales import stock, tally
from sales.archive import Unheard, sale_named
from sales.board import board, current_board
from sales.gate import Quote, Reservation, Verdict, Wish
from sales.published import PublishedSale

LOOK_UP_SECONDS = 2.5
MAX_QUANTITY = 100
# What is counted for an order that stood already: a retry, or a look at what became of it.
REPEATED = "repeated"
_lines = Allowance()
log = logging.getLogger(__name__)


class Refusal(Enum):
    """Why a shopper got no order. The values are the codes of the HTTP contract."""

    PRODUCT_NOT_FOUND = "PRODUCT_NOT_FOUND"
    NOT_STARTED = "FLASH_SALE_NOT_STARTED"
    ENDED = "FLASH_SALE_ENDED"
    PAUSED = "SALE_PAUSED"
    NAME_NEEDED = "UNAUTHORIZED"
    LIMIT_EXCEEDED = "LIMIT_EXCEEDED"
    OUT_OF_STOCK = "OUT_OF_STOCK"
    PRICE_CHANGED = "PRICE_CHANGED"
    KEY_REUSED = "IDEMPOTENCY_KEY_REUSED"
    NOT_READY = "SALE_NOT_READY"
    OVERLOADED = "OVERLOADED"


class Shown(NamedTuple):
    """A unit's price as the shopper was shown it, in minor units; None where it is not to be compared."""

    price_minor: int | None = None
    currency: str | None = None


NOT_COMPARED = Shown()
# No sale has such a price: whoever was shown none is told the one that holds, and a repetition still finds its order.
NEVER_SHOWN = Shown(-1, "")


class Placed(NamedTuple):
    """An order stands: new and confirmed, the one of an earlier try, or pending (see its status)."""

    order: Order
    is_new: bool
    held: int = 0
    """Units that this shopper holds in the sale by now, by the gate, in whatever browser they were bought."""


class Refused(NamedTuple):
    """No order, and no unit held by this try.

    Args:
        refusal: why.
        held: units that this shopper holds in the sale already, as far as the gate was asked.
        available: units left, where that is too few.
        quote: the price that holds, where another one was shown.
    """

    refusal: Refusal
    held: int = 0
    available: int = 0
    quote: Quote | None = None


Placement = Placed | Refused

_REFUSED = {refusal: Refused(refusal) for refusal in Refusal}
metrics.start_at_zero(metrics.ORDERS, [told.value.lower() for told in (*OrderStatus, *Refusal)])
_BY_VERDICT = {
    Verdict.NOT_READY: Refusal.NOT_READY,
    Verdict.UNPUBLISHED: Refusal.PRODUCT_NOT_FOUND,
    Verdict.NOT_STARTED: Refusal.NOT_STARTED,
    Verdict.ENDED: Refusal.ENDED,
    Verdict.PAUSED: Refusal.PAUSED,
    Verdict.GUESTS_REFUSED: Refusal.NAME_NEEDED,
    Verdict.LIMIT_EXCEEDED: Refusal.LIMIT_EXCEEDED,
    Verdict.OUT_OF_STOCK: Refusal.OUT_OF_STOCK,
    Verdict.PRICE_CHANGED: Refusal.PRICE_CHANGED,
}


async def place(
    shopper: Shopper,
    sku: str,
    quantity: int,
    key: str | None = None,
    *,
    attempt: str | None = None,
    shown: Shown = NOT_COMPARED,
) -> Placement:
    """Buy `quantity` units of the sale `sku`, at the price that was `shown` or not at all.

    A repeat with the same idempotency `key` finds the order of the first try, and the key can't be used for another
    sale. A repeat of the same `attempt`, which a page makes up for each click that is meant, finds it too.

    Never raises for a store that is away: an order whose reservation stands and whose confirmation is not known comes
    back pending.
    """
    placement = await _place(shopper, sku, quantity, key, attempt=attempt, shown=shown)
    outcome = placement.order.status.value if isinstance(placement, Placed) else placement.refusal.value
    metrics.count_order(outcome.lower())
    tally.told(sku, REPEATED if isinstance(placement, Placed) and not placement.is_new else outcome.lower())
    _log_outcome(placement, outcome, shopper, sku)
    return placement


def _log_outcome(placement: Placement, outcome: str, shopper: Shopper, sku: str) -> None:
    """One line for each, without anything that says who the shopper is or lets another pass for them."""
    if isinstance(placement, Placed):
        left_out = _lines.take()
        if left_out is None:
            return
        details = {"sku": sku, "order_id": placement.order.id, "shopper_id": shopper.id, "is_new": placement.is_new}
        log.info("order %s", outcome, extra=details | ({"left_out": left_out} if left_out else {}))
    elif log.isEnabledFor(logging.DEBUG):
        log.debug("order refused: %s", outcome, extra={"sku": sku, "shopper_id": shopper.id})


async def _place(
    shopper: Shopper, sku: str, quantity: int, key: str | None, *, attempt: str | None, shown: Shown
) -> Placement:
    found = await current_board()
    if not await indexes_ready() or found.doubts:
        return _REFUSED[Refusal.NOT_READY]
    sale = found.sale_named.get(sku)
    if sale is None:
        try:
            archived = await sale_named(sku)
        except Unheard:
            return _REFUSED[Refusal.NOT_READY]
        if archived is None:
            return _REFUSED[Refusal.PRODUCT_NOT_FOUND]
        return await _when_archived(archived, shopper, quantity, key, attempt)
    tally.tried(sale.id, (shopper.id,))
    return await place_in(sale, shopper, quantity, key, attempt=attempt, shown=shown)


async def place_in(
    sale: PublishedSale,
    shopper: Shopper,
    quantity: int,
    key: str | None = None,
    *,
    attempt: str | None = None,
    shown: Shown = NOT_COMPARED,
) -> Placement:
    """`place`, in a sale that the caller has, once the ledger's indexes are there. Neither counted nor logged."""
    key_digest = _digest(key) if key is not None else None
    order_id = order_id_for(sale.id, shopper.id, key_digest or attempt)
    wish = Wish(
        order_id,
        shopper.id,
        quantity,
        shopper.is_guest,
        context_of(sale.sku, shopper.name, shopper.session_id, key_digest),
        *shown,
    )
    started = perf_counter()
    try:
        answer = await reservations().submit(sale, wish)
    except Overloaded:
        return _REFUSED[Refusal.OVERLOADED]
    except (RedisError, TimeoutError):
        # Whether a unit was reserved is unknown; if so the worker confirms it, and a retry with the key finds it.
        return _REFUSED[Refusal.NOT_READY]
    metrics.observe_step("reserve", perf_counter() - started)
    if answer.verdict is Verdict.GRANTED:
        assert answer.reservation is not None
        placement = await _confirm(shopper, answer.reservation, is_new=True)
        # What was refused after all is given back.
        return placement._replace(held=answer.held) if isinstance(placement, Placed) else placement
    if answer.verdict is Verdict.KNOWN:
        assert answer.entry_id is not None
        return (await _known(shopper, sale, quantity, order_id, answer.entry_id))._replace(held=answer.held)
    if answer.verdict is Verdict.NOT_READY:
        board().ask_for_settings()  # perhaps only our epoch is old
    return Refused(_BY_VERDICT[answer.verdict], answer.held, answer.available, answer.quote)


async def _when_archived(
    sale: PublishedSale, shopper: Shopper, quantity: int, key: str | None, attempt: str | None
) -> Placement:
    """The gate no longer knows the sale: a repeat finds its order in the ledger, anything else comes too late."""
    order_id = order_id_for(sale.id, shopper.id, _digest(key) if key is not None else attempt)
    try:
        async with asyncio.timeout(LOOK_UP_SECONDS):
            order = await lookups().submit(order_id)
    except (PyMongoError, TimeoutError, Overloaded):
        return _REFUSED[Refusal.NOT_READY]
    if order is not None:
        return _told(shopper, order, quantity, is_new=False)
    return _REFUSED[Refusal.ENDED if sale.published else Refusal.PRODUCT_NOT_FOUND]


async def _confirm(shopper: Shopper, reservation: Reservation, is_new: bool) -> Placement:
    started = perf_counter()
    try:
        settled = await confirmations().submit(reservation)
    except (PyMongoError, Overloaded, TimeoutError) as error:
        log.debug("order %s stays pending: %r", reservation.order_id, error)
        return Placed(pending_order(reservation), is_new)
    except Exception:
        # The reservation stands, whatever failed: anything but "pending" would be a guess.
        log.exception("order %s stays pending", reservation.order_id)
        return Placed(pending_order(reservation), is_new)
    metrics.observe_step("confirm", perf_counter() - started)
    match settled.outcome:
        case Outcome.CONFIRMED | Outcome.UNKNOWN | Outcome.BEYOND_SETTINGS:
            return _told(shopper, settled.order, len(reservation.units), is_new)
        case Outcome.GIVEN_UP:
            return _told(shopper, settled.order, len(reservation.units), is_new=False)
        case Outcome.ALREADY_BOUGHT:
            return _REFUSED[Refusal.LIMIT_EXCEEDED]
        case Outcome.KEY_REUSED:
            return _REFUSED[Refusal.KEY_REUSED]
        case Outcome.GATE_STALE:
            return _REFUSED[Refusal.NOT_READY]


async def _known(shopper: Shopper, sale: PublishedSale, quantity: int, order_id: str, entry_id: str) -> Placement:
    """The order of an earlier try: from the ledger, else finished now from its pending entry."""
    reservation = None
    try:
        async with asyncio.timeout(LOOK_UP_SECONDS):
            order = await lookups().submit(order_id)
            if order is None:
                reservation = await stock.pending_entry(redis(), sale.id, entry_id)
                if reservation is None:  # settled between our two questions
                    order = await lookups().submit(order_id)
    except (PyMongoError, RedisError, TimeoutError, Overloaded):
        reservation, order = await _still_pending(sale, entry_id), None
    standing = order or (pending_order(reservation) if reservation else None)
    if standing is None:
        return _REFUSED[Refusal.NOT_READY]
    told = _told(shopper, standing, quantity, is_new=False)
    return await _confirm(shopper, reservation, is_new=False) if reservation and isinstance(told, Placed) else told


def _told(shopper: Shopper, order: Order, quantity: int, is_new: bool) -> Placement:
    """What this browser may hear of the order that stands under its order id."""
    if not may_see(shopper, order):
        return _REFUSED[Refusal.LIMIT_EXCEEDED if order.units else Refusal.KEY_REUSED]
    if order.quantity != quantity:
        return _REFUSED[Refusal.KEY_REUSED]
    return Placed(order, is_new)


async def _still_pending(sale: PublishedSale, entry_id: str) -> Reservation | None:
    try:
        return await stock.pending_entry(redis(), sale.id, entry_id)
    except RedisError:
        return None


def order_id_for(sale_id: str, shopper_id: str, attempt: str | None) -> str:
    """A new order id; for the same attempt always the same one."""
    if attempt is None:
        return secrets.token_hex(12)
    return _digest("\0".join((sale_id, shopper_id, attempt)))


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


async def _look_up(batch: list[str]) -> list[Order | None]:
    found = await ledger.find(batch)
    return [found.get(order_id) for order_id in batch]


def _new_lookups() -> Batcher[str, Order | None]:
    mongo()
    return Batcher(_look_up)


lookups: PerLoop[Batcher[str, Order | None]] = PerLoop(_new_lookups, Batcher.drain)
