"""The ledger's `sales` collection: the published settings of each sale. The one module that knows its fields.

Every function is one MongoDB operation, durable (majority, journaled) when it writes, and raises
`pymongo.errors.PyMongoError` when the ledger can't answer.

Versions of the shop run side by side over it during an update. What a document lacks is read as its field says
(`sales/published.py`), what only another version knows is left in it: `save` sets its own fields and no other.
"""

from __future__ import annotations

import logging
from collections.abc import Collection as Ids
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import NamedTuple

from pymongo import ASCENDING, IndexModel, ReturnDocument
from pymongo.errors import DuplicateKeyError, PyMongoError

from flashdrop.metrics import timed
from flashdrop.mongo_client import Collection, Document, collection
from sales.gate import Brake
from sales.published import PublishedSale, SaleSettings, read_fields

FIRST_EPOCH = 1
# Set on rehearsals only: the id of the sale that is rehearsed.
MARK = "rehearsal_of"
# At most one. A list, so that publishing takes it off in the same step if the settings know of it: left behind, it
# would come back once they know of a later one.
NOTED_BRAKES = "noted_brakes"
# Set on archived sales until the gate has let them go.
GATE_STANDS = "gate_stands"
IN_USE = {"archived_at": None}
ARCHIVED = {"archived_at": {"$ne": None}}
BACK_IN_USE = {"$unset": {"archived_at": "", "archived_epoch": "", GATE_STANDS: ""}}
INDEXES = (
    IndexModel([("sku", ASCENDING)], unique=True, name="sku"),
    # So that what is read each second is what is in use, however many sales there were.
    IndexModel([("archived_at", ASCENDING)], name="archived"),
    IndexModel(
        [("closes_at", ASCENDING)], partialFilterExpression={"archived_at": {"$exists": True}}, name="archived_by_end"
    ),
    IndexModel(
        [(GATE_STANDS, ASCENDING)], partialFilterExpression={GATE_STANDS: {"$exists": True}}, name="archived_at_gate"
    ),
)
log = logging.getLogger(__name__)


class Unreadable(PyMongoError):
    """A sale's document lacks what a sale can't be without: for whoever asks, the ledger has not answered."""


class Shelf(NamedTuple):
    """Sales, earliest window first, and how many more there are whose documents can't be read."""

    sales: list[PublishedSale]
    unreadable: int = 0


class Overtaken(Exception):
    """Settings that were saved later have been published already; `saved` is the number of theirs."""

    def __init__(self, saved: int) -> None:
        super().__init__(f"settings saved later are published already ({saved})")
        self.saved = saved


class Vanished(PyMongoError):
    """The ledger doesn't have a sale that it had."""


def _sales() -> Collection:
    return collection("sales")


async def ensure_indexes() -> None:
    """Create the collection's indexes where they are missing. Safe to repeat, and to run from several processes."""
    await _sales().create_indexes(list(INDEXES))


async def indexes() -> list[Document]:
    """The indexes that are there, as MongoDB lists them; none when there is no collection yet."""
    return [dict(index) async for index in await _sales().list_indexes()]


@timed("mongodb")
async def save(
    settings: SaleSettings,
    rehearsal_of: str | None = None,
    saved: int | None = None,
    *,
    knows_brake: str = "",
    must_exist: bool = False,
) -> PublishedSale:
    """Store `settings` under a new version. Version 1 means that nothing of this sale was there before; an archived
    sale is in use again, and its gate is to be rebuilt.

    `rehearsal_of` marks a new one as the rehearsal of that sale; the mark stays for good. `saved` orders what several
    processes publish: settings of a lower number are refused after those of a higher one, in the same step.
    `knows_brake` names the newest brake that they know of. With `must_exist` a sale that was published before is not
    made up anew: a ledger without it has lost it, and perhaps its orders.

    Raises:
        Overtaken: by its `saved`.
        Vanished: with `must_exist`, it isn't there.
        pymongo.errors.DuplicateKeyError: another sale has this sku.
    """
    values = asdict(settings) | {"knows_brake": knows_brake}
    sale_id = values.pop("id")
    wanted: Document = {"_id": sale_id}
    if saved is not None:
        values["saved"] = saved
        wanted["$or"] = [{"saved": {"$exists": False}}, {"saved": {"$lte": saved}}]
    if must_exist:
        found = await _save(wanted, values, settings, None, upsert=False)
        if found is not None:
            return found
        there = await _sales().find_one({"_id": sale_id}, {"saved": 1})
        if there is None:
            raise Vanished(f"the ledger has lost the sale {settings.sku}, which was published before")
        raise Overtaken(there.get("saved", 0))
    try:
        return await _inserted(wanted, values, settings, rehearsal_of)
    except DuplicateKeyError as error:
        there = await _sales().find_one({"_id": sale_id}, {"saved": 1})
        if saved is None or there is None:
            raise
        if there.get("saved", 0) > saved:
            raise Overtaken(there["saved"]) from error
        # Another process has just inserted it; or its sku is another sale's, which the second try says again.
        return await _inserted(wanted, values, settings, rehearsal_of)


async def _inserted(
    wanted: Document, values: Document, settings: SaleSettings, rehearsal_of: str | None
) -> PublishedSale:
    found = await _save(wanted, values, settings, rehearsal_of, upsert=True)
    assert found is not None  # an upsert always leaves one
    return found


async def _save(
    wanted: Document, values: Document, settings: SaleSettings, rehearsal_of: str | None, *, upsert: bool
) -> PublishedSale | None:
    document = await _sales().find_one_and_update(
        wanted,
        {
            "$set": values,
            "$inc": {"version": 1},
            **BACK_IN_USE,
            "$pull": {NOTED_BRAKES: {"name": values["knows_brake"]}},
            "$max": {"highest_stock": settings.stock, "highest_limit": settings.limit_per_shopper},
            "$setOnInsert": {
                "epoch": FIRST_EPOCH,
                "available": settings.stock,
                **({MARK: rehearsal_of} if rehearsal_of is not None else {}),
            },
        },
        upsert=upsert,
        return_document=ReturnDocument.AFTER,
    )
    return _from_document(document) if document is not None else None


@timed("mongodb")
async def get(sale_id: str) -> PublishedSale | None:
    """One sale, published or not."""
    document = await _sales().find_one({"_id": sale_id})
    return _from_document(document) if document else None


@timed("mongodb")
async def get_by_sku(sku: str) -> PublishedSale | None:
    """One sale by its sku, published or not."""
    document = await _sales().find_one({"sku": sku})
    return _from_document(document) if document else None


async def every() -> list[PublishedSale]:
    """All sales in use, withdrawn ones too, earliest window first. Archived ones are not among them, nor are
    rehearsals: no board, no worker and no report comes to know of one.
    """
    return (await shelf()).sales


@timed("mongodb")
async def shelf() -> Shelf:
    """`every`, and whether that is all: a document that can't be read costs the shop that one sale."""
    found = _sales().find(IN_USE | {MARK: {"$exists": False}}).sort([("opens_at", ASCENDING), ("_id", ASCENDING)])
    sales, unreadable = [], 0
    async for document in found:
        try:
            sales.append(_from_document(document))
        except Unreadable as error:
            log.error("%s", error)
            unreadable += 1
    return Shelf(sales, unreadable)


@timed("mongodb")
async def published() -> dict[str, str]:
    """The sales that shoppers must see: sale id to sku."""
    found = _sales().find({MARK: {"$exists": False}, "published": True, **IN_USE}, {"sku": 1})
    return {document["_id"]: document["sku"] async for document in found}


@timed("mongodb")
async def rehearsals() -> list[PublishedSale]:
    """The rehearsals that are there, of whatever sale."""
    return [_from_document(document) async for document in _sales().find({MARK: {"$exists": True}})]


@timed("mongodb")
async def is_rehearsal(sale_id: str) -> bool:
    """Whether this is a rehearsal; false when there is no such sale."""
    return await _sales().find_one({"_id": sale_id, MARK: {"$exists": True}}, {"_id": 1}) is not None


@timed("mongodb")
async def remove_rehearsal(sale_id: str) -> None:
    """Forget a rehearsal. Does nothing to a sale that isn't one."""
    await _sales().delete_one({"_id": sale_id, MARK: {"$exists": True}})


@timed("mongodb")
async def raise_stock_to(sale: PublishedSale, units: int) -> PublishedSale | None:
    """Undo part of a lowering that went below what was sold: the stock becomes `units` under a new version.

    Only up to a stock that was published once, so that a gate that is wrong can't invent units. Returns the sale, or
    None when somebody has published since or `units` was never on sale.
    """
    document = await _sales().find_one_and_update(
        {"_id": sale.id, "version": sale.version, "stock": {"$lt": units}, "highest_stock": {"$gte": units}},
        {"$set": {"stock": units}, "$inc": {"version": 1}},
        return_document=ReturnDocument.AFTER,
    )
    return _from_document(document) if document else None


@timed("mongodb")
async def raise_epoch(sale_id: str) -> PublishedSale | None:
    """Begin a rebuild: from now on only a gate loaded under the new epoch is believed, and an archived sale is in use
    again. None without such a sale.
    """
    document = await _sales().find_one_and_update(
        {"_id": sale_id}, {"$inc": {"epoch": 1}, **BACK_IN_USE}, return_document=ReturnDocument.AFTER
    )
    return _from_document(document) if document else None


@timed("mongodb")
async def note_brake(sale_id: str, brake: Brake) -> None:
    """Note a brake that was pulled at the gate, so that a rebuild of a gate that has lost it puts it back."""
    await _sales().update_one(
        {"_id": sale_id, "knows_brake": {"$ne": brake.name}, f"{NOTED_BRAKES}.name": {"$ne": brake.name}},
        {"$set": {NOTED_BRAKES: [asdict(brake)]}},
    )


async def holds_sales() -> bool:
    """Whether there is any, of whatever state."""
    return await _sales().find_one({}, {"_id": 1}) is not None


@timed("mongodb")
async def missing(sale_ids: Ids[str]) -> set[str]:
    """Those of `sale_ids` that the ledger doesn't have, in whatever state."""
    there = _sales().find({"_id": {"$in": list(sale_ids)}}, {"_id": 1})
    return set(sale_ids) - {document["_id"] async for document in there}


@timed("mongodb")
async def set_available(sale_id: str, available: int) -> None:
    """Note how many units are left, for reports."""
    await _sales().update_one({"_id": sale_id, "available": {"$ne": available}}, {"$set": {"available": available}})


@timed("mongodb")
async def archive(sale: PublishedSale, at: datetime) -> bool:
    """Put a sale away as long as nobody has published or rebuilt it since `sale` was read. Whether it was put away."""
    done = await _sales().update_one(
        {"_id": sale.id, "version": sale.version, "epoch": sale.epoch, **IN_USE},
        {"$set": {"archived_at": at, "archived_epoch": sale.epoch, GATE_STANDS: True}},
    )
    return bool(done.modified_count)


@timed("mongodb")
async def archived_at_gate(before: datetime, count: int) -> list[PublishedSale]:
    """Sales archived `before` then that the gate still has."""
    found = _sales().find({GATE_STANDS: True, "archived_at": {"$lt": before}}).limit(count)
    return [_from_document(document) async for document in found]


@timed("mongodb")
async def gone_from_gate(sale: PublishedSale) -> None:
    """Note that the gate has let an archived sale go."""
    await _sales().update_one({"_id": sale.id, "epoch": sale.epoch, **ARCHIVED}, {"$unset": {GATE_STANDS: ""}})


@timed("mongodb")
async def take_back(sale: PublishedSale) -> None:
    """Have an archived sale in use again, as it is."""
    await _sales().update_one({"_id": sale.id, **ARCHIVED}, BACK_IN_USE)


@timed("mongodb")
async def take_back_reopened(now: datetime) -> int:
    """Have those in use again that a version that knows no archive has published anew, to end after `now`. Returns how
    many.
    """
    reopened = {"archived_at": {"$exists": True}, "closes_at": {"$gt": now}}
    return (await _sales().update_many(reopened, BACK_IN_USE)).modified_count


@timed("mongodb")
async def look_at_gates_again() -> int:
    """Mark archived sales whose gate a version that knows no archive has rebuilt. Returns how many. Reads them all."""
    rebuilt = {"$expr": {"$ne": ["$epoch", "$archived_epoch"]}}
    change = [{"$set": {GATE_STANDS: True, "archived_epoch": "$epoch"}}]
    return (await _sales().update_many(ARCHIVED | rebuilt, change)).modified_count


@timed("mongodb")
async def named(skus: Sequence[str]) -> dict[str, PublishedSale | Unreadable]:
    """Sales by sku, in use or archived, in one round trip. Rehearsals are not among them."""
    found: dict[str, PublishedSale | Unreadable] = {}
    async for document in _sales().find({"sku": {"$in": list(skus)}, MARK: {"$exists": False}}):
        try:
            found[document["sku"]] = _from_document(document)
        except Unreadable as error:
            found[document["sku"]] = error
    return found


@timed("mongodb")
async def archived_among(sale_ids: Iterable[str]) -> set[str]:
    """Which of these sales are archived: gone from the shelf, and not from the ledger."""
    found = _sales().find({"_id": {"$in": list(sale_ids)}} | ARCHIVED, {"_id": 1})
    return {document["_id"] async for document in found}


@timed("mongodb")
async def count_archived() -> int:
    """How many sales are archived."""
    return await _sales().count_documents(ARCHIVED)


def _from_document(document: Document) -> PublishedSale:
    try:
        read = read_fields(document)
        noted = [Brake(one["name"], one["pulled_at"], one["by"]) for one in document.get(NOTED_BRAKES) or []]
        read["brake"] = next((brake for brake in noted if brake.name != read["knows_brake"]), None)
        return PublishedSale(id=document["_id"], **read)
    except (KeyError, TypeError) as error:
        raise Unreadable(
            f"sale {document.get('sku', document['_id'])}: its document can't be read: {error!r}"
        ) from error
