"""The order documents: their fields, their indexes, and the one place that opens their collection.

An order that was given up keeps its id and says what it held under other names (`returned_units`, `returned_slots`), so
that the unique indexes, which are partial, let its units and slots be sold again.
"""

from __future__ import annotations

from datetime import datetime

from pymongo import ASCENDING, DESCENDING, IndexModel

from flashdrop.mongo_client import Collection, Document, collection
from orders.order import Order, OrderStatus

# The browser session of an order that names none: no browser has it, so its receipt link alone opens it.
NO_SESSION = "-"

INDEXES = (
    # The shopper comes first so that the same index finds a shopper's orders. This index comes first because MongoDB
    # names the first one that refuses: who has bought already is told so, not that their unit is gone.
    IndexModel(
        [("shopper", ASCENDING), ("sale", ASCENDING), ("slots", ASCENDING)],
        unique=True,
        partialFilterExpression={"slots": {"$exists": True}},
        name="shopper_within_limit",
    ),
    IndexModel(
        [("sale", ASCENDING), ("units", ASCENDING)],
        unique=True,
        partialFilterExpression={"units": {"$exists": True}},
        name="unit_sold_once",
    ),
    IndexModel(
        [("shopper", ASCENDING), ("key", ASCENDING)],
        unique=True,
        partialFilterExpression={"key": {"$exists": True}},
        name="key_used_once",
    ),
    IndexModel(
        [("shopper", ASCENDING), ("given_up_at", DESCENDING)],
        partialFilterExpression={"given_up_at": {"$exists": True}},
        name="given_up_by_shopper",
    ),
    # For the desk: the orders of a sale, newest first.
    IndexModel([("sale", ASCENDING), ("reserved_at", DESCENDING), ("_id", DESCENDING)], name="orders_of_sale"),
    # The same of those that few orders are in, so that a search for them does not read all the others. Partial: they
    # cost a purchase nothing.
    IndexModel(
        [("sale", ASCENDING), ("reserved_at", DESCENDING), ("_id", DESCENDING)],
        partialFilterExpression={"given_up_at": {"$exists": True}},
        name="given_up_in_sale",
    ),
    IndexModel(
        [("sale", ASCENDING), ("reserved_at", DESCENDING), ("_id", DESCENDING)],
        partialFilterExpression={"fulfilled_at": {"$exists": True}},
        name="fulfilled_in_sale",
    ),
    # Who held a unit before.
    IndexModel(
        [("sale", ASCENDING), ("returned_units", ASCENDING)],
        partialFilterExpression={"returned_units": {"$exists": True}},
        name="units_returned",
    ),
    # Cancelled, and the gate still to be told, or told again: few, and none for longer than a minute.
    IndexModel(
        [("to_release", ASCENDING)],
        partialFilterExpression={"to_release": {"$exists": True}},
        name="cancelled_to_release",
    ),
)


def orders_collection() -> Collection:
    """The collection, majority and journaled."""
    return collection("orders")


def to_document(order: Order, created_at: datetime) -> Document:
    """What `insert` writes: a completed order."""
    document: Document = {
        "_id": order.id,
        "sale": order.sale_id,
        "sku": order.sku,
        "shopper": order.shopper_id,
        "name": order.shopper_name,
        "session": order.session_id,
        "units": list(order.units),
        "slots": list(order.slots),
        "quantity": order.quantity,
        "price_minor": order.price_minor,
        "currency": order.currency,
        "status": OrderStatus.COMPLETED.value,
        "reserved_at": order.reserved_at,
        "created_at": created_at,
    }
    if order.key_digest is not None:
        document["key"] = order.key_digest
    return document


def from_document(document: Document) -> Order:
    """The order as everybody knows it; what only the desk asks for is `orders.ledger_desk`'s.

    Of whatever version: what is missing tells nobody more than they knew, and a status of another version means what
    the order holds.
    """
    return Order(
        id=document["_id"],
        sale_id=document["sale"],
        sku=document.get("sku", ""),
        shopper_id=document["shopper"],
        shopper_name=document.get("name", ""),
        session_id=document.get("session", NO_SESSION),
        key_digest=document.get("key"),
        units=tuple(document.get("units", ())),
        slots=tuple(document.get("slots", ())),
        quantity=document.get("quantity", len(document.get("units", ()))),
        price_minor=document["price_minor"],
        currency=document["currency"],
        status=status_of(document),
        reserved_at=document["reserved_at"],
        created_at=document.get("created_at", document["reserved_at"]),
        returned_units=tuple(document.get("returned_units", ())),
        given_up_at=document.get("given_up_at"),
        session_ended="session_ended_at" in document,
    )


def status_of(document: Document) -> OrderStatus:
    """The status, or the one that comes nearest to what another version has written."""
    try:
        return OrderStatus(document.get("status", ""))
    except ValueError:
        return OrderStatus.COMPLETED if document.get("units") else OrderStatus.CANCELLED
