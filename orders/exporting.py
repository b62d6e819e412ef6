"""Orders as files: CSV for spreadsheets, JSON and JSON lines for programs.

Nothing here reads anything: records in, bytes out, a few at a time, so that a file may be longer than memory.
`flashdrop.spreadsheet` writes the tables, so that a spreadsheet neither runs a name nor takes an id for a number.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Any

import orjson
from babel.numbers import get_currency_precision

from flashdrop import spreadsheet
from flashdrop.spreadsheet import Plain
from orders.ledger_desk import OrderRecord, OrderState, Wanted

COLUMNS = (
    "order_id",
    "sku",
    "product",
    "state",
    "units",
    "quantity",
    "price",
    "total",
    "currency",
    "price_minor",
    "total_minor",
    "shopper_id",
    "shopper_name",
    "reserved_at",
    "confirmed_at",
    "fulfilled_at",
    "given_up_at",
    "history",
)


class Format(StrEnum):
    """Each is also the file's extension."""

    CSV = "csv"
    JSON = "json"
    NDJSON = "ndjson"

    @property
    def content_type(self) -> str:
        return _CONTENT_TYPES[self]


@dataclass(frozen=True, slots=True)
class Export:
    """A file to be made: whose orders, which of them, and in what form. `at` is when it was asked for."""

    form: Format
    wanted: Wanted
    sale_id: str
    sku: str
    product: str
    at: datetime

    @property
    def file_name(self) -> str:
        """Such as `orders-bolt-01-fulfilled-2026-11-23-1412Z.csv`."""
        parts = ["orders", self.sku, self.wanted.state.value if self.wanted.state else "", f"{self.at:%Y-%m-%d-%H%M}Z"]
        return "-".join(part for part in parts if part) + f".{self.form}"


def head(export: Export) -> bytes:
    """What stands before the first order."""
    if export.form is Format.CSV:
        return (spreadsheet.BYTE_ORDER_MARK + spreadsheet.lines([COLUMNS])).encode()
    if export.form is Format.NDJSON:
        return b""
    wanted = export.wanted
    about = {
        "sale": {"id": export.sale_id, "sku": export.sku, "name": export.product},
        "exported_at": _time(export.at),
        "filters": {"state": wanted.state, "from": _time(wanted.since), "to": _time(wanted.until)},
    }
    return orjson.dumps(about)[:-1] + b',"orders":['


def rows(export: Export, records: Iterable[OrderRecord], *, is_first: bool) -> bytes:
    """Some orders; `is_first` when nothing but the head stands before them."""
    if export.form is Format.CSV:
        return spreadsheet.lines(_cells(record, export.product) for record in records).encode()
    found = [orjson.dumps(_fields(record)) for record in records]
    if export.form is Format.NDJSON:
        return b"".join(line + b"\n" for line in found)
    return (b"\n" if is_first else b",\n") + b",\n".join(found)


def tail(export: Export, count: int) -> bytes:
    """What ends a complete file of `count` orders; a table has no place for it."""
    if export.form is Format.CSV:
        return b""
    end = orjson.dumps({"count": count, "is_complete": True})
    return end + b"\n" if export.form is Format.NDJSON else b"\n]," + end[1:] + b"\n"


def _cells(record: OrderRecord, product: str) -> tuple[Any, ...]:
    order = record.order
    total_minor = order.price_minor * order.quantity
    return (
        order.id,
        order.sku,
        product,
        record.state.value,
        Plain(" ".join(map(str, record.units))),
        order.quantity,
        _major(order.price_minor, order.currency),
        _major(total_minor, order.currency),
        order.currency,
        order.price_minor,
        total_minor,
        order.shopper_id,
        order.shopper_name,
        Plain(_time(order.reserved_at) or ""),
        Plain(_time(_confirmed_at(record)) or ""),
        Plain(_time(record.fulfilled_at) or ""),
        Plain(_time(record.given_up_at) or ""),
        " | ".join(f"{_time(one.at)} {one.what} by {one.by}: {one.reason}" for one in record.events),
    )


def _fields(record: OrderRecord) -> dict[str, Any]:
    order = record.order
    total_minor = order.price_minor * order.quantity
    return {
        "id": order.id,
        "sku": order.sku,
        "state": record.state.value,
        "units": record.units,
        "quantity": order.quantity,
        "price": str(_major(order.price_minor, order.currency)),
        "total": str(_major(total_minor, order.currency)),
        "currency": order.currency,
        "price_minor": order.price_minor,
        "total_minor": total_minor,
        "shopper": {"id": order.shopper_id, "name": order.shopper_name},
        "reserved_at": _time(order.reserved_at),
        "confirmed_at": _time(_confirmed_at(record)),
        "fulfilled_at": _time(record.fulfilled_at),
        "given_up_at": _time(record.given_up_at),
        "events": [
            {"at": _time(one.at), "what": one.what, "by": one.by, "reason": one.reason} for one in record.events
        ],
    }


def _confirmed_at(record: OrderRecord) -> datetime | None:
    """None for an order that the ledger never took: it has one that was given up in its place."""
    return None if record.state is OrderState.RELEASED else record.order.created_at


def _time(at: datetime | None) -> str | None:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z" if at else None


@lru_cache(1024)
def _major(amount_minor: int, currency: str) -> Decimal:
    return Decimal(amount_minor).scaleb(-get_currency_precision(currency))


_CONTENT_TYPES = {
    Format.CSV: spreadsheet.CONTENT_TYPE,
    Format.JSON: "application/json",
    Format.NDJSON: "application/x-ndjson",
}
