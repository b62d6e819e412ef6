"""What an order is, wherever it is kept."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

import orjson

from flashdrop.envelope import iso_utc
from orders.receipts import receipt_path
from sales.gate import Reservation


class OrderStatus(StrEnum):
    """`pending` orders stand in the gate's log only; the others are in the ledger."""

    COMPLETED = "completed"
    PENDING = "pending"
    CANCELLED = "cancelled"
    RELEASED = "released"


class Order(NamedTuple):
    """One shopper's purchase in one sale. `units` and `slots` are empty once it was given up."""

    id: str
    sale_id: str
    sku: str
    shopper_id: str
    shopper_name: str
    session_id: str
    key_digest: str | None
    """Digest of the idempotency key, when one was given."""
    units: tuple[int, ...]
    slots: tuple[int, ...]
    quantity: int
    price_minor: int
    currency: str
    status: OrderStatus
    reserved_at: datetime
    created_at: datetime | None
    """When the ledger took it; None while it is pending."""
    returned_units: tuple[int, ...] = ()
    """What it held until it was given up."""
    given_up_at: datetime | None = None
    session_ended: bool = False
    """The browser session that placed it was signed out: it shows in no browser any more."""

    @property
    def is_given_up(self) -> bool:
        """Whether it holds nothing any more: cancelled, or never confirmed."""
        return self.status in (OrderStatus.CANCELLED, OrderStatus.RELEASED)

    def confirmed_at(self, at: datetime) -> Order:
        """This order, once the ledger has it."""
        return self._replace(status=OrderStatus.COMPLETED, created_at=at)

    def as_json(self) -> dict[str, Any]:
        """The order as the HTTP contract has it."""
        return {
            "_id": self.id,
            "productSKU": self.sku,
            "userId": self.shopper_id,
            "units": list(self.units),
            "quantity": self.quantity,
            "price": self.price_minor,
            "totalPrice": self.price_minor * self.quantity,
            "currency": self.currency,
            "status": self.status.value,
            "purchasedAt": iso_utc(self.reserved_at),
            "createdAt": iso_utc(self.created_at or self.reserved_at),
            "receiptUrl": receipt_path(self.id),
        }


def context_of(sku: str, shopper_name: str, session_id: str, key_digest: str | None) -> str:
    """What the gate keeps with a reservation so that anybody can write the order."""
    return orjson.dumps([sku, shopper_name, session_id, key_digest]).decode()


def pending_order(reservation: Reservation) -> Order:
    """The order that a reservation stands for."""
    # Another version may have written more; a list only ever grows at its end.
    sku, name, session_id, key_digest = orjson.loads(reservation.context)[:4]
    return Order(
        id=reservation.order_id,
        sale_id=reservation.sale_id,
        sku=sku,
        shopper_id=reservation.shopper_id,
        shopper_name=name,
        session_id=session_id,
        key_digest=key_digest,
        units=reservation.units,
        slots=reservation.slots,
        quantity=len(reservation.units),
        price_minor=reservation.price_minor,
        currency=reservation.currency,
        status=OrderStatus.PENDING,
        reserved_at=reservation.reserved_at,
        created_at=None,
    )
