"""The ledger of orders: what is written there, and what shoppers, gate and worker ask of it.

The unique indexes are what makes overselling impossible, whatever the gate says: no two orders hold the same unit of a
sale, or the same of a shopper's allowed purchases. Orders that were given up hold neither. Writes are majority and
journaled (`flashdrop/mongo_client.py`); every function raises `pymongo.errors.PyMongoError` when the ledger can't
answer, and then nothing is known about what it wrote.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto

from pymongo import DESCENDING
from pymongo.asynchronous.cursor import AsyncCursor
from pymongo.errors import BulkWriteError, DuplicateKeyError

from flashdrop.metrics import timed
from flashdrop.mongo_client import Document
from orders.documents import INDEXES, from_document, orders_collection, to_document
from orders.order import Order, OrderStatus
from sales import catalogue
from sales.building import Holding

DUPLICATE_KEY = 11000
MAX_LISTED = 200


class Insertion(Enum):
    """What became of one order handed to `insert`."""

    WRITTEN = auto()
    ID_TAKEN = auto()
    """An order with this id is there already, written by us or by somebody who finished it for us."""
    UNIT_TAKEN = auto()
    """Another order holds one of the units: the gate is stale."""
    SLOT_TAKEN = auto()
    """The shopper already has the order that this one would be."""
    KEY_TAKEN = auto()
    """The shopper used this idempotency key in another sale."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What the ledger holds of one sale."""

    orders: int
    units: int


async def ensure_indexes() -> None:
    """Create the indexes where they are missing. Safe to repeat, and from several processes at once."""
    for index in INDEXES:
        await orders_collection().create_indexes([index])


async def indexes() -> list[Document]:
    """The indexes that are there, as MongoDB lists them; none when there is no collection yet."""
    return [dict(index) async for index in await orders_collection().list_indexes()]


async def holds_orders() -> bool:
    """Whether there is any order, of whatever sale."""
    return await orders_collection().find_one({}, {"_id": 1}) is not None


async def try_reading_and_writing() -> None:
    """Do what an order needs of the ledger, on an order that does not exist, so that nothing is left behind.

    A write that changes nothing still needs the primary, the right to write, and a majority that has all before it.
    """
    nobody = {"_id": ""}
    await orders_collection().find_one(nobody)
    await orders_collection().update_one(nobody, {"$set": {"sale": ""}})


@timed("mongodb")
async def insert(orders: Sequence[Order], created_at: datetime) -> list[Insertion]:
    """Write `orders`, all that can be, in one round trip. Not atomic as a whole; each order is. One result for each."""
    results = [Insertion.WRITTEN] * len(orders)
    try:
        await orders_collection().insert_many([to_document(order, created_at) for order in orders], ordered=False)
    except BulkWriteError as error:
        details = error.details
        if details is None or details.get("writeConcernErrors"):
            raise
        for failure in details["writeErrors"]:
            if failure["code"] != DUPLICATE_KEY:
                raise
            results[failure["index"]] = _refusal(failure)
    return results


@timed("mongodb")
async def give_up(order: Order, at: datetime) -> Order:
    """Make sure that a pending order can never be confirmed: a `released` document takes its id, unless the order got
    there first. Returns the order as the ledger now has it.
    """
    document = to_document(order, at) | {"status": OrderStatus.RELEASED.value, "given_up_at": at}
    del document["units"], document["slots"]
    try:
        await orders_collection().insert_one(document)
    except DuplicateKeyError:
        found = await find([order.id])
        if order.id in found:
            return found[order.id]
        # The id is free and the key is not: it was used in another sale, so this order can't be confirmed either.
        document.pop("key", None)
        await orders_collection().insert_one(document)
    return from_document(document)


@timed("mongodb")
async def find(order_ids: Sequence[str]) -> dict[str, Order]:
    """Orders by id; ids that the ledger doesn't have are missing."""
    cursor = orders_collection().find({"_id": {"$in": list(order_ids)}})
    return {document["_id"]: from_document(document) async for document in cursor}


@timed("mongodb")
async def of_shoppers(shopper_ids: Sequence[str], sale_id: str | None = None) -> list[list[Order]]:
    """The orders of each shopper, in one sale or in all of them, newest first, at most `MAX_LISTED` of each. One round
    trip for all.
    """
    found: dict[str, list[Order]] = {shopper_id: [] for shopper_id in shopper_ids}
    async for document in _of_shoppers(list(found), sale_id).sort([("reserved_at", DESCENDING)]):
        theirs = found[document["shopper"]]
        if len(theirs) < MAX_LISTED and sale_id in (None, document["sale"]):
            theirs.append(from_document(document))
    return [found[shopper_id] for shopper_id in shopper_ids]


def _of_shoppers(shopper_ids: list[str], sale_id: str | None) -> AsyncCursor[Document]:
    """Each half has an index of its own: what is held, and what was given up.

    The sale is not asked of the second: MongoDB might go through everything that was ever given up in it.
    """
    theirs: Document = {"shopper": {"$in": shopper_ids}}
    held = theirs | {"slots": {"$exists": True}} | ({} if sale_id is None else {"sale": sale_id})
    return orders_collection().find({"$or": [held, theirs | {"given_up_at": {"$exists": True}}]})


@timed("mongodb")
async def end_session(shopper_id: str, session_id: str, at: datetime) -> None:
    """Mark the orders that this browser session placed: from now on no browser is shown them."""
    theirs: Document = {"shopper": shopper_id, "session": session_id}
    by_index = [theirs | {"slots": {"$exists": True}}, theirs | {"given_up_at": {"$exists": True}}]
    await orders_collection().update_many({"$or": by_index}, {"$set": {"session_ended_at": at}})


async def holdings(sale_id: str) -> AsyncIterator[Holding]:
    """What each order of the sale holds, in no particular order: all that a gate needs to know."""
    wanted = {"shopper": 1, "units": 1, "slots": 1}
    cursor = orders_collection().find({"sale": sale_id, "units": {"$exists": True}}, wanted, batch_size=10_000)
    async for row in cursor:
        yield row["shopper"], row["_id"], tuple(row["units"]), tuple(row["slots"])


@timed("mongodb")
async def highest_unit(sale_id: str) -> int:
    """The highest unit that an order of the sale holds, 0 when none does. One look into an index."""
    found = await orders_collection().find_one(
        {"sale": sale_id, "units": {"$exists": True}}, {"units": 1}, sort=[("units", DESCENDING)]
    )
    return max(found["units"]) if found else 0


@timed("mongodb")
async def tally(sale_id: str) -> Tally:
    """Orders and units that the ledger holds as sold."""
    cursor = await orders_collection().aggregate(
        [
            {"$match": {"sale": sale_id, "units": {"$exists": True}}},
            {"$group": {"_id": None, "orders": {"$sum": 1}, "units": {"$sum": "$quantity"}}},
        ]
    )
    rows = await cursor.to_list()
    return Tally(rows[0]["orders"], rows[0]["units"]) if rows else Tally(0, 0)


@timed("mongodb")
async def units_above(sale_id: str, stock: int) -> list[tuple[str, int]]:
    """Sold units numbered above `stock`, which promise 1 forbids: pairs of order id and unit."""
    cursor = orders_collection().find({"sale": sale_id, "units": {"$gt": stock}}, {"units": 1}).limit(MAX_LISTED)
    return [(row["_id"], unit) async for row in cursor for unit in row["units"] if unit > stock]


@timed("mongodb")
async def doubly_sold(sale_id: str) -> list[tuple[int, list[str]]]:
    """Units that more than one order holds, with the orders: what the unique index forbids, counted without it."""
    cursor = await orders_collection().aggregate(
        [
            {"$match": {"sale": sale_id, "units": {"$exists": True}}},
            {"$unwind": "$units"},
            {"$group": {"_id": "$units", "orders": {"$push": "$_id"}, "count": {"$sum": 1}}},
            {"$match": {"count": {"$gt": 1}}},
            {"$limit": MAX_LISTED},
        ],
        allowDiskUse=True,
    )
    return [(row["_id"], row["orders"]) async for row in cursor]


@timed("mongodb")
async def over_limit(sale_id: str, limit: int) -> list[tuple[str, int]]:
    """Shoppers who hold more than `limit` units, or one of their allowed purchases twice, with how many they hold."""
    cursor = await orders_collection().aggregate(
        [
            {"$match": {"sale": sale_id, "units": {"$exists": True}}},
            {"$unwind": "$slots"},
            {"$group": {"_id": "$shopper", "held": {"$sum": 1}, "slots": {"$addToSet": "$slots"}}},
            {"$match": {"$or": [{"held": {"$gt": limit}}, {"$expr": {"$gt": ["$held", {"$size": "$slots"}]}}]}},
            {"$limit": MAX_LISTED},
        ],
        allowDiskUse=True,
    )
    return [(row["_id"], row["held"]) async for row in cursor]


@timed("mongodb")
async def remove_rehearsed(sale_id: str) -> int:
    """Delete the orders of a rehearsal, and return how many there were. No other order is ever deleted.

    Raises:
        ValueError: the sale is not marked as a rehearsal.
    """
    if not await catalogue.is_rehearsal(sale_id):
        raise ValueError(f"{sale_id} is no rehearsal: its orders stay")
    return (await orders_collection().delete_many({"sale": sale_id})).deleted_count


def _refusal(failure: Document) -> Insertion:
    fields = set(failure["keyPattern"])
    if "_id" in fields:
        return Insertion.ID_TAKEN
    if "units" in fields:
        return Insertion.UNIT_TAKEN
    return Insertion.SLOT_TAKEN if "slots" in fields else Insertion.KEY_TAKEN
