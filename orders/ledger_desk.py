"""What the desk asks of the ledger: orders found, read page by page, cancelled, fulfilled.

Every change is one atomic update that names the state it expects, so that two people, or a person and a shopper, can't
both have their way. Every function raises `pymongo.errors.PyMongoError` when the ledger can't answer.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import product
from typing import Any

from pymongo import ASCENDING, DESCENDING, ReturnDocument

from flashdrop.metrics import timed
from flashdrop.mongo_client import Document
from orders.documents import from_document, orders_collection, status_of
from orders.order import Order, OrderStatus

# A search that no index helps is cut off rather than left to read a million orders while somebody waits.
SEARCH_MS = 5000
EXPORT_BATCH = 1000
NEWEST_FIRST = [("reserved_at", DESCENDING), ("_id", DESCENDING)]
OLDEST_FIRST = [("reserved_at", ASCENDING), ("_id", ASCENDING)]


class OrderState(StrEnum):
    """What an order is to the desk: a completed one is open until it is fulfilled."""

    OPEN = "open"
    FULFILLED = "fulfilled"
    CANCELLED = "cancelled"
    RELEASED = "released"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that was done to an order, by whom, and why."""

    at: datetime
    what: str
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class OrderRecord:
    """An order with everything that happened to it. `returned_units` are those it held until it was given up."""

    order: Order
    state: OrderState
    returned_units: tuple[int, ...]
    given_up_at: datetime | None
    fulfilled_at: datetime | None
    events: tuple[Event, ...]

    @property
    def units(self) -> tuple[int, ...]:
        """What it holds, or held."""
        return self.order.units or self.returned_units


@dataclass(frozen=True, slots=True)
class Wanted:
    """A search. Everything left None matches all; times are aware UTC, `until` exclusive. `unit` finds who holds it and
    who gave it up.
    """

    sale_id: str | None = None
    order_id: str | None = None
    shopper_id: str | None = None
    unit: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    state: OrderState | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page of results begins or ends: the next begins after it, the one before ends before it."""

    reserved_at: datetime
    order_id: str


@timed("mongodb")
async def search(
    wanted: Wanted, count: int, after: Place | None = None, *, before: Place | None = None
) -> list[OrderRecord]:
    """At most `count` orders, newest first: those right after `after`, or those right before `before`.

    Raises:
        pymongo.errors.ExecutionTimeout: no index helps and there are too many orders; narrow it down.
    """
    cursor = orders_collection().find(_filter(wanted, after, before)).limit(count).max_time_ms(SEARCH_MS)
    found = [record_of(document) async for document in cursor.sort(OLDEST_FIRST if before else NEWEST_FIRST)]
    return found[::-1] if before else found


@timed("mongodb")
async def read(order_id: str) -> OrderRecord | None:
    """One order with its history; None where the ledger has none (it may still be pending)."""
    document = await orders_collection().find_one({"_id": order_id})
    return record_of(document) if document else None


@timed("mongodb")
async def read_all(order_ids: Sequence[str]) -> dict[str, OrderRecord]:
    """Orders by id; ids that the ledger doesn't have are missing."""
    cursor = orders_collection().find({"_id": {"$in": list(order_ids)}})
    return {document["_id"]: record_of(document) async for document in cursor}


@timed("mongodb")
async def held_by(sale_id: str, units: Sequence[int]) -> list[OrderRecord]:
    """The orders that hold these units of a sale."""
    cursor = orders_collection().find({"sale": sale_id, "units": {"$in": list(units)}})
    return [record_of(document) async for document in cursor]


@timed("mongodb")
async def of_shoppers(sale_id: str | None, shopper_ids: Sequence[str]) -> list[OrderRecord]:
    """All orders of these shoppers in one sale, or in all, given up ones too."""
    theirs: Document = {"shopper": {"$in": list(shopper_ids)}} | ({"sale": sale_id} if sale_id else {})
    # What is held and what was given up have indexes of their own.
    ways = [theirs | {name: {"$exists": True}} for name in ("slots", "given_up_at")]
    return [record_of(document) async for document in orders_collection().find({"$or": ways})]


async def every(wanted: Wanted) -> AsyncGenerator[OrderRecord, None]:
    """All orders that match, oldest first, as they are read: for exports, however many there are."""
    # Closed when the reader stops early, so that the server does not read on for nobody.
    async with orders_collection().find(_filter(wanted), batch_size=EXPORT_BATCH).sort(OLDEST_FIRST) as cursor:
        async for document in cursor:
            yield record_of(document)


@timed("mongodb")
async def cancel(order_id: str, event: Event) -> OrderRecord | None:
    """Cancel an open order: it gives up its units and slots, and is marked until the gate has them back.

    Returns it as it is now, None where it is not open (any more).
    """
    is_open = {"_id": order_id, "status": OrderStatus.COMPLETED.value, "fulfilled_at": {"$exists": False}}
    document = await orders_collection().find_one_and_update(
        is_open,
        [
            {
                "$set": {
                    "status": OrderStatus.CANCELLED.value,
                    "given_up_at": event.at,
                    "to_release": event.at,
                    "returned_units": "$units",
                    "returned_slots": "$slots",
                    "events": _with(event),
                }
            },
            {"$unset": ["units", "slots"]},
        ],
        return_document=ReturnDocument.AFTER,
    )
    return record_of(document) if document else None


@timed("mongodb")
async def fulfil(order_id: str, event: Event) -> OrderRecord | None:
    """Mark an open order as handed over. Returns it as it is now, None where it is not open (any more)."""
    is_open = {"_id": order_id, "status": OrderStatus.COMPLETED.value, "fulfilled_at": {"$exists": False}}
    change = [{"$set": {"fulfilled_at": event.at, "events": _with(event)}}]
    document = await orders_collection().find_one_and_update(is_open, change, return_document=ReturnDocument.AFTER)
    return record_of(document) if document else None


@timed("mongodb")
async def reopen(order_id: str, event: Event) -> OrderRecord | None:
    """Undo `fulfil`. Returns it as it is now, None where it was not fulfilled."""
    is_fulfilled = {"_id": order_id, "status": OrderStatus.COMPLETED.value, "fulfilled_at": {"$exists": True}}
    change: list[Document] = [{"$set": {"events": _with(event)}}, {"$unset": "fulfilled_at"}]
    document = await orders_collection().find_one_and_update(is_fulfilled, change, return_document=ReturnDocument.AFTER)
    return record_of(document) if document else None


@timed("mongodb")
async def to_release(now: datetime, count: int) -> list[tuple[Order, bool]]:
    """Cancelled orders whose units the gate is to be told of by now, and whether it was told before; oldest first."""
    cursor = orders_collection().find({"to_release": {"$lte": now}}).sort([("to_release", ASCENDING)]).limit(count)
    return [(from_document(document), document.get("told", False)) async for document in cursor]


@timed("mongodb")
async def has_to_release(sale_id: str) -> bool:
    """Whether the gate is still to be told of a cancelled order of this sale."""
    return (
        await orders_collection().find_one({"to_release": {"$exists": True}, "sale": sale_id}, {"_id": 1}) is not None
    )


@timed("mongodb")
async def tell_again(order_ids: list[str], at: datetime) -> None:
    """Note that the gate was told of these cancelled orders, and is to be told once more `at`."""
    await orders_collection().update_many(
        {"_id": {"$in": order_ids}, "to_release": {"$exists": True}}, {"$set": {"to_release": at, "told": True}}
    )


@timed("mongodb")
async def released(order_ids: list[str]) -> None:
    """Note that the gate can't hold the units of these cancelled orders any more."""
    await orders_collection().update_many({"_id": {"$in": order_ids}}, {"$unset": {"to_release": "", "told": ""}})


def record_of(document: Document) -> OrderRecord:
    """A document as the desk sees it."""
    return OrderRecord(
        order=from_document(document),
        state=_state(document),
        returned_units=tuple(document.get("returned_units", ())),
        given_up_at=document.get("given_up_at"),
        fulfilled_at=document.get("fulfilled_at"),
        events=tuple(_event(event) for event in document.get("events", ())),
    )


def _event(written: Document) -> Event:
    return Event(written["at"], written.get("what", ""), written.get("by", ""), written.get("reason", ""))


def _state(document: Document) -> OrderState:
    match status_of(document):
        case OrderStatus.CANCELLED:
            return OrderState.CANCELLED
        case OrderStatus.RELEASED:
            return OrderState.RELEASED
        case _:
            return OrderState.FULFILLED if "fulfilled_at" in document else OrderState.OPEN


def _filter(wanted: Wanted, after: Place | None = None, before: Place | None = None) -> Document:
    found: Document = {}
    if wanted.sale_id is not None:
        found["sale"] = wanted.sale_id
    if wanted.order_id is not None:
        found["_id"] = wanted.order_id
    if wanted.since is not None or wanted.until is not None:
        found["reserved_at"] = {
            **({"$gte": wanted.since} if wanted.since else {}),
            **({"$lt": wanted.until} if wanted.until else {}),
        }
    bounds = [_beyond(place, bound) for place, bound in ((after, "$lt"), (before, "$gt")) if place is not None]
    # What is held and what was given up have indexes of their own: each way to match is a search by itself.
    ways: list[list[Document]] = [[_STATE_FILTERS.get(wanted.state, {}) if wanted.state else {}]]
    if wanted.shopper_id is not None:
        held, given_up = {"slots": {"$exists": True}}, {"given_up_at": {"$exists": True}}
        ways.append([{"shopper": wanted.shopper_id} | half for half in (held, given_up)])
    if wanted.unit is not None:
        ways.append([{"units": wanted.unit}, {"returned_units": wanted.unit}])
    every_way = [{"$and": [found, *bounds, *way]} for way in product(*ways)]
    return {"$or": every_way} if len(every_way) > 1 else every_way[0]


def _beyond(place: Place, bound: str) -> Document:
    same_moment = {"reserved_at": place.reserved_at, "_id": {bound: place.order_id}}
    # The bound in front lets the index begin there; the alternative keeps apart what was reserved in the same moment.
    return {
        "reserved_at": {f"{bound}e": place.reserved_at},
        "$or": [{"reserved_at": {bound: place.reserved_at}}, same_moment],
    }


def _with(event: Event) -> Document:
    written: dict[str, Any] = {"at": event.at, "what": event.what, "by": event.by, "reason": event.reason}
    # A literal: what people write may begin with a dollar sign.
    return {"$concatArrays": [{"$ifNull": ["$events", []]}, [{"$literal": written}]]}


_STATE_FILTERS: dict[OrderState, Document] = {
    OrderState.OPEN: {"status": OrderStatus.COMPLETED.value, "fulfilled_at": {"$exists": False}},
    OrderState.FULFILLED: {"status": OrderStatus.COMPLETED.value, "fulfilled_at": {"$exists": True}},
    # The dates say nothing new; the indexes of what is rare ask for them.
    OrderState.CANCELLED: {"status": OrderStatus.CANCELLED.value, "given_up_at": {"$exists": True}},
    OrderState.RELEASED: {"status": OrderStatus.RELEASED.value, "given_up_at": {"$exists": True}},
}
