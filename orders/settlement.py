"""Settlement: what a reservation comes to. The web processes and the worker settle by the same function.

Confirming is inserting the order into the ledger; every step may be repeated by anybody at any time. What the ledger
refuses is released at the gate. What the ledger did not answer stays pending: rolling forward later is safe, rolling
back after an unknown outcome is how systems oversell.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum, auto
from typing import NamedTuple

from flashdrop import metrics
from flashdrop.batching import Batcher, Overloaded
from flashdrop.loops import PerLoop
from flashdrop.mongo_client import mongo
from flashdrop.redis_client import RedisError, redis
from orders import ledger
from orders.indexes import Unguarded, indexes_ready
from orders.ledger import Insertion
from orders.order import Order, OrderStatus, pending_order
from sales import catalogue, stock
from sales.board import board
from sales.gate import Reservation
from sales.published import PublishedSale

# Past this a shopper is told "reserved, being confirmed" and the work goes on without them.
CONFIRM_SECONDS = 2.5
log = logging.getLogger(__name__)


class Outcome(Enum):
    """What became of a reservation."""

    CONFIRMED = auto()
    UNKNOWN = auto()
    """Somebody else's insert of it is not acknowledged by the majority yet: it stays pending."""
    BEYOND_SETTINGS = auto()
    """Beyond the stock or the limit that the ledger knows: the worker decides which of the two stores is wrong."""
    GIVEN_UP = auto()
    """The ledger has this order as cancelled or released."""
    ALREADY_BOUGHT = auto()
    KEY_REUSED = auto()
    GATE_STALE = auto()
    """The unit is somebody else's; the gate was stopped and will be rebuilt."""


STILL_PENDING = (Outcome.UNKNOWN, Outcome.BEYOND_SETTINGS)
REFUSED = (Outcome.ALREADY_BOUGHT, Outcome.KEY_REUSED, Outcome.GATE_STALE)
_writing: set[asyncio.Task[Order]] = set()


class Settled(NamedTuple):
    """`order` is the one the ledger has, or the one that was asked for where it has none."""

    outcome: Outcome
    order: Order


async def settle(reservations: Sequence[Reservation], sales: Mapping[str, PublishedSale]) -> list[Settled]:
    """Write the orders of `reservations` and act on what the ledger says. One result each; safe to repeat.

    `sales` are the ledger's settings as last read; they are read again before a reservation is held to be beyond them.

    Raises:
        pymongo.errors.PyMongoError: the outcome is unknown; everything stays pending.
    """
    orders = [pending_order(reservation) for reservation in reservations]
    covered = await _covered_by_settings(reservations, sales)
    written_at = datetime.now(UTC)
    chosen = [place for place, is_covered in enumerate(covered) if is_covered]
    insertions = await ledger.insert([orders[place] for place in chosen], written_at) if chosen else []
    taken_ids = [orders[place].id for place, done in zip(chosen, insertions, strict=True) if done is Insertion.ID_TAKEN]
    standing = await ledger.find(taken_ids) if taken_ids else {}

    settled = [Settled(Outcome.BEYOND_SETTINGS, order) for order in orders]
    stale: list[Reservation] = []
    for place, insertion in zip(chosen, insertions, strict=True):
        settled[place] = _settled(orders[place], insertion, standing, written_at)
        if _shows_stale_gate(orders[place], insertion, settled[place]):
            stale.append(reservations[place])
    await _tell_gate(reservations, settled, stale)
    return settled


async def _covered_by_settings(reservations: Sequence[Reservation], sales: Mapping[str, PublishedSale]) -> list[bool]:
    """Whether each reservation is within the stock and the limit in the ledger's settings."""
    known = dict(sales)
    fresh: set[str] = set()
    covered = []
    for reservation in reservations:
        sale = known.get(reservation.sale_id)
        if not _covers(sale, reservation) and reservation.sale_id not in fresh:
            sale = await catalogue.get(reservation.sale_id)
            fresh.add(reservation.sale_id)
            if sale is not None:
                known[sale.id] = sale
        covered.append(_covers(sale, reservation))
    return covered


def _covers(sale: PublishedSale | None, reservation: Reservation) -> bool:
    if sale is None:
        return False
    return max(reservation.units) <= sale.stock and max(reservation.slots) <= sale.highest_limit


def _settled(order: Order, insertion: Insertion, standing: Mapping[str, Order], written_at: datetime) -> Settled:
    match insertion:
        case Insertion.WRITTEN:
            return Settled(Outcome.CONFIRMED, order.confirmed_at(written_at))
        case Insertion.ID_TAKEN:
            found = standing.get(order.id)
            if found is None:  # taken by an insert that the majority has not acknowledged yet
                return Settled(Outcome.UNKNOWN, order)
            is_sold = found.status is OrderStatus.COMPLETED
            return Settled(Outcome.CONFIRMED if is_sold else Outcome.GIVEN_UP, found)
        case Insertion.SLOT_TAKEN:
            return Settled(Outcome.ALREADY_BOUGHT, order)
        case Insertion.KEY_TAKEN:
            return Settled(Outcome.KEY_REUSED, order)
        case Insertion.UNIT_TAKEN:
            return Settled(Outcome.GATE_STALE, order)


def _shows_stale_gate(order: Order, insertion: Insertion, settled: Settled) -> bool:
    """Whether a gate that agreed with the ledger could not have made this reservation."""
    if insertion in (Insertion.UNIT_TAKEN, Insertion.SLOT_TAKEN):
        return True
    return settled.outcome is Outcome.CONFIRMED and settled.order.units != order.units


async def _tell_gate(reservations: Sequence[Reservation], settled: Sequence[Settled], stale: list[Reservation]) -> None:
    """Forget what is confirmed, release what is refused, stop a gate that is stale. The worker repeats what fails."""
    confirmed: list[Reservation] = []
    release: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    for reservation, result in zip(reservations, settled, strict=True):
        if result.outcome is Outcome.CONFIRMED and result.order.units == reservation.units:
            confirmed.append(reservation)
        elif result.outcome not in STILL_PENDING:
            release[reservation.sale_id].append((reservation.shopper_id, reservation.order_id))
    try:
        forgetting().hand_over(confirmed)
    except Overloaded:
        log.debug("%d orders are confirmed; their pending entries are left to the worker", len(confirmed))
    try:
        # Stopped first: what is released would be handed out again at once.
        for reservation in stale:
            await _stop_gate(reservation)
        for sale_id, held in release.items():
            await stock.release(redis(), sale_id, held)
    except RedisError as error:
        log.warning("the gate can't be told what was refused: %s", error)


async def _stop_gate(reservation: Reservation) -> None:
    if await stock.fence(redis(), reservation.sale_id, reservation.epoch):
        log.error(
            "sale %s: the gate gave out units %s, which the ledger refuses; it is stopped until it is rebuilt",
            reservation.sale_id,
            reservation.units,
        )


def _write_down_refusal(late: Settled) -> None:
    """For a shopper who was told "pending": keep a refusal as a `released` order for them to find."""
    if late.outcome not in REFUSED:
        return
    task = asyncio.get_running_loop().create_task(ledger.give_up(late.order, datetime.now(UTC)))
    _writing.add(task)
    task.add_done_callback(_written)


def _written(task: asyncio.Task[Order]) -> None:
    _writing.discard(task)
    if not task.cancelled() and task.exception() is not None:
        log.warning("a refusal could not be written down: %s", task.exception())


async def _settle_batch(batch: list[Reservation]) -> list[Settled]:
    metrics.BATCH_SIZE.labels("confirm").observe(len(batch))
    if not await indexes_ready():
        raise Unguarded("a unique index is missing: what is reserved stays pending")
    return await settle(batch, board().sales)


async def _forget_batch(batch: list[Reservation]) -> list[None]:
    entries: defaultdict[str, list[str]] = defaultdict(list)
    for reservation in batch:
        entries[reservation.sale_id].append(reservation.entry_id)
    for sale_id, entry_ids in entries.items():
        await stock.confirm(redis(), sale_id, entry_ids)
    return [None] * len(batch)


def _new_forgetting() -> Batcher[Reservation, None]:
    redis()  # made first, so that it is closed last
    return Batcher(_forget_batch, max_batch=1000, max_in_flight=1)


def _new_confirmations() -> Batcher[Reservation, Settled]:
    mongo()
    forgetting()
    return Batcher(_settle_batch, patience_seconds=CONFIRM_SECONDS, on_late=_write_down_refusal)


forgetting: PerLoop[Batcher[Reservation, None]] = PerLoop(_new_forgetting, Batcher.drain)
confirmations: PerLoop[Batcher[Reservation, Settled]] = PerLoop(_new_confirmations, Batcher.drain)
